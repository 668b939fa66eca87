"""Unfinished: what podman leaves if it is ended in the middle of a build, or while it writes an image.

At SIGTERM it ends as suddenly as at SIGKILL, and if the monitor is killed, it ends, too. The containers that it worked
in then stay, and are recognised by a mark. So does an image that it was writing: nobody can use it, it has no labels
yet, and as long as it is there, `podman images` fails for everybody. It is recognised by when it was begun: in a cycle
of ours that was cut off. A note in the private folder, by the name of the mark, lets the next process find both.
"""

from __future__ import annotations

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lib.docker import BuiltBy, Docker, DockerError
from lib.instance import Instance
from lib.neighbours import WRITE_NOTE
from lib.target import Target

#: How long somebody else may take to finish writing an image: older versions of podman show it meanwhile.
_WRITING_SECONDS = 3.0


class Unfinished:
    """The cycles that write images with podman. Any thread may use it."""

    def __init__(self, instance: Instance) -> None:
        """Given this process's instance."""
        self._instance = instance
        self._began: dict[str, datetime] = {}  # cycles under way, by test image
        self._cut_off: set[str] = set()  # those of them in which a command was ended by force

    def expect(self, target: Target, docker: Docker) -> None:
        """Given a target whose cycle begins, and its docker CLI, note that it writes images from now on."""
        if docker.builder is BuiltBy.BUILDAH:
            now, name = datetime.now(UTC), target.reference.familiar
            began = self._began.setdefault(name, now)
            ends = now + timedelta(seconds=target.cycle_timeout)
            self._instance.note(self._note_of(name), json.dumps([began.isoformat(), ends.isoformat()]))

    def marked(self, name: str, docker: Docker) -> Docker:
        """Given the name of a test image, and the docker CLI, return the CLI that builds it with its mark."""
        return docker.marked(self._note_of(name))

    def cut_off(self, name: str) -> None:
        """Given the name of a test image, note that a command of its cycle was ended by force."""
        if name in self._began:
            self._cut_off.add(name)

    def expect_none(self, name: str) -> None:
        """Given the name of a test image, note that its cycle is over, and nothing is left of it."""
        if self._began.pop(name, None) is not None:
            self._instance.done(self._note_of(name))

    def remove(self, docker: Docker, seconds: float) -> None:
        """Given the docker CLI, and the deadline of each command, remove what cycles that were cut off left, of this
        process or of dead ones. Raise DockerError.
        """
        if docker.builder is not BuiltBy.BUILDAH:
            return
        neighbours = self._instance.neighbours
        noted = {name: _read(path) for name, path in tuple(neighbours.left.items()) if name.startswith(WRITE_NOTE)}
        own = tuple(self._cut_off)
        spans = [*noted.values(), *((self._began[name], datetime.now(UTC)) for name in own)]

        def left() -> set[str]:
            images = docker.unfinished(seconds).items()
            return {image for image, begun in images if any(span and span[0] <= begun <= span[1] for span in spans)}

        if spans:
            docker.remove_marked([*noted, *map(self._note_of, own)], seconds)
        if spans and (found := left()):
            time.sleep(_WRITING_SECONDS)
            for image in found & left():
                _remove(docker, image, seconds)
        for name in own:
            self._cut_off.discard(name)
        for note in noted:
            neighbours.done(note)

    def _note_of(self, name: str) -> str:
        # With its owner: several instances in a row can die in cycles of one target.
        return f"{WRITE_NOTE}{self._instance.name}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _remove(docker: Docker, image: str, seconds: float) -> None:
    try:
        docker.rmi((image,), seconds)
    except DockerError as error:
        if not error.failure.not_there:  # another target's cycle removed it first
            raise


def _read(path: Path) -> tuple[datetime, datetime] | None:
    """Given a note, return when its cycle began, and ended at the latest; None if it can't be read."""
    try:
        began, ends = map(datetime.fromisoformat, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return began, ends
