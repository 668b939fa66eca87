"""What happened: pushes, recent cycles, and tallies of verdicts by the hour. Failures outlive successes.

All of it is in memory, and bounded however many targets there are. Whatever is asked for is answered under one lock,
so that one answer never mixes two cycles.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from lib.failure import Verdict
from lib.result import Cycle, Outcome, Push
from lib.target import Target

#: Cycles and failed cycles that are kept: in all, and at least and at most of each target. A cycle takes about 1 kB.
_CYCLES, _LEAST_CYCLES, _MOST_CYCLES = 20_000, 20, 200
_FAILURES, _LEAST_FAILURES, _MOST_FAILURES = 10_000, 10, 100

#: The longest window of availability, in hours.
_MOST_HOURS = 30 * 24
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target stands.

    Attributes:
        cycle: the last finished cycle.
        since: the start of the first cycle of the unbroken run of its verdict.
        age_seconds: how long ago it came to its end; no jump of the wall clock changes it.
    """

    cycle: Cycle
    since: datetime
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Availability:
    """What the cycles of a window say.

    Attributes:
        up, down, unknown: how many cycles had that verdict.
        measured: share of the window, 0 to 1, that is covered by cycles of any verdict.
    """

    up: int
    down: int
    unknown: int
    measured: float

    @property
    def share(self) -> float | None:
        """The share of `up`, 0 to 1, among the cycles that could judge; None where none could."""
        judged = self.up + self.down
        return self.up / judged if judged else None


class History:
    """What happened to each target. Any thread may ask, and any may record."""

    def __init__(self, instance: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Given this process's instance, and a clock in seconds that never jumps, begin without targets."""
        self._instance = instance
        self._monotonic = monotonic
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def replace(self, targets: Iterable[Target]) -> None:
        """Given the targets from now on, forget those that are gone, or now are another repository or tag."""
        with self._lock:
            before = self._records
            self._records = {}
            for target in targets:
                record = before.get(target.name)
                if record is None or record.target.reference != target.reference:
                    record = _Record(target)
                record.target = target
                self._records[target.name] = record
            count = max(1, len(self._records))
            for record in self._records.values():
                record.bound(
                    cycles=min(_MOST_CYCLES, max(_LEAST_CYCLES, _CYCLES // count)),
                    failures=min(_MOST_FAILURES, max(_LEAST_FAILURES, _FAILURES // count)),
                )

    # What a cycle remembers.

    def last_push(self, target: str) -> Push | None:
        """Given a target's name, return the last push that its registry acknowledged, None where there is none."""
        with self._lock:
            record = self._records.get(target)
            return record.push if record else None

    def pushed(self, target: str, push: Push) -> None:
        """Keep a push that the registry acknowledged."""
        self._set_push(target, push)

    def forget(self, target: str) -> None:
        """Forget what was pushed: the registry has lost it, and that was told."""
        self._set_push(target, None)

    def is_ours(self, instance: str) -> bool:
        """Given an instance from an image's label, return whether it is this monitor."""
        return instance == self._instance

    # What came of cycles.

    def record(self, cycle: Cycle) -> None:
        """Keep a finished cycle; one of a target that is gone by now is dropped."""
        now = self._monotonic()
        with self._lock:
            record = self._records.get(cycle.target)
            if record is not None:
                record.add(_lean(cycle), now)

    def standing(self, target: str) -> Standing | None:
        """Given a target's name, return how it stands, None before its first verdict."""
        now = self._monotonic()
        with self._lock:
            record = self._records.get(target)
            if record is None or not record.cycles:
                return None
            return Standing(record.cycles[-1], record.since, max(0.0, now - record.ended))

    def recent(self, target: str, limit: int) -> tuple[Cycle, ...]:
        """Given a target's name, return at most `limit` of its kept cycles, latest first: the last ones, and beyond
        them the last failures.
        """
        with self._lock:
            record = self._records.get(target)
            return tuple(islice(record.latest_first(), limit)) if record else ()

    def last_failure(self, target: str) -> Cycle | None:
        """Given a target's name, return its last cycle that was not up, None where there is none."""
        with self._lock:
            record = self._records.get(target)
            return record.failures[-1] if record and record.failures else None

    def availability(self, target: str, window_seconds: float, now: datetime) -> Availability:
        """Given a target's name, a window of up to 30 days and its end, return what its cycles say.

        Whole hours are counted: the window begins with the hour that its beginning falls into.
        """
        first = int(now.timestamp() - window_seconds) // _HOUR
        with self._lock:
            record = self._records.get(target)
            up, down, unknown, covered = record.hours.total(first) if record else (0, 0, 0, 0.0)
        return Availability(up, down, unknown, min(1.0, covered / (now.timestamp() - first * _HOUR)))

    def _set_push(self, target: str, push: Push | None) -> None:
        with self._lock:
            record = self._records.get(target)
            if record is not None:
                record.push = push


class _Record:
    """What is kept of one target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.push: Push | None = None
        self.cycles: deque[Cycle] = deque()
        self.failures: deque[Cycle] = deque()
        self.hours = _Hours()
        self.since: datetime
        self.ended: float

    def bound(self, cycles: int, failures: int) -> None:
        """Keep at most so many from now on."""
        self.cycles = deque(self.cycles, cycles)
        self.failures = deque(self.failures, failures)

    def add(self, cycle: Cycle, now: float) -> None:
        if not self.cycles or self.cycles[-1].verdict is not cycle.verdict:
            self.since = cycle.started
        # A cycle covers the time since the one before it, as long as that one's verdict stood; the first, its own time.
        fresh = self.target.run_every + self.target.cycle_timeout
        covered = min(now - self.ended, fresh) if self.cycles else cycle.seconds
        self.ended = now
        self.hours.add(int(cycle.started.timestamp()) // _HOUR, cycle.verdict, covered)
        self.cycles.append(cycle)
        if cycle.verdict is not Verdict.UP:
            self.failures.append(cycle)

    def latest_first(self) -> Iterable[Cycle]:
        yield from reversed(self.cycles)
        kept = {id(cycle) for cycle in self.cycles}
        yield from (cycle for cycle in reversed(self.failures) if id(cycle) not in kept)


class _Hours:
    """Tallies of an hour each, packed: a month of them takes 14 kB a target."""

    #: What stands in a row: the hour since 1970, cycles that were up, down, unknown, and milliseconds covered.
    _COLUMNS = 5
    _VERDICTS = (Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN)

    def __init__(self) -> None:
        self._rows = array("I")

    def add(self, hour: int, verdict: Verdict, covered: float) -> None:
        if not self._rows or self._rows[-self._COLUMNS] != hour:
            self._rows.extend((hour, 0, 0, 0, 0))
            del self._rows[: -(_MOST_HOURS + 2) * self._COLUMNS]
        self._rows[-self._COLUMNS + 1 + self._VERDICTS.index(verdict)] += 1
        self._rows[-1] += round(covered * 1000)

    def total(self, first: int) -> tuple[int, int, int, float]:
        """Given the first hour, return the sums from it on: up, down, unknown, seconds covered."""
        starts = [at for at in range(0, len(self._rows), self._COLUMNS) if self._rows[at] >= first]
        up, down, unknown, covered = (sum(self._rows[at + column] for at in starts) for column in range(1, 5))
        return up, down, unknown, covered / 1000


def _lean(cycle: Cycle) -> Cycle:
    """Given a cycle, return it without what its steps printed when all was well."""
    return replace(
        cycle,
        steps=tuple(step if step.outcome is Outcome.FAILED else replace(step, output=()) for step in cycle.steps),
    )
