"""The cycle log: what happened is told once, what goes on now and then, and the end of it."""

from __future__ import annotations

import logging

import pytest
from examples import HandClock, a_failed_cycle, an_up_cycle

from lib.cycle_log import SUMMARY_SECONDS, CycleLog
from lib.failure import ADVICE, Reason


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def cycle_log(clock, caplog):
    caplog.set_level(logging.DEBUG)
    return CycleLog(clock.monotonic)


@pytest.fixture
def told(caplog):
    """Return what was logged since the last time, at level info or above: levels and messages."""

    def told():
        events = [(record.levelname, record.message) for record in caplog.records if record.levelno >= logging.INFO]
        caplog.clear()
        return events

    return told


def test_a_cycle_that_is_up_is_told_in_short(cycle_log, caplog):
    cycle_log.log(an_up_cycle())
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("INFO", "cycle finished")
    assert (record.target, record.verdict, record.seconds) == ("quay", "up", 2.0)


def test_a_cycle_that_failed_is_told_with_what_to_do_and_dockers_last_lines(cycle_log, caplog):
    cycle_log.log(a_failed_cycle())
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "cycle failed")
    assert (record.target, record.verdict, record.seconds) == ("quay", "down", 2.0)
    assert (record.step, record.reason, record.scope) == ("push", "server_error", "registry")
    assert record.detail == "received unexpected HTTP status: 503 Service Unavailable"
    assert record.advice == ADVICE[Reason.SERVER_ERROR]
    assert record.output == f"Retrying in 1 second\n{record.detail}"


def test_a_failure_that_goes_on_is_told_once_an_hour(cycle_log, clock, caplog, told):
    for _ in range(121):
        cycle_log.log(a_failed_cycle())
        clock.advance(60)
    assert sum(record.levelname == "DEBUG" for record in caplog.records) == 118
    last = next(record for record in reversed(caplog.records) if record.levelname == "WARNING")
    assert (last.failed_cycles, last.failing_for) == (121, "2h")
    assert last.reason == "server_error"
    assert told() == [
        ("WARNING", "cycle failed"),
        ("WARNING", "cycles go on failing"),
        ("WARNING", "cycles go on failing"),
    ]


def test_another_failure_is_told_at_once(cycle_log, told, caplog):
    for reason in (Reason.SERVER_ERROR, Reason.SERVER_ERROR, Reason.TIMEOUT, Reason.DAEMON, Reason.DAEMON):
        cycle_log.log(a_failed_cycle(reason))
    assert [record.failed_cycles for record in caplog.records[1:]] == [2, 3, 4, 5]
    assert told() == [("WARNING", "cycle failed")] * 3


def test_the_end_of_a_failure_is_told_and_the_next_one_is_new(cycle_log, clock, told, caplog):
    cycle_log.log(a_failed_cycle())
    clock.advance(90)
    cycle_log.log(an_up_cycle())
    up = caplog.records[-1]
    assert (up.verdict, up.failed_cycles, up.failing_for) == ("up", 1, "1m30s")
    cycle_log.log(an_up_cycle())
    cycle_log.log(a_failed_cycle())
    assert told() == [
        ("WARNING", "cycle failed"),
        ("INFO", "cycle finished: it is up again"),
        ("INFO", "cycle finished"),
        ("WARNING", "cycle failed"),
    ]


def test_targets_are_told_apart_and_forgotten_one_by_one(cycle_log, clock, told):
    for name in ("quay", "hub", "quay"):
        cycle_log.log(a_failed_cycle(target=name))
    cycle_log.forget("quay")
    cycle_log.forget("stranger")
    clock.advance(SUMMARY_SECONDS - 1)
    for name in ("quay", "hub"):
        cycle_log.log(a_failed_cycle(target=name))
    assert told() == [("WARNING", "cycle failed")] * 3
