"""Rested: which rested image of a target is due to be pushed or checked, and the results.

What is due follows from when each image was last pushed or checked, which the history keeps: so a restart or a reload
does not change it. If a process ends between a push and its note, the next one finds the image under its tag.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lib.cycle import CycleRunner
from lib.cycle.rested import RestedRunner
from lib.failure import Reason, Verdict
from lib.history import History
from lib.rested import Cold, Kind, RestedImage
from lib.result import Cycle, Outcome, StepName, rfc3339
from lib.target import Target

_log = logging.getLogger(__name__)

#: How long after a failed push the next try is due at the latest.
_RETRY_SECONDS = 3600.0

#: Faults of this image alone. Anything else can be trouble of the whole registry that began after the cycle.
_CERTAIN = frozenset({Reason.NOT_FOUND, Reason.INTEGRITY, Reason.STALE})

_ADVICE = (
    "Find out what removed or changed it: garbage collection, a clean-up rule, a migration, a lost disk; other images"
    " of this age may be gone, too. Only `-once -renew-cold` pushes it again."
)


class Rested:
    """The rested images of one target. One thread at a time takes a turn, any may read."""

    def __init__(
        self,
        target: Target,
        history: History,
        images: Iterable[RestedImage] = (),
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Given the target, the history, the images that it kept, and a clock in seconds since 1970."""
        #: Also those beyond `cold-images`: they stay in the registry, and are checked again if it grows.
        self.images = tuple(images)
        self._target = target
        self._history = history
        self._wall = wall
        self._runner: RestedRunner | None = None
        self._doubtful: int | None = None
        self._to_renew: frozenset[int] = frozenset()
        surplus = [image.tag for image in self.images if image.number > target.cold_images]
        if surplus and target.cold_images:
            _log.info(
                "rested images beyond cold-images stay in the registry, and are no longer checked",
                extra={"target": target.name, "tags": ", ".join(surplus)},
            )

    @property
    def cold(self) -> Cold | None:
        """The state of the images; None if the target is to have none."""
        most = self._target.cold_images
        return Cold(tuple(image for image in self.images if image.number <= most)) if most else None

    def renew(self) -> None:
        """Have the next turn push again those that failed their last check."""
        self._to_renew = frozenset(image.number for image in (self.cold or Cold()).lost)

    def take_turn(self, shared: CycleRunner, cycle: Cycle) -> Iterator[RestedImage]:
        """Push or check the image that is due, if one is. Yield it as it is then, if that says anything about it.

        Given what runs the target's cycles, and the one that has just ended. Raise Stopped if the monitor is being
        stopped meanwhile.
        """
        cold = self.cold
        if cold is None:
            return
        runner = self._runner = self._runner or RestedRunner(shared)
        if self._to_renew and cycle.verdict is Verdict.UP:
            renewed, self._to_renew = self._to_renew, frozenset()
            for image in cold.images:
                if image.number in renewed:
                    yield self._push(runner, image)
            return
        due = self._due(cold.images)
        if due is None:
            return
        if due.digest is None:
            if cycle.verdict is Verdict.UP:
                yield self._push(runner, due)
        elif _gives_images(cycle) and (checked := self._check(runner, due, cycle)) is not None:
            yield checked

    def _due(self, images: tuple[RestedImage, ...]) -> RestedImage | None:
        """Given the images, return the one that is due, None if none is."""
        now = self._now()
        if images:
            last = max(images, key=lambda image: image.acted)
            every = self._target.cold_every
            wait = every if last.digest else min(every, _RETRY_SECONDS)
            # A clock that was set back must not keep it waiting.
            if timedelta(0) <= now - last.acted < timedelta(seconds=wait):
                return None
        known = {image.number for image in images}
        for number in range(1, self._target.cold_images + 1):
            if number not in known:
                tag = self._target.rested_tag(number)
                return RestedImage(number, tag, Kind.of(number), now)
        return min(images, key=lambda image: image.acted)

    def _push(self, runner: RestedRunner, image: RestedImage) -> RestedImage:
        result = runner.push(image)
        now = self._now()
        if result.digest is not None:
            image = RestedImage(image.number, image.tag, result.kind, now, result.digest, result.created)
            _log.info("pushed a rested image", extra={**self._named(image), "digest": result.digest})
        elif result.failure is not None:
            if image.digest is None:
                verdict, failure = result.failure.scope.verdict, result.failure
                image = replace(image, kind=result.kind, verdict=verdict, failure=failure)
            image = replace(image, acted=now)
            _log.warning(
                "could not push a rested image",
                extra={
                    **self._named(image),
                    "reason": result.failure.reason,
                    "scope": result.failure.scope,
                    "detail": result.failure.detail,
                    "advice": result.failure.advice,
                },
            )
        return self._keep(image)

    def _check(self, runner: RestedRunner, image: RestedImage, cycle: Cycle) -> RestedImage | None:
        """Check an image. Return it as it is then; None if the whole registry is, or may be, in trouble."""
        failure = runner.check(image).failure
        now = self._now()
        verdict = failure.scope.verdict if failure else Verdict.UP
        if failure is not None and verdict is Verdict.DOWN:
            is_general = cycle.failed is not None and cycle.failed.reason is failure.reason
            is_doubtful = failure.reason not in _CERTAIN and self._doubtful != image.number and not runner.is_only
            self._doubtful = None if is_general else image.number
            if is_general or is_doubtful:
                _log.debug(
                    "a rested image can't be pulled, and perhaps no image can: it is tried again after the next cycle",
                    extra={**self._named(image), "reason": failure.reason, "detail": failure.detail},
                )
                return None
        self._doubtful = None
        checked = replace(
            image,
            acted=now,
            checked=now,
            succeeded=now if verdict is Verdict.UP else image.succeeded,
            verdict=verdict,
            failure=failure,
            is_lost=image.is_lost if verdict is Verdict.UNKNOWN else verdict is Verdict.DOWN,
        )
        self._keep(checked)
        self._log_check(image, checked)
        return checked

    def _keep(self, image: RestedImage) -> RestedImage:
        others = (other for other in self.images if other.number != image.number)
        self.images = tuple(sorted((*others, image), key=lambda one: one.number))
        self._history.keep_rested(self._target.reference.familiar, image)
        return image

    def _log_check(self, before: RestedImage, checked: RestedImage) -> None:
        fields = {**self._named(checked), "verdict": checked.verdict, "digest": checked.digest}
        if before.created:
            fields["made"] = rfc3339(before.created)
        failure = checked.failure
        if failure is None:
            said = "a rested image is there again" if before.is_lost else "a rested image is intact"
            _log.info(said, extra=fields)
            return
        fields |= {"reason": failure.reason, "scope": failure.scope, "detail": failure.detail}
        if checked.verdict is Verdict.UNKNOWN:
            _log.warning("could not find out whether a rested image is intact", extra=fields)
        elif before.is_lost:
            _log.info("a rested image is still lost", extra=fields)
        else:
            _log.error("a rested image is lost", extra={**fields, "advice": _ADVICE})

    def _named(self, image: RestedImage) -> dict[str, object]:
        return {"target": self._target.name, "tag": image.tag, "kind": image.kind}

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)


def _gives_images(cycle: Cycle) -> bool:
    """Given a cycle, return whether a check after it is conclusive: the registry gave what was pushed before."""
    if cycle.verdict is Verdict.UP:
        return True
    pulled = any(step.name is StepName.PULL and step.outcome is Outcome.OK for step in cycle.steps)
    return cycle.verdict is Verdict.DOWN and pulled
