"""Status: what is shown of a target, in words and as JSON."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.failure import Reason
from lib.rested import Cold
from lib.target import Anonymous, StrangersMay
from lib.watch.pace import Pace
from lib.watch.status import TargetStatus, all_ok, status_of
from tests.unit.examples import NOON, a_failed_cycle, a_lost_image, a_standing, a_target, an_up_cycle
from tests.unit.watching import MadeUp


def status(cycle=None, age_seconds=1.0, since=NOON):
    standing = a_standing(cycle, age_seconds, since) if cycle else None
    return TargetStatus(a_target(run_every=120.0, cycle_timeout=300.0), standing)


def test_before_the_first_verdict_nothing_is_ok():
    assert not status().ok
    assert not status().stale
    assert status().to_line(NOON) == "quay: no verdict yet"
    assert status().to_dict(NOON) == {
        "target": "quay",
        "ok": False,
        "verdict": None,
        "since": None,
        "age_seconds": None,
        "stale": False,
        "consecutive_failures": 0,
        "next_cycle": None,
        "availability": {"24h": None, "7d": None, "30d": None},
        "last_cycle": None,
        "anonymous": None,
        "replication_lag_seconds": None,
        "cold": None,
        "staying": [],
    }


def test_an_image_that_stays_is_told_and_changes_no_verdict():
    up = replace(status(an_up_cycle()), staying=("conflict: a is used by b",))
    assert up.ok
    assert up.to_line(NOON) == (
        "quay: up for 0s; a test image stays on this host until what uses it is removed: conflict: a is used by b"
    )
    assert up.to_dict(NOON)["staying"] == ["conflict: a is used by b"]


def test_rested_images_are_told_and_change_no_verdict():
    up = replace(status(an_up_cycle()), cold=Cold((a_lost_image(),)))
    assert up.ok
    assert up.to_line(NOON + timedelta(hours=3)) == "quay: up for 3h; 1 of its 1 rested images is lost"
    assert up.to_dict(NOON)["cold"] == Cold((a_lost_image(),)).to_dict()


def test_up_is_ok():
    up = status(an_up_cycle(), age_seconds=12.34567)
    assert up.ok
    assert up.to_line(NOON + timedelta(hours=3, minutes=2)) == "quay: up for 3h2m"
    assert up.to_dict(NOON) == {
        "target": "quay",
        "ok": True,
        "verdict": "up",
        "since": "2026-11-24T12:00:00.000Z",
        "age_seconds": 12.346,
        "stale": False,
        "consecutive_failures": 0,
        "next_cycle": None,
        "availability": {"24h": None, "7d": None, "30d": None},
        "last_cycle": an_up_cycle().to_dict(),
        "anonymous": None,
        "replication_lag_seconds": None,
        "cold": None,
        "staying": [],
    }


def test_down_is_told_with_step_reason_scope_and_dockers_words():
    down = status(a_failed_cycle())
    assert not down.ok
    assert down.to_line(NOON + timedelta(minutes=4)) == (
        "quay: down for 4m, push: server_error (registry): received unexpected HTTP status: 503 Service Unavailable"
    )


@pytest.mark.parametrize(("age_seconds", "stale"), [(0.0, False), (420.0, False), (420.001, True)])
def test_a_verdict_is_stale_past_its_interval_and_the_deadline_of_a_cycle(age_seconds, stale):
    up = status(an_up_cycle(), age_seconds)
    assert up.stale is stale
    assert up.ok is not stale


def test_a_stale_verdict_says_so():
    line = status(an_up_cycle(), age_seconds=540.0).to_line(NOON + timedelta(hours=1))
    assert line == "quay: up for 1h, stale: the last cycle ended 9m ago"


def test_a_verdict_is_fresh_for_as_long_as_the_interval_that_is_in_force():
    held_back = TargetStatus(
        a_target(run_every=120.0, cycle_timeout=300.0),
        a_standing(a_failed_cycle(Reason.DENIED), 3900.0, pace=Pace(3600.0, is_held_back=True), downs=7),
        next_cycle=NOON + timedelta(minutes=32),
    )
    assert not held_back.stale
    assert held_back.to_dict(NOON)["consecutive_failures"] == 7
    assert held_back.to_dict(NOON)["next_cycle"] == "2026-11-24T12:32:00.000Z"
    assert held_back.to_line(NOON).endswith(
        "; next cycle at 2026-11-24T12:32:00.000Z (held back: the registry refused the last one)"
    )
    assert replace(held_back, standing=replace(held_back.standing, age_seconds=3900.1)).stale
    soon = TargetStatus(
        a_target(run_every=120.0, retry_every=30.0, cycle_timeout=10.0),
        a_standing(a_failed_cycle(), 40.1, pace=Pace(30.0)),
    )
    assert soon.stale
    assert not replace(soon, standing=replace(soon.standing, age_seconds=40.0)).stale


def test_when_the_next_cycle_is_due_is_said_of_every_target():
    world = MadeUp(a_target("a"), a_target("b"))
    world.finish(an_up_cycle("a"))
    for watched in world.watch.targets:
        watched.progress.due = world.clock.now + 90.0
    lines = [one.to_line(NOON) for one in status_of(world.watch.targets)]
    assert lines == [
        "a: up for 0s; next cycle at 2026-11-24T12:01:30.000Z",
        "b: no verdict yet; next cycle at 2026-11-24T12:01:30.000Z",
    ]


def test_availability_is_said_of_three_windows_and_null_if_nothing_was_measured():
    world = MadeUp(a_target())

    def shares():
        (one,) = status_of(world.watch.targets)
        return one.to_dict(NOON + timedelta(seconds=world.clock.now - 1000.0))["availability"]

    nothing = {"24h": None, "7d": None, "30d": None}
    assert shares() == nothing
    world.finish(an_up_cycle())
    assert shares() == nothing
    world.clock.advance(60.0)
    assert shares() == {"24h": 1.0, "7d": 1.0, "30d": 1.0}
    world.finish(a_failed_cycle())
    world.clock.advance(30.0)
    assert shares() == dict.fromkeys(nothing, 0.666666667)


def test_a_wall_clock_that_went_back_makes_no_negative_time():
    assert status(an_up_cycle()).to_line(NOON - timedelta(hours=1)) == "quay: up for 0s"


def test_all_is_well_only_if_each_is():
    world = MadeUp(a_target("a"), a_target("b"))
    world.finish(an_up_cycle("a"))
    both = status_of(world.watch.targets)
    assert [one.target.name for one in both] == ["a", "b"]
    assert not all_ok(both)
    assert all_ok(both[:1])
    assert not all_ok(())


@pytest.mark.parametrize(
    ("lag", "shown", "words"), [(None, None, ""), (0.0, 0.0, ""), (61.23456, 61.235, "; 1m1s behind hub")]
)
def test_a_replica_says_how_far_it_is_behind_and_nobody_else_does(lag, shown, words):
    standing = a_standing(replace(an_up_cycle(), replication_lag=lag))
    replica = TargetStatus(a_target(read_only=True, replica_of="hub"), standing)
    assert replica.to_dict(NOON)["replication_lag_seconds"] == shown
    assert replica.to_line(NOON) == f"quay: up for 0s{words}"
    assert TargetStatus(a_target(), standing).to_dict(NOON)["replication_lag_seconds"] is None
    assert (
        TargetStatus(a_target(read_only=True, replica_of="hub"), None).to_dict(NOON)["replication_lag_seconds"] is None
    )


@pytest.mark.parametrize("exposed", [None, False, True])
def test_exposed_is_told_only_where_the_target_has_to_be_private(exposed):
    standing = a_standing(an_up_cycle(), strangers=StrangersMay(pull=exposed))
    private = TargetStatus(a_target(expect_private=True), standing)
    assert private.to_dict(NOON)["exposed"] is exposed
    assert private.ok
    assert ("strangers can pull" in private.to_line(NOON)) is (exposed is True)
    assert "exposed" not in TargetStatus(a_target(), standing).to_dict(NOON)


def test_before_the_first_verdict_nothing_is_known_of_strangers():
    shape = TargetStatus(a_target(expect_private=True, anonymous=Anonymous.REFUSED), None).to_dict(NOON)
    assert shape["exposed"] is None
    assert shape["anonymous"] == {"pull": None, "push": None}


REFUSED, PULL = Anonymous.REFUSED, Anonymous.PULL


@pytest.mark.parametrize(
    ("wanted", "found", "said"),
    [
        (REFUSED, StrangersMay(), ""),
        (REFUSED, StrangersMay(pull=False, push=False), ""),
        (REFUSED, StrangersMay(pull=True), "; strangers can pull its test image"),
        (REFUSED, StrangersMay(pull=False, push=True), "; strangers can push to its repository"),
        (PULL, StrangersMay(), ""),
        (PULL, StrangersMay(pull=True), ""),
        (PULL, StrangersMay(pull=False), "; strangers cannot pull its test image"),
        (None, StrangersMay(pull=True, push=True), ""),
    ],
)
def test_what_strangers_can_do_is_said_where_somebody_asks(wanted, found, said):
    """The verdict does not change."""
    status = TargetStatus(a_target(anonymous=wanted), a_standing(an_up_cycle(), strangers=found))
    assert status.ok
    assert status.to_line(NOON) == f"quay: up for 0s{said}"
    assert status.to_dict(NOON)["anonymous"] == (wanted and {"pull": found.pull, "push": found.push})
