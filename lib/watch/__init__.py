"""Watch: all targets that are watched, as one immutable tuple, which a reload swaps whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from lib.history import History
from lib.history.hours import Bounds
from lib.history.pushes import Pushes
from lib.history.rows import Kept
from lib.metrics.target import Series
from lib.progress import Listener, Progress
from lib.target import Target
from lib.watch.record import Record
from lib.watch.rested import Rested
from lib.watch.superseded import Superseded
from lib.watch.visits import Visits
from lib.watch.watched import RunnerFor, Watched

#: Cycles and failed cycles that are kept: in all, and at least and at most for each target. A cycle takes about 1 kB.
_CYCLES, _LEAST_CYCLES, _MOST_CYCLES = 20_000, 20, 200
_FAILURES, _LEAST_FAILURES, _MOST_FAILURES = 10_000, 10, 100


class Watch:
    """All targets, watched.

    Attributes:
        targets: in the order of the configuration. Readers take the tuple once.
    """

    def __init__(
        self,
        runner_for: RunnerFor,
        history: History,
        listeners: Callable[[Record], Iterable[Listener]] = lambda _: (),
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        visits_for: Callable[..., Visits] = Visits,
    ) -> None:
        """Begin without targets.

        Given what makes the cycle runner of a target, where its past is kept, what returns the listeners of one target,
        given its record, clocks in seconds: one that never jumps, and one since 1970; and what makes the visits to its
        registry (by default, ones that ask nothing).
        """
        self._runner_for = runner_for
        self._history = history
        self._listeners = listeners
        self._monotonic = monotonic
        self._wall = wall
        self._visits_for = visits_for
        self.targets: tuple[Watched, ...] = ()

    def replace(self, targets: Sequence[Target]) -> tuple[Watched, ...]:
        """Given the targets from now on, watch them, and return them. One thread at a time may do that.

        Those that did not change continue as they are. Any other with the repository and tag of a previous one gets its
        past, whatever the names of the two; the rest get what the history kept of theirs.
        """
        bounds = Bounds(
            cycles=min(_MOST_CYCLES, max(_LEAST_CYCLES, _CYCLES // max(1, len(targets)))),
            failures=min(_MOST_FAILURES, max(_LEAST_FAILURES, _FAILURES // max(1, len(targets)))),
        )
        before = {watched.target.reference.familiar: watched for watched in self.targets}
        new = [target.reference.familiar for target in targets if target.reference.familiar not in before]
        kept = self._history.kept(new, bounds)
        self.targets = tuple(self._watched(target, before.get(target.reference.familiar), kept) for target in targets)
        for watched in self.targets:
            watched.record.bound(bounds)
        for one in set(before.values()).difference(self.targets):
            one.record.retire()
        self._find_doors()
        return self.targets

    def series(self) -> list[Series]:
        """Return the metrics of all targets."""
        return [watched.series for watched in self.targets]

    def _find_doors(self) -> None:
        """Join the pushes of targets that were one before a restart: each has the same last one."""
        holders: dict[str, Watched] = {}
        for watched in self.targets:
            last = watched.pushes.last
            if last is not None and holders.setdefault(last.token, watched) is not watched:
                watched.pushes.recognise(last.token)

    def _all_pushes(self) -> dict[str, Pushes]:
        return {watched.target.name: watched.pushes for watched in self.targets}

    def _watched(self, target: Target, before: Watched | None, kept: dict[str, Kept]) -> Watched:
        """Given a target, the previous one with its repository and tag, and its kept history, return it watched."""
        if before is not None and before.target == target:
            return before
        if before is not None:
            record, pushes = before.record.go_on_as(target), before.pushes
            images = before.rested.images
        else:
            reference = target.reference.familiar
            past = kept.get(reference, Kept())
            record = Record(target, past, self._monotonic, self._wall)
            images = past.rested
            pushes = Pushes(reference, self._history, past.push, self._all_pushes)
        progress = Progress(self._monotonic, self._wall)
        rested = Rested(target, self._history, images, self._wall)
        superseded = Superseded(before.visits.superseded.waiting if before else (), self._monotonic)
        base = (target.base_layer_id, target.base_image and target.base_image.digest)
        visits = self._visits_for(
            target,
            superseded,
            lambda: frozenset(filter(None, (*base, *(image.digest for image in rested.images)))),
            lambda: self._replicas_within(pushes),
        )
        return Watched(
            target, record, pushes, rested, visits, progress, self._runner_for, self._history, self._listeners(record)
        )

    def _replicas_within(self, pushes: Pushes) -> float:
        """Given the pushes to one tag, return for how long after one a replica may still show the previous image."""
        targets = self.targets
        sources = {watched.target.name: watched.pushes for watched in targets}
        return max(
            (
                one.target.replica_within
                for one in targets
                if one.target.replica_of and pushes.reference in sources[one.target.replica_of].doors
            ),
            default=0.0,
        )
