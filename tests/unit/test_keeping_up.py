"""Keeping up: a schedule that can't is logged once, with what to raise, and so is its end."""

from __future__ import annotations

import logging

import pytest

from lib.history import History
from lib.watch import Watch
from lib.watch.keeping_up import KeepingUp
from lib.watch.schedule import Schedule
from tests.unit.examples import HandClock, a_failed_cycle, a_target, an_up_cycle, eventually

OWN = "a target can't keep up: its cycles take longer than run-test-every"
WAITS = "the schedule can't keep up: cycles wait for others to end"
OVER = "cycles no longer have to wait for others"


@pytest.fixture
def names():
    return {"a", "b", "c"}


@pytest.fixture
def keeping_up(names, caplog):
    caplog.set_level(logging.INFO)
    return KeepingUp(lambda: names)


@pytest.fixture
def told(keeping_up, caplog):
    """Let cycles begin late, each by so many seconds; return what was logged: target and message."""

    def told(name, *lags, overran=False, every=60.0):
        caplog.clear()
        for lag in lags:
            keeping_up.cycle_begins(a_target(name, run_every=every), lag, overran=overran)
        return [(record.levelname, getattr(record, "target", None), record.message) for record in caplog.records]

    return told


def test_a_target_whose_cycles_take_too_long_is_named_once_and_so_is_its_end(told, caplog):
    assert told("a", 30.0, 30.0, overran=True) == []
    assert told("a", 30.0, 30.0, 30.0, overran=True) == [("WARNING", "a", OWN)]
    assert told("b", 0.0, 0.0, 0.0, 0.0) == []
    assert told("a", 0.0, 0.0) == []
    assert told("a", 0.0) == [("INFO", "a", "cycles begin when they are due again")]
    assert told("a", *[30.0] * 9, overran=True) == [("WARNING", "a", OWN)]
    (record,) = caplog.records
    assert (record.cycle_takes, record.run_test_every) == ("1m30s", "1m")
    assert "`run-test-every`" in record.advice


def test_cycles_that_wait_for_others_are_told_once_for_all(told, names, caplog):
    assert told("a", *[5.0] * 4) == [("WARNING", "a", WAITS)]
    (record,) = caplog.records
    assert record.late_by == "5s"
    assert "`concurrency`" in record.advice
    assert told("b", *[5.0] * 4) == []
    assert told("a", *[0.0] * 4) == []
    assert told("b", *[0.0] * 4) == [("INFO", None, OVER)]
    assert told("c", *[5.0] * 4) == [("WARNING", "c", WAITS)]
    names.remove("c")
    assert told("a", *[5.0] * 4) == [("WARNING", "a", WAITS)], "whoever is gone waits for nobody"


def test_what_is_late_now_and_then_or_by_little_is_not_told(told):
    assert told("a", *[9.0, 9.0, 0.0] * 5, overran=True) == []
    assert told("b", *[2.9] * 9, overran=True) == []
    assert told("c", *[0.2] * 9, every=0.1) == []


def test_another_cause_is_told_too(told):
    told("a", *[5.0] * 3)
    assert told("a", *[5.0] * 3, overran=True) == [("INFO", None, OVER), ("WARNING", "a", OWN)]
    assert [message for *_, message in told("a", *[5.0] * 3)] == ["cycles begin when they are due again", WAITS]


class Slow:
    """A runner whose cycles take their time by a clock that is moved by hand."""

    staying = ()

    def __init__(self, clock, seconds, cycle):
        self.clock, self.seconds, self.cycle = clock, seconds, cycle
        self.anonymous = self.housekeeping = None

    def __call__(self):
        self.clock.now += self.seconds()
        return self.cycle()

    def close(self):
        """Nothing was shared."""


@pytest.fixture
def monitored(caplog):
    """Monitor targets in a slot for some turns; return what was logged: messages."""
    caplog.set_level(logging.INFO)

    def monitored(turns, seconds, cycle, *targets):
        clock = HandClock()
        keeping_up = KeepingUp(lambda: {watched.target.name for watched in watch.targets})
        watch = Watch(
            lambda target, *_: Slow(clock, seconds, lambda: cycle(target.name)),
            History("me"),
            lambda _: (keeping_up,),
            clock.monotonic,
        )
        schedule = Schedule(1, clock.monotonic, clock.wait)
        schedule.replace(watch.replace(targets))
        schedule.start()

        def asleep():
            wakes = [state.wakes for state in schedule.workers()]
            return None not in wakes and min(wakes) > clock.now and min(wakes)

        for _ in range(turns):
            eventually(asleep)
            clock.now = asleep()
        eventually(asleep)
        assert schedule.stop(10.0)
        return caplog.messages

    return monitored


def test_a_schedule_that_cant_keep_up_finds_out_whose_fault_that_is(monitored):
    taken = iter([70.0] * 6 + [1.0] * 99)
    target = a_target("a", run_every=60.0)
    assert monitored(6, lambda: next(taken), an_up_cycle, target)[:2] == [OWN, "cycles begin when they are due again"]


def test_one_slot_for_two_that_take_long_is_told(monitored):
    taken = iter([40.0] * 12 + [1.0] * 99)
    targets = (a_target("a", run_every=60.0), a_target("b", run_every=60.0))
    said = monitored(8, lambda: next(taken), an_up_cycle, *targets)
    assert said[0] == WAITS
    assert said.count(WAITS) == said.count(OVER) == 1


def test_a_schedule_that_keeps_up_says_nothing(monitored):
    assert monitored(9, lambda: 50.0, an_up_cycle, a_target("a", run_every=60.0)) == []


def test_cycles_that_hang_in_an_outage_are_no_fault_of_the_schedule(monitored):
    """Three of them follow each other at once, long after they were due."""
    taken = iter([130.0, 130.0, 130.0, 130.0] + [1.0] * 99)
    cycles = iter([a_failed_cycle] * 4 + [an_up_cycle] * 99)
    said = monitored(3, lambda: next(taken), lambda name: next(cycles)(target=name), a_target("a", run_every=60.0))
    assert said == []
