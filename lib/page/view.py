"""What the page shows of each target, taken from the history: values only, no markup."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate, zip_longest
from statistics import median

from lib.cycle.strangers import pull_every
from lib.failure import Verdict
from lib.rested import Cold, RestedImage
from lib.result import Cycle, Outcome, Phase, Step, StepName
from lib.target import StrangersMay, Target
from lib.watch.pace import Pace, pace_after
from lib.watch.record import WINDOWS, Availability, Record
from lib.watch.status import TargetStatus

#: Cycles in the strip of a target that is one among others. The history always keeps at least that many.
STRIP_CYCLES = 20

#: More than the history keeps of any target.
ALL_CYCLES = 1000

#: When a step counts as slow: this many times its usual seconds, and this many seconds more.
_SLOW_TIMES, _SLOW_SECONDS = 3.0, 1.0


class State(StrEnum):
    """The state of a target. The one that most needs attention comes first."""

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
        key: its name in a URL: when it began, in milliseconds since 1970.
        gap_seconds: for how long nothing is known before it; 0 if it followed the previous one in time.
    """

    cycle: Cycle
    key: str
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class StepTimes:
    """A step's last time, compared with its usual.

    Attributes:
        name: which step.
        last: the step in the last cycle; None if that ended before it.
        usual_seconds: the median of those that went well in the kept cycles; None if none did.
    """

    name: StepName
    last: Step | None
    usual_seconds: float | None

    @property
    def slow(self) -> float | None:
        """How many times its usual it took; None if it was not slow."""
        if self.last is None or self.last.outcome is not Outcome.OK or not self.usual_seconds:
            return None
        times = self.last.seconds / self.usual_seconds
        return times if times >= _SLOW_TIMES and self.last.seconds - self.usual_seconds >= _SLOW_SECONDS else None

    @property
    def phases(self) -> list[tuple[Phase, float, float]]:
        """How its last time divides: each phase with its beginning and its length in seconds; none if not known."""
        phases = (self.last and self.last.phases) or {}
        return list(zip(phases, accumulate(phases.values(), initial=0.0), phases.values(), strict=False))


@dataclass(frozen=True, slots=True)
class TargetView:
    """What the page shows of one target.

    Attributes:
        status: what is said of it.
        cycles: those that are shown, latest first.
        steps: each step's last time, compared with its usual.
        availability: what is known of each window, by the window's name.
        last_failure: its last cycle that was not up, None if there is none.
    """

    status: TargetStatus
    cycles: tuple[PastCycle, ...]
    steps: tuple[StepTimes, ...]
    availability: dict[str, Availability]
    last_failure: Cycle | None

    @property
    def state(self) -> State:
        """Its state, in a word."""
        return state_of(self.status)

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
    def stranger_pulls_every(self) -> float:
        """How often a pull without a login is tried, if anybody asks."""
        return pull_every(self.target)

    @property
    def wrong_for_strangers(self) -> bool:
        """Whether strangers can do what they must not, or can't do what they should."""
        return self.status.unwanted != StrangersMay()

    @property
    def cold(self) -> Cold | None:
        """The state of its rested images, None if it is to have none."""
        return self.status.cold

    @property
    def needs_somebody(self) -> bool:
        """Whether it is shown among those that need attention."""
        loses = self.cold is not None and bool(self.cold.lost)
        return self.state not in {State.UP, State.WAITING} or self.wrong_for_strangers or loses

    @property
    def tally(self) -> list[tuple[Verdict, int]]:
        """How many of the shown cycles had each verdict that occurred."""
        counted = Counter(past.cycle.verdict for past in self.cycles)
        return [(verdict, counted[verdict]) for verdict in Verdict if counted[verdict]]

    @property
    def slow_steps(self) -> list[StepTimes]:
        """The steps that took much longer than they usually do."""
        return [step for step in self.steps if step.slow]

    @property
    def longest_seconds(self) -> float:
        """The longest of all its steps' times, as the scale to draw the others; never 0."""
        times = [step.usual_seconds or 0.0 for step in self.steps]
        return max([0.001, *times, *(step.last.seconds for step in self.steps if step.last)])


def view_of(record: Record, status: TargetStatus, now: datetime, cycles: int) -> TargetView:
    """Given a target's record and status, the time, and how many cycles to show, return what is shown of it."""
    kept = record.recent(cycles)
    return TargetView(
        status=status,
        cycles=tuple(_in_a_row(kept, status.target)),
        steps=_steps_of(kept),
        availability={window.words: record.availability(window.seconds, now) for window in WINDOWS},
        last_failure=record.last_failure(),
    )


def key_of(cycle: Cycle) -> str:
    """Given a cycle, return its name in a URL."""
    return str(int(cycle.started.timestamp() * 1000))


def in_order(views: Iterable[TargetView]) -> list[TargetView]:
    """Given targets, return them, those that most need attention first."""
    return sorted(views, key=lambda view: (_ORDER[view.state], not view.wrong_for_strangers))


def state_of(status: TargetStatus) -> State:
    """Given the status of a target, return its state."""
    if status.standing is None:
        return State.WAITING
    verdict = State(status.standing.cycle.verdict)
    return State.STALE if status.stale and verdict is State.UP else verdict


def state_of_rested(image: RestedImage) -> State:
    """Given a rested image, return its state, in a word."""
    if image.is_lost:
        return State.DOWN
    if image.failure is not None:
        return State.UNKNOWN
    return State.UP if image.checked else State.WAITING


def _in_a_row(cycles: Sequence[Cycle], target: Target) -> Iterator[PastCycle]:
    fresh = Pace(target.run_every).fresh_seconds(target)
    for place, (cycle, before) in enumerate(zip_longest(cycles, cycles[1:]), 1):
        pause = 0.0
        if before is not None:
            pause = (cycle.started - before.started).total_seconds() - before.seconds
        is_known = pause <= fresh or pause <= pace_after(target, cycles[place:]).fresh_seconds(target)
        yield PastCycle(cycle, key_of(cycle), 0.0 if is_known else pause)


def _steps_of(cycles: Sequence[Cycle]) -> tuple[StepTimes, ...]:
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
