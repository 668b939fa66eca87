"""Series: the metrics of one target, as they are counted. Their names are in `families` and `sparse`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

from lib.failure import Verdict
from lib.metrics.families import FAMILIES, MOVING, Families
from lib.metrics.series import ABSENT, Layout, Row
from lib.progress import Progress
from lib.registry_api.found import Found
from lib.rested import Cold, RestedImage
from lib.result import Cycle, Outcome, Step, StepName
from lib.target import StrangersMay, Target

Labels = tuple[str, ...]
Read = TypeVar("Read")

#: The value of `registry_monitor_up` by verdict; for any other, it is absent.
_UP = {Verdict.UP: 1, Verdict.DOWN: 0}


class Series:
    """The series of one target. Any thread may use it.

    Attributes:
        target: the target.
        strangers: returns what those without a login could do when that was last tried.
        cold: returns the state of its rested images, None if it is to have none. found: returns what its registry's API
            said.
    """

    def __init__(
        self,
        target: Target,
        progress: Progress,
        strangers: Callable[[], StrangersMay],
        cold: Callable[[], Cold | None],
        found: Callable[[], Found],
    ) -> None:
        """Given the target, its cycle's progress, and what returns the findings beside its cycles."""
        self.target = target
        self.failing: Labels | None = None
        self.strangers = strangers
        self.failures = _Counts()
        self.cold = cold
        self.found = found
        self.cold_checks = dict.fromkeys(Verdict, 0)
        self.cold_failures = _Counts()
        self.heartbeats = dict.fromkeys((Outcome.OK, Outcome.FAILED), 0)
        self._progress = progress
        self._row = Row(target.name, _layout(_steps_of(target)))
        self._row.set(target.pushed_bytes, Families.PAYLOAD)
        # What the next pull brings.
        self._pushed_bytes = target.pushed_bytes
        self._lock = threading.Lock()

    @property
    def created(self) -> float:
        """Since when its counters count, in seconds since 1970, except those that begin with their first count."""
        return self._row.created

    def finish(self, cycle: Cycle, lag: float, downs: int) -> None:
        """Given a finished cycle, how many seconds after it was due it began, and how many in a row are down now, count
        it.
        """
        row = self._row
        with self._lock:
            row.add(1, Families.CYCLES, cycle.verdict)
            row.observe(cycle.seconds, Families.CYCLE_DURATION)
            row.set(lag, Families.LAG)
            self._stand(cycle, downs)
            row.set(_ended(cycle), Families.LAST_CYCLE)
            if cycle.verdict is Verdict.UP:
                row.set(_ended(cycle), Families.LAST_SUCCESS)
            row.set(_or_absent(cycle.replication_lag), Families.REPLICATION_LAG)
            if cycle.pushed_digest is not None:
                row.set(_or_absent(cycle.propagation_lag), Families.PROPAGATION_LAG)
            for step in cycle.steps:
                self._count(step)
            if not self.target.read_only:
                self._count_moved(cycle)

    def remember(self, last: Cycle | None, last_success: Cycle | None, *, downs: int, stands: bool) -> None:
        """Given the last finished cycle and the last that was up, of an earlier process or configuration (None: there
        is none, or only one in the future), and how many in a row are down, show them.

        They are not counted; and the verdict and its cause are shown only if it still stands.
        """
        with self._lock:
            self._stand(last if stands else None, downs)
            self._row.set(_ended(last) if last else ABSENT, Families.LAST_CYCLE)
            self._row.set(_ended(last_success) if last_success else ABSENT, Families.LAST_SUCCESS)
            if last and last.pushed_digest:
                self._pushed_bytes = last.payload_bytes

    def count_rested(self, image: RestedImage) -> None:
        """Given a rested image that was just pushed or checked, count that."""
        with self._lock:
            if image.checked == image.acted and image.verdict is not None:
                self.cold_checks[image.verdict] += 1
            if image.failure is not None and (image.checked == image.acted or image.digest is None):
                self.cold_failures.add(image.failure.reason, image.failure.scope)

    def count_heartbeat(self, outcome: Outcome) -> None:
        """Given whether a heartbeat was sent or not, count it."""
        with self._lock:
            self.heartbeats[outcome] += 1

    def row(self) -> Row:
        """Return the numbers of all families as they are now; they no longer change."""
        under_way = self._progress.step
        with self._lock:
            row = self._row.copy()
        if under_way is not None:
            row.set(under_way.timestamp, Families.STEP_STARTED, under_way.name)
        return row

    def read(self, values: Callable[[Series], Iterable[Read]]) -> list[Read]:
        """Given what returns values of these series, return them as they are now."""
        with self._lock:
            return list(values(self))

    def _stand(self, cycle: Cycle | None, downs: int) -> None:
        """Given the cycle whose verdict stands, None if none does, and how many in a row are down, show that."""
        verdict = cycle and cycle.verdict
        for each in Verdict:
            self._row.set(float(verdict is each) if verdict else ABSENT, Families.VERDICT, each)
        self._row.set(_UP.get(verdict, ABSENT) if verdict else ABSENT, Families.UP)
        self._row.set(downs, Families.CONSECUTIVE_FAILURES)
        failed = cycle and cycle.failed
        self.failing = _cause(failed) if failed else None

    def _count_moved(self, cycle: Cycle) -> None:
        """Given a finished cycle, count the payload that was moved: its first pull moves that of the previous push."""
        for step in cycle.steps:
            if step.outcome is Outcome.OK and step.name in MOVING:
                moved = self._pushed_bytes if step.name is StepName.PULL else cycle.payload_bytes
                self._row.add(moved, Families.PAYLOAD_MOVED, step.name)
        if cycle.pushed_digest is not None:
            self._pushed_bytes = cycle.payload_bytes

    def _count(self, step: Step) -> None:
        self._row.add(1, Families.STEPS, step.name, step.outcome)
        self._row.add(step.retries, Families.RETRIES, step.name)
        self._row.set(step.seconds, Families.STEP_LAST, step.name)
        for phase, seconds in (step.phases or {}).items():
            self._row.add(seconds, Families.STEP_PHASES, step.name, phase)
        if step.outcome is not Outcome.SKIPPED:
            self._row.observe(step.seconds, Families.STEP_DURATION, step.name, step.outcome)
        if step.failure is not None:
            self.failures.add(*_cause(step))


