"""Schedule: when cycles start, how many at a time, in which order, and what reload, stop and faults do to that."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import pytest

from lib.command import Stopped
from lib.history import History
from lib.history.pushes import Pushes
from lib.progress import Progress
from lib.watch.record import Record
from lib.watch.schedule import Schedule
from lib.watch.watched import Watched
from tests.unit.examples import HandClock, a_failed_cycle, a_target, an_up_cycle, eventually


class Cycles:
    """Cycles that end on request, or at once."""

    def __init__(self, clock):
        self.clock = clock
        self.started = []
        self.under_way = []
        self.finished = []
        self.closed = []
        self.results = {}
        self.hold = threading.Event()
        self.hold.set()
        self.most_at_once = 0
        self._turns = {}

    def of(self, targets):
        """Return targets that have their turns here; the same as before for one that did not change."""
        return [self._turns.setdefault(target, Turns(target, self)) for target in targets]

    def run(self, target):
        """Run one."""
        self.started.append((target.name, self.clock.now))
        self.under_way.append(target.name)
        self.most_at_once = max(self.most_at_once, len(self.under_way))
        self.hold.wait(10)
        self.under_way.remove(target.name)
        result = self.results.get(target.name, an_up_cycle(target.name))
        if isinstance(result, BaseException):
            raise result
        return result

    def starts_of(self, name):
        """Return when those of a target started, in seconds since the first moment."""
        return [at - 1000.0 for started, at in self.started if started == name]


class Turns:
    """The turns of one target: what a schedule knows of a `Watched`."""

    interval_after = Watched.interval_after
    is_held_back = Watched.is_held_back
    first_pause = Watched.first_pause
    takes_turns_with = Watched.takes_turns_with
    shares = Watched.shares

    def __init__(self, target, cycles):
        self.target = target
        self.record = Record(target, monotonic=cycles.clock.monotonic)
        self.progress = Progress(cycles.clock.monotonic)
        self.pushes = Pushes(target.reference.familiar, History("instance"))
        self.cycles = cycles

    def take_turn(self, lag):
        cycle = self.cycles.run(self.target)
        self.record.add(cycle)
        self.cycles.finished.append((self.target.name, lag))
        return cycle

    def close(self):
        self.cycles.closed.append(self.target.name)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def cycles(clock):
    return Cycles(clock)


@pytest.fixture
def new_schedule(clock, cycles):
    made = []

    def new(concurrency=4):
        schedule = Schedule(concurrency, clock.monotonic, clock.wait)
        schedule.start()
        made.append(schedule)
        return schedule

    yield new
    cycles.hold.set()
    assert all(schedule.stop(10.0) for schedule in made)


@pytest.fixture
def schedule(new_schedule):
    return new_schedule()


def settle(schedule, clock, hanging=0):
    """Wait until all workers sleep, except those that hang."""
    eventually(
        lambda: (
            sum(state.wakes is not None and state.wakes > clock.now for state in schedule.workers())
            == len(schedule.workers()) - hanging
        )
    )


def advance(schedule, clock, seconds, hanging=0):
    """Move the clock once all workers sleep, and let them do so again."""
    settle(schedule, clock, hanging)
    clock.advance(seconds)
    settle(schedule, clock, hanging)


# Pace.


def test_no_cycle_begins_before_the_start_and_every_worker_is_well_until_then(cycles, clock):
    schedule = Schedule(2, clock.monotonic, clock.wait)
    before = threading.active_count()
    schedule.replace(cycles.of([a_target("a", run_every=20.0), a_target("b", run_every=20.0)]))
    assert [(state.alive, state.wakes) for state in schedule.workers()] == [(True, 1000.0), (True, 1010.0)]
    clock.advance(3.0)
    assert (cycles.started, threading.active_count()) == ([], before)
    schedule.start()
    advance(schedule, clock, 10.0)
    assert (cycles.starts_of("a"), cycles.starts_of("b")) == ([3.0], [13.0])
    assert cycles.finished == [("a", 0.0), ("b", 0.0)]
    assert schedule.stop(10.0)


def test_one_that_was_never_started_stops(cycles, clock):
    schedule = Schedule(2, clock.monotonic, clock.wait)
    schedule.replace(cycles.of([a_target("a")]))
    assert schedule.stop(10.0)
    before = threading.active_count()
    schedule.start()
    assert (cycles.started, threading.active_count()) == ([], before)


def test_the_first_starts_are_spread_over_the_interval(schedule, cycles, clock):
    schedule.replace(cycles.of([a_target(name, run_every=90.0) for name in ("a", "b", "c")]))
    for _ in range(9):
        advance(schedule, clock, 10.0)
    assert cycles.starts_of("a") == [0.0, 90.0]
    assert cycles.starts_of("b") == [30.0]
    assert cycles.starts_of("c") == [60.0]


def test_cycles_start_at_a_fixed_rate(schedule, cycles, clock):
    schedule.replace(cycles.of([a_target(run_every=120.0)]))
    for _ in range(4):
        advance(schedule, clock, 120.0)
    assert cycles.starts_of("quay") == [0.0, 120.0, 240.0, 360.0, 480.0]
    assert {lag for _, lag in cycles.finished} == {0.0}


@pytest.mark.parametrize(("retry_every", "second"), [(30.0, 30.0), (500.0, 120.0)])
def test_after_a_failure_it_retries_sooner_but_never_later(schedule, cycles, clock, retry_every, second):
    cycles.results["quay"] = a_failed_cycle()
    schedule.replace(cycles.of([a_target(run_every=120.0, retry_every=retry_every)]))
    advance(schedule, clock, second - 1.0)
    assert cycles.starts_of("quay") == [0.0]
    advance(schedule, clock, 1.0)
    assert cycles.starts_of("quay") == [0.0, second]


def test_a_long_cycle_is_followed_at_once_and_by_no_burst(schedule, cycles, clock):
    cycles.hold.clear()
    schedule.replace(cycles.of([a_target(run_every=60.0)]))
    eventually(lambda: cycles.under_way)
    clock.advance(250.0)
    cycles.hold.set()
    eventually(lambda: len(cycles.finished) == 2)
    advance(schedule, clock, 59.0)
    assert cycles.finished == [("quay", 0.0), ("quay", 190.0)]
    advance(schedule, clock, 1.0)
    assert cycles.starts_of("quay") == [0.0, 250.0, 310.0]


# Slots.


def test_no_more_cycles_than_allowed_are_under_way(new_schedule, cycles, clock):
    cycles.hold.clear()
    schedule = new_schedule(concurrency=2)
    schedule.replace(cycles.of([a_target(f"t{number}", run_every=60.0) for number in range(6)]))
    settle(schedule, clock, hanging=1)
    clock.advance(59.0)
    eventually(lambda: all(state.wakes is None for state in schedule.workers()) and len(cycles.under_way) == 2)
    cycles.hold.set()
    eventually(lambda: len(cycles.finished) >= 6)
    assert cycles.most_at_once == 2


def test_who_was_due_first_goes_first(new_schedule, cycles, clock):
    cycles.hold.clear()
    schedule = new_schedule(concurrency=1)
    schedule.replace(
        cycles.of([a_target("hangs"), *(a_target(f"t{second}", run_every=second) for second in (3.0, 1.0, 2.0))])
    )
    eventually(lambda: cycles.under_way)
    clock.advance(60.0)
    eventually(lambda: all(state.wakes is None for state in schedule.workers()))
    cycles.hold.set()
    settle(schedule, clock)
    assert [name for name, _ in cycles.started][1:4] == ["t1.0", "t3.0", "t2.0"]


def test_a_target_that_hangs_takes_its_own_slot_only(new_schedule, cycles, clock, monkeypatch):
    hanging = threading.Event()
    run = cycles.run

    def hang_or_run(target):
        if target.name == "hangs":
            hanging.wait(10)
        return run(target)

    monkeypatch.setattr(cycles, "run", hang_or_run)
    schedule = new_schedule(concurrency=2)
    schedule.replace(cycles.of([a_target("hangs"), a_target("b", run_every=10.0), a_target("c", run_every=10.0)]))
    try:
        for _ in range(5):
            advance(schedule, clock, 10.0, hanging=1)
        assert {name for name, _ in cycles.finished} == {"b", "c"}
        assert len(cycles.finished) >= 8
    finally:
        hanging.set()


# Taking turns.


def one_repository(*turns):
    """Let targets turn out to reach one repository."""
    doors = {target.pushes.reference: target.pushes for target in turns}
    for target in turns:
        target.pushes.doors = doors


def test_those_that_take_turns_never_run_at_the_same_time(new_schedule, cycles, clock):
    schedule = new_schedule(concurrency=3)
    a, b, _ = targets = cycles.of([a_target(name, run_every=30.0) for name in "abc"])
    one_repository(a, b)
    cycles.hold.clear()
    schedule.replace(targets)
    eventually(lambda: cycles.under_way == ["a"])
    clock.advance(20.0)
    eventually(lambda: cycles.under_way == ["a", "c"])
    assert schedule.workers()[1].wakes is None
    assert not cycles.starts_of("b")
    cycles.hold.set()
    eventually(lambda: cycles.starts_of("b") == [20.0])
    settle(schedule, clock)
    assert ("b", 10.0) in cycles.finished


def test_whoever_waits_for_another_takes_no_slot_and_is_next(new_schedule, cycles, clock):
    """The other's next turn is due at once, and a third one is not kept waiting either."""
    schedule = new_schedule(concurrency=2)
    a, b, _ = targets = cycles.of([a_target("a", run_every=10.0), a_target("b", run_every=30.0), a_target("c")])
    one_repository(a, b)
    cycles.hold.clear()
    schedule.replace(targets)
    eventually(lambda: cycles.under_way == ["a"])
    clock.advance(100.0)
    eventually(lambda: cycles.under_way == ["a", "c"])
    cycles.hold.set()
    settle(schedule, clock)
    assert [name for name, _ in cycles.started if name != "c"] == ["a", "b", "a"]
    assert cycles.most_at_once == 2


