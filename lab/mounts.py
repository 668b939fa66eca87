"""Mounts: files that one program sees at other places, and small disks.

A lab that ends, or is found dead, unmounts what is below its folder; so a killed test needs no care.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.daemon import await_true
from lab.folder import unmount

#: How long a disk can be busy before it becomes read-only.
_BUSY_SECONDS = 30.0

#: Mounts pairs of its arguments up to `--`, the first on the second, in a mount namespace of its own, and then becomes
#: what follows. The namespace, with what is mounted in it, is gone when the program ends, however it ends.
_SCRIPT = """
set -e
while [ "$1" != -- ]; do
    [ -e "$2" ] || mkdir -p "$2"
    mount --bind "$1" "$2"
    shift 2
done
shift
exec "$@"
"""


def with_mounts(mounts: Mapping[Path, Path], argv: Sequence[str]) -> tuple[str, ...]:
    """Given files or folders by the places where they are to be seen, and a command, return the command that sees them.

    Its process is the given command's. A missing place is made as a folder.
    """
    told = [str(path) for place, source in mounts.items() for path in (source, place)]
    return ("unshare", "--mount", "--propagation", "slave", "sh", "-c", _SCRIPT, "sh", *told, "--", *argv)


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """Given a folder to make, and its size, mount a small disk there for a while."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "lab", str(folder)], check=True)
    try:
        yield
    finally:
        unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Given the folder that a disk is mounted on, make that read-only for a while. Raise LabError if it stays busy."""
    remount = ("mount", "-o", "remount,ro", str(folder))
    # Not while a file there is open for writing, as the payload is for a moment of each cycle; nor while a child that a
    # killed monitor had just forked still has what the monitor had open.
    await_true(lambda: subprocess.run(remount, check=False).returncode == 0, _BUSY_SECONDS, "the disk to be read-only")
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Given a folder, fill the disk that it is on for a while."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
    finally:
        filler.unlink()
