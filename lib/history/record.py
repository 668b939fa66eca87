"""Record: what is kept of one target in memory, and the tallies of its verdicts by the hour."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from lib.failure import Verdict
from lib.result import Cycle, Push
from lib.target import Target

#: The longest window of availability, in hours.
MOST_HOURS = 30 * 24
HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept of one target.

    Attributes:
        cycles: last cycles.
        failures: last cycles that were not up.
    """

    cycles: int
    failures: int


@dataclass(frozen=True, slots=True)
class Hour:
    """The tally of one hour.

    Attributes:
        hour: which, counted since 1970.
        up, down, unknown: how many cycles began in it and had that verdict.
        covered_ms: milliseconds that they covered.
    """

    hour: int
    up: int
    down: int
    unknown: int
    covered_ms: int


class Hours:
    """Tallies of an hour each, packed: a month of them takes 14 kB a target."""

    #: What stands in a row: the attributes of an Hour.
    _COLUMNS = 5
    _VERDICTS = (Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN)

    def __init__(self, rows: Iterable[int] = ()) -> None:
        """Given the numbers of earlier hours, oldest first and each in the order of Hour's attributes, go on there."""
        self._rows = array("I", rows)

    def add(self, hour: int, verdict: Verdict, covered_seconds: float) -> Hour:
        """Given the hour that a cycle began in, its verdict and what time it covered, return that hour's new tally."""
        # A clock that was set back goes on in the last hour that there is: tallies stay in their order.
        if not self._rows or self._rows[-self._COLUMNS] < hour:
            self._rows.extend((hour, 0, 0, 0, 0))
            del self._rows[: -(MOST_HOURS + 2) * self._COLUMNS]
        self._rows[-self._COLUMNS + 1 + self._VERDICTS.index(verdict)] += 1
        self._rows[-1] += round(covered_seconds * 1000)
        return Hour(*self._rows[-self._COLUMNS :])

    def total(self, first: int) -> tuple[int, int, int, float]:
        """Given the first hour, return the sums from it on: up, down, unknown, seconds covered."""
        starts = range(0, len(self._rows), self._COLUMNS)
        rows = self._rows[bisect_left(starts, first, key=self._rows.__getitem__) * self._COLUMNS :]
        up, down, unknown, covered = (sum(rows[column :: self._COLUMNS]) for column in range(1, self._COLUMNS))
        return up, down, unknown, covered / 1000


@dataclass(slots=True)
class Record:
    """What is kept of one target.

    Attributes:
        target: the target.
        push: the last push that its registry acknowledged, None where there is none.
        since: the start of the first cycle of the unbroken run of the last verdict, None before the first.
        ended: when the last cycle ended, by the clock that never jumps; it says nothing before the first.
        exposed: whether strangers could pull what has to be private, None until that is known.
        hours: the tallies.
        cycles, failures: the last cycles, and those that were not up; oldest first.
    """

    target: Target
    push: Push | None = None
    since: datetime | None = None
    ended: float = 0.0
    exposed: bool | None = None
    hours: Hours = field(default_factory=Hours)
    cycles: deque[Cycle] = field(default_factory=deque)
    failures: deque[Cycle] = field(default_factory=deque)

    def become(self, target: Target) -> None:
        """Given the same repository and tag with other options, go on with those; another name is its name before."""
        if target.name != self.target.name:
            for kept in (self.cycles, self.failures):
                renamed = [replace(cycle, target=target.name) for cycle in kept]
                kept.clear()
                kept.extend(renamed)
        self.target = target

    def bound(self, bounds: Bounds) -> None:
        """Keep at most so much from now on."""
        self.cycles = deque(self.cycles, bounds.cycles)
        self.failures = deque(self.failures, bounds.failures)

    def add(self, cycle: Cycle, now: float) -> Hour:
        """Given a cycle that has just ended, and the time by a clock that never jumps, return its hour's tally."""
        if not self.cycles or self.cycles[-1].verdict is not cycle.verdict:
            self.since = cycle.started
        # A cycle covers the time since the one before it, as long as that one's verdict stood; the first, its own time.
        fresh = self.target.run_every + self.target.cycle_timeout
        covered = min(now - self.ended, fresh) if self.cycles else cycle.seconds
        self.ended = now
        self.cycles.append(cycle)
        if cycle.verdict is not Verdict.UP:
            self.failures.append(cycle)
        return self.hours.add(int(cycle.started.timestamp()) // HOUR_SECONDS, cycle.verdict, covered)

    def latest_first(self) -> Iterable[Cycle]:
        """Return its cycles, latest first: the last ones, and beyond them the last failures."""
        yield from reversed(self.cycles)
        kept = set(self.cycles)
        yield from (cycle for cycle in reversed(self.failures) if cycle not in kept)
