"""Housekeeping: leaves the host after a cycle as it was before.

What the monitor made is removed, however a cycle or a process ended; what it did not make is left as it was, and an
image that had the test image's name gets that name back.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lib.cycle.base import is_base
from lib.cycle.build_cache import BuildLock, CacheFootprint, remove_footprint
from lib.cycle.leftovers import Leftovers, tell
from lib.cycle.payload import Context, Labels
from lib.cycle.steps import upkeep_seconds
from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.answers import Image
from lib.failure import Failure, Reason
from lib.target import Target

#: How often to look for leftovers without any occasion.
_SWEEP_EVERY_SECONDS = 3600.0

#: How long the daemon may take to commit what it was doing when its client was ended, at least and at most; in between,
#: this many times the time that a listing takes: on a busy host, both take longer.
_LATE_SECONDS, _LATEST_SECONDS = 1.0, 3.0
_LATE_BY_ITS_ANSWERS = 20

#: After the cycle, before the next, and after that.
_LOOKS_FOR_LATE = 3


@dataclass
class Housekeeping:
    """The local images of one target's test image, and what BuildKit keeps beside them.

    Attributes:
        target: the target.
        leftovers: what is left on this engine, of all targets and instances.
        build_lock: which of this process's targets may change the build cache.
        reference: the test image's name.
        waiting: the temporary name of an image of the host that had the test image's name.
    """

    target: Target
    leftovers: Leftovers
    build_lock: BuildLock = field(default_factory=BuildLock)

    def __post_init__(self) -> None:
        self.reference = self.target.reference.familiar
        # An image that has our name waits under this one, which is derived from ours, so that it is found after a
        # crash.
        self.waiting = f"registry-monitor-held/{hashlib.sha256(self.reference.encode()).hexdigest()[:16]}:held"
        self._held = False
        self._pulled_digest: str | None = None
        # How many looks for leftovers are due, one before and one after each cycle.
        self._looks = 0
        self._late = False
        self._footprint: CacheFootprint | None = None
        self._swept: float | None = None
        self._seconds = upkeep_seconds(self.target)

    def alone(self, docker: Docker) -> AbstractContextManager[None]:
        """Keep other targets of this process from building, or removing what they built, meanwhile.

        With BuildKit, layers may differ only by their time and size. Then those of a build under way, or of an image
        that was just removed, could be ours as well. A target that waits too long for its turn continues without it:
        then layers may stay, and the cycles say so.
        """
        return self.build_lock.taken(self._seconds) if docker.builder is BuiltBy.BUILDKIT else nullcontext()

    def prepare(self, docker: Docker) -> None:
        """Make the test image's name free, and remove what is left of earlier cycles. Raise DockerError."""
        found = docker.find((self.reference, self.waiting), self._seconds)
        self._held = self.waiting in found
        if (image := found.get(self.reference)) is not None:
            self._free_name(docker, image)
        self._pulled_digest = None
        with self.alone(docker):
            # The first time: an instance before this one may have died.
            is_long_ago = self._swept is None or time.monotonic() - self._swept > _SWEEP_EVERY_SECONDS
            if self._looks or is_long_ago or self.leftovers.are_due:
                self._sweep(docker)
            self.remove_footprint(docker)
        self.leftovers.expect(self.target, docker)

    def remove_test_image(self, docker: Docker) -> None:
        """Remove the test image's name, and its image with its last name; what stays is left to `restore()`."""
        self.take_away(docker, self.reference)

    def take_away(self, docker: Docker, name: str) -> None:
        """Given a name that is ours, remove it from its image; if docker can't, it is left to `restore()`."""
        try:
            docker.rmi((name,), self._seconds)
        except DockerError as error:
            self.expect_leftovers()
            if error.failure.reason is Reason.IN_USE:
                self._owe(docker, name)
        else:
            if name == self.reference:
                self._pulled_digest = None

    def _owe(self, docker: Docker, name: str) -> None:
        """Given a name that somebody's container keeps on its image, remember that image, if it is a monitor's.

        The next build takes the name from it. If another instance made it, nothing then shows that it is to be removed.
        """
        with suppress(DockerError):
            image = docker.find((name,), self._seconds).get(name)
            if image is not None and Labels.from_dict(image.labels) is not None:
                self.leftovers.owe(image)

    def expect_pulled(self, digest: str | None) -> None:
        """Given the digest of what a pull of the test image brought to this host, make sure that it is removed, whoever
        made it.

        Only that digest distinguishes it from an image that the host had under the test image's name before.
        """
        self._pulled_digest = digest

    @contextmanager
    def building(self, docker: Docker, context: Context) -> Iterator[Docker]:
        """Given what an image is built from meanwhile, make sure that what this leaves is removed in the end.

        Given the docker CLI, return the one to build with.
        """
        with self.alone(docker):
            began = datetime.now(UTC)
            if docker.builder is BuiltBy.BUILDKIT:
                self.leftovers.builds.began(context, began)
            try:
                yield self.leftovers.unfinished.marked(self.reference, docker)
            finally:
                if docker.builder is BuiltBy.BUILDKIT:
                    self._footprint = CacheFootprint(context, began, datetime.now(UTC))
                    self.leftovers.builds.ended(self._footprint)

    def remove_footprint(self, docker: Docker) -> int:
        """Remove what the last build left in BuildKit's cache; return how many layers. Raise DockerError."""
        if self._footprint is None:
            return 0
        layers, is_all = remove_footprint(docker, self._footprint, self._seconds)
        if is_all:
            self.leftovers.builds.removed(self._footprint)
            self._footprint = None
        self.build_lock.learn(layers)
        return len(layers)

    def expect_leftovers(self, *, late: bool = False) -> None:
        """Look for all leftovers at the end of the cycle.

        If a command was ended by force, they can still appear after that, even in the middle of the next cycle
        (`late`): then look before that one, and after it.
        """
        self._looks = max(self._looks, _LOOKS_FOR_LATE if late else 1)
        self._late = self._late or late
        if late:
            self.leftovers.unfinished.cut_off(self.reference)

    def restore(self, docker: Docker, *, is_last: bool = False) -> None:
        """Remove what may be left of this cycle, and give an image that waited its name back.

        What can't be done now is logged, and done before the next cycle; if there is none (`is_last`), wait for what
        comes late.
        """
        try:
            if self._pulled_digest is not None:
                image = docker.find((self.reference,), self._seconds).get(self.reference)
                if image is not None and self._was_pulled(image) and not self._is_base(image):
                    self._remove_pulled(docker)
                self._pulled_digest = None
            with self.alone(docker):
                begun = time.monotonic()
                if self._looks or (is_last and self.leftovers.are_due):
                    self._sweep(docker)
                if self._late and is_last:
                    if docker.builder is not BuiltBy.BUILDAH:  # podman has no daemon that could finish anything late
                        answers = _LATE_BY_ITS_ANSWERS * (time.monotonic() - begun)
                        time.sleep(min(max(_LATE_SECONDS, answers), _LATEST_SECONDS))
                        self._sweep(docker)
                    self._looks = 0
                self.remove_footprint(docker)
            if self._held:
                docker.tag(self.waiting, self.reference, self._seconds)
                docker.rmi((self.waiting,), self._seconds)
                self._held = False
        except DockerError as error:
            self.expect_leftovers()
            self.tell(error.failure)
        if not self._looks and not self._held and self._footprint is None:
            self.leftovers.expect_none(self.target)
        self._late = False

    def _free_name(self, docker: Docker, image: Image) -> None:
        """Given the image that has the test image's name before a cycle, make that name free. Raise DockerError."""
        if Labels.from_dict(image.labels) is not None:
            self.expect_leftovers()
            return
        if self._was_pulled(image):
            if not self._is_base(image) and self._remove_pulled(docker):
                return
            if self._held:
                return  # the image that already waits is the host's own, and this one is not
        docker.tag(image.image_id, self.waiting, self._seconds)
        self._held = True

    def _was_pulled(self, image: Image) -> bool:
        """Given the image that has the test image's name, return whether a pull of ours brought it.

        A monitor's image is left to the sweep, which recognises it by its labels.
        """
        if self._pulled_digest is None or Labels.from_dict(image.labels) is not None:
            return False
        return image.is_called(self.target.reference.at(self._pulled_digest))

    def _is_base(self, image: Image) -> bool:
        return is_base(image, self._pulled_digest, self.target.base_layer_id)

    def _remove_pulled(self, docker: Docker) -> bool:
        """Remove what a pull of ours brought. Return whether it is gone; it stays if by now somebody uses it. Raise
        DockerError if docker can't remove it for another reason.
        """
        try:
            docker.rmi((self.reference,), self._seconds)
        except DockerError as error:
            if error.failure.reason is Reason.IN_USE:
                return False
            if not error.failure.not_there:
                raise
        return True

    def _sweep(self, docker: Docker) -> None:
        """Remove what this process made for this target, and what dead instances made. Raise DockerError."""
        more = self.leftovers.sweep(docker, self.target, self._seconds)
        self._looks = max(int(more), self._looks - 1)
        self._swept = time.monotonic()

    def tell(self, failure: Failure) -> None:
        """Given why something could not be removed, log it."""
        tell(failure, self.target)
