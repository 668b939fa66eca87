"""What is remembered of targets, for how long, what it says about them, and how a reload changes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.failure import Reason, Verdict
from lib.result import Outcome, Push
from lib.target import StrangersMay
from tests.unit.examples import NOON, HandClock, a_failed_cycle, a_target, an_up_cycle
from tests.unit.watching import MadeUp

PUSH = Push("sha256:1", "sha256:2", "token", "instance", NOON)
QUAY = "quay.io/acme/quay:canary"
MINUTE = timedelta(minutes=1)
HOUR = 3600.0


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def world(clock):
    return MadeUp(a_target(run_every=60.0, cycle_timeout=30.0), clock=clock)


@pytest.fixture
def record(world):
    return world["quay"].record


# Memory.


def test_a_push_is_remembered_until_it_is_forgotten(world):
    pushes = world["quay"].pushes
    assert pushes.last is None
    pushes.pushed(PUSH)
    assert pushes.last == PUSH
    pushes.forget()
    assert pushes.last is None


def test_only_this_process_is_ours(world):
    assert world["quay"].pushes.is_ours("this-instance")
    assert not world["quay"].pushes.is_ours("another")


# Reload.


def test_other_options_leave_a_target_its_history(world):
    world["quay"].pushes.pushed(PUSH)
    world.finish(an_up_cycle())
    world["quay"].record.strangers = StrangersMay(pull=True)
    world.watch.replace([a_target("new"), a_target(run_every=5.0)])
    assert world["quay"].pushes.last == PUSH
    standing = world["quay"].record.standing()
    assert (standing.cycle.verdict, standing.strangers) == (Verdict.UP, StrangersMay(pull=True))
    assert world["new"].record.standing() is None


def test_an_unchanged_target_is_the_same_object(world):
    before = world["quay"]
    world.watch.replace([a_target("new"), a_target(run_every=60.0, cycle_timeout=30.0)])
    assert world["quay"] is before


def test_another_name_takes_the_history_along_under_that_name(world):
    world.finish(an_up_cycle(), a_failed_cycle())
    world.watch.replace([a_target("renamed", reference="quay.io/acme/quay:canary")])
    assert [cycle.target for cycle in world["renamed"].record.recent(10)] == ["renamed", "renamed"]


def test_another_repository_under_the_same_name_begins_anew(world):
    world["quay"].pushes.pushed(PUSH)
    world.finish(an_up_cycle())
    world.watch.replace([a_target(reference="quay.io/acme/other:canary")])
    assert world["quay"].pushes.last is None
    assert world["quay"].record.standing() is None


def test_names_that_are_swapped_take_no_verdict_along(world):
    a, b = a_target("a"), a_target("b")
    world.watch.replace([a, b])
    world.finish(a_failed_cycle(target="a"), an_up_cycle("b"))
    late = world["b"]
    world.watch.replace([replace(a, name="b"), replace(b, name="a")])
    late.finished(an_up_cycle("b"), lag=0.0)
    assert world["a"].record.standing().cycle.verdict is Verdict.UP
    assert world["b"].record.standing().cycle.verdict is Verdict.DOWN
    assert [len(world[name].record.recent(10)) for name in "ab"] == [1, 1]


def test_a_target_that_was_gone_begins_anew(world):
    world["quay"].pushes.pushed(PUSH)
    gone = world["quay"]
    world.watch.replace([])
    assert not gone.finished(an_up_cycle(), lag=0.0)
    world.watch.replace([a_target()])
    assert world["quay"].pushes.last is None


def test_the_next_holder_of_a_repository_knows_what_the_last_one_pushed_meanwhile(world):
    """Its cycle waits for the end of the one under way, whose push must not look like somebody else's."""
    before = world["quay"]
    world.watch.replace([a_target(run_every=5.0)])
    before.pushes.begin("another token")
    before.pushes.pushed(PUSH)
    assert world["quay"].pushes.last == PUSH
    assert world["quay"].pushes.given_up == {"another token"}


# Standing.


def test_there_is_none_before_the_first_verdict(record):
    assert record.standing() is None


