"""The history's files: SQLite's own beside the database, which go wherever that goes."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from lib.history.database import Database

#: What the names of the files end with; the database itself comes last.
_WITH_WAL = ("-wal", "")
_ALL = ("-wal", "-shm", "")


def set_aside(path: Path, now: float) -> Path:
    """Given the database's path and the time, rename it and SQLite's files beside it, and return the new path."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.stem}-set-aside-{stamp}{path.suffix}")
    for suffix in _ALL:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def copy_of(path: Path) -> Database:
    """Given the path of a database that can't be written, return a copy of it, which is gone once it is closed.

    SQLite would have to write in order to read what a killed monitor had not put into the file itself yet. Raise
    DatabaseUnusable, OSError or sqlite3.Error.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for suffix in _WITH_WAL:
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
        return Database(copy)  # while it is open, it outlives its name
