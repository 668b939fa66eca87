"""Housekeeping: a host that looks after a cycle as it did before.

What the monitor made is removed, whatever way a cycle or a process ended; what it did not make is left as it was, and
an image that had the test image's name gets that name back.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lib.cycle.base import is_base
from lib.cycle.build_cache import Traces, Turn, remove_layers_of_dead, remove_traces
from lib.cycle.payload import INSTANCE_LABEL, LABELS, Labels
from lib.cycle.steps import upkeep_seconds
from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.answers import Image
from lib.failure import Failure, Reason
from lib.target import Target

_log = logging.getLogger(__name__)

#: How often leftovers are looked for where nothing calls for it.
_SWEEP_EVERY_SECONDS = 3600.0

#: How long the daemon may take to commit what it was at when its client was ended.
_LATE_SECONDS = 1.0

#: After the cycle, before the next, and after that.
_LOOKS_FOR_LATE = 3

#: An image of another instance or target is a leftover once no cycle can need it, be that known to be over or not.
_ABANDONED_AFTER = timedelta(hours=2)


@dataclass
class Housekeeping:
    """The local images of one target's test image, and what BuildKit keeps beside them.

    Attributes:
        target: the target.
        instance: this process's instance.
        is_dead: tells an instance that ended without removing its images.
        turn: which of this process's targets may change what is in the build cache.
    """

    target: Target
    instance: str
    is_dead: Callable[[str], bool]
    turn: Turn = field(default_factory=Turn)

    def __post_init__(self) -> None:
        self.reference = self.target.reference.familiar
        # An image that has our name waits under this one: derived from ours, so that it is found after a crash.
        self._waiting = f"registry-monitor-held/{hashlib.sha256(self.reference.encode()).hexdigest()[:16]}:held"
        self._held = False
        self._brought: str | None = None
        # How many looks for leftovers are due, one before and one after each cycle. The first: an instance before this
        # one may have died.
        self._looks = 1
        self._late = False
        self._traces: Traces | None = None
        self._swept = 0.0
        self._seconds = upkeep_seconds(self.target)

    def alone(self, docker: Docker) -> AbstractContextManager[None]:
        """Have no other target of this process build, or remove what it built, meanwhile.

        BuildKit may tell layers apart only by when and how large they were made. Then those of a build under way, or of
        an image that has just gone, could be ours as well. Who waits too long for its turn goes on without it: layers
        may stay then, and the cycles say so.
        """
        return self.turn.taken(self._seconds) if docker.builder is BuiltBy.BUILDKIT else nullcontext()

    def prepare(self, docker: Docker) -> None:
        """Make the test image's name free, and remove what is left of earlier cycles. Raise DockerError."""
        found = docker.find((self.reference, self._waiting), self._seconds)
        self._held = self._waiting in found
        if (image := found.get(self.reference)) is not None:
            self._free_name(docker, image)
        self._brought = None
        with self.alone(docker):
            if self._looks or time.monotonic() - self._swept > _SWEEP_EVERY_SECONDS:
                self._sweep(docker)
            self.remove_traces(docker)

    def remove_test_image(self, docker: Docker) -> None:
        """Take the test image's name away, and its image with its last name; what stays is left to `restore()`."""
        self.take_away(docker, self.reference)

    def take_away(self, docker: Docker, name: str) -> None:
        """Given a name that is ours, take it away from its image; where docker can't, it is left to `restore()`."""
        try:
            docker.rmi((name,), self._seconds)
        except DockerError:
            self.expect_leftovers()
        else:
            if name == self.reference:
                self._brought = None

    def expect_brought(self, digest: str | None) -> None:
        """Given the digest of what a pull of the test image brought to this host, have that removed, whoever made it.

        Nothing but that digest tells it from an image that the host had under the test image's name before.
        """
        self._brought = digest

    def expect_traces(self, traces: Traces) -> None:
        """Given what a build left in BuildKit's cache, have it removed at the end of the cycle, if not before."""
        self._traces = traces

    def remove_traces(self, docker: Docker) -> int:
        """Remove what the last build left in BuildKit's cache; return how many layers that were. Raise DockerError."""
        if self._traces is None:
            return 0
        layers = remove_traces(docker, self._traces, self._seconds)
        self._traces = None
        self.turn.learn(layers)
        return len(layers)

    def expect_leftovers(self, *, late: bool = False) -> None:
        """Have all that may be left looked for at the end of the cycle.

        Where a command was ended by force, it can still come about after that, also in the middle of the next cycle
        (`late`): then it is looked for before that one, and after it.
        """
        self._looks = max(self._looks, _LOOKS_FOR_LATE if late else 1)
        self._late = self._late or late

    def restore(self, docker: Docker, *, is_last: bool = False) -> None:
        """Remove what may be left of this cycle, and give an image that waited its name back.

        What can't be done now is logged, and done before the next cycle; where there is none (`is_last`), what comes
        late is waited for.
        """
        try:
            if self._brought is not None:
                image = docker.find((self.reference,), self._seconds).get(self.reference)
                if image is not None and self._is_brought(image) and not self._is_base(image):
                    self._remove_brought(docker)
                self._brought = None
            with self.alone(docker):
                if self._looks:
                    self._sweep(docker)
                if self._late and is_last:
                    time.sleep(_LATE_SECONDS)
                    self._sweep(docker)
                self.remove_traces(docker)
            if self._held:
                docker.tag(self._waiting, self.reference, self._seconds)
                docker.rmi((self._waiting,), self._seconds)
                self._held = False
        except DockerError as error:
            self.expect_leftovers()
            self._tell(error.failure)
        self._late = False

    def _free_name(self, docker: Docker, image: Image) -> None:
        """Given the image that has the test image's name before a cycle, make that name free. Raise DockerError."""
        if Labels.from_dict(image.labels) is not None:
            self.expect_leftovers()
            return
        if self._is_brought(image):
            if not self._is_base(image) and self._remove_brought(docker):
                return
            if self._held:
                return  # the image that waits already is the host's own, and this one is not
        docker.tag(image.image_id, self._waiting, self._seconds)
        self._held = True

    def _is_brought(self, image: Image) -> bool:
        """Given the image that has the test image's name, return whether it came by a pull of ours.

        One of a monitor's is left to the sweep, which knows it by its labels.
        """
        if self._brought is None or Labels.from_dict(image.labels) is not None:
            return False
        return image.is_called(self.target.reference.at(self._brought))

    def _is_base(self, image: Image) -> bool:
        return is_base(image, self._brought, self.target.base_layer_id)

    def _remove_brought(self, docker: Docker) -> bool:
        """Remove what a pull of ours brought. Return whether it is gone; it stays where somebody uses it by now.

        Raise DockerError where docker can't do it for another reason.
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
        """Remove what this process made for this target, and what dead instances made.

        An image that somebody uses stays, and is told of: it keeps no cycle from running. Raise DockerError where
        docker itself does not work.
        """
        ids = docker.images_with({INSTANCE_LABEL: None}, self._seconds)
        images = docker.find(ids, self._seconds).values() if ids else ()
        with self._telling():
            remove_images(docker, [image for image in images if self._is_leftover(image)], self._seconds)
        for container in docker.build_containers(LABELS, self._seconds):
            labels = Labels.from_dict(container.labels)
            if labels is not None and self._is_over(labels):
                with self._telling():
                    docker.rm(container.container_id, self._seconds)
        if docker.builder is BuiltBy.BUILDKIT:
            remove_layers_of_dead(docker, self.is_dead, self._seconds)
        self._looks = max(0, self._looks - 1)
        self._swept = time.monotonic()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell why something can't be removed. Raise DockerError where docker itself does not work."""
        try:
            yield
        except DockerError as error:
            if _is_broken(error):
                raise
            self._tell(error.failure)

    def _is_leftover(self, image: Image) -> bool:
        labels = Labels.from_dict(image.labels)
        return labels is not None and (self._is_over(labels) or self._is_in_our_place(labels, image))

    def _is_in_our_place(self, labels: Labels, image: Image) -> bool:
        return labels.instance != self.instance and self.reference in image.tags

    def _is_over(self, labels: Labels) -> bool:
        """Given the labels of what a monitor made, return whether no cycle can need it any more."""
        if labels.instance == self.instance and labels.target == self.target.name:
            return True
        # Of this instance's other targets, too: one that a reload took away looks after nothing any more.
        is_dead = labels.instance != self.instance and self.is_dead(labels.instance)
        return is_dead or labels.created < datetime.now(UTC) - _ABANDONED_AFTER

    def _tell(self, failure: Failure) -> None:
        _log.warning(
            "could not clean up all that this monitor made; it is tried again later",
            extra={"target": self.target.name, "reason": str(failure.reason), "detail": failure.detail},
        )