def test_two_that_always_run_late_take_turns_fairly(cycles):
    schedule = Schedule(2)
    a, b = targets = cycles.of([a_target(name, run_every=0.001) for name in "ab"])
    one_repository(a, b)
    schedule.start()
    schedule.replace(targets)
    try:
        eventually(lambda: len(cycles.finished) > 200)
        counts = Counter(name for name, _ in cycles.finished)
        assert min(counts.values()) > 80
        assert cycles.most_at_once == 1
    finally:
        assert schedule.stop(10.0)


def test_one_that_waits_for_another_can_go_and_both_can_stop(new_schedule, cycles, clock):
    schedule = new_schedule(concurrency=2)
    a, b = targets = cycles.of([a_target(name, run_every=30.0) for name in "ab"])
    one_repository(a, b)
    cycles.hold.clear()
    schedule.replace(targets)
    clock.advance(15.0)
    eventually(lambda: [state.wakes for state in schedule.workers()] == [None, None])
    schedule.replace(targets[:1])
    assert cycles.closed == ["b"]
    cycles.hold.set()
    settle(schedule, clock)
    assert not cycles.starts_of("b")


# Reload.


def test_an_unchanged_target_keeps_its_schedule(schedule, cycles, clock):
    schedule.replace(cycles.of([a_target(run_every=100.0)]))
    advance(schedule, clock, 60.0)
    schedule.replace(cycles.of([a_target("new", run_every=100.0), a_target(run_every=100.0)]))
    eventually(lambda: cycles.starts_of("new") == [60.0])
    advance(schedule, clock, 40.0)
    assert cycles.starts_of("quay") == [0.0, 100.0]


