"""SocketProxy: stands in front of an engine's socket, as proxies do that let only part of its API through."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lab.closing import Closing

#: How HAProxy refuses, which most of these proxies are.
_PAGE = b"<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>\n"
_REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\nConnection: close\r\n"
    b"Content-Length: " + str(len(_PAGE)).encode() + b"\r\n\r\n" + _PAGE
)
_CHUNK_BYTES = 64 * 1024
_CONNECTION = re.compile(rb"^connection:.*\r\n", re.IGNORECASE | re.MULTILINE)
_UPGRADE = re.compile(rb"^upgrade:", re.IGNORECASE | re.MULTILINE)
#: The path of a request, without the API's version and the query.
_PATH = re.compile(r"(?:/v\d+\.\d+(?=/))?([^?]*)")


class SocketProxy(Closing):
    """Passes requests on to an engine's socket, and refuses some. A context manager.

    A connection has one request, so that whatever it becomes after that, a stream of docker's own too, is passed on.

    Attributes:
        passed, refused: how often it got each request, such as `POST /images/create`.
    """

    def __init__(self, path: Path, engine: Path, refuses: Callable[[str], object]) -> None:
        """Given the socket to make, the engine's, and what says whether to refuse a request, start it.

        Raise OSError.
        """
        self.passed, self.refused = Counter[str](), Counter[str]()
        self._path = path
        self._engine = engine
        self._refuses = refuses
        self._open: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Stop."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._accepting.join()
        self._listener.close()
        self._path.unlink()
        for connection in list(self._open):
            _end(connection, socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with client, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(_CHUNK_BYTES)
                if not piece:
                    return
                head += piece
            method, uri = head.decode(errors="replace").split(" ", 2)[:2]
            path = _PATH.match(uri)
            request = f"{method} {path[1] if path else uri}"
            if self._refuses(request):
                self.refused[request] += 1
                client.sendall(_REFUSAL)
                _end(client, socket.SHUT_WR)
                while client.recv(_CHUNK_BYTES):  # what it had sent already: closed before, it would be reset
                    pass
            else:
                self.passed[request] += 1
                self._pass_on(client, head)
        self._open.discard(client)

    def _pass_on(self, client: socket.socket, head: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(str(self._engine))
            engine.sendall(head if _UPGRADE.search(head) else _once(head))
            up = threading.Thread(target=_copy, args=(client, engine), daemon=True)
            up.start()
            _copy(engine, client)
            _end(client, socket.SHUT_RDWR)
            up.join()


def _once(head: bytes) -> bytes:
    line, _, rest = _CONNECTION.sub(b"", head).partition(b"\r\n")
    return line + b"\r\nConnection: close\r\n" + rest


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_CHUNK_BYTES):
            sink.sendall(piece)
    _end(sink, socket.SHUT_WR)


def _end(connection: socket.socket, how: int) -> None:
    with suppress(OSError):
        connection.shutdown(how)