def test_since_is_the_start_of_the_unbroken_run_of_a_verdict(world, record):
    for minute, cycle in enumerate((an_up_cycle(), an_up_cycle(), a_failed_cycle(), a_failed_cycle())):
        world.finish(replace(cycle, started=NOON + minute * MINUTE))
    assert record.standing().since == NOON + 2 * MINUTE
    world.finish(an_up_cycle(started=NOON + 4 * MINUTE))
    assert record.standing().since == NOON + 4 * MINUTE


def test_unknown_breaks_a_run(world, record):
    world.finish(an_up_cycle())
    world.finish(a_failed_cycle(Reason.DAEMON, started=NOON + MINUTE))
    world.finish(an_up_cycle(started=NOON + 2 * MINUTE))
    assert record.standing().since == NOON + 2 * MINUTE


def test_the_age_is_counted_by_the_clock_that_never_jumps(world, record, clock):
    world.finish(an_up_cycle(started=datetime(1999, 1, 1, tzinfo=UTC)))
    clock.advance(42.5)
    assert record.standing().age_seconds == 42.5


# Recent.


def test_the_latest_comes_first_and_no_more_than_wanted(world, record):
    for minute in range(5):
        world.finish(an_up_cycle(started=NOON + minute * MINUTE))
    assert [cycle.started for cycle in record.recent(2)] == [NOON + 4 * MINUTE, NOON + 3 * MINUTE]


def test_failures_outlive_successes(world, record):
    world.finish(a_failed_cycle(started=NOON - MINUTE))
    for minute in range(500):
        world.finish(an_up_cycle(started=NOON + minute * MINUTE))
    kept = record.recent(1000)
    assert len(kept) == 201
    assert kept[-1].started == NOON - MINUTE
    assert record.last_failure().started == NOON - MINUTE


def test_the_last_success_is_found_behind_failures(world, record):
    assert record.last_success() is None
    for minute, cycle in enumerate((an_up_cycle, an_up_cycle, a_failed_cycle, a_failed_cycle)):
        world.finish(cycle(started=NOON + minute * MINUTE))
        world.clock.advance(60.0)
    assert record.last_success().started == NOON + MINUTE


def test_a_recent_failure_is_told_once(world, record):
    world.finish(a_failed_cycle())
    assert len(record.recent(10)) == 1


def test_failures_are_bounded_too(world, record):
    for _ in range(500):
        world.finish(a_failed_cycle())
    for _ in range(500):
        world.finish(an_up_cycle())
    assert len(record.recent(1000)) == 300


def test_of_a_thousand_targets_less_is_kept_of_each(world, record):
    world.watch.replace([a_target(f"t{number}") for number in range(1000)])
    for _ in range(300):
        world.finish(an_up_cycle("t7"))
    assert len(world["t7"].record.recent(1000)) == 20


def test_what_docker_printed_is_kept_of_the_failed_step_alone(world, record):
    world.finish(a_failed_cycle())
    world.finish(an_up_cycle())
    up, failed = record.recent(2)
    assert not any(step.output for step in up.steps)
    assert [bool(step.output) for step in failed.steps] == [step.outcome is Outcome.FAILED for step in failed.steps]


# Availability.


def live(world, *spells):
    """Let cycles end: each spell is a verdict, or why it failed, and for how many seconds the verdict then stands."""
    for reason, seconds in spells:
        now = NOON + timedelta(seconds=world.clock.now - 1000.0)
        world.finish(an_up_cycle(started=now) if reason is None else a_failed_cycle(reason, started=now))
        world.clock.advance(seconds)


def available(world, hours=24):
    return world["quay"].record.availability(hours * HOUR, NOON + timedelta(seconds=world.clock.now - 1000.0))


def test_a_verdict_stands_until_the_next_one_and_unknown_counts_for_neither_side(world):
    live(world, (None, 30.0), (Reason.TIMEOUT, 10.0), (Reason.DAEMON, 20.0), (None, 0.0))
    said = available(world)
    assert (said.up, said.down, said.unknown) == (30.0, 10.0, 20.0)
    assert said.share == 0.75


def test_an_outage_weighs_what_it_lasts_however_often_it_was_tried_meanwhile(clock):
    """15 s of outage in 136 s: of twelve cycles three were down, 75%; of the time, 89%."""
    world = MadeUp(a_target(run_every=15.0, retry_every=5.0, cycle_timeout=30.0), clock=clock)
    live(world, *[(None, 15.0)] * 4, *[(Reason.SERVER_ERROR, 5.0)] * 3, *[(None, 15.0)] * 4, (None, 1.0))
    cycles = world["quay"].record.recent(100)
    assert sum(cycle.verdict is Verdict.UP for cycle in cycles) / len(cycles) == 0.75
    assert available(world).share == pytest.approx(121 / 136)


