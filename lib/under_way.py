"""Under way: the step that each target's cycle is in, for whoever looks while it lasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lib.result import Step, StepName
from lib.target import Target


@dataclass(frozen=True, slots=True)
class StepUnderWay:
    """A step that has begun and not ended.

    Attributes:
        name: which.
        seconds: how long it has been running.
    """

    name: StepName
    seconds: float


class UnderWay:
    """The steps under way: an observer of cycles. Any thread may tell it, and any may ask."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Given a clock in seconds that never jumps."""
        self._monotonic = monotonic
        self._begun: dict[str, tuple[StepName, float]] = {}

    def __call__(self, target: str) -> StepUnderWay | None:
        """Given a target's name, return the step that its cycle is in, None between steps and cycles."""
        begun = self._begun.get(target)
        return StepUnderWay(begun[0], self._monotonic() - begun[1]) if begun else None

    def step_started(self, target: Target, step: StepName) -> None:
        """Note a step that begins."""
        self._begun[target.name] = (step, self._monotonic())

    def step_finished(self, target: Target, step: Step) -> None:  # noqa: ARG002  an observer is told of both
        """Note that it has ended."""
        self._begun.pop(target.name, None)
