"""Record: the results of one target's cycles: the last ones, the last failures, and how long each verdict stood.

All of it is in memory, and bounded. Failures outlive successes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from lib.failure import Verdict
from lib.history.database import Finished
from lib.history.hours import HOUR_SECONDS, Bounds, Hour, Hours
from lib.history.rows import Kept
from lib.result import Cycle, Outcome
from lib.target import StrangersMay, Target
from lib.watch.pace import Pace, pace_after, since_up


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a target.

    Attributes:
        cycle: the last finished cycle.
        since: the start of the first cycle of the unbroken run of its verdict.
        age_seconds: how long ago it ended; while this process lives, no jump of the wall clock changes it. None if
            nobody knows: an earlier process ended it at a time that is still in the future.
        pace: how soon the next one follows it.
        strangers: what those without a login could do when that was last tried.
        downs: how many cycles in a row were down; those that could not judge neither count nor end the series.
    """

    cycle: Cycle
    since: datetime
    age_seconds: float | None
    pace: Pace
    strangers: StrangersMay = field(default_factory=StrangersMay)
    downs: int = 0

    @property
    def pause_seconds(self) -> float:
        """The time until the next cycle is due; the whole interval if nobody knows how much has passed."""
        if self.age_seconds is None:
            return self.pace.seconds
        return max(0.0, self.pace.seconds - self.cycle.seconds - self.age_seconds)


class Window(NamedTuple):
    """A period of which the availability is shown.

    Attributes:
        key: its name for programs.
        words: its name for people. seconds: how long it is.
    """

    key: str
    words: str
    seconds: float


_DAY_SECONDS = 24 * 3600.0
WINDOWS = (
    Window("24h", "24 h", _DAY_SECONDS),
    Window("7d", "7 days", 7 * _DAY_SECONDS),
    Window("30d", "30 days", 30 * _DAY_SECONDS),
)


@dataclass(frozen=True, slots=True)
class Availability:
    """What is known about a window.

    Attributes:
        up, down, unknown: for how many seconds that verdict stood.
        measured: share of the window, 0 to 1, in which any verdict stood.
    """

    up: float
    down: float
    unknown: float
    measured: float

    @property
    def share(self) -> float | None:
        """The share of `up`, 0 to 1, in the time that was judged; None if none was."""
        judged = self.up + self.down
        return self.up / judged if judged else None


