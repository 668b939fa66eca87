"""Store: the history on the disk. It has a writing thread, so that no disk keeps a cycle or an answer waiting.

    StateInUse    another monitor has the folder

What can't be written now (the disk is full, or gone) waits in memory, within bounds, and is written as soon as
possible. Only a push is waited for: its acknowledgement must not be forgotten, whatever ends this process a moment
later.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lib.ending import NotNow
from lib.history.database import Database, DatabaseUnusable, Finished
from lib.history.files import copy_of, set_aside
from lib.history.hours import Bounds
from lib.history.rows import Kept
from lib.rested import RestedImage
from lib.result import Push

_log = logging.getLogger(__name__)

#: How long to wait for a push. With a healthy disk it takes a few milliseconds.
_PUSH_SECONDS = 3.0
#: How long after a failure to write again.
_RETRY_SECONDS = 5.0
#: How often old and surplus entries are dropped.
_PRUNE_SECONDS = 3600.0
#: A larger jump is a clock that was wrong before or after it. To a clock that is years ahead, everything would be too
#: old.
_JUMP_SECONDS = 3600.0
#: Finished cycles that wait, at most.
_MOST_WAITING = 10_000

_FAULTS = (sqlite3.Error, OSError, DatabaseUnusable)


class StateInUse(NotNow):
    """Another monitor has the folder. The text says which folder and what to do."""


@dataclass(slots=True)
class _Unwritten:
    """What is still to be written.

    Attributes:
        pushes: the last push by repository and tag, None if it is to be forgotten.
        rested: rested images by repository and tag of their target, and number.
        finished: finished cycles, oldest first; if there are too many, the oldest are lost.
    """

    pushes: dict[str, Push | None] = field(default_factory=dict)
    rested: dict[tuple[str, int], RestedImage] = field(default_factory=dict)
    finished: deque[Finished] = field(default_factory=lambda: deque(maxlen=_MOST_WAITING))

    def __bool__(self) -> bool:
        return bool(self.pushes or self.rested or self.finished)

    def put_before(self, later: _Unwritten) -> None:
        """Given what came later, add it."""
        self.pushes |= later.pushes
        self.rested |= later.rested
        self.finished.extend(later.finished)


class Store:
    """The history in a folder, which no other monitor can have at the same time.

    Attributes:
        instances: the instances that had the folder: this one and, as far as they could be read, all before it.
    """

    def __init__(self, folder: Path, instance: str, clock: Callable[[], float] = time.time) -> None:
        """Given the folder (made if it is missing, 0700), this process's instance and a clock in seconds since 1970.

        Raise StateInUse. If the folder can't be used for another reason, that is logged, and tried again later; if it
        can be read all the same, its contents are known from the start.
        """
        self.instances = frozenset({instance})
        self._folder = folder
        self._path = folder / "history.sqlite3"
        self._clock = clock
        self._lock_file: int | None = None
        self._database: Database | None = None
        self._copy: Database | None = None  # of a folder that can be read, but not written
        self._recorded: frozenset[str] = frozenset()  # the instances that it holds
        self._disk = threading.Lock()  # its holder may use the database
        self._pruned = -_PRUNE_SECONDS
        self._offset: float | None = None  # by the clock, when old entries were last looked for
        self._unwritten = _Unwritten()
        self._given = self._written = 0
        self._failing = self._slow = self._closing = False
        self._changed = threading.Condition()
        try:
            self._write(_Unwritten())
        except _FAULTS as error:
            self._note_failure(error)
            self._read_copy()
        self._thread = threading.Thread(target=self._write_again_and_again, name="history", daemon=True)
        self._thread.start()

    def kept(self, references: Iterable[str], bounds: Bounds) -> dict[str, Kept]:
        """Given repositories with tags, and at most how many cycles to return, return what is kept of each.

        What can't be read is left out.
        """
        with self._changed:
            self._wait_for(self._given)
        kept: dict[str, Kept] = {}
        if not self._disk.acquire(timeout=_PUSH_SECONDS):
            return kept
        try:
            if (database := self._database or self._copy) is not None:
                for reference in references:
                    kept[reference] = database.kept(reference, bounds)
        except _FAULTS as error:
            _log.error("the history can't be read", extra={"file": str(self._path), "detail": str(error)})
        finally:
            self._disk.release()
        return kept

    def keep_push(self, reference: str, push: Push | None) -> None:
        """Given repository and tag, and the last acknowledged push there (None: it is to be forgotten), write that.

        It is on the disk on return, unless the disk does not work, or not within some seconds.
        """
        with self._changed:
            self._unwritten.pushes[reference] = push
            self._wait_for(self._give())

    def keep_rested(self, reference: str, image: RestedImage) -> None:
        """Given repository and tag of a target, and one of its rested images, write it, as `keep_push()` does."""
        with self._changed:
            self._unwritten.rested[reference, image.number] = image
            self._wait_for(self._give())

    def keep_finished(self, finished: Finished) -> None:
        """Given a finished cycle, write it soon."""
        with self._changed:
            self._unwritten.finished.append(finished)
            self._give()

    def close(self, seconds: float) -> None:
        """Write what waits, and release the folder. Given how long that may take."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)

    def _give(self) -> int:
        """Have the writing thread write. Return the number that `_written` will have then."""
        self._given += 1
        self._changed.notify_all()
        return self._given

    def _wait_for(self, number: int) -> None:
        if self._changed.wait_for(lambda: self._written >= number or self._failing or self._slow, _PUSH_SECONDS):
            return
        self._slow = True
        _log.warning("the history's disk is slow; nothing waits for it now", extra={"folder": str(self._folder)})

    # The writing thread.

    def _write_again_and_again(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(lambda: self._unwritten or self._failing or self._closing)
                if self._failing:
                    self._changed.wait_for(lambda: self._closing, _RETRY_SECONDS)
                unwritten, self._unwritten = self._unwritten, _Unwritten()
                number, closing = self._given, self._closing
            try:
                self._write(unwritten)
            except (*_FAULTS, StateInUse) as error:
                with self._changed:
                    unwritten.put_before(self._unwritten)
                    self._unwritten = unwritten
                self._note_failure(error)
            else:
                self._note_success(number)
        self._close_database()
        if self._lock_file is not None:
            os.close(self._lock_file)

    def _write(self, unwritten: _Unwritten) -> None:
        with self._disk:
            database = self._open()
            with database.transaction():
                for instance in self.instances - self._recorded:
                    database.write_instance(instance, self._clock())
                for reference, push in unwritten.pushes.items():
                    database.write_push(reference, push)
                for (reference, _), image in unwritten.rested.items():
                    database.write_rested(reference, image)
                for finished in unwritten.finished:
                    database.write_finished(finished)
            self._recorded = self.instances
            if time.monotonic() - self._pruned >= _PRUNE_SECONDS:
                with database.transaction():
                    self._prune(database)
                self._pruned = time.monotonic()

    def _prune(self, database: Database) -> None:
        """Given the database, drop surplus entries, and those that are too old by a clock that has not just jumped."""
        database.shrink()
        before, self._offset = self._offset, self._clock() - time.monotonic()
        if before is not None and abs(self._offset - before) < _JUMP_SECONDS:
            database.prune(self._clock())

    def _open(self) -> Database:
        """Return the database: opened again if that was given up, or was moved or deleted. Raise as `_write()`."""
        if self._database is not None and self._database.is_in_place:
            return self._database
        self._close_database()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock()
        try:
            database = Database(self._path)
        except DatabaseUnusable as error:
            aside = set_aside(self._path, self._clock())
            _log.error(
                "the history can't be used, and was set aside; a new one was started",
                extra={"detail": str(error), "file": str(self._path), "kept_as": str(aside)},
            )
            database = Database(self._path)
        self._database, self._copy = database, None
        self._recorded = database.instances()
        self.instances |= self._recorded
        return database

    def _read_copy(self) -> None:
        """Read at least what is in a folder that can't be written."""
        with suppress(*_FAULTS):
            self._copy = copy_of(self._path)
            self.instances |= self._copy.instances()

    def _lock(self) -> None:
        """Take the folder, unless this monitor has it already. Raise StateInUse or OSError."""
        path = self._folder / "lock"
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode=0o600)
        if self._lock_file is not None and os.path.sameopenfile(lock, self._lock_file):
            os.close(lock)
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if not isinstance(error, BlockingIOError):
                raise
            raise StateInUse(
                f"state-dir {self._folder} belongs to another monitor that runs: give each a folder of its own"
            ) from None
        if self._lock_file is not None:
            os.close(self._lock_file)
        self._lock_file = lock

    def _close_database(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, DatabaseUnusable):  # it is set aside when it is opened again
            with self._disk:
                self._close_database()
        with self._changed:
            if not self._failing:
                _log.error(
                    "the history can't be written; the monitor continues without it, and tries again",
                    extra={"folder": str(self._folder), "detail": str(error)},
                )
            self._failing = True
            self._changed.notify_all()

    def _note_success(self, number: int) -> None:
        with self._changed:
            if self._failing or self._slow:
                _log.info("the history can be written again", extra={"folder": str(self._folder)})
            self._failing = self._slow = False
            self._written = number
            self._changed.notify_all()