def test_the_standing_verdict_counts_as_long_as_it_is_fresh_and_no_longer(world, clock):
    live(world, (Reason.TIMEOUT, 5.0), (None, 20.0))
    assert available(world).up == 20.0
    clock.advance(10 * HOUR)
    said = available(world)
    assert (said.up, said.down) == (90.0, 5.0)
    assert said.measured == pytest.approx(95 / (24 * HOUR), rel=0.01)
    live(world, (Reason.TIMEOUT, HOUR))
    said = available(world)
    assert (said.up, said.down) == (90.0, 65.0), "retry-every is in force then, and shorter"


def test_one_that_is_held_back_is_down_for_as_long_as_that_lasts(world):
    live(world, *[(Reason.UNAUTHORIZED, 60.0)] * 7, (Reason.UNAUTHORIZED, 2 * HOUR))
    assert available(world).down == 7 * 60.0 + HOUR + 30.0


def test_without_a_judgement_there_is_no_share(world):
    assert available(world).share is None
    live(world, (Reason.DAEMON, 30.0))
    assert available(world).share is None
    assert available(world).measured > 0


def test_what_lies_before_the_window_does_not_count(world, clock):
    live(world, (Reason.TIMEOUT, 26 * HOUR), (None, 60.0))
    assert (available(world).down, available(world).up) == (0.0, 60.0)
    assert available(world, 7 * 24).down == 60.0


def test_a_window_begins_with_a_whole_hour_and_divides_what_stood_over_it(clock):
    world = MadeUp(a_target(run_every=3 * HOUR, cycle_timeout=30.0), clock=clock)
    live(world, (None, 2.5 * HOUR))
    assert (available(world, 1).up, available(world, 1).measured) == (1.5 * HOUR, 1.0)
    live(world, (Reason.TIMEOUT, 0.0))
    assert (available(world, 1).up, available(world, 1).measured) == (1.5 * HOUR, 1.0)
    assert available(world, 2).up == 2.5 * HOUR


def test_time_that_nothing_was_measured_is_told(world, clock):
    live(world, *[(None, 60.0)] * 60)
    assert available(world, 1).measured == 1.0
    clock.advance(HOUR)
    assert available(world, 1).measured == pytest.approx(30.0 / HOUR)


# Strangers.


def test_what_strangers_can_do_is_kept_with_the_standing(world, record):
    world.finish(an_up_cycle())
    assert record.standing().strangers == StrangersMay()
    record.strangers = StrangersMay(push=True)
    assert record.standing().strangers == StrangersMay(push=True)


# Clocks that were wrong.


@pytest.fixture
def wrong(clock):
    """A target on a host whose wall clock is off by so many seconds, and those."""
    off = [0.0]
    wall = lambda: NOON.timestamp() + clock.now - 1000.0 + off[0]  # noqa: E731  it is a clock
    return MadeUp(a_target(run_every=60.0, cycle_timeout=30.0), clock=clock, wall=wall), off


def test_a_clock_that_was_set_back_counts_each_verdict_in_its_own_hour(wrong):
    world, off = wrong
    live(world, (None, 60.0), (None, 60.0))
    off[0] = -5 * HOUR
    live(world, (None, 60.0), (None, 0.0))
    record = world["quay"].record
    assert record.availability(HOUR, NOON + 3 * MINUTE).up == 60.0
    assert record.availability(6 * HOUR, NOON + 3 * MINUTE).up == 180.0


@pytest.mark.parametrize("years", [11, -57])
def test_a_clock_that_was_years_off_for_one_cycle_stops_no_tally(wrong, years):
    world, off = wrong
    live(world, (None, 60.0), (None, 60.0))
    off[0] = years * 365.25 * 24 * HOUR
    live(world, (Reason.TIMEOUT, 60.0))
    off[0] = 0.0
    live(world, (None, 60.0), (None, 60.0), (None, 0.0))
    said = world["quay"].record.availability(24 * HOUR, NOON + 5 * MINUTE)
    assert (said.up, said.down) == (180.0, 60.0)