def remove_images(docker: Docker, images: Iterable[Image], deadline: float) -> None:
    """Given images of ours, remove them with all their names. Raise DockerError where one stays."""
    # Those with a name first: the images between, which have none, go with them. What then is left are children and
    # parents in no order that docker tells, so it is tried again as long as something goes.
    left = sorted(images, key=lambda image: not image.tags)
    while left:
        errors: dict[str, DockerError] = {}
        for image in left:
            try:
                docker.remove_ours(_references_of(image), deadline)
            except DockerError as error:
                if _is_broken(error):
                    raise
                errors[image.image_id] = error
        stayed = docker.find(tuple(errors), deadline) if errors else {}
        if len(stayed) == len(left):
            raise errors[left[0].image_id]
        left = list(stayed.values())


def _references_of(image: Image) -> tuple[str, ...]:
    """Given an image, return what docker removes it by.

    That is its ID wherever it will do: its name can be a newer image's by now, another cycle being on its way. Docker
    refuses it for an image with several names.
    """
    repositories = {tag.rpartition(":")[0] for tag in image.tags} | {name.partition("@")[0] for name in image.digests}
    return (image.image_id,) if len(image.tags) < 2 and len(repositories) < 2 else (*image.tags, *image.digests)  # noqa: PLR2004  one


def _is_broken(error: DockerError) -> bool:
    """Given how a local command failed, return whether docker itself does not work: there is no sense in going on."""
    return error.deadline_passed or (
        error.failure.reason in (Reason.DAEMON, Reason.CLI) and not error.failure.not_there
    )
