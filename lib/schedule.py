"""When: a worker a target, starts spread over the interval, a limit on the cycles under way, reload, stop.

A cycle is due one interval after the start of the one before it, so a long one is followed at once, and never by a
burst. How late each starts is measured. There are as many threads as cycles may be under way, whatever the number of
targets: each is a slot, and takes whoever was due first.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import PriorityQueue
from traceback import walk_tb
from typing import Protocol

from lib.command import Stopped
from lib.failure import Verdict
from lib.result import Cycle
from lib.target import Target

_log = logging.getLogger(__name__)

#: How long the timer sleeps where nobody is to be woken: it is woken itself when that changes.
_IDLE_SECONDS = 3600.0

#: Before every time at which a cycle can be due.
_AT_ONCE = float("-inf")


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
        alive: whether there is a thread that runs its cycle, or will run its next one.
        cycle_started: when the cycle under way began, by the schedule's clock; None between cycles.
        fault: what broke its last cycle off, None where that came to its end.
        wakes: when its next cycle is to begin, by the same clock; None while it runs one or waits for others to end
            theirs.
    """

    target: Target
    alive: bool
    cycle_started: float | None
    fault: str | None
    wakes: float | None = None


@dataclass(eq=False, slots=True)
class _Worker:
    """Whose turn comes when.

    Attributes:
        target: the target.
        due: when its next cycle is due.
        predecessors: those that have to end their last cycles before its first.
        slot: the thread that runs its cycle, None between cycles.
        cycle_started, fault: as WorkerState has them.
        is_asleep: whether it is to be woken; not so while it runs a cycle or waits for others to end theirs.
        is_leaving: whether the cycle that it is in, if any, is its last.
        has_left: whether there will be no more.
    """

    target: Target
    due: float
    predecessors: set[_Worker] = field(default_factory=set)
    slot: threading.Thread | None = None
    cycle_started: float | None = None
    fault: str | None = None
    is_asleep: bool = False
    is_leaving: bool = False
    has_left: bool = False

    def interval_after(self, was_up: bool) -> float:  # noqa: FBT001  the one thing that it depends on
        every = self.target.run_every
        return every if was_up else min(every, self.target.retry_every)


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
        """Begin without targets; until `start()`, none of them is tested.

        Given what runs a cycle, who takes a finished one with its lag (seconds from when it was due to its start), how
        many cycles may be under way at the same time, and who is told of a target that has had its last one.
        """
        self._run_cycle = run_cycle
        self._finished = finished
        self._left = left
        self._concurrency = concurrency
        self._clock = clock or SystemClock()
        self._workers: dict[str, _Worker] = {}
        self._leaving: list[_Worker] = []  # only those with a cycle under way
        # Who is due later, who is due, and what breaks ties in both: the order in which they came.
        self._asleep: list[tuple[float, int, _Worker]] = []
        self._due: PriorityQueue[tuple[float, int, _Worker | None]] = PriorityQueue()
        self._tickets = itertools.count()
        self._slots: list[threading.Thread] = []
        self._timer = threading.Thread(target=self._wake, name="schedule", daemon=True)
        self._changed = threading.Event()
        self._started = False
        self._stopped = False
        self._lock = threading.Lock()

    def targets(self) -> tuple[Target, ...]:
        """Return the targets, in the order in which they were given."""
        with self._lock:
            return tuple(worker.target for worker in self._workers.values())

    def workers(self) -> tuple[WorkerState, ...]:
        """Return how the workers get on, also those that have yet to finish the cycle of a target that is gone."""
        with self._lock:
            all_alive = not self._started or all(thread.is_alive() for thread in (self._timer, *self._slots))
            return tuple(
                WorkerState(
                    target=worker.target,
                    alive=worker.slot.is_alive() if worker.slot else all_alive and not worker.has_left,
                    cycle_started=worker.cycle_started,
                    fault=worker.fault,
                    wakes=worker.due if worker.is_asleep else None,
                )
                for worker in (*self._workers.values(), *self._leaving)
            )

    def start(self) -> None:
        """Let the cycles begin: the first of them now, the others spread from now on. After `stop()`, none does."""
        with self._lock:
            if self._stopped:
                return
            self._started = True
            passed = self._clock.monotonic() - min((worker.due for worker in self._workers.values()), default=0.0)
            for worker in self._workers.values():
                worker.due += passed
            self._asleep = [(due + passed, ticket, worker) for due, ticket, worker in self._asleep]
            self._start_slots()

    def replace(self, targets: Sequence[Target]) -> None:
        """Given the targets from now on, begin and end workers.

        Those of unchanged targets go on. The others end after the cycle that they are in, which is not recorded. The
        first cycles of new targets are spread over their intervals, the first of them at once; one with the name or the
        repository and tag of a target that is ending waits for that end. After `stop()`, nothing is started.
        """
        with self._lock:
            if self._stopped:
                return
            before = self._workers
            kept = {target.name for target in targets if target.name in before and before[target.name].target == target}
            idle = self._leave(worker for name, worker in before.items() if name not in kept)
            new = [target for target in targets if target.name not in kept]
            now = self._clock.monotonic()
            begun = {
                target.name: _Worker(target, now + target.run_every * place / len(new), self._predecessors_of(target))
                for place, target in enumerate(new)
            }
            self._workers = {target.name: (begun.get(target.name) or before[target.name]) for target in targets}
            self._asleep = [turn for turn in self._asleep if not turn[2].is_leaving]
            heapq.heapify(self._asleep)
            for worker in begun.values():
                if not worker.predecessors:
                    self._sleep(worker)
            if self._started:
                self._start_slots()
        for worker in idle:
            self._left(worker.target)

    def stop(self, seconds: float) -> bool:
        """Have all workers end, and start no more cycles. Given how long to wait for that, return whether they did.

        Whoever runs the cycles has to end those under way.
        """
        with self._lock:
            self._stopped = True
            idle = self._leave(self._workers.values())
            for _ in self._slots:
                self._due.put((_AT_ONCE, next(self._tickets), None))
            self._changed.set()
        for worker in idle:
            self._left(worker.target)
        deadline = time.monotonic() + seconds
        threads = [thread for thread in (self._timer, *self._slots) if thread.is_alive()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    # With the lock held.

    def _leave(self, workers: Iterable[_Worker]) -> list[_Worker]:
        """Given workers, let them have no further cycle, and return those that are not in one."""
        idle = []
        for worker in workers:
            worker.is_leaving = True
            if worker.slot is None:
                worker.has_left = True
                idle.append(worker)
            elif not self._stopped:
                self._leaving.append(worker)
        return idle

    def _predecessors_of(self, target: Target) -> set[_Worker]:
        return {
            worker
            for worker in self._leaving
            if worker.target.name == target.name or worker.target.reference == target.reference
        }

    def _sleep(self, worker: _Worker) -> None:
        """Given a worker, wake it when it is due."""
        worker.is_asleep = True
        heapq.heappush(self._asleep, (worker.due, next(self._tickets), worker))
        self._changed.set()

    def _start_slots(self) -> None:
        """Start as many threads as can be of use, and are not there yet."""
        if self._workers and not self._timer.is_alive():
            self._timer.start()
        for number in range(len(self._slots), min(self._concurrency, len(self._workers))):
            slot = threading.Thread(target=self._take_turns, name=f"slot {number + 1}", daemon=True)
            slot.start()
            self._slots.append(slot)

    # The threads.

    def _wake(self) -> None:
        """Wake whoever is due, again and again: the timer's thread."""
        while True:
            self._changed.clear()
            with self._lock:
                if self._stopped:
                    return
                now = self._clock.monotonic()
                while self._asleep and self._asleep[0][0] <= now:
                    turn = heapq.heappop(self._asleep)
                    turn[2].is_asleep = False
                    self._due.put(turn)
                pause = self._asleep[0][0] - now if self._asleep else _IDLE_SECONDS
            self._clock.wait(self._changed, pause)

    def _take_turns(self) -> None:
        """Run a cycle of whoever was due first, again and again: a slot's thread."""
        while (worker := self._due.get()[2]) is not None:
            with self._lock:
                if worker.is_leaving:
                    continue
                worker.slot = threading.current_thread()
                started = worker.cycle_started = self._clock.monotonic()
            try:
                was_up = self._run(worker, lag=started - worker.due)
            except Stopped:
                was_up = None
            self._end(worker, None if was_up is None else started + worker.interval_after(was_up))

    def _run(self, worker: _Worker, lag: float) -> bool:
        """Run a cycle and return whether it was up. Raise Stopped."""
        try:
            cycle = self._run_cycle(worker.target)
            if not worker.is_leaving:
                self._finished(worker.target, cycle, lag)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with the monitor, it must go on and say so
            name = worker.target.name
            worker.fault = f"worker of {name}: its last cycle broke off: {type(error).__name__}: {error}"
            _log.error(
                "a cycle broke off: this is a fault in the monitor itself",
                extra={
                    "target": name,
                    "error": type(error).__name__,
                    "detail": str(error),
                    "where": _where(error),
                },
            )
            return False
        worker.fault = None
        return cycle.verdict is Verdict.UP

    def _end(self, worker: _Worker, due: float | None) -> None:
        """Given a worker whose cycle has ended, and when the next is due (None: never), let it sleep or leave."""
        with self._lock:
            worker.slot = worker.cycle_started = None
            if due is not None and not worker.is_leaving:
                worker.due = due
                self._sleep(worker)
                return
            worker.has_left = True
        self._left(worker.target)
        with self._lock:
            self._leaving = [other for other in self._leaving if other is not worker]
            for successor in self._workers.values():
                if worker in successor.predecessors:
                    successor.predecessors.discard(worker)
                    if not successor.predecessors and not successor.is_leaving:
                        self._sleep(successor)


def _where(error: Exception) -> str:
    """Given a caught exception, return the file and line that raised it."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{Path(frame.f_code.co_filename).name}:{line}"
