"""Cycle log: what the log says about finished cycles. Neither a target that keeps failing nor one that is up floods it.

Changes are logged: a target is up, for the first time or again, or is not. The first failure is logged in full, and so
is each different one; one that merely continues is logged once an hour. Its end is logged too, and so is when a refused
target is tried again, each time that this becomes rarer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lib.failure import Reason, Verdict
from lib.progress import Listener
from lib.quantity import format_duration
from lib.quoting import some_of
from lib.result import Cycle, StepName, rfc3339
from lib.target import Target
from lib.watch.record import Record

_log = logging.getLogger(__name__)

#: How often a failure that continues is logged.
_AGAIN_SECONDS = 3600.0


@dataclass(slots=True)
class _Failing:
    """A failure that continues.

    Attributes:
        cause: what failed, and why.
        began, logged: when the target ceased to be up, and when that was last logged, by the clock.
        cycles: how many cycles were not up since it began.
        interval: how many seconds after the start of its last cycle the next was to follow.
    """

    cause: tuple[Verdict, StepName | None, Reason | None]
    began: float
    logged: float
    cycles: int = 0
    interval: float = 0.0


class CycleLog(Listener):
    """Logs the finished cycles of one target: a listener."""

    def __init__(self, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        """Given the target's record, which has a cycle before it is logged, and a clock in seconds that never jumps."""
        self._record = record
        self._clock = clock
        self._failing: _Failing | None = None
        self._is_up = False

    def cycle_finished(self, cycle: Cycle) -> None:
        """Given a finished cycle, log what is new in it: for a failure, what it was, what to do, and docker's last
        lines.

        Anything else is logged at level debug.
        """
        level, message, fields = self._entry(cycle)
        fields = {"target": cycle.target, "verdict": cycle.verdict, "seconds": round(cycle.seconds, 3)} | fields
        _log.log(level, message, extra=fields)

    def _entry(self, cycle: Cycle) -> tuple[int, str, dict[str, Any]]:
        now = self._clock()
        if cycle.verdict is Verdict.UP:
            before, self._failing = self._failing, None
            was_up, self._is_up = self._is_up, True
            if before is not None:
                return logging.INFO, "cycle finished: it is up again", _so_far(before, now)
            return (logging.DEBUG, "cycle finished", {}) if was_up else (logging.INFO, "cycle finished: it is up", {})
        failed = cycle.failed
        cause = (cycle.verdict, failed.name if failed else None, failed.reason if failed else None)
        failing = self._failing = self._failing or _Failing(cause, now, now)
        is_new = failing.cycles == 0 or failing.cause != cause
        failing.cycles += 1
        fields = (_so_far(failing, now) if failing.cycles > 1 else {}) | self._next_try(cycle) | _words(cycle)
        pace = self._record.pace
        is_rarer = pace.is_held_back and pace.seconds > failing.interval
        failing.interval = pace.seconds
        if is_new or now - failing.logged >= _AGAIN_SECONDS:
            failing.cause, failing.logged = cause, now
            return logging.WARNING, "cycle failed" if is_new else "cycles keep failing", fields
        if is_rarer:
            return logging.INFO, "the registry keeps refusing: it is tried less often", fields
        return logging.DEBUG, "cycle failed as before", fields

    def _next_try(self, cycle: Cycle) -> dict[str, Any]:
        """Given a cycle that was not up, return when the next one follows, if later than after other failures."""
        pace = self._record.pace
        next_try = cycle.started + timedelta(seconds=pace.seconds)
        return {"next_try": rfc3339(next_try)} if pace.is_held_back else {}


def _so_far(failing: _Failing, now: float) -> dict[str, Any]:
    return {"failed_cycles": failing.cycles, "failing_for": format_duration(round(now - failing.began))}


def _words(cycle: Cycle) -> dict[str, Any]:
    failed = cycle.failed
    if failed is None:
        return {}
    words: dict[str, Any] = {
        "step": failed.name,
        "reason": failed.reason,
        "scope": failed.scope,
        "detail": failed.detail,
    }
    if failed.advice:
        words["advice"] = failed.advice
    if failed.output:
        words["output"] = "\n".join(failed.output)
    return words


def watching(targets: Sequence[Target], url: str) -> str:
    """Given the targets, and the URL of the page, return a sentence on what is watched, and where to see it."""
    names = [target.name for target in targets]
    return f"watching {len(names)} {'target' if len(names) == 1 else 'targets'} ({some_of(names)}): open {url}"
