"""Instance: this monitor's process among those of its host, with a private folder that nobody else may read."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import threading
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from lib.neighbours import ENGINE_NOTE, FLAGS, PREFIX, Neighbours, has_to_do, keep_notes_alone

_log = logging.getLogger(__name__)


class Instance:
    """The monitor that this process is.

    Attributes:
        name: random, one per process; the label of the images that it builds.
        folder: a private folder (0700), removed by `close()`.
        neighbours: the other instances of this host.
    """

    def __init__(self, parent: Path | None = None, engine: str = "") -> None:
        """Given the folder that takes private folders (the system's for temporary files by default), make one.

        Given also what distinguishes its engine from others. The contents of dead instances' folders are removed. Raise
        OSError if it can't be made.
        """
        parent = parent or Path(tempfile.gettempdir())
        engine = sha256(engine.encode()).hexdigest()[:16]
        self.name = uuid4().hex
        self.folder = parent / f"{PREFIX}{self.name}"
        self.neighbours = Neighbours(parent, engine)
        self.neighbours.look()  # first: payloads of dead instances may be filling the disk
        self._engine_note = f"{ENGINE_NOTE}{engine}"
        self._lock = self._make_locked()
        self._losses = 0
        self._seen: dict[Path, int] = {}  # each folder in it, and how often all of them had been lost by then
        self._mending = threading.Lock()

    def new_folder(self, purpose: str) -> Path:
        """Given what it is for, return a new private folder (0700) within this instance's own."""
        folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=self.folder))
        self._seen[folder] = self._losses
        return folder

    def restore(self, folder: Path) -> None:
        """Given a folder within this instance's own, make either again if somebody removed it, and log that.

        A cleaner of temporary files may do that. Raise OSError if it can't be made.
        """
        with self._mending:
            is_lost = not self._is_locked()
            if is_lost:
                lock = self._lock_existing(self.folder) if self.folder.is_dir() else self._make_locked()
                os.close(self._lock)
                self._lock = lock
                self._losses += 1
            if not folder.is_dir():
                folder.mkdir(mode=0o700)
                is_lost = is_lost or self._seen[folder] == self._losses
            self._seen[folder] = self._losses
        if is_lost:
            _log.warning(
                "somebody removed a private folder of this monitor; it is made again",
                extra={"folder": str(folder), "advice": f"exclude {PREFIX}* from what cleans {self.folder.parent}"},
            )

    def note(self, name: str, text: str = "") -> None:
        """Given a name that begins with one of those in `lib.neighbours`, and a text, leave that note for the next
        process. If the disk takes none, continue without it.
        """
        with suppress(OSError):
            (self.folder / name).write_text(text, encoding="utf-8")

    def done(self, name: str) -> None:
        """Given the name of a note, of this process or a dead one, forget it: its subject is done."""
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)
        self.neighbours.done(name)

    def close(self, *, all_is_gone: bool = True) -> None:
        """Remove the private folder with everything in it.

        Given whether everything that this process made is gone from the engine: if not, or if a note says that
        something is still to be done, the notes stay for the next instance.
        """
        if all_is_gone and not has_to_do(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            keep_notes_alone(self.folder)
        os.close(self._lock)

    def _is_locked(self) -> bool:
        """Return whether the folder at its path is the one with our lock."""
        try:
            return os.path.samestat(self.folder.lstat(), os.fstat(self._lock))
        except FileNotFoundError:
            return False

    def _make_locked(self) -> int:
        """Make the folder, private, which is not there, and return its lock. Raise OSError."""
        # It gets its known name only once it is locked: otherwise an instance that starts meanwhile would think it
        # dead.
        unlocked = self.folder.with_name(f".{self.folder.name}")
        unlocked.mkdir(mode=0o700, exist_ok=True)
        lock = self._lock_existing(unlocked)
        try:
            unlocked.rename(self.folder)
        except OSError:
            os.close(lock)
            raise
        return lock

    def _lock_existing(self, folder: Path) -> int:
        """Given a folder of ours, perhaps one that docker made in place of one that was removed, make it private, note
        in it which engine this is, and return its lock. Raise OSError, also if it is another user's: once it was
        removed, anybody can know its name, and would have what is put into it.
        """
        lock = os.open(folder, FLAGS)
        try:
            if os.fstat(lock).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
            os.fchmod(lock, 0o700)  # only its owner may
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (folder / self._engine_note).touch(mode=0o600)
        except OSError:
            os.close(lock)
            raise
        return lock