def test_a_target_that_is_gone_finishes_its_turn_and_has_no_other(schedule, cycles):
    cycles.hold.clear()
    schedule.replace(cycles.of([a_target()]))
    eventually(lambda: cycles.under_way)
    schedule.replace(cycles.of([]))
    assert [state.watched.target.name for state in schedule.workers()] == ["quay"]
    cycles.hold.set()
    eventually(lambda: not schedule.workers())
    assert len(cycles.started) == 1


@pytest.mark.parametrize(
    "changed", [a_target(run_every=5.0), a_target("renamed", reference="quay.io/acme/quay:canary")]
)
def test_a_changed_target_never_runs_beside_its_former_self(schedule, cycles, changed):
    cycles.hold.clear()
    schedule.replace(cycles.of([a_target()]))
    eventually(lambda: cycles.under_way)
    schedule.replace(cycles.of([changed]))
    schedule.replace(cycles.of([changed]))
    threading.Event().wait(0.02)
    assert len(cycles.started) == 1
    cycles.hold.set()
    eventually(lambda: len(cycles.finished) == 2)
    assert cycles.finished == [("quay", 0.0), (changed.name, 0.0)]
    assert cycles.most_at_once == 1


# Stop.


def test_workers_end_at_once_wherever_they_wait(new_schedule, cycles, clock):
    schedule = new_schedule(concurrency=1)
    cycles.hold.clear()
    schedule.replace(cycles.of([a_target(f"t{number}", run_every=30.0) for number in range(3)]))
    eventually(lambda: cycles.under_way)
    clock.advance(15.0)
    settle(schedule, clock, hanging=2)
    threading.Timer(0.02, cycles.hold.set).start()
    assert schedule.stop(10.0)
    assert len(cycles.started) == 1


