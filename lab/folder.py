"""The lab's folder, and the removal of what dead labs left.

A living lab holds a lock on its folder: the kernel lifts it however the lab ends. A folder without a lock is a dead
lab's. The processes of a lab are recognised by their environment, which every child inherits: it names the folder, or
one below it. Nothing is ever chosen by the name of a program.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from lab.daemon import LabError, await_true

#: The variable that names, in the environment of each of a lab's processes, the folder that they belong to.
MARK = "LAB_FOLDER"
#: Not the user's TMPDIR: labs must find each other, and the path of a Unix socket has 107 bytes at most.
ROOT = Path("/tmp")

_PREFIX = "registry-monitor-lab."
_END_SECONDS = 20.0
_OCTAL = re.compile(r"\\([0-7]{3})")


def new_folder() -> tuple[Path, int]:
    """Return a fresh folder, and the descriptor that holds its lock while it is open."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=ROOT))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Another lab may have taken it for a dead one's before it was locked, and removed it.
        if folder.exists():
            return folder, lock
        os.close(lock)


def remove_dead() -> None:
    """Remove the folders, mounts and processes of labs that ended without doing so. Raise LabError, as `remove`."""
    for folder in ROOT.glob(f"{_PREFIX}*"):
        with ExitStack() as stack:
            try:
                # A symbolic link is refused here, with NotADirectoryError.
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                stack.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (FileNotFoundError, NotADirectoryError, BlockingIOError):
                continue
            if os.fstat(lock).st_uid == os.geteuid() and folder.exists():
                remove(folder)


def remove(folder: Path) -> None:
    """Given a lab's folder, or one in it, end the processes that carry its mark, and remove its mounts and itself.

    It may be gone already. Raise LabError if something is left mounted, for then nothing may be deleted.
    """
    end_processes(folder)
    unmount(folder)
    if folder.exists():
        shutil.rmtree(folder)


def unmount(folder: Path) -> None:
    """Given a folder, unmount everything below it. Raise LabError if that does not succeed."""
    for mount in mounts(folder):
        subprocess.run(["umount", "--lazy", mount], check=False, stderr=subprocess.DEVNULL)
    left = mounts(folder)
    if left:
        raise LabError(f"still mounted, and so not removed: {', '.join(map(str, left))}")


def mounts(folder: Path) -> list[Path]:
    """Given a folder, return what is mounted below it or on it, the last mounted first."""
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    points = [Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ")[4])) for line in lines]
    return [point for point in reversed(points) if point.is_relative_to(folder)]


def processes(folder: Path) -> list[int]:
    """Given a lab's folder, return the processes that carry its mark, except the one that asks."""
    return [pid for pid in _pids() if pid != os.getpid() and _is_marked(pid, folder)]


def end_processes(folder: Path) -> None:
    """Given a lab's folder, or one in it, end the processes that carry its mark: SIGTERM, then SIGKILL.

    Raise LabError if that does not succeed.
    """
    _signal_all(folder, signal.SIGTERM)
    with suppress(LabError):
        await_true(lambda: not processes(folder), _END_SECONDS, "processes to end")
    _signal_all(folder, signal.SIGKILL)
    await_true(lambda: not processes(folder), _END_SECONDS, f"the killed processes of {folder} to end")


def _signal_all(folder: Path, number: signal.Signals) -> None:
    for pid in processes(folder):
        with suppress(ProcessLookupError):
            held = os.pidfd_open(pid)
            try:
                # Asked again: the number could have passed to another process in between, and now can't any more.
                if _is_marked(pid, folder):
                    signal.pidfd_send_signal(held, number)
                    signal.pidfd_send_signal(held, signal.SIGCONT)
            finally:
                os.close(held)


def _is_marked(pid: int, folder: Path) -> bool:
    # A zombie's environment is empty: it counts as ended.
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_text(errors="surrogateescape").split("\0"):
            name, _, value = entry.partition("=")
            if name == MARK:
                return Path(value).is_relative_to(folder)
    return False


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
