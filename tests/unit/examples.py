"""Targets, cycles and a clock to test with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from lib.failure import Failure, Reason, Verdict
from lib.reference import parse_reference
from lib.rested import Kind, RestedImage
from lib.result import Cycle, Outcome, Step, StepName
from lib.target import Target
from lib.watch.pace import Pace
from lib.watch.record import Standing

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DIGEST = "sha256:" + "d" * 64

#: What a cycle without login and base is made of.
PLAIN_STEPS = (StepName.PULL, StepName.BUILD, StepName.PUSH, StepName.RMI, StepName.PULL_BACK)


def a_target(name: str = "quay", **options: Any) -> Target:
    reference = options.pop("reference", f"quay.io/acme/{name}:canary")
    return Target(name=name, reference=parse_reference(reference), **options)


def an_up_cycle(target: str = "quay", started: datetime = NOON, seconds: float = 2.0) -> Cycle:
    steps = tuple(Step(step, Outcome.OK, 0.25, output=("all", "well")) for step in PLAIN_STEPS)
    return a_cycle(steps, target, started, seconds)


def a_failed_cycle(
    reason: Reason = Reason.SERVER_ERROR, target: str = "quay", started: datetime = NOON, seconds: float = 2.0
) -> Cycle:
    """A cycle whose push failed."""
    failed = Step(
        name=StepName.PUSH,
        outcome=Outcome.FAILED,
        seconds=50.5,
        failure=Failure(reason, "received unexpected HTTP status: 503 Service Unavailable"),
        retries=5,
        output=("Retrying in 1 second", "received unexpected HTTP status: 503 Service Unavailable"),
    )
    steps = (Step(StepName.PULL, Outcome.SKIPPED, 0.1), Step(StepName.BUILD, Outcome.OK, 0.2), failed)
    return a_cycle(steps, target, started, seconds)


def a_cycle(steps: tuple[Step, ...], target: str, started: datetime, seconds: float) -> Cycle:
    digest = DIGEST if all(step.failure is None for step in steps) else None
    return Cycle(
        target=target,
        repository=f"quay.io/acme/{target}",
        tag="canary",
        started=started,
        seconds=seconds,
        steps=steps,
        pushed_digest=digest,
        pulled_digest=digest,
        payload_bytes=64 * 1024,
    )


def a_standing(cycle: Cycle, age_seconds: float | None = 1.0, since: datetime = NOON, **others: Any) -> Standing:
    """The state of a target with the usual interval after a cycle."""
    return Standing(cycle, since, age_seconds, **{"pace": Pace(120.0), **others})


def a_lost_image() -> RestedImage:
    """A rested image that was made a week before NOON, last found intact two days before it, and then was gone."""
    return RestedImage(
        number=2,
        tag="canary-cold-2",
        kind=Kind.LAYERS,
        acted=NOON,
        digest="sha256:d",
        created=NOON - timedelta(days=7),
        checked=NOON,
        succeeded=NOON - timedelta(days=2),
        verdict=Verdict.DOWN,
        failure=Failure(Reason.NOT_FOUND, "manifest unknown"),
        is_lost=True,
    )


class HandClock:
    """A monotonic clock that is moved by hand, and wakes those who wait by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waiting: dict[int, float] = {}

    def monotonic(self) -> float:
        """Return its time."""
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event, until its hands have come so far."""
        if seconds <= 0:
            return event.is_set()
        until = self.now + seconds
        self.waiting[threading.get_ident()] = until
        while not event.wait(0.0005) and self.now < until:
            pass
        del self.waiting[threading.get_ident()]
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Move its hands."""
        self.now += seconds


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.0005)
