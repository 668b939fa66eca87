"""Schedule: when cycles start, how many at a time, in which order, and what reload, stop and faults do to that."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import pytest
from examples import HandClock, a_failed_cycle, a_target, an_up_cycle, eventually

from lib.command import Stopped
from lib.schedule import Schedule, SystemClock


class Cycles:
    """Cycles that end when they are told to, or at once."""

    def __init__(self, clock):
        self.clock = clock
        self.started = []
        self.under_way = []
        self.finished = []
        self.results = {}
        self.hold = threading.Event()
        self.hold.set()
        self.most_at_once = 0

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

    def note(self, target, cycle, lag):
        """Note a finished one."""
        self.finished.append((target.name, lag))

    def starts_of(self, name):
        """Return when those of a target started, in seconds since the first moment."""
        return [at - 1000.0 for started, at in self.started if started == name]


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
        schedule = Schedule(cycles.run, cycles.note, concurrency, clock)
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
    """Wait until all workers sleep, but for those that hang."""
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
    schedule = Schedule(cycles.run, cycles.note, 2, clock)
    before = threading.active_count()
    schedule.replace([a_target("a", run_every=20.0), a_target("b", run_every=20.0)])
    assert [target.name for target in schedule.targets()] == ["a", "b"]
    assert [(state.alive, state.wakes) for state in schedule.workers()] == [(True, 1000.0), (True, 1010.0)]
    clock.advance(3.0)
    assert (cycles.started, threading.active_count()) == ([], before)
    schedule.start()
    advance(schedule, clock, 10.0)
    assert (cycles.starts_of("a"), cycles.starts_of("b")) == ([3.0], [13.0])
    assert cycles.finished == [("a", 0.0), ("b", 0.0)]
    assert schedule.stop(10.0)


def test_one_that_was_never_started_stops(cycles, clock):
    schedule = Schedule(cycles.run, cycles.note, 2, clock)
    schedule.replace([a_target("a")])
    assert schedule.stop(10.0)
    before = threading.active_count()
    schedule.start()
    assert (cycles.started, threading.active_count()) == ([], before)


def test_the_first_starts_are_spread_over_the_interval(schedule, cycles, clock):
    schedule.replace([a_target(name, run_every=90.0) for name in ("a", "b", "c")])
    for _ in range(9):
        advance(schedule, clock, 10.0)
    assert cycles.starts_of("a") == [0.0, 90.0]
    assert cycles.starts_of("b") == [30.0]
    assert cycles.starts_of("c") == [60.0]


def test_cycles_start_at_a_fixed_rate(schedule, cycles, clock):
    schedule.replace([a_target(run_every=120.0)])
    for _ in range(4):
        advance(schedule, clock, 120.0)
    assert cycles.starts_of("quay") == [0.0, 120.0, 240.0, 360.0, 480.0]
    assert {lag for _, lag in cycles.finished} == {0.0}


@pytest.mark.parametrize(("retry_every", "second"), [(30.0, 30.0), (500.0, 120.0)])
def test_after_a_failure_it_retries_sooner_but_never_later(schedule, cycles, clock, retry_every, second):
    cycles.results["quay"] = a_failed_cycle()
    schedule.replace([a_target(run_every=120.0, retry_every=retry_every)])
    advance(schedule, clock, second - 1.0)
    assert cycles.starts_of("quay") == [0.0]
    advance(schedule, clock, 1.0)
    assert cycles.starts_of("quay") == [0.0, second]


def test_a_long_cycle_is_followed_at_once_and_by_no_burst(schedule, cycles, clock):
    cycles.hold.clear()
    schedule.replace([a_target(run_every=60.0)])
    eventually(lambda: cycles.under_way)
    clock.advance(250.0)
    cycles.hold.set()
    eventually(lambda: len(cycles.finished) == 2)
    advance(schedule, clock, 59.0)
    assert cycles.finished == [("quay", 0.0), ("quay", 190.0)]
    advance(schedule, clock, 1.0)
    assert cycles.starts_of("quay") == [0.0, 250.0, 310.0]


def test_the_system_clock_waits_no_longer_than_it_has_to():
    event = threading.Event()
    before = SystemClock().monotonic()
    assert not SystemClock().wait(event, -5.0)
    event.set()
    assert SystemClock().wait(event, 60.0)
    assert SystemClock().monotonic() - before < 10.0


# Slots.


def test_no_more_cycles_than_allowed_are_under_way(new_schedule, cycles, clock):
    cycles.hold.clear()
    schedule = new_schedule(concurrency=2)
    schedule.replace([a_target(f"t{number}", run_every=60.0) for number in range(6)])
    settle(schedule, clock, hanging=1)
    clock.advance(59.0)
    eventually(lambda: all(state.wakes is None for state in schedule.workers()) and len(cycles.under_way) == 2)
    cycles.hold.set()
    eventually(lambda: len(cycles.finished) >= 6)
    assert cycles.most_at_once == 2


def test_who_was_due_first_goes_first(new_schedule, cycles, clock):
    cycles.hold.clear()
    schedule = new_schedule(concurrency=1)
    schedule.replace([a_target("hangs"), *(a_target(f"t{second}", run_every=second) for second in (3.0, 1.0, 2.0))])
    eventually(lambda: cycles.under_way)
    clock.advance(60.0)
    eventually(lambda: all(state.wakes is None for state in schedule.workers()))
    cycles.hold.set()
    settle(schedule, clock)
    assert [name for name, _ in cycles.started][1:4] == ["t1.0", "t3.0", "t2.0"]


def test_a_target_that_hangs_takes_its_own_slot_only(new_schedule, cycles, clock):
    hanging = threading.Event()

    def run(target):
        if target.name == "hangs":
            hanging.wait(10)
        return an_up_cycle(target.name)

    schedule = Schedule(run, cycles.note, 2, clock)
    schedule.start()
    schedule.replace([a_target("hangs"), a_target("b", run_every=10.0), a_target("c", run_every=10.0)])
    try:
        for _ in range(5):
            advance(schedule, clock, 10.0, hanging=1)
        assert {name for name, _ in cycles.finished} == {"b", "c"}
        assert len(cycles.finished) >= 8
    finally:
        hanging.set()
        assert schedule.stop(10.0)


# Reload.


def test_an_unchanged_target_keeps_its_schedule(schedule, cycles, clock):
    schedule.replace([a_target(run_every=100.0)])
    advance(schedule, clock, 60.0)
    schedule.replace([a_target("new", run_every=100.0), a_target(run_every=100.0)])
    eventually(lambda: cycles.starts_of("new") == [60.0])
    advance(schedule, clock, 40.0)
    assert cycles.starts_of("quay") == [0.0, 100.0]
    assert [target.name for target in schedule.targets()] == ["new", "quay"]


def test_a_target_that_is_gone_finishes_its_cycle_unrecorded(schedule, cycles):
    cycles.hold.clear()
    schedule.replace([a_target()])
    eventually(lambda: cycles.under_way)
    schedule.replace([])
    assert schedule.targets() == ()
    assert [state.target.name for state in schedule.workers()] == ["quay"]
    cycles.hold.set()
    eventually(lambda: not schedule.workers())
    assert cycles.finished == []


@pytest.mark.parametrize(
    "changed", [a_target(run_every=5.0), a_target("renamed", reference="quay.io/acme/quay:canary")]
)
def test_a_changed_target_never_runs_beside_its_former_self(schedule, cycles, changed):
    cycles.hold.clear()
    schedule.replace([a_target()])
    eventually(lambda: cycles.under_way)
    schedule.replace([changed])
    schedule.replace([changed])
    threading.Event().wait(0.02)
    assert len(cycles.started) == 1
    cycles.hold.set()
    eventually(lambda: cycles.finished)
    assert cycles.finished == [(changed.name, 0.0)]
    assert cycles.most_at_once == 1


# Stop.


def test_workers_end_at_once_wherever_they_wait(new_schedule, cycles, clock):
    schedule = new_schedule(concurrency=1)
    cycles.hold.clear()
    schedule.replace([a_target(f"t{number}", run_every=30.0) for number in range(3)])
    eventually(lambda: cycles.under_way)
    clock.advance(15.0)
    settle(schedule, clock, hanging=2)
    threading.Timer(0.02, cycles.hold.set).start()
    assert schedule.stop(10.0)
    assert len(cycles.started) == 1
    assert cycles.finished == []


def test_a_cycle_that_does_not_end_is_told(schedule, cycles):
    cycles.hold.clear()
    schedule.replace([a_target()])
    eventually(lambda: cycles.under_way)
    assert not schedule.stop(0.01)


def test_nothing_is_started_any_more(schedule, cycles):
    assert schedule.stop(1.0)
    schedule.replace([a_target()])
    assert schedule.workers() == ()


def test_a_cycle_that_was_stopped_is_not_recorded_and_no_fault(schedule, cycles, caplog):
    cycles.results["quay"] = Stopped()
    schedule.replace([a_target()])
    eventually(lambda: not schedule.workers()[0].alive)
    assert cycles.finished == []
    assert caplog.records == []


# Faults.


def test_a_fault_in_a_cycle_is_told_and_the_worker_goes_on(schedule, cycles, clock, caplog):
    caplog.set_level(logging.INFO)
    cycles.results["quay"] = KeyError("layer")
    schedule.replace([a_target(run_every=60.0, retry_every=10.0)])
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


def test_a_fault_in_recording_is_one_too(cycles, clock):
    def full(*_):
        raise OSError(28, "No space left on device")

    schedule = Schedule(cycles.run, full, 1, clock)
    schedule.start()
    schedule.replace([a_target()])
    settle(schedule, clock)
    assert "No space left on device" in schedule.workers()[0].fault
    assert schedule.stop(10.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_told_by_all_whom_it_would_have_served(new_schedule, cycles, clock):
    schedule = new_schedule(concurrency=2)
    cycles.results["dies"] = SystemExit()
    schedule.replace([a_target("dies"), a_target("b"), a_target("c", run_every=2.0)])
    eventually(lambda: [state.alive for state in schedule.workers()] == [False, False, False])


def test_the_start_of_the_cycle_under_way_is_told(schedule, cycles, clock):
    cycles.hold.clear()
    schedule.replace([a_target()])
    eventually(lambda: cycles.under_way)
    assert schedule.workers()[0].cycle_started == 1000.0
    cycles.hold.set()
    settle(schedule, clock)
    assert schedule.workers()[0].cycle_started is None


def test_when_a_sleeping_worker_is_to_wake_is_told_and_nothing_of_one_that_waits_for_a_slot(cycles, clock):
    schedule = Schedule(cycles.run, cycles.note, 1, clock)
    schedule.start()
    cycles.hold.clear()
    try:
        schedule.replace([a_target("a", run_every=100.0), a_target("b", run_every=100.0)])
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
    schedule = Schedule(cycles.run, cycles.note, 1)
    schedule.start()
    schedule.replace([a_target(f"t{number}", run_every=0.1) for number in range(1000)])
    try:
        eventually(
            lambda: len(counts := Counter(name for name, _ in cycles.finished)) == 1000 and min(counts.values()) >= 3
        )
        assert cycles.most_at_once == 1
        assert threading.active_count() == before + 2
    finally:
        assert schedule.stop(10.0)


# What was a target's own.


def test_whoever_keeps_something_of_a_target_is_told_after_its_last_cycle(cycles, clock):
    left = []
    schedule = Schedule(cycles.run, cycles.note, 4, clock, left=left.append)
    schedule.start()
    cycles.hold.clear()
    schedule.replace([a_target("a"), a_target("b")])
    eventually(lambda: cycles.under_way)
    schedule.replace([a_target("b")])
    assert left == []
    cycles.hold.set()
    eventually(lambda: [target.name for target in left] == ["a"])
    assert schedule.stop(10.0)
    assert [target.name for target in left] == ["a", "b"]
