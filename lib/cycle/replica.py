"""Replica: which push of its source a replica shows, and how long ago that one was replaced there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC

from lib.cycle.payload import Labels
from lib.docker import DockerError
from lib.docker.answers import Image
from lib.failure import Failure, Reason, Scope
from lib.history.pushes import Pushes
from lib.quantity import format_duration
from lib.result import Push
from lib.target import Target


class Replica:
    """A read-only target that shows another target's test image, for one cycle."""

    def __init__(self, target: Target, pushes: Pushes) -> None:
        """Given the target, and its own pushes, through which its source's are found."""
        self._target = target
        self._name = target.replica_of or ""
        self._source = pushes.of_target(self._name)
        self._acknowledged = self._source.acknowledged if self._source else None

    @contextmanager
    def excusing_a_source_that_has_not_pushed(self) -> Iterator[None]:
        """Run a pull. If nothing is there, and the source has not pushed yet, raise DockerError as `unknown`."""
        try:
            yield
        except DockerError as error:
            if error.failure.not_there and not self._acknowledged:
                detail = f"{error.failure.detail}; {self._name}, which this is a replica of, has not pushed yet"
                error.failure = replace(error.failure, detail=detail, explicit_scope=Scope.DEPENDENCY)
            raise

    def judge(self, digest: str | None, image: Image | None) -> tuple[float | None, Failure | None]:
        """Given the pulled image, return how many seconds ago it was replaced at the source, and what is wrong with it.

        The former is 0 if it was not replaced, and None if nobody knows.
        """
        labels = Labels.from_dict(image.labels) if image else None
        if labels is None or image is None:
            return None, self._foreign("an image without a monitor's labels")
        made = f"made {labels.created.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        if self._source is None or not self._acknowledged:
            return None, self._foreign(f"an image {made}, and {self._name} has not pushed yet")
        push = self._acknowledged.find(labels.token)
        if push is None and not self._source.is_ours(labels.instance):
            return None, self._foreign(f"another monitor's image (target {labels.target!r}, {made})")
        if push is None and labels.target not in self._source.target_names(self._name):
            return None, self._foreign(f"the image of this monitor's target {labels.target!r}, {made}")
        if push is not None and digest != push.digest and image.image_id != push.image_id:
            return None, _altered(digest, push)
        lag = self._acknowledged.lag(labels.token, labels.created)
        return lag, self._stale(made, lag) if lag > self._target.replica_within else None

    def _foreign(self, shown: str) -> Failure:
        return Failure(Reason.FOREIGN, f"replica-of is {self._name}, and this tag shows {shown}")

    def _stale(self, made: str, lag: float) -> Failure:
        ago, within = (format_duration(float(round(seconds, 1))) for seconds in (lag, self._target.replica_within))
        return Failure(
            Reason.STALE,
            f"this tag shows the image of {self._name} that was {made}: a newer one replaced it there {ago} ago, and"
            f" replica-within is {within}",
        )


def _altered(digest: str | None, push: Push) -> Failure:
    shown = digest or "an image without a digest"
    return Failure(Reason.INTEGRITY, f"the replica gave {shown} for what was pushed as {push.digest}")
