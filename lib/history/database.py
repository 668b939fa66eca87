"""Database: the SQLite file of the history: what is in it, how it is read and written, and how it stays bounded.

    DatabaseUnusable    the file is damaged, or made by another version: to be set aside, never written to

Everything is kept by repository and tag, so that a target that is renamed keeps its history. What is written is always
the new state, never a difference: so it may be written twice, or again after a failure.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from lib.failure import Verdict
from lib.history import rows
from lib.history.hours import MOST_HOURS, Bounds, Hour
from lib.history.rows import Kept, Sieve
from lib.history.schema import SCHEMA_VERSION, step_from
from lib.rested import RestedImage
from lib.result import Cycle, Push, read_text, rfc3339

_log = logging.getLogger(__name__)

#: Pages that are kept in memory. The file is written far more often than read: SQLite's default of 2 MB would be
#: wasted.
_CACHE_KIB = 256

#: How long it waits for another program that reads or writes the file.
_BUSY_SECONDS = 2.0

#: Cycles that are kept of each repository and tag: in number, and in days.
_MOST_SUCCESSES, _MOST_FAILURES = 200, 1000
_SUCCESS_DAYS, _FAILURE_DAYS = 30, 90
_DAY_SECONDS = 24 * 3600
#: Instances of this monitor that are kept: years of them, but not an endless number if it is restarted every second.
_MOST_INSTANCES = 10_000
#: Beyond this size, the oldest successes go, and then the oldest failures.
MOST_BYTES = 256 * 1024 * 1024
_REMOVED_AT_ONCE = 1000


class DatabaseUnusable(Exception):  # noqa: N818  it is not an error of the caller
    """The file can't be used as it is, and never will. Its text says why."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished cycle, and how it changed its target's state.

    Attributes:
        reference: repository and tag.
        cycle: the cycle.
        since: the start of the first cycle of the unbroken run of its verdict.
        ended: when it ended, in seconds since 1970.
        hours: the hours in which the verdict before it stood.
    """

    reference: str
    cycle: Cycle
    since: datetime
    ended: float
    hours: tuple[Hour, ...]


class Database:
    """The file, open. One thread at a time uses it. Each method raises sqlite3.Error if the disk fails."""

    def __init__(self, path: Path) -> None:
        """Given the file's path, open it, and make it if there is none (0600).

        Raise DatabaseUnusable, OSError or sqlite3.Error.
        """
        # SQLite's own files beside it get its mode. Through a link that somebody else put there, it would be another's
        # file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode=0o600))
        self.path = path
        self._file = path.stat()
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        # Text that is not UTF-8 is read all the same, with replacements.
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            with _naming_damage():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    @property
    def is_in_place(self) -> bool:
        """Whether its path still leads to this file: SQLite itself would continue in a deleted one."""
        try:
            return os.path.samestat(self.path.stat(), self._file)
        except OSError:
            return False

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def instances(self) -> frozenset[str]:
        """Return the instances that used it."""
        return frozenset(Sieve().read("instances", read_text, self._connection.execute("SELECT name FROM instances")))

    def kept(self, reference: str, bounds: Bounds) -> Kept:
        """Given repository and tag, and at most how many cycles to return, return what is kept and can be read."""
        select, sieve = self._connection.execute, Sieve()
        pushes = select(
            "SELECT digest, image_id, token, instance, created FROM pushes WHERE reference = ?", (reference,)
        )
        standings = select("SELECT since, ended FROM standings WHERE reference = ?", (reference,))
        hours = select(
            "SELECT hour, up_ms, down_ms, unknown_ms FROM verdict_hours WHERE reference = ? ORDER BY hour DESC LIMIT ?",
            (reference, MOST_HOURS + 2),
        )
        cycles = self._cycles("reference = ?", reference, bounds.cycles)
        failures = self._cycles("reference = ? AND failed", reference, bounds.failures)
        push = sieve.read("pushes", rows.push, pushes)
        rested = select("SELECT number, image FROM rested WHERE reference = ? ORDER BY number", (reference,))
        (since, ended), *_ = (*sieve.read("standings", rows.standing, standings), (None, 0.0))
        kept = Kept(
            push=push[0] if push else None,
            since=since,
            ended=ended,
            cycles=tuple(reversed(sieve.read("cycles", rows.cycle, cycles))) if since else (),
            failures=tuple(reversed(sieve.read("failures", rows.failure, failures))),
            hours=tuple(number for row in reversed(sieve.read("hours", rows.hour, hours)) for number in row),
            rested=tuple(sieve.read("rested", rows.rested, rested)),
        )
        sieve.report(reference)
        return kept

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make sure that what is written within it is on the disk at its end, all or nothing, whatever happens then.

        Raise DatabaseUnusable or sqlite3.Error.
        """
        with _naming_damage():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def write_instance(self, name: str, now: float) -> None:
        """Given an instance that uses it from now on, and the time in seconds since 1970, keep it."""
        self._connection.execute("INSERT OR IGNORE INTO instances VALUES (?, ?)", (name, now))

    def write_push(self, reference: str, push: Push | None) -> None:
        """Given repository and tag, and the last acknowledged push there (None: it is to be forgotten), keep that."""
        self._connection.execute("DELETE FROM pushes WHERE reference = ?", (reference,))
        if push is not None:
            row = (reference, push.digest, push.image_id, push.token, push.instance, push.created.isoformat())
            self._connection.execute("INSERT INTO pushes VALUES (?, ?, ?, ?, ?, ?)", row)

    def write_rested(self, reference: str, image: RestedImage) -> None:
        """Given repository and tag of a target, and one of its rested images as it is now, keep that."""
        row = (reference, image.number, json.dumps(image.to_row()))
        self._connection.execute("REPLACE INTO rested VALUES (?, ?, ?)", row)

    def write_finished(self, finished: Finished) -> None:
        """Given a finished cycle, keep it and its target's new state, and drop what is too much of that."""
        reference, cycle = finished.reference, finished.cycle
        execute = self._connection.execute
        failed = cycle.verdict is not Verdict.UP
        output = cycle.failed.output if cycle.failed else ()
        execute(
            "INSERT INTO cycles (reference, ended, failed, cycle, output) VALUES (?, ?, ?, ?, ?)",
            (reference, finished.ended, failed, json.dumps(cycle.to_dict()), json.dumps(output)),
        )
        execute("REPLACE INTO standings VALUES (?, ?, ?)", (reference, rfc3339(finished.since), finished.ended))
        for hour in finished.hours:
            row = (reference, hour.hour, hour.up_ms, hour.down_ms, hour.unknown_ms)
            execute("REPLACE INTO verdict_hours VALUES (?, ?, ?, ?, ?)", row)
        which = "SELECT id FROM cycles WHERE reference = ? AND failed = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
        execute(
            f"DELETE FROM cycles WHERE reference = ? AND failed = ? AND id <= ({which})",  # noqa: S608  ours
            (reference, failed, reference, failed, _MOST_FAILURES if failed else _MOST_SUCCESSES),
        )

    def prune(self, now: float) -> None:
        """Given the time in seconds since 1970, drop what is too old."""
        execute = self._connection.execute
        for failed, days in ((0, _SUCCESS_DAYS), (1, _FAILURE_DAYS)):
            execute("DELETE FROM cycles WHERE failed = ? AND ended < ?", (failed, now - days * _DAY_SECONDS))
        execute("DELETE FROM verdict_hours WHERE hour < ?", (now // 3600 - MOST_HOURS - 1,))
        execute(
            "DELETE FROM instances WHERE name NOT IN (SELECT instance FROM pushes)"
            " AND name NOT IN (SELECT name FROM instances ORDER BY started DESC LIMIT ?)",
            (_MOST_INSTANCES,),
        )

    def shrink(self, most_bytes: int = MOST_BYTES) -> None:
        """Given how large it may be, drop what is too much."""
        for failed in (0, 1):
            while self._bytes() > most_bytes and self._drop_oldest(failed):
                pass

    def _drop_oldest(self, failed: int) -> int:
        """Drop some of the oldest successes or failures, but not the last cycle of any target. Return how many."""
        return self._connection.execute(
            "DELETE FROM cycles WHERE id IN (SELECT id FROM cycles WHERE failed = ?"
            " AND id NOT IN (SELECT MAX(id) FROM cycles GROUP BY reference) ORDER BY id LIMIT ?)",
            (failed, _REMOVED_AT_ONCE),
        ).rowcount

    def _bytes(self) -> int:
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _prepare(self) -> None:
        """Prepare an empty file, or check one that is not empty. Raise DatabaseUnusable."""
        # Nobody shares it. So it needs no file for shared memory, for which a full disk has no room.
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        version = self._pragma("user_version")
        if version == 0 and not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._connection.execute("PRAGMA journal_mode = WAL")
        elif not 1 <= version <= SCHEMA_VERSION:
            whose = "a newer version of this program" if version > SCHEMA_VERSION else "another program"
            raise DatabaseUnusable(f"{whose} made it: its schema is {version}, and this one knows {SCHEMA_VERSION}")
        elif (fault := self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise DatabaseUnusable(f"it is damaged: {fault}")
        for before in range(version, SCHEMA_VERSION):
            self._connection.executescript(step_from(before))
        if 0 < version < SCHEMA_VERSION:
            _log.info(
                "the history of an older version was taken over; that version would set it aside",
                extra={"file": str(self.path), "schema_before": version, "schema": SCHEMA_VERSION},
            )
        # Every commit is on the disk before it returns: an acknowledged push must outlive a power cut.
        self._connection.execute("PRAGMA synchronous = FULL")

    def _cycles(self, which: str, reference: str, limit: int) -> sqlite3.Cursor:
        return self._connection.execute(
            f"SELECT cycle, output FROM cycles WHERE {which} ORDER BY id DESC LIMIT ?",  # noqa: S608  it is ours
            (reference, limit),
        )


@contextmanager
def _naming_damage() -> Iterator[None]:
    """Raise DatabaseUnusable in place of SQLite's errors that say that the file is damaged, or not a database."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DatabaseUnusable(f"it is damaged: {error}") from None
        raise
