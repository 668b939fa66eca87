"""When: a worker a target, starts spread over the interval, a limit on the cycles under way, reload, stop.

A cycle is due one interval after the start of the one before it, so a long one is followed at once, and never by a
burst. How late each starts is measured. Of those that wait for a slot, the one that was due first goes first.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Protocol

from lib.command import Stopped
from lib.failure import Verdict
from lib.result import Cycle
from lib.target import Target

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """A clock that never jumps, and the waiting by it."""

    def monotonic(self) -> float:
        """Return the time in seconds since some moment."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Given an event, wait for it, at most so many seconds, and return whether it is set."""


class SystemClock:
    """The system's monotonic clock."""

    def monotonic(self) -> float:
        """Return the time in seconds since some moment."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Given an event, wait for it, at most so many seconds, and return whether it is set."""
        return event.wait(max(0.0, seconds))


@dataclass(frozen=True, slots=True)
class WorkerState:
    """How a worker gets on.

    Attributes:
        target: whose worker it is.
        alive: whether its thread runs.
        cycle_started: when the cycle under way began, by the schedule's clock; None between cycles.
        fault: what broke its last cycle off, None where that came to its end.
        wakes: when it is to wake for its next cycle, by the same clock; None while it does not sleep, but runs a cycle
            or waits for others to end theirs.
    """

    target: Target
    alive: bool
    cycle_started: float | None
    fault: str | None
    wakes: float | None = None


class Slots:
    """So many at a time; of those that wait, the one that was due first."""

    def __init__(self, limit: int) -> None:
        """Given how many there may be at a time."""
        self._free = limit
        self._waiting: list[tuple[float, int, threading.Event]] = []
        self._tickets = itertools.count()
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, due: float) -> Iterator[None]:
        """Given when its user was due, wait for a slot, and hold it until the end of the block."""
        self._take(due)
        try:
            yield
        finally:
            self._give_back()

    def _take(self, due: float) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Event()
            heapq.heappush(self._waiting, (due, next(self._tickets), turn))
        turn.wait()

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[2].set()  # a slot is handed on, and never free meanwhile
            else:
                self._free += 1