def test_a_cycle_that_does_not_end_is_told(schedule, cycles):
    cycles.hold.clear()
    schedule.replace(cycles.of([a_target()]))
    eventually(lambda: cycles.under_way)
    assert not schedule.stop(0.01)


def test_nothing_is_started_any_more(schedule, cycles):
    assert schedule.stop(1.0)
    schedule.replace(cycles.of([a_target()]))
    assert schedule.workers() == ()


def test_a_cycle_that_was_stopped_is_not_recorded_and_no_fault(schedule, cycles, caplog):
    cycles.results["quay"] = Stopped()
    schedule.replace(cycles.of([a_target()]))
    eventually(lambda: not schedule.workers()[0].alive)
    assert cycles.finished == []
    assert caplog.records == []


# Faults.


def test_a_fault_in_a_cycle_is_told_and_the_worker_goes_on(schedule, cycles, clock, caplog):
    caplog.set_level(logging.INFO)
    cycles.results["quay"] = KeyError("layer")
    schedule.replace(cycles.of([a_target(run_every=60.0, retry_every=10.0)]))
    settle(schedule, clock)
    (state,) = schedule.workers()
    assert state.alive
    assert state.fault == "worker of quay: its last cycle broke off: KeyError: 'layer'"
    (record,) = caplog.records
    assert (record.levelname, record.target, record.error) == ("ERROR", "quay", "KeyError")
    assert record.where.startswith("test_schedule.py:")
    assert record.exc_info is None

    del cycles.results["quay"]
    advance(schedule, clock, 10.0)
    assert cycles.finished == [("quay", 0.0)]
    assert schedule.workers()[0].fault is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_told_by_all_whom_it_would_have_served(new_schedule, cycles, clock):
    schedule = new_schedule(concurrency=2)
    cycles.results["dies"] = SystemExit()
    schedule.replace(cycles.of([a_target("dies"), a_target("b"), a_target("c", run_every=2.0)]))
    eventually(lambda: [state.alive for state in schedule.workers()] == [False, False, False])


