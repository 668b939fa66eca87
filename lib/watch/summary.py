"""Summary: one target's cycles of the last hour, in one line of the log."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from statistics import median

from lib.failure import Verdict
from lib.progress import Listener
from lib.quantity import format_duration
from lib.result import Cycle, Outcome, StepName
from lib.watch.record import Record

_log = logging.getLogger(__name__)

#: How often there is one, unless cycles are further apart.
SUMMARY_SECONDS = 3600.0

#: Times of each step that are kept: if an hour has more, those of its last part will do.
_MOST_TIMES = 1000


class Summary(Listener):
    """Logs the summaries of one target: a listener."""

    def __init__(self, record: Record, clock: Callable[[], float] = time.monotonic) -> None:
        """Given the target's record, which gets each cycle before the summary does, and a clock that never jumps."""
        self._record = record
        self._clock = clock
        # The verdict of the last cycle, since when it stands, and until when at the latest.
        self._standing: tuple[Verdict, float, float] | None = None
        self._begin()

    def _begin(self) -> None:
        self._began = self._clock()
        self._cycles = Counter[Verdict]()
        self._stood = dict.fromkeys(Verdict, 0.0)
        self._times: defaultdict[StepName, deque[float]] = defaultdict(lambda: deque(maxlen=_MOST_TIMES))

    def cycle_finished(self, cycle: Cycle) -> None:
        """Given a finished cycle, count it; and log the summary, if an hour is over."""
        now = self._clock()
        if self._standing is not None:
            verdict, since, until = self._standing
            self._stood[verdict] += min(now, until) - since
        fresh = self._record.pace.fresh_seconds(self._record.target)
        self._standing = cycle.verdict, now, now + fresh
        self._cycles[cycle.verdict] += 1
        for step in cycle.steps:
            if step.outcome is Outcome.OK:
                self._times[step.name].append(step.seconds)
        if now - self._began >= SUMMARY_SECONDS:
            self._log(cycle.target, now)
            self._begin()

    def _log(self, target: str, now: float) -> None:
        judged = self._stood[Verdict.UP] + self._stood[Verdict.DOWN]
        fields: dict[str, object] = {
            "target": target,
            "time_covered": format_duration(round(now - self._began)),
            "cycles": self._cycles.total(),
            **{str(verdict): number for verdict, number in self._cycles.items() if verdict is not Verdict.UP},
            "up_share": round(self._stood[Verdict.UP] / judged, 5) if judged else None,
            **{f"{step}_seconds": round(median(times), 3) for step, times in self._times.items()},
        }
        _log.info("summary", extra=fields)
