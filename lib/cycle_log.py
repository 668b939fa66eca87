"""Cycle log: what the log says of finished cycles. A target that goes on failing does not flood it.

The first failure is told whole, and so is each that is another one; what only goes on is told once an hour. The end of
it is told too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lib.failure import ADVICE, Reason, Verdict
from lib.quantity import format_duration
from lib.result import Cycle, StepName

_log = logging.getLogger(__name__)

#: How often a failure that goes on is told.
SUMMARY_SECONDS = 3600.0


@dataclass(slots=True)
class _Failing:
    """A failure that goes on.

    Attributes:
        cause: what failed, and why.
        began, told: when the target ceased to be up, and when that was last told, as the clock tells.
        cycles: how many cycles were not up since it began.
    """

    cause: tuple[Verdict, StepName | None, Reason | None]
    began: float
    told: float
    cycles: int = 0


class CycleLog:
    """Logs finished cycles. Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Given a clock in seconds that never jumps."""
        self._clock = clock
        self._failing: dict[str, _Failing] = {}
        self._lock = threading.Lock()

    def log(self, cycle: Cycle) -> None:
        """Given a finished cycle, log what is new in it: of a failure what it was, what to do, and docker's last lines.

        What is not new is logged at level debug.
        """
        with self._lock:
            level, message, fields = self._told(cycle)
        fields = {"target": cycle.target, "verdict": cycle.verdict, "seconds": round(cycle.seconds, 3)} | fields
        _log.log(level, message, extra=fields)

    def forget(self, target: str) -> None:
        """Given the name of a target that is gone, forget how it was."""
        with self._lock:
            self._failing.pop(target, None)

    def _told(self, cycle: Cycle) -> tuple[int, str, dict[str, Any]]:
        now = self._clock()
        if cycle.verdict is Verdict.UP:
            if (before := self._failing.pop(cycle.target, None)) is None:
                return logging.INFO, "cycle finished", {}
            return logging.INFO, "cycle finished: it is up again", _so_far(before, now)
        failed = cycle.failed
        cause = (cycle.verdict, failed.name if failed else None, failed.reason if failed else None)
        failing = self._failing.setdefault(cycle.target, _Failing(cause, now, now))
        is_new = failing.cycles == 0 or failing.cause != cause
        failing.cycles += 1
        so_far = _so_far(failing, now) if failing.cycles > 1 else {}
        if not is_new and now - failing.told < SUMMARY_SECONDS:
            return logging.DEBUG, "cycle failed as before", so_far | _words(cycle)
        failing.cause, failing.told = cause, now
        return logging.WARNING, "cycle failed" if is_new else "cycles go on failing", so_far | _words(cycle)


def _so_far(failing: _Failing, now: float) -> dict[str, Any]:
    return {"failed_cycles": failing.cycles, "failing_for": format_duration(round(now - failing.began))}


def _words(cycle: Cycle) -> dict[str, Any]:
    """Given a cycle that was not up, return what is to be said of its failure."""
    failed = cycle.failed
    if failed is None:
        return {}
    words: dict[str, Any] = {
        "step": failed.name,
        "reason": failed.reason,
        "scope": failed.scope,
        "detail": failed.detail,
    }
    if failed.reason is not None:
        words["advice"] = ADVICE[failed.reason]
    if failed.output:
        words["output"] = "\n".join(failed.output)
    return words
