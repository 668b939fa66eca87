"""The cycle log: what happened is logged once, what continues now and then, and its end."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from lib.failure import Reason
from lib.watch.log import CycleLog
from lib.watch.record import Record
from tests.unit.examples import NOON, HandClock, a_failed_cycle, a_target, an_up_cycle


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def record():
    return Record(a_target())


@pytest.fixture
def cycle_log(record, clock, caplog):
    caplog.set_level(logging.DEBUG)
    return CycleLog(record, clock.monotonic)


@pytest.fixture
def told(caplog):
    """Return what was logged since the last time, at level info or above: levels and messages."""

    def told():
        events = [(record.levelname, record.message) for record in caplog.records if record.levelno >= logging.INFO]
        caplog.clear()
        return events

    return told


def test_that_a_target_is_up_is_told_once_in_short(cycle_log, caplog):
    for _ in range(3):
        cycle_log.cycle_finished(an_up_cycle())
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "cycle finished: it is up"),
        ("DEBUG", "cycle finished"),
        ("DEBUG", "cycle finished"),
    ]
    assert {(record.target, record.verdict, record.seconds) for record in caplog.records} == {("quay", "up", 2.0)}


def test_a_cycle_that_failed_is_told_with_what_to_do_and_dockers_last_lines(cycle_log, caplog):
    cycle_log.cycle_finished(a_failed_cycle())
    (record,) = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "cycle failed")
    assert (record.target, record.verdict, record.seconds) == ("quay", "down", 2.0)
    assert (record.step, record.reason, record.scope) == ("push", "server_error", "registry")
    assert record.detail == "received unexpected HTTP status: 503 Service Unavailable"
    assert record.advice == Reason.SERVER_ERROR.advice
    assert record.output == f"Retrying in 1 second\n{record.detail}"


def test_a_failure_that_goes_on_is_told_once_an_hour(cycle_log, clock, caplog, told):
    for _ in range(121):
        cycle_log.cycle_finished(a_failed_cycle())
        clock.advance(60)
    assert sum(record.levelname == "DEBUG" for record in caplog.records) == 118
    last = next(record for record in reversed(caplog.records) if record.levelname == "WARNING")
    assert (last.failed_cycles, last.failing_for) == (121, "2h")
    assert last.reason == "server_error"
    assert told() == [
        ("WARNING", "cycle failed"),
        ("WARNING", "cycles keep failing"),
        ("WARNING", "cycles keep failing"),
    ]


def test_another_failure_is_told_at_once(cycle_log, told, caplog):
    for reason in (Reason.SERVER_ERROR, Reason.SERVER_ERROR, Reason.TIMEOUT, Reason.DAEMON, Reason.DAEMON):
        cycle_log.cycle_finished(a_failed_cycle(reason))
    assert [record.failed_cycles for record in caplog.records[1:]] == [2, 3, 4, 5]
    assert told() == [("WARNING", "cycle failed")] * 3


def test_a_refusal_is_told_with_the_next_try_and_again_whenever_that_becomes_rarer(cycle_log, record, clock, caplog):
    started, told = NOON, []
    for _ in range(9):
        cycle = a_failed_cycle(Reason.UNAUTHORIZED, started=started)
        record.add(cycle)
        cycle_log.cycle_finished(cycle)
        told.append((caplog.records[-1].levelname, caplog.records[-1].next_try[11:16]))
        started += timedelta(seconds=record.pace.seconds)
        clock.advance(record.pace.seconds)
    assert told == [
        ("WARNING", "12:02"),
        ("DEBUG", "12:04"),
        ("INFO", "12:08"),
        ("INFO", "12:16"),
        ("INFO", "12:32"),
        ("INFO", "13:04"),
        ("WARNING", "14:04"),
        ("WARNING", "15:04"),
        ("WARNING", "16:04"),
    ]
    assert "less often" in caplog.records[2].message
    assert not hasattr(caplog.records[0], "failed_cycles")


def test_the_end_of_a_failure_is_told_and_the_next_one_is_new(cycle_log, clock, told, caplog):
    cycle_log.cycle_finished(a_failed_cycle())
    clock.advance(90)
    cycle_log.cycle_finished(an_up_cycle())
    up = caplog.records[-1]
    assert (up.verdict, up.failed_cycles, up.failing_for) == ("up", 1, "1m30s")
    cycle_log.cycle_finished(an_up_cycle())
    cycle_log.cycle_finished(a_failed_cycle())
    assert told() == [
        ("WARNING", "cycle failed"),
        ("INFO", "cycle finished: it is up again"),
        ("WARNING", "cycle failed"),
    ]
