"""Neighbours: the other instances that have, or had, a private folder beside this one's.

The folder's lock tells the living from the dead: the kernel releases it, however a process ends. What a dead instance
left on its engine is recognised by its name, and by notes in its folder. So that folder stays, with only the notes in
it, until a later instance on the same engine has removed everything.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path

#: What the names of private folders begin with.
PREFIX = "registry-monitor-"
#: How a folder is opened for its lock; never through a link that somebody else put there.
FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: What the names of notes begin with, in an instance's folder or one within it: which engine it works on; a build with
#: BuildKit, an image that docker did not remove, a pull under way, and a cycle in which podman writes images: each can
#: leave something behind.
ENGINE_NOTE, BUILD_NOTE, IMAGE_NOTE, PULL_NOTE, WRITE_NOTE = "engine-", "built-", "image-", "pulled-", "writing-"
_TO_DO = (BUILD_NOTE, IMAGE_NOTE, PULL_NOTE, WRITE_NOTE)
_NOTES = (ENGINE_NOTE, *_TO_DO)

#: Instances' folders, also those that were never renamed.
_FOLDER = re.compile(rf"(?P<unborn>\.?){PREFIX}(?P<name>[0-9a-f]{{32}})")
#: How long an instance can take from making its folder to locking it.
_BIRTH_SECONDS = 60.0
#: How long a dead instance is remembered if nobody works on its engine, or what it left stays in use. After that,
#: things are removed by their age.
_REMEMBERED_SECONDS = 30 * 24 * 3600.0


class Neighbours:
    """The other instances of this host. Any thread may use it.

    Attributes:
        left: the notes of what dead instances left to do on this engine, by name.
    """

    def __init__(self, parent: Path, engine: str) -> None:
        """Given the folder that has the private folders, and this engine's mark in the name of a note."""
        self.left: dict[str, Path] = {}
        self._parent = parent
        self._engine = f"{ENGINE_NOTE}{engine}"
        self._looking = threading.Lock()

    def look(self) -> dict[str, float]:
        """Return the names of the dead instances that worked on this engine, each with the seconds since its folder
        changed.

        Everything but the notes in the folder of a dead instance, of any engine, is removed at once. Raise OSError if
        the parent folder can't be read.
        """
        dead = {}
        with self._looking:
            for path in sorted(self._parent.iterdir()):
                found = _FOLDER.fullmatch(path.name)
                if found is None or not _is_dead(path, is_unborn=bool(found["unborn"])):
                    continue
                keep_notes_alone(path)
                seconds = _unchanged_seconds(path)
                if found["unborn"] or seconds > _REMEMBERED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
                elif self._is_of_this_engine(path):
                    dead[found["name"]] = seconds
                    self.left |= {note.name: note for note in _notes(path, *_TO_DO)}
        return dead

    def is_living(self, name: str) -> bool:
        """Given the name of an instance, return whether it is known to be alive: its folder is here, and locked."""
        with suppress(OSError):
            lock = os.open(self._folder_of(name), FLAGS)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(lock)
        return False

    def done(self, note: str) -> None:
        """Given the name of a note of a dead instance, forget it: its subject is done."""
        path = self.left.pop(note, None)
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def forget(self, name: str) -> None:
        """Given the name of a dead instance of which nothing is left on the engine, forget it, unless a note says that
        something else is still to be done.
        """
        folder = self._folder_of(name)
        if not _notes(folder, *_TO_DO):
            shutil.rmtree(folder, ignore_errors=True)

    def _is_of_this_engine(self, folder: Path) -> bool:
        engines = [note.name for note in _notes(folder, ENGINE_NOTE)]
        return not engines or self._engine in engines

    def _folder_of(self, name: str) -> Path:
        return self._parent / f"{PREFIX}{name}"


def keep_notes_alone(folder: Path) -> None:
    """Given the private folder of an instance that has ended, or is about to, remove everything but its notes, as far
    as possible.
    """
    for root, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            path = Path(root) / name
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()  # unless there is a note in it
                elif not name.startswith(_NOTES):
                    path.unlink()


def has_to_do(folder: Path) -> bool:
    """Given the private folder of an instance, return whether a note in it says that something is still to be done."""
    return bool(_notes(folder, *_TO_DO))


def _notes(folder: Path, *kinds: str) -> list[Path]:
    return [path for kind in kinds for path in folder.rglob(f"{kind}*") if not path.is_dir()]


def _is_dead(folder: Path, *, is_unborn: bool) -> bool:
    try:
        lock = os.open(folder, FLAGS)
    except OSError:
        return False
    try:
        status = os.fstat(lock)
        if status.st_uid != os.geteuid():
            return False  # otherwise anybody who can make a folder could have others' images removed
        if is_unborn and time.time() - status.st_mtime < _BIRTH_SECONDS:
            return False  # it may be about to be locked
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def _unchanged_seconds(folder: Path) -> float:
    """Given the folder of a dead instance, return for how long nothing was removed from it."""
    with suppress(OSError):
        return max(0.0, time.time() - folder.stat().st_mtime)
    return 0.0
