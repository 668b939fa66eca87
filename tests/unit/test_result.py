"""A result has one JSON shape, and comes back from it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.failure import Failure, Reason, Scope, Verdict
from lib.result import PHASES, Cycle, Outcome, Step, StepName, rfc3339
from tests.unit.support import MADE, digest_of

seconds = st.floats(0, 86_400)
texts = st.none() | st.text(max_size=50)
failures = st.builds(Failure, st.sampled_from(Reason), st.text(max_size=50)) | st.builds(
    Failure, st.just(Reason.UNCLASSIFIED), st.text(max_size=50), explicit_scope=st.sampled_from(Scope)
)
failed_steps = st.builds(
    Step,
    name=st.sampled_from(StepName),
    outcome=st.just(Outcome.FAILED),
    seconds=seconds,
    failure=failures,
    retries=st.integers(0, 99),
)
good_steps = st.builds(
    Step,
    name=st.sampled_from(StepName),
    outcome=st.sampled_from([Outcome.OK, Outcome.SKIPPED]),
    seconds=seconds,
    retries=st.integers(0, 99),
)
timed_steps = st.builds(
    lambda name, spent: Step(name, Outcome.OK, sum(spent), spent=spent),
    st.sampled_from(sorted(PHASES)),
    st.tuples(seconds, seconds, seconds),
)
cycles = st.builds(
    Cycle,
    target=st.text(max_size=20),
    repository=st.text(max_size=20),
    tag=st.text(max_size=20),
    started=st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  bounds of it
    seconds=seconds,
    steps=st.lists(good_steps | timed_steps | failed_steps, max_size=7).map(tuple),
    pushed_digest=texts,
    pulled_digest=texts,
    payload_bytes=st.integers(1, 2**40),
)

DOWN = Cycle(
    target="quay",
    repository="quay.io/acme/canary",
    tag="latest",
    started=datetime(2026, 11, 24, 8, 30, 0, 120_900, UTC),
    seconds=1.9304,
    steps=(
        Step(StepName.LOGIN, Outcome.OK, 0.1104, output=("Login Succeeded",)),
        Step(StepName.PULL, Outcome.OK, 0.3714, spent=(0.0504, 0.2106, 0.1104)),
        Step(StepName.PUSH, Outcome.FAILED, 1.8, Failure(Reason.SERVER_ERROR, "503"), retries=5),
    ),
    pushed_digest=None,
    pulled_digest=None,
    payload_bytes=1048576,
)


def test_a_cycle_has_the_shape_of_the_contract():
    """Names, order and forms are those that other people's scripts read."""
    assert json.dumps(DOWN.to_dict(), indent=1) == json.dumps(
        {
            "target": "quay",
            "registry": "quay.io",
            "repository": "quay.io/acme/canary",
            "tag": "latest",
            "started": "2026-11-24T08:30:00.120Z",
            "seconds": 1.93,
            "verdict": "down",
            "step": "push",
            "reason": "server_error",
            "scope": "registry",
            "detail": "503",
            "pushed_digest": None,
            "pulled_digest": None,
            "payload_bytes": 1048576,
            "steps": [
                {
                    "step": "login",
                    "outcome": "ok",
                    "seconds": 0.11,
                    "reason": None,
                    "scope": None,
                    "detail": None,
                    "retries": 0,
                    "phases": None,
                },
                {
                    "step": "pull",
                    "outcome": "ok",
                    "seconds": 0.371,
                    "reason": None,
                    "scope": None,
                    "detail": None,
                    "retries": 0,
                    "phases": {"resolve": 0.05, "transfer": 0.211, "unpack": 0.11},
                },
                {
                    "step": "push",
                    "outcome": "failed",
                    "seconds": 1.8,
                    "reason": "server_error",
                    "scope": "registry",
                    "detail": "503",
                    "retries": 5,
                    "phases": None,
                },
            ],
        },
        indent=1,
    )


def test_a_cycle_without_a_failed_step_names_none():
    """step, reason, scope and detail are null if nothing failed."""
    shape = replace(DOWN, steps=DOWN.steps[:1], pushed_digest=digest_of(1)).to_dict()

    assert [shape[name] for name in ("step", "reason", "scope", "detail")] == [None] * 4
    assert shape["pushed_digest"] == digest_of(1)


@given(cycles)
def test_a_cycle_comes_back_from_its_json(cycle):
    """What was written is read as the same cycle: the same JSON, and the same values except for what JSON cuts off."""
    back = Cycle.from_dict(json.loads(json.dumps(cycle.to_dict())))

    assert back.to_dict() == cycle.to_dict()
    assert (back.verdict, back.registry) == (cycle.verdict, cycle.registry)
    assert [(step.reason, step.scope) for step in back.steps] == [(step.reason, step.scope) for step in cycle.steps]
    assert abs(back.started - cycle.started) < timedelta(milliseconds=1)