def test_the_start_of_the_cycle_under_way_is_told(schedule, cycles, clock):
    cycles.hold.clear()
    schedule.replace(cycles.of([a_target()]))
    eventually(lambda: cycles.under_way)
    assert schedule.workers()[0].turn_started == 1000.0
    cycles.hold.set()
    settle(schedule, clock)
    assert schedule.workers()[0].turn_started is None


def test_when_a_sleeping_worker_is_to_wake_is_told_and_nothing_of_one_that_waits_for_a_slot(cycles, clock):
    schedule = Schedule(1, clock.monotonic, clock.wait)
    schedule.start()
    cycles.hold.clear()
    try:
        schedule.replace(cycles.of([a_target("a", run_every=100.0), a_target("b", run_every=100.0)]))
        eventually(lambda: cycles.under_way)
        assert [state.wakes for state in schedule.workers()] == [None, 1050.0]
        clock.advance(50.0)
        eventually(lambda: [state.wakes for state in schedule.workers()] == [None, None])
        cycles.hold.set()
        eventually(lambda: [state.wakes for state in schedule.workers()] == [1100.0, 1150.0])
    finally:
        cycles.hold.set()
        assert schedule.stop(10.0)


def test_a_thousand_targets_all_get_their_turn(cycles):
    """With one slot and far more work than it can do, no target is starved; nor does each take a thread."""
    before = threading.active_count()
    schedule = Schedule(1)
    schedule.start()
    schedule.replace(cycles.of([a_target(f"t{number}", run_every=0.1) for number in range(1000)]))
    try:
        eventually(
            lambda: len(counts := Counter(name for name, _ in cycles.finished)) == 1000 and min(counts.values()) >= 3
        )
        assert cycles.most_at_once == 1
        assert threading.active_count() == before + 2
    finally:
        assert schedule.stop(10.0)


def few_threads(monkeypatch, left):
    """Let only so many threads be started; return the list that holds how many are left."""
    start, left = threading.Thread.start, [left]

    def start_few(thread):
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    return left


def test_with_too_few_threads_it_goes_on_with_fewer_slots_and_tries_again(cycles, clock, monkeypatch, caplog):
    targets = cycles.of([a_target(name, run_every=20.0) for name in "abc"])
    schedule = Schedule(3, clock.monotonic, clock.wait)
    left = few_threads(monkeypatch, 2)
    schedule.start()
    schedule.replace(targets)
    for _ in range(4):
        advance(schedule, clock, 10.0)
    assert {name for name, _ in cycles.finished} == {"a", "b", "c"}
    assert cycles.most_at_once == 1
    assert [record.message for record in caplog.records] == [
        "fewer cycles than `concurrency` run at a time; the monitor tries again"
    ]
    left[0] = 5
    for _ in range(2):
        advance(schedule, clock, 10.0)
    assert left == [3]
    assert schedule.stop(10.0)


@pytest.mark.parametrize("left", [0, 1])
def test_without_threads_it_does_not_start(cycles, clock, monkeypatch, left):
    schedule = Schedule(3, clock.monotonic, clock.wait)
    schedule.replace(cycles.of([a_target()]))
    few_threads(monkeypatch, left)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        schedule.start()
    monkeypatch.undo()
    schedule.stop(10.0)


# What was a target's own.


def test_a_target_is_closed_after_its_last_turn(schedule, cycles):
    cycles.hold.clear()
    schedule.replace(cycles.of([a_target("a"), a_target("b")]))
    eventually(lambda: cycles.under_way)
    schedule.replace(cycles.of([a_target("b")]))
    assert cycles.closed == []
    cycles.hold.set()
    eventually(lambda: cycles.closed == ["a"])
    assert schedule.stop(10.0)
    assert cycles.closed == ["a", "b"]
