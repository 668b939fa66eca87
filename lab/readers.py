"""Readers: very many clients of a monitor at once, which ask again without pause, like browsers that are reloaded."""

from __future__ import annotations

import asyncio
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Read:
    """An answer.

    Attributes:
        status: its status; 0 if the connection was closed before there was one.
        tag: its ETag, empty for none.
        body: its body, as it was sent.
    """

    status: int
    tag: str
    body: bytes


class Readers:
    """Clients in a process of their own, so that only their requests get in anybody's way. A context manager."""

    def __init__(self, url: str, number: int = 30) -> None:
        """Given what they read, and how many they are, let them begin on entry, and end them on exit."""
        self._argv = (sys.executable, "-m", "lab.readers", url, str(number))

    def __enter__(self) -> Self:
        self._running = subprocess.Popen(
            self._argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parent.parent
        )
        return self

    def stop(self) -> Counter[int]:
        """End them. Return how many answers of each status they got."""
        self._running.send_signal(signal.SIGTERM)
        printed, _ = self._running.communicate(timeout=_PATIENCE_SECONDS)
        pairs = (line.split() for line in printed.splitlines())
        return Counter({int(status): int(number) for status, number in pairs})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running.poll() is None:
            self._running.kill()
            self._running.communicate()


def read_at_once(url: str, heads: Sequence[Sequence[str]]) -> list[Read]:
    """Given a URL, and for each client that asks for it at the same moment the lines of its request's head, return what
    each got.
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))

    async def read_all() -> list[Read]:
        return await asyncio.gather(*(_read(url, head) for head in heads))

    try:
        return asyncio.run(read_all())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def _read(url: str, headers: Iterable[str]) -> Read:
    where = urlsplit(url)
    asked = "\r\n".join((f"GET {where.path or '/'} HTTP/1.1", f"Host: {where.netloc}", *headers, "", ""))
    answer = b""
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            try:
                writer.write(asked.encode())
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return Read(0, "", b"")
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    tags = [line.partition(": ")[2] for line in lines if line.lower().startswith("etag: ")]
    return Read(int(first.split()[1]) if first else 0, tags[0] if tags else "", body)


async def _reload(url: str, counted: Counter[int]) -> None:
    tag = ""
    while True:
        known = (f"If-None-Match: {tag}",) if tag else ()
        read = await _read(url, ("Accept-Encoding: gzip", *known))
        counted[read.status] += 1
        tag = read.tag or tag


async def _main(url: str, number: int) -> None:
    counted = Counter[int]()
    readers = [asyncio.ensure_future(_reload(url, counted)) for _ in range(number)]
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()
    for reader in readers:
        reader.cancel()
    for status, count in counted.items():
        print(status, count)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
