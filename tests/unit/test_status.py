"""Status: what is said of a target, in words and as JSON."""

from __future__ import annotations

from datetime import timedelta

import pytest
from examples import NOON, a_failed_cycle, a_target, an_up_cycle

from lib.history import Standing
from lib.status import TargetStatus, all_ok, status_of


def status(cycle=None, age_seconds=1.0, since=NOON):
    standing = Standing(cycle, since, age_seconds) if cycle else None
    return TargetStatus(a_target(run_every=120.0, cycle_timeout=300.0), standing)


def test_before_the_first_verdict_nothing_is_ok():
    assert not status().ok
    assert not status().stale
    assert status().to_line(NOON) == "quay: no verdict yet"
    assert status().to_dict() == {
        "target": "quay",
        "ok": False,
        "verdict": None,
        "since": None,
        "age_seconds": None,
        "stale": False,
        "last_cycle": None,
    }


def test_up_is_ok():
    up = status(an_up_cycle(), age_seconds=12.34567)
    assert up.ok
    assert up.to_line(NOON + timedelta(hours=3, minutes=2)) == "quay: up for 3h2m"
    assert up.to_dict() == {
        "target": "quay",
        "ok": True,
        "verdict": "up",
        "since": "2026-11-24T12:00:00.000Z",
        "age_seconds": 12.346,
        "stale": False,
        "last_cycle": an_up_cycle().to_dict(),
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


def test_a_wall_clock_that_went_back_makes_no_negative_time():
    assert status(an_up_cycle()).to_line(NOON - timedelta(hours=1)) == "quay: up for 0s"


def test_all_is_well_only_if_each_is():
    standings = {"a": Standing(an_up_cycle("a"), NOON, 1.0)}
    both = status_of([a_target("a"), a_target("b")], standings.get)
    assert [one.target.name for one in both] == ["a", "b"]
    assert not all_ok(both)
    assert all_ok(both[:1])
    assert not all_ok(())


@pytest.mark.parametrize("exposed", [None, False, True])
def test_exposed_is_told_only_where_the_target_has_to_be_private(exposed):
    standing = Standing(an_up_cycle(), NOON, 1.0, exposed)
    private = TargetStatus(a_target(expect_private=True), standing)
    assert private.to_dict()["exposed"] is exposed
    assert private.ok
    assert ("strangers can pull" in private.to_line(NOON)) is (exposed is True)
    assert "exposed" not in TargetStatus(a_target(), standing).to_dict()


def test_before_the_first_verdict_nothing_is_known_of_strangers():
    assert TargetStatus(a_target(expect_private=True), None).to_dict()["exposed"] is None
