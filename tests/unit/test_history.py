"""History: what is remembered, for how long, and what it says of a target."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from examples import NOON, HandClock, a_failed_cycle, a_target, an_up_cycle

from lib.failure import Reason, Verdict
from lib.history import History
from lib.result import Outcome, Push

PUSH = Push("sha256:1", "sha256:2", "token", "instance", NOON)
QUAY = "quay.io/acme/quay:canary"
MINUTE = timedelta(minutes=1)
HOUR = 3600.0


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def history(clock):
    history = History("this-instance", clock.monotonic)
    history.replace([a_target(run_every=60.0, cycle_timeout=30.0)])
    return history


# Memory.


def test_a_push_is_remembered_until_it_is_forgotten(history):
    assert history.last_push(QUAY) is None
    history.pushed(QUAY, PUSH)
    assert history.last_push(QUAY) == PUSH
    history.forget(QUAY)
    assert history.last_push(QUAY) is None


def test_only_this_process_is_ours(history):
    assert history.is_ours("this-instance")
    assert not history.is_ours("another")


def test_nothing_is_kept_of_a_target_that_nobody_monitors(history):
    history.pushed("stranger", PUSH)
    history.record(an_up_cycle("stranger"))
    assert history.last_push("stranger") is None
    assert history.standing("stranger") is None
    assert history.recent("stranger", 10) == ()
    assert history.last_failure("stranger") is None


# Reload.


def test_other_options_leave_a_target_its_history(history):
    history.pushed(QUAY, PUSH)
    history.record(an_up_cycle())
    history.replace([a_target("new"), a_target(run_every=5.0)])
    assert history.last_push(QUAY) == PUSH
    assert history.standing("quay").cycle.verdict is Verdict.UP
    assert history.standing("new") is None


def test_another_repository_under_the_same_name_begins_anew(history):
    history.pushed(QUAY, PUSH)
    history.record(an_up_cycle())
    history.replace([a_target(reference="quay.io/acme/other:canary")])
    assert history.last_push(QUAY) is None
    assert history.standing("quay") is None


def test_a_target_that_was_gone_begins_anew(history):
    history.pushed(QUAY, PUSH)
    history.replace([])
    history.replace([a_target()])
    assert history.last_push(QUAY) is None


# Standing.


def test_there_is_none_before_the_first_verdict(history):
    assert history.standing("quay") is None


def test_since_is_the_start_of_the_unbroken_run_of_a_verdict(history):
    for minute, cycle in enumerate((an_up_cycle(), an_up_cycle(), a_failed_cycle(), a_failed_cycle())):
        history.record(replace(cycle, started=NOON + minute * MINUTE))
    assert history.standing("quay").since == NOON + 2 * MINUTE
    history.record(an_up_cycle(started=NOON + 4 * MINUTE))
    assert history.standing("quay").since == NOON + 4 * MINUTE


def test_unknown_breaks_a_run(history):
    history.record(an_up_cycle())
    history.record(a_failed_cycle(Reason.DAEMON, started=NOON + MINUTE))
    history.record(an_up_cycle(started=NOON + 2 * MINUTE))
    assert history.standing("quay").since == NOON + 2 * MINUTE


def test_the_age_is_counted_by_the_clock_that_never_jumps(history, clock):
    history.record(an_up_cycle(started=datetime(1999, 1, 1, tzinfo=UTC)))
    clock.advance(42.5)
    assert history.standing("quay").age_seconds == 42.5


# Recent.


def test_the_latest_comes_first_and_no_more_than_wanted(history):
    for minute in range(5):
        history.record(an_up_cycle(started=NOON + minute * MINUTE))
    assert [cycle.started for cycle in history.recent("quay", 2)] == [NOON + 4 * MINUTE, NOON + 3 * MINUTE]


def test_failures_outlive_successes(history):
    history.record(a_failed_cycle(started=NOON - MINUTE))
    for minute in range(500):
        history.record(an_up_cycle(started=NOON + minute * MINUTE))
    kept = history.recent("quay", 1000)
    assert len(kept) == 201
    assert kept[-1].started == NOON - MINUTE
    assert history.last_failure("quay").started == NOON - MINUTE


def test_the_last_success_is_found_behind_failures(history):
    assert history.last_success("quay") is None
    for minute, cycle in enumerate((an_up_cycle, an_up_cycle, a_failed_cycle, a_failed_cycle)):
        history.record(cycle(started=NOON + minute * MINUTE))
    assert history.last_success("quay").started == NOON + MINUTE
    assert history.last_success("stranger") is None


def test_a_recent_failure_is_told_once(history):
    history.record(a_failed_cycle())
    assert len(history.recent("quay", 10)) == 1


def test_failures_are_bounded_too(history):
    for _ in range(500):
        history.record(a_failed_cycle())
    for _ in range(500):
        history.record(an_up_cycle())
    assert len(history.recent("quay", 1000)) == 300


def test_of_a_thousand_targets_less_is_kept_of_each(history):
    history.replace([a_target(f"t{number}") for number in range(1000)])
    for _ in range(300):
        history.record(an_up_cycle("t7"))
    assert len(history.recent("t7", 1000)) == 20


def test_what_docker_printed_is_kept_of_the_failed_step_alone(history):
    history.record(a_failed_cycle())
    history.record(an_up_cycle())
    up, failed = history.recent("quay", 2)
    assert not any(step.output for step in up.steps)
    assert [bool(step.output) for step in failed.steps] == [step.outcome is Outcome.FAILED for step in failed.steps]


# Availability.


def test_unknown_cycles_count_for_neither_side(history):
    for cycle in (an_up_cycle(), an_up_cycle(), an_up_cycle(), a_failed_cycle(), a_failed_cycle(Reason.DAEMON)):
        history.record(cycle)
    said = history.availability("quay", 24 * HOUR, NOON)
    assert (said.up, said.down, said.unknown) == (3, 1, 1)
    assert said.share == 0.75


def test_without_a_judgement_there_is_no_share(history):
    history.record(a_failed_cycle(Reason.DAEMON))
    assert history.availability("quay", 24 * HOUR, NOON).share is None
    assert history.availability("stranger", 24 * HOUR, NOON).share is None


def test_what_lies_before_the_window_does_not_count(history):
    history.record(a_failed_cycle(started=NOON - timedelta(hours=26)))
    history.record(an_up_cycle(started=NOON))
    assert history.availability("quay", 24 * HOUR, NOON).down == 0
    assert history.availability("quay", 7 * 24 * HOUR, NOON).down == 1


def test_a_month_is_kept_and_no_more(history):
    for hour in range(40 * 24):
        history.record(an_up_cycle(started=NOON + timedelta(hours=hour)))
    now = NOON + timedelta(hours=40 * 24 - 1)
    assert history.availability("quay", 30 * 24 * HOUR, now).up == 30 * 24 + 1
    assert history.availability("quay", 60 * 24 * HOUR, now).up == 30 * 24 + 2


def test_time_that_nothing_was_measured_is_told(history, clock):
    for _ in range(60):
        clock.advance(60.0)
        history.record(an_up_cycle(started=NOON))
    whole_hour_before = history.availability("quay", HOUR, NOON).measured
    assert whole_hour_before == pytest.approx(59 * 60 / HOUR, abs=0.01)
    assert history.availability("quay", 2 * HOUR, NOON).measured == pytest.approx(whole_hour_before / 2)


def test_a_verdict_covers_no_more_than_the_time_it_stood(history, clock):
    history.record(an_up_cycle(seconds=0.0))
    clock.advance(10 * HOUR)
    history.record(an_up_cycle())
    assert history.availability("quay", HOUR, NOON).measured == pytest.approx(90 / HOUR)


# Privacy.


def test_exposed_is_kept_with_the_standing(history):
    history.set_exposed("stranger", exposed=True)
    history.record(an_up_cycle())
    assert history.standing("quay").exposed is None
    history.set_exposed("quay", exposed=True)
    assert history.standing("quay").exposed is True


def test_a_clock_that_was_set_back_leaves_the_hours_in_their_order(history):
    history.record(an_up_cycle(started=NOON))
    history.record(an_up_cycle(started=NOON - timedelta(hours=5)))
    assert history.availability("quay", HOUR, NOON).up == 2
