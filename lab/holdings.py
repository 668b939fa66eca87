"""Holdings: what an engine holds, as its CLI and its containerd list it, and how much its folder takes."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from lab.engine import Engine
from lab.engines import Podman

#: What a line of `holdings` can begin with.
KINDS = ("image", "container", "volume", "record", "content", "snapshot")

#: containerd's namespaces of Docker begin with this, and those of BuildKit's history of builds end with that. There is
#: one for each range of users that containers were given.
_DOCKERS, _OF_HISTORY = "moby", "_history"

#: Where containerd keeps the blobs of them all, in the engine's folder; and where BuildKit keeps its history itself, if
#: the images are not containerd's.
_CONTENT = Path("containerd/daemon/io.containerd.content.v1.content/blobs")
_OWN_HISTORY = "buildkit/content/blobs/sha256/*"
#: After this long at rest, BuildKit has written down what it knows of a build: the trace comes 3 s after its end.
REST_SECONDS = 4.0


def holdings(engine: Engine | Podman) -> frozenset[str]:
    """Given an engine, return what it holds, a line each: its images with their names, its containers and volumes, the
    records of its build cache, and what its containerd keeps of content and snapshots. Before that, its containerd
    removes what nothing refers to. No build or pull may be under way.
    """
    held = engine.docker("images", "--all", "--no-trunc", "--format=image {{.ID}} {{.Repository}}:{{.Tag}}").stdout
    # podman lists those that it builds in only if it is asked for them.
    external = () if isinstance(engine, Engine) else ("--external",)
    held += engine.docker("ps", "--all", *external, "--no-trunc", "--format=container {{.ID}} {{.Names}}").stdout
    held += engine.docker("volume", "ls", "--format=volume {{.Name}}").stdout
    if isinstance(engine, Engine):
        record = "record {{.ID}} {{.Description}}"
        template = f"{{{{range .BuildCache}}}}{record}{{{{println}}}}{{{{end}}}}"
        held += engine.docker("system", "df", "--verbose", f"--format={template}").stdout
        for namespace in _namespaces(engine):
            _collect(engine, namespace)
            if not namespace.endswith(_OF_HISTORY):
                held += "".join(f"content {digest}\n" for digest in _content(engine, namespace))
                held += "".join(f"snapshot {name}\n" for name in _snapshots(engine, namespace))
    return frozenset(line for line in held.splitlines() if line.strip())


def by_kind(lines: Iterable[str]) -> Counter[str]:
    """Given lines of `holdings`, return how many there are of each kind."""
    return Counter(line.partition(" ")[0] for line in lines)


@dataclass(frozen=True, slots=True)
class Space:
    """Space that an engine takes and does not list.

    Attributes:
        history_blobs: how many blobs BuildKit's history of builds has.
        history_bytes: their size.
        data_bytes, data_files: what is in the engine's folder, on disk.
    """

    history_blobs: int
    history_bytes: int
    data_bytes: int
    data_files: int

    def __sub__(self, before: Space) -> Space:
        """Given what it took before, return how much more it takes."""
        return Space(*(now - then for now, then in zip(astuple(self), astuple(before), strict=True)))


def space(engine: Engine | Podman, rest_seconds: float = 0.0) -> Space:
    """Given an engine, and how long its history has to be at rest before that, return what it takes."""
    blobs = _history(engine)
    while True:
        time.sleep(rest_seconds)
        before, blobs = blobs, _history(engine)
        if blobs == before:
            return Space(len(blobs), sum(blobs.values()), *disk_usage(engine.data))


def _history(engine: Engine | Podman) -> dict[Path, int]:
    """Given an engine, return the sizes of the blobs of BuildKit's history."""
    blobs: list[Path] = []
    if isinstance(engine, Engine):
        histories = [namespace for namespace in _namespaces(engine) if namespace.endswith(_OF_HISTORY)]
        digests = [digest for namespace in histories for digest in _content(engine, namespace)]
        blobs = [engine.data / _CONTENT / digest.replace(":", "/") for digest in digests]
        # Containers that were given a range of users are in a folder named after that.
        for place in (engine.data, *engine.data.glob("*.*")):
            blobs += place.glob(_OWN_HISTORY)
    return {blob: blob.stat().st_size for blob in blobs}


def disk_usage(folder: Path) -> tuple[int, int]:
    """Given a folder, return the bytes on disk, and the number, of the files in it."""
    blocks = files = 0
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            try:
                status = os.lstat(os.path.join(root, name))  # noqa: PTH118  a Path for each costs too much
            except FileNotFoundError:
                continue  # the engine is at work
            blocks += status.st_blocks
            files += 1
    return blocks * 512, files


def _collect(engine: Engine, namespace: str) -> None:
    """Given an engine and a namespace of its containerd, have that remove what nothing refers to, or only for a while:
    Docker leases what it pulls for a day, and a pull that was ended does not give that back.
    """
    _ctr(engine, namespace, "leases", "create")  # for a day, too
    for lease in _leases(engine, namespace):
        try:
            _ctr(engine, namespace, "leases", "delete", "--sync", lease)
        except subprocess.CalledProcessError:
            if lease in _leases(engine, namespace):  # otherwise the engine gave it back meanwhile
                raise


def _leases(engine: Engine, namespace: str) -> list[str]:
    """Given an engine and a namespace of its containerd, return the leases there that expire."""
    lines = _ctr(engine, namespace, "leases", "list").splitlines()
    return [line.split()[0] for line in lines if "containerd.io/gc.expire" in line]


def _content(engine: Engine, namespace: str) -> list[str]:
    """Given an engine and a namespace of its containerd, return the digests of the blobs there."""
    return _ctr(engine, namespace, "content", "list", "--quiet").split()


def _snapshots(engine: Engine, namespace: str) -> list[str]:
    return [line.split()[0] for line in _ctr(engine, namespace, "snapshots", "list").splitlines()[1:]]


def _namespaces(engine: Engine) -> list[str]:
    known = _ctr(engine, _DOCKERS, "namespaces", "list", "--quiet").split()
    return [namespace for namespace in known if namespace.startswith(_DOCKERS)]


def _ctr(engine: Engine, namespace: str, *arguments: str) -> str:
    """Given an engine, a namespace and the arguments of a ctr command, return what that prints."""
    argv = ("ctr", f"--address={engine.containerd}", f"--namespace={namespace}", *arguments)
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