class Record:
    """The results of one target's cycles. Any thread may read and write; an answer never mixes two cycles.

    Attributes:
        target: the target.
        strangers: what those without a login could do when that was last tried.
    """

    def __init__(
        self,
        target: Target,
        kept: Kept | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Given the target, what an earlier process kept of it, and clocks: one that never jumps, one since 1970."""
        kept = kept or Kept()
        self.target = target
        self._monotonic = monotonic
        self._wall = wall
        self._since = kept.since
        # Another process measured it, so only the wall clock tells how long ago it was; None if it can't.
        age = wall() - kept.ended
        self._ended = monotonic() - age if age >= 0 else None
        self.strangers = StrangersMay()
        self._hours = Hours(kept.hours)
        self._cycles = deque(_named(kept.cycles, target.name))
        self._failures = deque(_named(kept.failures, target.name))
        self._downs = sum(cycle.verdict is Verdict.DOWN for cycle in since_up(reversed(self._cycles)))
        self._pace = pace_after(target, reversed(self._cycles))
        self._is_retired = False
        self._lock = threading.Lock()

    def bound(self, bounds: Bounds) -> None:
        """Given how much to keep from now on, drop the rest."""
        with self._lock:
            self._cycles = deque(self._cycles, bounds.cycles)
            self._failures = deque(self._failures, bounds.failures)

    def retire(self) -> None:
        """Take no further cycle: the target is gone, or another with its repository and tag continues from here."""
        with self._lock:
            self._is_retired = True

    def go_on_as(self, target: Target) -> Record:
        """Given a target with its repository and tag, retire, and return the record that continues as that one's."""
        with self._lock:
            self._is_retired = True
            kept = Kept(
                since=self._since,
                cycles=tuple(self._cycles),
                failures=tuple(self._failures),
                hours=self._hours.numbers,
            )
            successor = Record(target, kept, self._monotonic, self._wall)
            successor._ended, successor._downs = self._ended, self._downs
            successor.strangers = self.strangers
        return successor

    def add(self, cycle: Cycle) -> Finished | None:
        """Given a cycle that has just ended, keep it, and return it as kept; None if this record takes no more."""
        now, wall = self._monotonic(), self._wall()
        cycle = _lean(cycle)
        with self._lock:
            if self._is_retired:
                return None
            if self._since is None or not self._cycles or self._cycles[-1].verdict is not cycle.verdict:
                self._since = cycle.started
            hours: tuple[Hour, ...] = ()
            if (stood := self._stood(now, wall)) is not None:
                hours = self._hours.add(*stood)
            self._ended = now
            self._cycles.append(cycle)
            if cycle.verdict is Verdict.UP:
                self._downs = 0
            else:
                self._downs += cycle.verdict is Verdict.DOWN
                self._failures.append(cycle)
            self._pace = pace_after(self.target, reversed(self._cycles))
            return Finished(self.target.reference.familiar, cycle, self._since, wall, hours)

    def standing(self) -> Standing | None:
        """Return the target's state, None before its first verdict."""
        now = self._monotonic()
        with self._lock:
            if self._since is None or not self._cycles:
                return None
            age = None if self._ended is None else max(0.0, now - self._ended)
            return Standing(self._cycles[-1], self._since, age, self._pace, self.strangers, self._downs)

    @property
    def pace(self) -> Pace:
        """How soon the next cycle follows the last one."""
        return self._pace

    def recent(self, limit: int) -> tuple[Cycle, ...]:
        """Return at most `limit` of the kept cycles, latest first: the last ones, and before them the last failures."""
        with self._lock:
            return tuple(islice(self._latest_first(), limit))

    def last_failure(self) -> Cycle | None:
        """Return the last cycle that was not up, None if there is none."""
        with self._lock:
            return self._failures[-1] if self._failures else None

    def last_success(self) -> Cycle | None:
        """Return the last of the kept cycles that was up, None if there is none, or only one in the future."""
        now = self._wall()
        with self._lock:
            up = (cycle for cycle in reversed(self._cycles) if cycle.verdict is Verdict.UP)
            return next((cycle for cycle in up if cycle.started.timestamp() <= now), None)

    def availability(self, window_seconds: float, now: datetime) -> Availability:
        """Given a window of up to 30 days and its end, which is now, return what is known about it.

        A verdict stands from its cycle's end to the end of the next, but no longer than it is fresh. Whole hours are
        counted: the window begins with the hour in which its beginning falls.
        """
        wall = now.timestamp()
        first = int(wall - window_seconds) // HOUR_SECONDS
        with self._lock:
            stood = self._hours.total(first, int(wall) // HOUR_SECONDS)
            standing = self._stood(self._monotonic(), wall)
        if standing is not None:
            verdict, began, ended = standing
            stood[verdict] += max(0.0, ended - max(began, first * HOUR_SECONDS))
        measured = min(1.0, sum(stood.values()) / (wall - first * HOUR_SECONDS))
        return Availability(stood[Verdict.UP], stood[Verdict.DOWN], stood[Verdict.UNKNOWN], measured)

    def _stood(self, now: float, wall: float) -> tuple[Verdict, float, float] | None:
        """Given the time by both clocks, return the standing verdict, and from when until when it has stood, in seconds
        since 1970; None if there is none, or nobody knows since when. With the lock held.
        """
        if not self._cycles or self._ended is None:
            return None
        age = now - self._ended
        fresh = self._pace.fresh_seconds(self.target)
        return self._cycles[-1].verdict, wall - age, wall - age + min(age, fresh)

    def _latest_first(self) -> Iterable[Cycle]:
        yield from reversed(self._cycles)
        kept = set(self._cycles)
        yield from (cycle for cycle in reversed(self._failures) if cycle not in kept)


def _named(cycles: Iterable[Cycle], name: str) -> Iterable[Cycle]:
    return (cycle if cycle.target == name else replace(cycle, target=name) for cycle in cycles)


def _lean(cycle: Cycle) -> Cycle:
    return replace(
        cycle,
        steps=tuple(step if step.outcome is Outcome.FAILED else replace(step, output=()) for step in cycle.steps),
    )