class _Counts:
    """A counter whose series begin with their first count. One thread at a time uses it."""

    def __init__(self) -> None:
        self._counts: dict[Labels, tuple[int, float]] = {}

    def add(self, *labels: str) -> None:
        """Given the values of the labels, count one more."""
        number, created = self._counts.get(labels, (0, time.time()))
        self._counts[labels] = number + 1, created

    def all(self) -> list[tuple[Labels, int, float]]:
        """Return each: the values of the labels, the number, and since when it is counted."""
        return [(labels, *counted) for labels, counted in self._counts.items()]


def _steps_of(target: Target) -> tuple[StepName, ...]:
    if target.read_only:
        return (*((StepName.LOGIN,) if target.credentials else ()), StepName.PULL, StepName.RMI)
    left_out = set()
    if target.credentials is None:
        left_out.add(StepName.LOGIN)
    if target.base_image is None and target.base_layer_id is None:
        left_out.add(StepName.BASE)
    return tuple(step for step in StepName if step not in left_out)


def _cause(failed: Step) -> Labels:
    """Given a step that failed, return which it is, why, and whose fault that is."""
    failure = failed.failure
    return (failed.name, failure.reason, failure.scope) if failure else (failed.name, "", "")


def _or_absent(value: float | None) -> float:
    return ABSENT if value is None else value


def _ended(cycle: Cycle) -> float:
    return cycle.started.timestamp() + cycle.seconds


@cache
def _layout(steps: tuple[StepName, ...]) -> Layout:
    return Layout({family: family.labels(steps) for family in FAMILIES})
