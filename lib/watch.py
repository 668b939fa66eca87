"""Watch: all targets, each tested when it is due, and what comes of it kept, counted and logged."""

from __future__ import annotations

from collections.abc import Sequence

from lib.cycle.cycles import Cycles
from lib.cycle_log import CycleLog
from lib.history import History
from lib.metrics import Metrics
from lib.result import Cycle
from lib.schedule import Schedule
from lib.status import status_of
from lib.target import Target


class Watch:
    """All targets, watched.

    Attributes:
        schedule: when which of them is tested.
    """

    def __init__(self, cycles: Cycles, history: History, metrics: Metrics, concurrency: int) -> None:
        """Begin without targets; until its schedule is started, none of them is tested.

        Given what runs cycles, who is told of them, and how many cycles may be under way at the same time.
        """
        self._cycles = cycles
        self._history = history
        self._metrics = metrics
        self._log = CycleLog()
        self.schedule = Schedule(cycles, self._note, concurrency, left=self._forget)

    def replace(self, targets: Sequence[Target]) -> None:
        """Given the targets from now on, watch them. Of what is remembered of new ones, the metrics are told."""
        self._history.replace(targets)
        new = self._metrics.replace(targets)
        for status in status_of(new, self._history.standing):
            if status.standing is not None:
                last_success = self._history.last_success(status.target.name)
                self._metrics.remember(status.target, status.standing.cycle, last_success, stands=not status.stale)
        self.schedule.replace(targets)

    def _note(self, target: Target, cycle: Cycle, lag: float) -> None:
        self._history.record(cycle)
        self._metrics.observe(target, cycle, lag)
        self._log.log(cycle)
        # Only now that all is told: this takes its time, and says nothing of the cycle.
        exposed = self._cycles.check_privacy(target, cycle)
        if exposed is not None:
            self._history.set_exposed(target.name, exposed)
            self._metrics.set_exposed(target, exposed)

    def _forget(self, target: Target) -> None:
        self._cycles.forget(target)
        self._log.forget(target.name)