class Schedule:
    """The workers of all targets."""

    def __init__(
        self,
        run_cycle: Callable[[Target], Cycle],
        finished: Callable[[Target, Cycle, float], None],
        concurrency: int,
        clock: Clock | None = None,
        left: Callable[[Target], None] = lambda _: None,
    ) -> None:
        """Begin without targets.

        Given what runs a cycle, who takes a finished one with its lag (seconds from when it was due to its start), how
        many cycles may be under way at the same time, and who is told of a target that has had its last one.
        """
        self._shared = _Shared(run_cycle, finished, left, Slots(concurrency), clock or SystemClock())
        self._workers: dict[str, _Worker] = {}
        self._leaving: list[_Worker] = []
        self._stopped = False
        self._lock = threading.Lock()

    def targets(self) -> tuple[Target, ...]:
        """Return the targets, in the order in which they were given."""
        with self._lock:
            return tuple(worker.target for worker in self._workers.values())

    def workers(self) -> tuple[WorkerState, ...]:
        """Return how the workers get on, also those that have yet to finish the cycle of a target that is gone."""
        with self._lock:
            leaving = [worker for worker in self._leaving if worker.is_alive()]
            return tuple(worker.state for worker in (*self._workers.values(), *leaving))

    def replace(self, targets: Sequence[Target]) -> None:
        """Given the targets from now on, start and end workers.

        Those of unchanged targets go on. The others end after the cycle that they are in, which is not recorded. The
        first cycles of new targets are spread over their intervals, the first of them at once; one with the name or the
        repository and tag of a target that is ending waits for that end. After `stop()`, nothing is started.
        """
        with self._lock:
            if self._stopped:
                return
            before = self._workers
            kept = {target.name for target in targets if target.name in before and before[target.name].target == target}
            gone = [worker for name, worker in before.items() if name not in kept]
            for worker in gone:
                worker.leave()
            self._leaving = [worker for worker in (*self._leaving, *gone) if worker.is_alive()]
            new = [target for target in targets if target.name not in kept]
            now = self._shared.clock.monotonic()
            started = {
                target.name: _Worker(
                    target, now + target.run_every * place / len(new), self._predecessors_of(target), self._shared
                )
                for place, target in enumerate(new)
            }
            self._workers = {target.name: (started.get(target.name) or before[target.name]) for target in targets}
            for worker in started.values():
                worker.start()

    def stop(self, seconds: float) -> bool:
        """Have all workers end, and start no more cycles. Given how long to wait for that, return whether they did.

        Whoever runs the cycles has to end those under way.
        """
        with self._lock:
            self._stopped = True
            workers = [*self._workers.values(), *self._leaving]
        for worker in workers:
            worker.leave()
        deadline = time.monotonic() + seconds
        for worker in workers:
            if worker.is_alive():
                worker.join(max(0.0, deadline - time.monotonic()))
        return not any(worker.is_alive() for worker in workers)

    def _predecessors_of(self, target: Target) -> tuple[_Worker, ...]:
        return tuple(
            worker
            for worker in self._leaving
            if worker.target.name == target.name or worker.target.reference == target.reference
        )


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all workers share: `Schedule` says what it is."""

    run_cycle: Callable[[Target], Cycle]
    finished: Callable[[Target, Cycle, float], None]
    left: Callable[[Target], None]
    slots: Slots
    clock: Clock


class _Worker(threading.Thread):
    """Runs one cycle of its target after another, until it is to leave."""

    def __init__(self, target: Target, due: float, predecessors: Sequence[_Worker], shared: _Shared) -> None:
        super().__init__(name=f"worker of {target.name}", daemon=True)
        self.target = target
        self._due = due
        self._predecessors = predecessors
        self._shared = shared
        self._leaving = threading.Event()
        self._cycle_started: float | None = None
        self._fault: str | None = None
        self._wakes: float | None = None

    @property
    def state(self) -> WorkerState:
        return WorkerState(self.target, self.is_alive(), self._cycle_started, self._fault, self._wakes)

    def leave(self) -> None:
        """Have it end after the cycle that it is in."""
        self._leaving.set()

    def run(self) -> None:
        for predecessor in self._predecessors:
            predecessor.join()
        self._predecessors = ()
        try:
            self._work()
        finally:
            self._shared.left(self.target)

    def _work(self) -> None:
        """Run cycles until it is to leave."""
        clock = self._shared.clock
        while not self._sleep(clock):
            with self._shared.slots.slot(self._due):
                if self._leaving.is_set():
                    return
                started = self._cycle_started = clock.monotonic()
                try:
                    was_up = self._run(lag=started - self._due)
                except Stopped:
                    return
                finally:
                    self._cycle_started = None
            self._due = started + self._interval_after(was_up)

    def _sleep(self, clock: Clock) -> bool:
        """Sleep until its next cycle is due, and return whether it is to leave."""
        self._wakes = self._due
        leaving = clock.wait(self._leaving, self._due - clock.monotonic())
        self._wakes = None
        return leaving

    def _run(self, lag: float) -> bool:
        """Run a cycle and return whether it was up. Raise Stopped."""
        try:
            cycle = self._shared.run_cycle(self.target)
            if not self._leaving.is_set():
                self._shared.finished(self.target, cycle, lag)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with the monitor, the worker must go on and say so
            self._fault = f"worker of {self.target.name}: its last cycle broke off: {type(error).__name__}: {error}"
            _log.error(
                "a cycle broke off: this is a fault in the monitor itself",
                extra={
                    "target": self.target.name,
                    "error": type(error).__name__,
                    "detail": str(error),
                    "where": _where(error),
                },
            )
            return False
        self._fault = None
        return cycle.verdict is Verdict.UP

    def _interval_after(self, was_up: bool) -> float:  # noqa: FBT001  the one thing that it depends on
        every = self.target.run_every
        return every if was_up else min(every, self.target.retry_every)


def _where(error: Exception) -> str:
    """Given a caught exception, return the file and line that raised it."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{Path(frame.f_code.co_filename).name}:{line}"
