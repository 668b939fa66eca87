"""Summary: once an hour one line sums up a target's cycles, however many there were."""

from __future__ import annotations

import logging

import pytest

from lib.failure import Reason
from lib.result import Outcome, Step, StepName
from lib.watch.record import Record
from lib.watch.summary import Summary
from tests.unit.examples import NOON, HandClock, a_cycle, a_failed_cycle, a_target, an_up_cycle


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def live(clock, caplog):
    """Let cycles end, each with the seconds until the next one does; return the summaries that were logged."""
    caplog.set_level(logging.INFO)
    record = Record(a_target(run_every=120.0, retry_every=30.0, cycle_timeout=300.0), monotonic=clock.monotonic)
    summary = Summary(record, clock.monotonic)

    def live(*ends):
        for cycle, seconds in ends:
            record.add(cycle)
            summary.cycle_finished(cycle)
            clock.advance(seconds)
        return [one for one in caplog.records if one.message == "summary"]

    return live


def timed(push):
    steps = (Step(StepName.PULL, Outcome.SKIPPED, 9.0), Step(StepName.PUSH, Outcome.OK, push))
    return a_cycle(steps, "quay", NOON, push)


def test_an_hour_of_cycles_is_one_line(live):
    assert live(*[(an_up_cycle(), 120.0)] * 30) == []
    (told,) = live((an_up_cycle(), 120.0))
    assert told.levelname == "INFO"
    assert (told.target, told.time_covered, told.cycles, told.up_share) == ("quay", "1h", 31, 1.0)
    assert (told.pull_seconds, told.pull_back_seconds) == (0.25, 0.25)
    assert not hasattr(told, "down")
    assert len(live(*[(an_up_cycle(), 120.0)] * 30)) == 2


def test_the_share_is_one_of_time_and_what_was_not_measured_or_judged_is_in_no_share(live):
    (told,) = live(
        (an_up_cycle(), 1200.0),  # of which 420 it stood
        (a_failed_cycle(), 20.0),
        (a_failed_cycle(), 20.0),
        (a_failed_cycle(), 20.0),
        (a_failed_cycle(Reason.DAEMON), 2400.0),
        (an_up_cycle(), 0.0),
    )
    assert (told.cycles, told.down, told.unknown, told.up_share) == (6, 3, 1, 0.875)


def test_each_step_has_its_median_of_what_went_well_and_the_next_hour_its_own(live):
    (told,) = live((timed(1.0), 10.0), (timed(3.0), 10.0), (timed(50.0), 3600.0), (a_failed_cycle(), 0.0))
    assert told.push_seconds == 3.0
    assert told.build_seconds == 0.2
    assert not hasattr(told, "pull_seconds")
    *_, told = live((timed(7.0), 3600.0), (timed(9.0), 0.0))
    assert told.push_seconds == 8.0


def test_cycles_that_are_further_apart_have_one_each(live):
    (first,) = live((an_up_cycle(), 7200.0), (an_up_cycle(), 7200.0))
    assert (first.cycles, first.time_covered) == (2, "2h")
    *_, last = live((an_up_cycle(), 0.0))
    assert (last.cycles, last.up_share) == (1, 1.0)


def test_without_a_judgement_there_is_no_share(live):
    (told,) = live((a_failed_cycle(Reason.DAEMON), 3600.0), (a_failed_cycle(Reason.DAEMON), 0.0))
    assert told.up_share is None
