"""Housekeeping: a host that looks after a cycle as it did before.

What the monitor made is removed, whatever way a cycle or a process ended; what it did not make is left as it was, and
an image that had the test image's name gets that name back.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lib.docker import Docker, DockerError, Image
from lib.failure import Reason
from lib.payload import INSTANCE_LABEL, Labels
from lib.target import Target

_log = logging.getLogger(__name__)

#: Deadline of each command that is no step.
UPKEEP_SECONDS = 20.0

#: How often leftovers are looked for where nothing calls for it.
_SWEEP_EVERY_SECONDS = 3600.0

#: An image of an instance that nobody knows (another container's, say) is a leftover once no cycle can need it.
_ABANDONED_AFTER = timedelta(hours=2)


@dataclass
class Housekeeping:
    """The local images of one target's test image.

    Attributes:
        target: the target.
        instance: this process's instance.
        is_dead: tells an instance that ended without removing its images.
    """

    target: Target
    instance: str
    is_dead: Callable[[str], bool]

    def __post_init__(self) -> None:
        self.reference = self.target.reference.familiar
        # An image that has our name waits under this one: derived from ours, so that it is found after a crash.
        self._waiting = f"registry-monitor-held/{hashlib.sha256(self.reference.encode()).hexdigest()[:16]}:held"
        self._held = False
        self._unclean = True  # until a first look says otherwise: an instance before this one may have died
        self._swept = 0.0

    def prepare(self, docker: Docker) -> None:
        """Make the test image's name free, and remove what is left of earlier cycles. Raise DockerError."""
        found = docker.find((self.reference, self._waiting), UPKEEP_SECONDS)
        self._held = self._waiting in found
        if (image := found.get(self.reference)) is not None:
            if Labels.from_dict(image.labels) is None:
                docker.tag(image.image_id, self._waiting, UPKEEP_SECONDS)
                self._held = True
            else:
                self._unclean = True
        if self._unclean or time.monotonic() - self._swept > _SWEEP_EVERY_SECONDS:
            self._sweep(docker)

    def remove_test_image(self, docker: Docker) -> None:
        """Take the test image's name away, and its image with its last name; what stays is left to `restore()`."""
        self.take_away(docker, self.reference)

    def take_away(self, docker: Docker, name: str) -> None:
        """Given a name that is ours, take it away from its image; where docker can't, it is left to `restore()`."""
        try:
            docker.rmi((name,), UPKEEP_SECONDS)
        except DockerError:
            self._unclean = True

    def expect_leftovers(self) -> None:
        """Have the next `restore()` look for all that may be left, as after a step that failed."""
        self._unclean = True

    def restore(self, docker: Docker) -> None:
        """Remove what may be left of this cycle, and give an image that waited its name back.

        What can't be removed now is logged, and removed before the next cycle.
        """
        try:
            if self._unclean:
                self._sweep(docker)
            if self._held:
                docker.tag(self._waiting, self.reference, UPKEEP_SECONDS)
                docker.rmi((self._waiting,), UPKEEP_SECONDS)
                self._held = False
        except DockerError as error:
            self._unclean = True
            _log.warning(
                "could not clean up after a cycle; it is tried again before the next one",
                extra={"target": self.target.name, "reason": str(error.failure.reason), "detail": error.failure.detail},
            )

    def _sweep(self, docker: Docker) -> None:
        """Remove every image of this target that this process made, and those of dead instances. Raise DockerError."""
        ids = docker.images_with({INSTANCE_LABEL: None}, UPKEEP_SECONDS)
        images = docker.find(ids, UPKEEP_SECONDS).values() if ids else ()
        remove_images(docker, [image for image in images if self._is_leftover(image)])
        self._unclean = False
        self._swept = time.monotonic()

    def _is_leftover(self, image: Image) -> bool:
        labels = Labels.from_dict(image.labels)
        if labels is None:
            return False
        if labels.instance == self.instance:
            return labels.target == self.target.name
        return (
            self.reference in image.tags
            or self.is_dead(labels.instance)
            or labels.created < datetime.now(UTC) - _ABANDONED_AFTER
        )


def remove_images(docker: Docker, images: Iterable[Image]) -> None:
    """Given images of ours, newest first, remove them with all their names. Raise DockerError where one stays."""
    for image in images:
        try:
            docker.rmi(image.tags or (image.image_id,), UPKEEP_SECONDS)
        except DockerError as error:
            # The images between go with the one built on them, and so may be gone already.
            if error.failure.reason is Reason.DAEMON or docker.find((image.image_id,), UPKEEP_SECONDS):
                raise
