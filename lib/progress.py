"""Progress: how far one target's cycle has got, kept in one place for all who show it; and those who listen to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from lib.rested import RestedImage
from lib.result import Cycle, Step, StepName
from lib.target import Target


@dataclass(frozen=True, slots=True)
class StepUnderWay:
    """A step that has begun and not ended.

    Attributes:
        name: which.
        since: when it began, by a clock in seconds that never jumps.
        timestamp: the same in seconds since 1970.
    """

    name: StepName
    since: float
    timestamp: float


@dataclass(frozen=True, slots=True)
class CycleUnderWay:
    """A cycle that has begun and not ended.

    Attributes:
        since: when it began, by a clock in seconds that never jumps.
        done: its finished steps.
        step: the step under way, None between two.
    """

    since: float
    done: tuple[Step, ...] = ()
    step: StepUnderWay | None = None


class Progress:
    """A target's progress. One thread at a time writes, any may read: what it reads is one value and never changes.

    Attributes:
        cycle: the cycle under way, None between two.
        due: when the next cycle is due, or the one under way was, by a clock in seconds that never jumps; None until
            anybody has said so.
        seen: when there was last a sign of life, by a clock in seconds that never jumps.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        """Given a clock in seconds that never jumps, and one in seconds since 1970."""
        self._monotonic = monotonic
        self._wall = wall
        self.cycle: CycleUnderWay | None = None
        self.due: float | None = None
        self.seen = float("-inf")

    @property
    def step(self) -> StepUnderWay | None:
        """The step under way, None between steps and cycles."""
        cycle = self.cycle
        return cycle.step if cycle else None

    @property
    def next_cycle(self) -> datetime | None:
        """When the next cycle is due, or the one under way was; None if that is not known."""
        due = self.due
        return None if due is None else datetime.fromtimestamp(self._wall() + due - self._monotonic(), UTC)

    @property
    def step_seconds(self) -> float:
        """How long the step under way has been running; 0 if there is none."""
        step = self.step
        return self._monotonic() - step.since if step else 0.0

    def cycle_started(self) -> None:
        """Note that a cycle begins."""
        self._see(CycleUnderWay(self._monotonic()))

    def step_started(self, step: StepName) -> None:
        """Note a step that begins."""
        now = self._monotonic()
        self._see(replace(self.cycle or CycleUnderWay(now), step=StepUnderWay(step, now, self._wall())))

    def step_finished(self, step: Step) -> None:
        """Note that it has ended."""
        cycle = self.cycle or CycleUnderWay(self._monotonic())
        self._see(replace(cycle, done=(*cycle.done, step), step=None))

    def cycle_finished(self) -> None:
        """Note that no cycle is under way."""
        self._see(None)

    def live(self) -> None:
        """Note a sign of life from anything else that takes time, apart from a cycle."""
        self._see(self.cycle)

    def _see(self, cycle: CycleUnderWay | None) -> None:
        self.cycle = cycle
        self.seen = self._monotonic()


class Observer(Protocol):
    """Something that wants to know a cycle's progress."""

    def step_started(self, step: StepName) -> None:
        """A step begins: what its command needs is prepared, and then it is run."""

    def step_finished(self, step: Step) -> None:
        """A step has ended."""


class Listener:
    """Something that wants to know what happens to targets; this one ignores it all."""

    def cycle_begins(self, target: Target, lag: float, *, overran: bool) -> None:
        """A cycle begins after one that was up: this many seconds after it was due, and perhaps only because the turn
        before it ended that late.
        """

    def step_started(self, target: Target, step: StepName) -> None:
        """A step begins: what its command needs is prepared, and then it is run."""

    def step_finished(self, target: Target, step: Step) -> None:
        """A step has ended."""

    def cycle_finished(self, cycle: Cycle) -> None:
        """A cycle has ended, and is recorded."""

    def rested_finished(self, target: Target, image: RestedImage) -> None:
        """A rested image was pushed or checked, or that failed; it is given as it is now."""
