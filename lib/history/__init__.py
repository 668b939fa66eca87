"""History: what happened. Pushes, recent cycles, and tallies of verdicts by the hour. Failures outlive successes.

All of it is in memory, and bounded however many targets there are. With a store it also outlives the process: what the
store kept is taken over when a target is first seen. Whatever is asked for is answered under one lock, so that one
answer never mixes two cycles; no disk is waited for under that lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from lib.failure import Verdict
from lib.history.database import Finished, Kept
from lib.history.record import HOUR_SECONDS, Bounds, Hours, Record
from lib.history.store import Store
from lib.result import Cycle, Outcome, Push
from lib.target import Target

#: Cycles and failed cycles that are kept: in all, and at least and at most of each target. A cycle takes about 1 kB.
_CYCLES, _LEAST_CYCLES, _MOST_CYCLES = 20_000, 20, 200
_FAILURES, _LEAST_FAILURES, _MOST_FAILURES = 10_000, 10, 100


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target stands.

    Attributes:
        cycle: the last finished cycle.
        since: the start of the first cycle of the unbroken run of its verdict.
        age_seconds: how long ago it came to its end; while this process lives, no jump of the wall clock changes it.
        exposed: whether strangers could pull the test image when that was last tried, None before that is known.
    """

    cycle: Cycle
    since: datetime
    age_seconds: float
    exposed: bool | None = None


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

    def __init__(
        self,
        instance: str,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        store: Store | None = None,
    ) -> None:
        """Begin without targets.

        Given this process's instance, a clock in seconds that never jumps, one in seconds since 1970, and where all is
        kept beyond this process (None: nowhere).
        """
        self._instance = instance
        self._monotonic = monotonic
        self._wall = wall
        self._store = store
        self._records: dict[str, Record] = {}  # by repository and tag, which two targets never share
        self._references: dict[str, str] = {}  # these by the targets' names
        self._lock = threading.Lock()

    def replace(self, targets: Sequence[Target]) -> None:
        """Given the targets from now on, forget those that are gone; take over what the store kept of new ones.

        A target is its repository and tag: with another name it keeps its history. One thread at a time may replace.
        """
        bounds = Bounds(
            cycles=min(_MOST_CYCLES, max(_LEAST_CYCLES, _CYCLES // max(1, len(targets)))),
            failures=min(_MOST_FAILURES, max(_LEAST_FAILURES, _FAILURES // max(1, len(targets)))),
        )
        by_reference = {target.reference.familiar: target for target in targets}
        new = [reference for reference in by_reference if reference not in self._records]
        kept = self._store.kept(new, bounds) if self._store else {}
        taken_over = {reference: self._record(by_reference[reference], kept[reference]) for reference in kept}
        with self._lock:
            before = self._records | taken_over
            self._records = {}
            for reference, target in by_reference.items():
                record = self._records[reference] = before.get(reference) or Record(target)
                record.become(target)
                record.bound(bounds)
            self._references = {target.name: reference for reference, target in by_reference.items()}

    # What a cycle remembers.

    def last_push(self, reference: str) -> Push | None:
        """Given repository and tag, return the last push that the registry acknowledged, None where there is none."""
        with self._lock:
            record = self._records.get(reference)
            return record.push if record else None

    def pushed(self, reference: str, push: Push) -> None:
        """Keep a push that the registry acknowledged; with a store, it is on the disk on return."""
        self._set_push(reference, push)

    def forget(self, reference: str) -> None:
        """Forget what was pushed: the registry has lost it, and that was told."""
        self._set_push(reference, None)

    def is_ours(self, instance: str) -> bool:
        """Given an instance from an image's label, return whether it is this monitor, now or, with a store, before."""
        return instance == self._instance or (self._store is not None and instance in self._store.instances)

    # What came of cycles.

    def record(self, cycle: Cycle) -> None:
        """Keep a finished cycle; one of a target that is gone by now is dropped."""
        now = self._monotonic()
        cycle = _lean(cycle)
        with self._lock:
            reference = self._references.get(cycle.target, "")
            record = self._records.get(reference)
            if record is None:
                return
            hour = record.add(cycle, now)
            finished = Finished(reference, cycle, record.since or cycle.started, self._wall(), hour)
        if self._store is not None:
            self._store.keep_finished(finished)

    def set_exposed(self, target: str, exposed: bool) -> None:  # noqa: FBT001  it is the value
        """Given a target's name, and whether strangers could pull its test image just now, keep that."""
        with self._lock:
            record = self._record_of(target)
            if record is not None:
                record.exposed = exposed

    def standing(self, target: str) -> Standing | None:
        """Given a target's name, return how it stands, None before its first verdict."""
        now = self._monotonic()
        with self._lock:
            record = self._record_of(target)
            if record is None or record.since is None or not record.cycles:
                return None
            return Standing(record.cycles[-1], record.since, max(0.0, now - record.ended), record.exposed)

    def recent(self, target: str, limit: int) -> tuple[Cycle, ...]:
        """Given a target's name, return at most `limit` of its kept cycles, latest first: the last ones, and beyond
        them the last failures.
        """
        with self._lock:
            record = self._record_of(target)
            return tuple(islice(record.latest_first(), limit)) if record else ()

    def last_failure(self, target: str) -> Cycle | None:
        """Given a target's name, return its last cycle that was not up, None where there is none."""
        with self._lock:
            record = self._record_of(target)
            return record.failures[-1] if record and record.failures else None

    def last_success(self, target: str) -> Cycle | None:
        """Given a target's name, return the last of its kept cycles that was up, None where there is none."""
        with self._lock:
            record = self._record_of(target)
            cycles = reversed(record.cycles) if record else ()
            return next((cycle for cycle in cycles if cycle.verdict is Verdict.UP), None)

    def availability(self, target: str, window_seconds: float, now: datetime) -> Availability:
        """Given a target's name, a window of up to 30 days and its end, return what its cycles say.

        Whole hours are counted: the window begins with the hour that its beginning falls into.
        """
        first = int(now.timestamp() - window_seconds) // HOUR_SECONDS
        with self._lock:
            record = self._record_of(target)
            up, down, unknown, covered = record.hours.total(first) if record else (0, 0, 0, 0.0)
        return Availability(up, down, unknown, min(1.0, covered / (now.timestamp() - first * HOUR_SECONDS)))

    def _record_of(self, target: str) -> Record | None:
        return self._records.get(self._references.get(target, ""))

    def _set_push(self, reference: str, push: Push | None) -> None:
        with self._lock:
            record = self._records.get(reference)
            if record is not None:
                record.push = push
        # Also of a target that is gone by now: it may come back.
        if self._store is not None:
            self._store.keep_push(reference, push)

    def _record(self, target: Target, kept: Kept) -> Record:
        """Given a target, and what the store kept of it, return that as a record."""
        record = Record(target, kept.push, kept.since, hours=Hours(kept.hours))
        record.cycles.extend(replace(cycle, target=target.name) for cycle in kept.cycles)
        record.failures.extend(replace(cycle, target=target.name) for cycle in kept.failures)
        # Another process measured it, so that only the wall clock tells how long ago it was.
        record.ended = self._monotonic() - max(0.0, self._wall() - kept.ended)
        return record


def _lean(cycle: Cycle) -> Cycle:
    """Given a cycle, return it without what its steps printed when all was well."""
    return replace(
        cycle,
        steps=tuple(step if step.outcome is Outcome.FAILED else replace(step, output=()) for step in cycle.steps),
    )
