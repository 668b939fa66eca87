"""Schedule: a worker for each target, starts spread over the interval, a limit on turns at a time, reload, stop.

A turn is due one interval after the start of the previous one, so a long one is followed at once, and never by a burst.
Each target's pace says what the interval is. How late each starts is measured. There are as many threads as cycles may
be under way, whatever the number of targets: each is a slot, and takes the target that was due first.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from queue import PriorityQueue

from lib.command import Stopped
from lib.ending import where
from lib.watch.watched import Watched
from lib.watch.worker import Worker, WorkerState

_log = logging.getLogger(__name__)

#: How long the timer sleeps if it has nobody to wake: it is woken itself when that changes.
_IDLE_SECONDS = 3600.0

#: Earlier than any time at which a cycle can be due.
_AT_ONCE = float("-inf")


class Schedule:
    """The workers of all targets."""

    def __init__(
        self,
        concurrency: int,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        """Begin without targets; until `start()`, none of them has a turn.

        Given how many turns may be under way at the same time, a clock that never jumps, and what waits by it.
        """
        self._concurrency = concurrency
        self._monotonic = monotonic
        self._wait = wait
        self._workers: dict[Watched, Worker] = {}
        self._in_turn: list[Worker] = []  # also those that are gone, until they are closed
        # Who is due later, who is due, who is but takes turns with one that is in its turn, and what breaks ties: the
        # order in which they came.
        self._asleep: list[tuple[float, int, Worker]] = []
        self._due: PriorityQueue[tuple[float, int, Worker | None]] = PriorityQueue()
        self._waiting: list[tuple[float, int, Worker]] = []
        self._tickets = itertools.count()
        self._slots: list[threading.Thread] = []
        self._timer = threading.Thread(target=self._wake, name="schedule", daemon=True)
        self._changed = threading.Event()
        self._spread_at = monotonic()  # from then on the first turns are spread, until `start()`
        self._started = self._stopped = self._lacks_slots = False
        self._lock = threading.Lock()

    def workers(self) -> tuple[WorkerState, ...]:
        """Return the workers' progress, including those that still have to finish the turn of a target that is gone."""
        with self._lock:
            all_alive = not self._started or all(thread.is_alive() for thread in (self._timer, *self._slots))
            return tuple(
                WorkerState(
                    watched=worker.watched,
                    alive=worker.slot.is_alive() if worker.slot else all_alive and not worker.has_left,
                    turn_started=worker.turn_started,
                    fault=worker.fault,
                    wakes=worker.due if worker.is_asleep else None,
                )
                for worker in dict.fromkeys((*self._workers.values(), *self._in_turn))
            )

    def start(self) -> None:
        """Let the turns begin: the first of them now, the others spread from now on. After `stop()`, none does.

        Raise RuntimeError if no thread can be started.
        """
        with self._lock:
            if self._stopped:
                return
            self._started = True
            passed = self._monotonic() - self._spread_at
            for worker in self._workers.values():
                worker.due += passed
            self._asleep = [(due + passed, ticket, worker) for due, ticket, worker in self._asleep]
            self._start_slots()

    def replace(self, targets: Sequence[Watched]) -> None:
        """Given the targets from now on, begin and end workers.

        Those of the same objects continue. The others end after their current turn. The first turns of new ones are
        spread over their intervals, the very first at once. After `stop()`, nothing is started.
        """
        with self._lock:
            if self._stopped:
                return
            before, wanted = self._workers, set(targets)
            idle = self._leave(worker for watched, worker in before.items() if watched not in wanted)
            new = [watched for watched in targets if watched not in before]
            now = self._spread_at = self._monotonic()
            begun = {watched: Worker(watched) for watched in new}
            for place, worker in enumerate(begun.values()):
                spread = worker.watched.target.run_every * place / len(new)
                worker.due = now + max(spread, worker.watched.first_pause)
            self._workers = {watched: begun.get(watched) or before[watched] for watched in targets}
            self._asleep = [turn for turn in self._asleep if not turn[2].is_leaving]
            heapq.heapify(self._asleep)
            for worker in begun.values():
                self._sleep(worker)
            if self._started:
                self._start_slots()
        for worker in idle:
            worker.watched.close()

    def hurry(self, targets: Iterable[Watched]) -> None:
        """Given targets, make those that are held back due now, or as soon as the turn under way has ended."""
        with self._lock:
            now = self._monotonic()
            for worker in filter(None, map(self._workers.get, targets)):
                worker.is_hurried = worker.slot is not None
                if worker.is_asleep and worker.watched.is_held_back:
                    worker.due = min(worker.due, now)
            self._asleep = [(worker.due, ticket, worker) for _, ticket, worker in self._asleep]
            heapq.heapify(self._asleep)
            self._changed.set()

    def stop(self, seconds: float) -> bool:
        """Have all workers end, and start no more turns. Given how long to wait for that, return whether they did. The
        caller has to end the commands under way.
        """
        with self._lock:
            self._stopped = True
            idle = self._leave(self._workers.values())
            for _ in self._slots:
                self._due.put((_AT_ONCE, next(self._tickets), None))
            self._changed.set()
        for worker in idle:
            worker.watched.close()
        deadline = time.monotonic() + seconds
        threads = [thread for thread in (self._timer, *self._slots) if thread.is_alive()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    # With the lock held.

    def _leave(self, workers: Iterable[Worker]) -> list[Worker]:
        """Given workers, let them have no further turn, and return those that are not in one."""
        idle = []
        for worker in workers:
            worker.is_leaving = True
            if worker.slot is None:
                worker.has_left = True
                idle.append(worker)
        return idle

    def _must_wait(self, worker: Worker) -> bool:
        """Given one that is due, return whether one that it takes turns with is in its turn."""
        return any(worker.watched.takes_turns_with(other.watched) for other in self._in_turn)

    def _end_turn(self, worker: Worker) -> None:
        """Given one whose turn has ended, make those due again that may have waited for that."""
        self._in_turn.remove(worker)
        if self._lacks_slots and not self._stopped:
            self._start_slots()
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            self._due.put(turn)

    def _sleep(self, worker: Worker) -> None:
        worker.is_asleep = True
        heapq.heappush(self._asleep, (worker.due, next(self._tickets), worker))
        self._changed.set()

    def _start_slots(self) -> None:
        """Start what runs the turns. Raise RuntimeError if no thread can be started at all."""
        if self._workers and self._timer.ident is None:
            self._timer.start()
        for number in range(len(self._slots), min(self._concurrency, len(self._workers))):
            slot = threading.Thread(target=self._take_turns, name=f"slot {number + 1}", daemon=True)
            try:
                slot.start()
            except RuntimeError as error:
                if not self._slots:
                    raise
                if not self._lacks_slots:
                    _log.error(
                        "fewer cycles than `concurrency` run at a time; the monitor tries again",
                        extra={"detail": str(error)},
                    )
                self._lacks_slots = True
                return
            self._slots.append(slot)
        self._lacks_slots = False

    # The threads.

    def _wake(self) -> None:
        """Wake those that are due, again and again: the timer's thread."""
        while True:
            self._changed.clear()
            with self._lock:
                if self._stopped:
                    return
                now = self._monotonic()
                while self._asleep and self._asleep[0][0] <= now:
                    turn = heapq.heappop(self._asleep)
                    turn[2].is_asleep = False
                    self._due.put(turn)
                pause = self._asleep[0][0] - now if self._asleep else _IDLE_SECONDS
            self._wait(self._changed, pause)

    def _take_turns(self) -> None:
        """Run the turn of the one that was due first, again and again: a slot's thread."""
        while True:
            due, ticket, worker = self._due.get()
            if worker is None:
                return
            with self._lock:
                if worker.is_leaving:
                    continue
                if self._must_wait(worker):
                    self._waiting.append((due, ticket, worker))
                    continue
                self._in_turn.append(worker)
                worker.slot = threading.current_thread()
                worker.is_hurried = False
                started = worker.turn_started = self._monotonic()
            try:
                interval = self._run(worker, lag=started - worker.due)
            except Stopped:
                self._end(worker, None)
            else:
                self._end(worker, started + interval)

    def _run(self, worker: Worker, lag: float) -> float:
        """Run a turn, and return the seconds from its start to the next. Raise Stopped."""
        watched = worker.watched
        try:
            cycle = watched.take_turn(lag)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001  whatever is wrong with the monitor, it must continue and report it
            name = watched.target.name
            worker.fault = f"worker of {name}: its last cycle broke off: {type(error).__name__}: {error}"
            _log.error(
                "a cycle broke off: this is a fault in the monitor itself",
                extra={
                    "target": name,
                    "error": type(error).__name__,
                    "detail": str(error),
                    "where": where(error),
                },
            )
            return watched.interval_after(None)
        worker.fault = None
        return watched.interval_after(cycle)

    def _end(self, worker: Worker, due: float | None) -> None:
        """Given a worker whose turn has ended, and when the next is due (None: never), let it sleep or leave."""
        with self._lock:
            worker.slot = worker.turn_started = None
            if due is not None and not worker.is_leaving:
                worker.due = self._monotonic() if worker.is_hurried and worker.watched.is_held_back else due
                self._sleep(worker)
                self._end_turn(worker)
                return
            worker.has_left = True
        worker.watched.close()
        with self._lock:
            self._end_turn(worker)