@given(timed_steps)
def test_phases_add_up_to_the_seconds(step):
    """As they were measured, and also in JSON, in which each is rounded."""
    assert sum(step.phases.values()) == pytest.approx(step.seconds)
    shape = step.to_dict()
    assert sum(shape["phases"].values()) == pytest.approx(shape["seconds"], abs=1e-6)


def test_a_step_that_was_kept_before_there_were_phases_is_read():
    shape = DOWN.steps[1].to_dict()
    del shape["phases"]

    assert Step.from_dict(shape).phases is None


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": "green"},
        {"started": "yesterday"},
        {"seconds": "long"},
        {"seconds": None},
        {"started": 5},
        {"steps": None},
        {"steps": [5]},
        {"steps": [DOWN.steps[0].to_dict() | {"reason": "bad_luck"}]},
        {"steps": [DOWN.steps[0].to_dict() | {"scope": "weather"}]},
        {"steps": [DOWN.steps[0].to_dict() | {"seconds": []}]},
        {"steps": [DOWN.steps[2].to_dict() | {"reason": None}]},
        {"steps": [DOWN.steps[2].to_dict() | {"detail": "\ud800"}]},
        {"steps": [DOWN.steps[0].to_dict() | {"phases": {"resolve": 0, "transfer": 0, "unpack": 0}}]},
        {"steps": [DOWN.steps[1].to_dict() | {"phases": {"resolve": 0, "transfer": 0}}]},
        {"steps": [DOWN.steps[1].to_dict() | {"phases": {"resolve": 0, "transfer": -1, "unpack": 0}}]},
        {"steps": [DOWN.steps[1].to_dict() | {"phases": ["resolve", "transfer", "unpack"]}]},
        {"steps": [DOWN.steps[1].to_dict() | {"phases": 5}]},
        {"seconds": float("nan")},
        {"seconds": -1},
        {"payload_bytes": 2**63},
        {"started": "2026-11-24T08:30:00"},
        {"started": "0001-01-01T00:00:00+23:59"},
    ],
)
def test_what_is_no_cycle_is_refused(changed):
    """Anything else than the shape is a KeyError or ValueError, as its contract says."""
    with pytest.raises((KeyError, ValueError)):
        Cycle.from_dict(DOWN.to_dict() | changed)


@pytest.mark.parametrize(
    ("failed", "verdict"),
    [
        ({}, Verdict.DOWN),
        ({"reason": "warm", "scope": "host"}, Verdict.UNKNOWN),
        ({"reason": "unclassified"}, Verdict.DOWN),
        ({"reason": "unclassified", "scope": "host"}, Verdict.UNKNOWN),
        ({"scope": "config"}, Verdict.UNKNOWN),
        ({"scope": None}, Verdict.DOWN),
        ({"outcome": "ok"}, Verdict.UP),
    ],
)
@pytest.mark.parametrize("written", Verdict)
def test_a_verdict_comes_of_the_failed_step_whatever_was_written(written, failed, verdict):
    """An older history is read even if it contradicts itself or this version; who was blamed then still is."""
    step = DOWN.steps[2].to_dict() | failed
    cycle = Cycle.from_dict(DOWN.to_dict() | {"verdict": written, "registry": "other.example", "steps": [step]})

    assert (cycle.verdict, cycle.registry) == (verdict, "quay.io")
    assert cycle.to_dict()["verdict"] == verdict
    if step["reason"] and step["scope"]:
        assert cycle.steps[0].to_dict() == step


#: What a cycle is not made of: it follows from the failed step and the repository.
DERIVED = {"registry", "step", "reason", "scope", "detail"}


@pytest.mark.parametrize("name", sorted(DOWN.to_dict().keys() - DERIVED))
def test_a_cycle_that_lacks_something_is_refused(name):
    """Every value that a cycle is made of is asked for."""
    shape = DOWN.to_dict()
    del shape[name]

    with pytest.raises(KeyError):
        Cycle.from_dict(shape)


def test_moments_are_rfc_3339_in_utc_with_milliseconds():
    """Whatever the time zone, it is written in UTC, and with a Z."""
    assert rfc3339(MADE) == "2026-11-24T08:30:00.120Z"
    assert rfc3339(MADE.astimezone(timezone(timedelta(hours=-5)))) == "2026-11-24T08:30:00.120Z"
    assert rfc3339(MADE.replace(microsecond=0)) == "2026-11-24T08:30:00.000Z"
