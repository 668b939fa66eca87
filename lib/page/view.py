"""What the page shows of each target, taken from the history: values only, no markup."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import zip_longest
from statistics import median

from lib.failure import Verdict
from lib.history import Availability, History
from lib.result import Cycle, Outcome, Step, StepName
from lib.status import TargetStatus
from lib.target import Target

#: Cycles in the strip of a target that is one among others. Of so many, the history never has fewer to give.
STRIP_CYCLES = 20

#: More than the history keeps of any target.
ALL_CYCLES = 1000

_HOUR = 3600.0
WINDOWS = (("24 h", 24 * _HOUR), ("7 days", 7 * 24 * _HOUR), ("30 days", 30 * 24 * _HOUR))

#: From where on a step counts as slow: so many times its usual, and so many seconds more.
_SLOW_TIMES, _SLOW_SECONDS = 3.0, 1.0


class State(StrEnum):
    """How a target stands. First comes what needs somebody most."""

    DOWN = "down"
    UNKNOWN = "unknown"
    STALE = "stale"
    WAITING = "waiting"
    UP = "up"


_ORDER = {state: place for place, state in enumerate(State)}


@dataclass(frozen=True, slots=True)
class PastCycle:
    """A cycle in a row of them.

    Attributes:
        cycle: the cycle.
        key: stands for it in a URL: when it began, in milliseconds since 1970.
        gap_seconds: how long nothing is known before it; 0 where it followed the one before as it should.
    """

    cycle: Cycle
    key: str
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class StepTimes:
    """A step's last time, against its usual.

    Attributes:
        name: which step.
        last: the step in the last cycle; None where that ended before it.
        usual_seconds: the median of those that went well in the kept cycles; None where none did.
    """

    name: StepName
    last: Step | None
    usual_seconds: float | None

    @property
    def slow(self) -> float | None:
        """How many times its usual it took; None where that is nothing to speak of."""
        if self.last is None or self.last.outcome is not Outcome.OK or not self.usual_seconds:
            return None
        times = self.last.seconds / self.usual_seconds
        return times if times >= _SLOW_TIMES and self.last.seconds - self.usual_seconds >= _SLOW_SECONDS else None


@dataclass(frozen=True, slots=True)
class TargetView:
    """What the page shows of one target.

    Attributes:
        status: what is said of it.
        state: the same in a word.
        cycles: those that are shown, latest first.
        steps: each step's last time against its usual.
        availability: what is known of each window, by the window's name.
        last_failure: its last cycle that was not up, None where there is none.
    """

    status: TargetStatus
    state: State
    cycles: tuple[PastCycle, ...]
    steps: tuple[StepTimes, ...]
    availability: dict[str, Availability]
    last_failure: Cycle | None

    @property
    def target(self) -> Target:
        """The target."""
        return self.status.target

    @property
    def name(self) -> str:
        """The target's name."""
        return self.target.name

    @property
    def last_cycle(self) -> Cycle | None:
        """The last finished cycle, None before the first."""
        return self.status.standing.cycle if self.status.standing else None

    @property
    def exposed(self) -> bool | None:
        """Whether strangers can pull what has to be private; None where nobody asks, or that is not known yet."""
        standing = self.status.standing
        return standing.exposed if standing and self.target.expect_private else None

    @property
    def needs_somebody(self) -> bool:
        """Whether it is shown among those that somebody has to look at."""
        return self.state not in {State.UP, State.WAITING} or self.exposed is True

    @property
    def tally(self) -> list[tuple[Verdict, int]]:
        """How many of the shown cycles had each verdict that there was."""
        counted = Counter(past.cycle.verdict for past in self.cycles)
        return [(verdict, counted[verdict]) for verdict in Verdict if counted[verdict]]

    @property
    def slow_steps(self) -> list[StepTimes]:
        """The steps that took much longer than they usually do."""
        return [step for step in self.steps if step.slow]

    @property
    def longest_seconds(self) -> float:
        """The longest of all its steps' times, to draw the others against; never 0."""
        times = [step.usual_seconds or 0.0 for step in self.steps]
        return max([0.001, *times, *(step.last.seconds for step in self.steps if step.last)])


def view_of(status: TargetStatus, history: History, now: datetime, cycles: int) -> TargetView:
    """Given what is said of a target, the history, the time, and how many cycles to show, return what is shown."""
    name = status.target.name
    kept = history.recent(name, cycles)
    return TargetView(
        status=status,
        state=state_of(status),
        cycles=tuple(_in_a_row(kept, status.target)),
        steps=_steps_of(kept),
        availability={label: history.availability(name, seconds, now) for label, seconds in WINDOWS},
        last_failure=history.last_failure(name),
    )


def key_of(cycle: Cycle) -> str:
    """Given a cycle, return what stands for it in a URL."""
    return str(int(cycle.started.timestamp() * 1000))


def in_order(views: Iterable[TargetView]) -> list[TargetView]:
    """Given targets, return them in the order in which somebody should look at them."""
    return sorted(views, key=lambda view: (_ORDER[view.state], not view.exposed))


def state_of(status: TargetStatus) -> State:
    """Given what is said of a target, return it in a word."""
    if status.standing is None:
        return State.WAITING
    verdict = State(status.standing.cycle.verdict)
    return State.STALE if status.stale and verdict is State.UP else verdict


def _in_a_row(cycles: Sequence[Cycle], target: Target) -> Iterator[PastCycle]:
    """Given cycles, latest first, return each with what lies between it and the one before it."""
    fresh = target.run_every + target.cycle_timeout
    for cycle, before in zip_longest(cycles, cycles[1:]):
        pause = 0.0
        if before is not None:
            pause = (cycle.started - before.started).total_seconds() - before.seconds
        yield PastCycle(cycle, key_of(cycle), pause if pause > fresh else 0.0)


def _steps_of(cycles: Sequence[Cycle]) -> tuple[StepTimes, ...]:
    """Given cycles, latest first, return the times of the steps in the latest against the usual."""
    times: dict[StepName, list[float]] = defaultdict(list)
    for cycle in cycles:
        for step in cycle.steps:
            if step.outcome is Outcome.OK:
                times[step.name].append(step.seconds)
    in_last = {step.name: step for cycle in cycles[:1] for step in cycle.steps}
    return tuple(
        StepTimes(name, in_last.get(name), median(times[name]) if name in times else None)
        for name in StepName
        if name in times or name in in_last
    )
