"""Brought: what the pulls of a read-only target bring to this host, as opposed to what was there before.

An image itself does not show that. So before each pull the monitor notes what the host has, and writes to a file that a
pull is under way, and which image had its name: if the process is killed meanwhile, the next one finds that note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableSet
from contextlib import suppress
from pathlib import Path

from lib.cycle.housekeeping import Housekeeping
from lib.cycle.payload import Labels
from lib.docker import Docker, DockerError
from lib.docker.answers import Image
from lib.failure import Reason
from lib.neighbours import PULL_NOTE

#: How many images are certain to be listed in the part of a command's output that is kept. If there are more, an
#: unlisted one can be the host's own.
_MOST_LISTED = 800

#: What docker shows as the repository of an image without a name.
_NAMELESS = frozenset({"<none>"})


class Brought:
    """What one cycle's pull brings.

    Attributes:
        before: the images that the host had before the pull, by ID, each with the repositories in which it has names.
        is_new: whether the pull moved its image, so that it was not on the host before.
    """

    def __init__(
        self,
        housekeeping: Housekeeping,
        folder: Path,
        left: dict[str, Path],
        under_way: MutableSet[str],
        seconds: float,
    ) -> None:
        """Given the target's images, a folder for the note, the notes that dead processes left, the names of the images
        that read-only cycles of this process pull at the moment, and the deadline of each docker command.
        """
        self.before: Mapping[str, frozenset[str]] = {}
        self.is_new = False
        self._housekeeping = housekeeping
        self._reference = housekeeping.reference
        self._repository = self._reference.rpartition(":")[0]
        self._note = folder / f"{PULL_NOTE}{hashlib.sha256(self._reference.encode()).hexdigest()[:16]}"
        self._left = left
        self._under_way = under_way
        self._seconds = seconds
        self._has_begun = False

    def remove_leftover(self, docker: Docker) -> None:
        """Remove what an earlier pull brought and nobody removed. Raise DockerError."""
        noted = None
        for note in (self._left.get(self._note.name), self._note):
            with suppress(OSError):
                noted = note.read_text() if note else noted
        if noted is None:
            return
        waiting = self._housekeeping.waiting
        found = docker.find((self._reference, waiting, *filter(None, [noted])), self._seconds)
        image = found.get(self._reference)
        # With a monitor's labels, the sweep knows it.
        if image is not None and image.image_id != noted and Labels.from_dict(image.labels) is None:
            self._take_name(docker)
            if noted in found and waiting not in found:
                docker.tag(noted, self._reference, self._seconds)
        self._forget_note()

    def expect(self, docker: Docker) -> None:
        """Note what the host has, right before the pull. Raise DockerError."""
        # What another cycle pulled is not the host's, and is removed with that cycle, which can begin or end during the
        # listing.
        pulled = frozenset(self._under_way)
        self._under_way.add(self._reference)
        held = docker.repositories(self._seconds)
        others = {_repository(name) for name in pulled.union(self._under_way)} - {self._repository}
        self.before = {image_id: names for image_id, names in held.items() if not names <= others}
        own = docker.find((self._reference,), self._seconds).get(self._reference)
        with suppress(OSError):  # a full disk stops no cycle
            self._note.write_text(own.image_id if own else "")
        self._has_begun = True

    def settle(self, docker: Docker, *, late: bool) -> None:
        """Remove what the pull brought. Given whether more of it can still come: then the next cycle looks again."""
        if not self._has_begun:
            return
        try:
            image = docker.find((self._reference,), self._seconds).get(self._reference)
            if image is not None and (self._is_to_go(image) or self._is_built_on(docker, image)):
                self._take_name(docker)
        except DockerError as error:
            self._housekeeping.tell(error.failure)
        else:
            self._under_way.discard(self._reference)
            if not late:
                self._forget_note()

    def _is_to_go(self, image: Image) -> bool:
        """Given the image that has the test image's name, return whether that name can be removed without any loss of
        what was here before: docker removes an image with its last name, and with the last tag of a repository also the
        names by digest there.
        """
        if self.is_new:
            return True
        if image.image_id not in self.before:
            return len(self.before) < _MOST_LISTED
        others = {_repository(name) for name in image.tags if name != self._reference}
        if self._repository in self.before[image.image_id]:
            return self._repository in others
        return bool(others | {_repository(name) for name in image.digests} - {self._repository})

    def _is_built_on(self, docker: Docker, image: Image) -> bool:
        """Given an image, return whether it had no name, and stays without one since another image was built on it.

        Raise DockerError.
        """
        if not _NAMELESS.issuperset(self.before.get(image.image_id, ("named",))) or len(self.before) >= _MOST_LISTED:
            return False
        others = docker.find(tuple(self.before), self._seconds).values()
        return any(other.parent == image.image_id for other in others)

    def _take_name(self, docker: Docker) -> None:
        try:
            docker.rmi((self._reference,), self._seconds)
        except DockerError as error:
            # By now somebody uses it, or has removed it.
            if error.failure.reason is not Reason.IN_USE and not error.failure.not_there:
                raise

    def _forget_note(self) -> None:
        for note in (self._left.pop(self._note.name, None), self._note):
            with suppress(OSError):
                if note is not None:
                    note.unlink(missing_ok=True)


def _repository(name: str) -> str:
    return name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
