"""Instance: this monitor's process among those of its host, with a private folder for what no one else may read.

The folder's lock tells the living from the dead: the kernel lets go of it whatever way a process ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

_PREFIX = "registry-monitor-"
#: How long an instance can take from making its folder to locking it.
_BIRTH_SECONDS = 60.0
#: Instances' folders, also those that were never renamed.
_FOLDER = re.compile(rf"\.?{_PREFIX}(?P<name>[0-9a-f]{{32}})")


class Instance:
    """The monitor that this process is.

    Attributes:
        name: random, one per process; the label of the images that it builds.
        folder: a private folder (0700), removed by `close()`.
        dead: the names of the instances that ended without removing their folders.
    """

    def __init__(self, parent: Path | None = None) -> None:
        """Given the folder that takes private folders (the system's for temporary files by default), make one.

        The folders of dead instances are removed, and their names kept. Raise OSError where it can't be made.
        """
        parent = parent or Path(tempfile.gettempdir())
        self.name = uuid4().hex
        self.folder = parent / f"{_PREFIX}{self.name}"
        # It takes its known name only once it is locked: another instance that starts meanwhile would think it dead.
        unlocked = parent / f".{_PREFIX}{self.name}"
        unlocked.mkdir(mode=0o700)
        self._lock = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(self.folder)
        self.dead = frozenset(_bury_dead(parent))

    def new_folder(self, purpose: str) -> Path:
        """Given what it is for, return a new private folder (0700) within this instance's own."""
        return Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=self.folder))

    def close(self) -> None:
        """Remove the private folder with all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _bury_dead(parent: Path) -> list[str]:
    """Remove the folders of dead instances of this user, and return the instances' names."""
    found = ((path, _FOLDER.fullmatch(path.name)) for path in parent.iterdir())
    return [match["name"] for path, match in found if match and _bury(path)]


def _bury(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(lock)
        if status.st_uid != os.geteuid():
            return False
        if path.name.startswith(".") and time.time() - status.st_mtime < _BIRTH_SECONDS:
            return False  # it may be about to be locked
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            return True
        return False
    finally:
        os.close(lock)
