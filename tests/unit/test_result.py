"""A result has one JSON shape, and comes back from it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.failure import Reason, Verdict
from lib.result import Cycle, Outcome, Step, StepName, rfc3339
from tests.unit.support import MADE, digest_of

seconds = st.floats(0, 86_400)
texts = st.none() | st.text(max_size=50)
failed_steps = st.builds(
    lambda reason, **rest: Step(outcome=Outcome.FAILED, reason=reason, scope=reason.scope, **rest),
    name=st.sampled_from(StepName),
    seconds=seconds,
    reason=st.sampled_from(Reason),
    detail=st.text(max_size=50),
    retries=st.integers(0, 99),
)
good_steps = st.builds(
    Step,
    name=st.sampled_from(StepName),
    outcome=st.sampled_from([Outcome.OK, Outcome.SKIPPED]),
    seconds=seconds,
    retries=st.integers(0, 99),
)
cycles = st.builds(
    Cycle,
    target=st.text(max_size=20),
    registry=st.text(max_size=20),
    repository=st.text(max_size=20),
    tag=st.text(max_size=20),
    started=st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  bounds of it
    seconds=seconds,
    verdict=st.sampled_from(Verdict),
    steps=st.lists(good_steps | failed_steps, max_size=7).map(tuple),
    pushed_digest=texts,
    pulled_digest=texts,
    payload_bytes=st.integers(1, 2**40),
)

DOWN = Cycle(
    target="quay",
    registry="quay.io",
    repository="quay.io/acme/canary",
    tag="latest",
    started=datetime(2026, 11, 24, 8, 30, 0, 120_900, UTC),
    seconds=1.9304,
    verdict=Verdict.DOWN,
    steps=(
        Step(StepName.LOGIN, Outcome.OK, 0.1104, output=("Login Succeeded",)),
        Step(StepName.PUSH, Outcome.FAILED, 1.8, Reason.SERVER_ERROR, Reason.SERVER_ERROR.scope, "503", retries=5),
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
                },
                {
                    "step": "push",
                    "outcome": "failed",
                    "seconds": 1.8,
                    "reason": "server_error",
                    "scope": "registry",
                    "detail": "503",
                    "retries": 5,
                },
            ],
        },
        indent=1,
    )


def test_a_cycle_without_a_failed_step_names_none():
    """step, reason, scope and detail are null where nothing failed."""
    shape = replace(DOWN, verdict=Verdict.UP, steps=DOWN.steps[:1], pushed_digest=digest_of(1)).to_dict()

    assert [shape[name] for name in ("step", "reason", "scope", "detail")] == [None] * 4
    assert shape["pushed_digest"] == digest_of(1)


@given(cycles)
def test_a_cycle_comes_back_from_its_json(cycle):
    """What was written is read as the same cycle: the same JSON, and the same values but for what JSON cuts off."""
    back = Cycle.from_dict(json.loads(json.dumps(cycle.to_dict())))

    assert back.to_dict() == cycle.to_dict()
    assert (back.verdict, back.failed and back.failed.reason) == (cycle.verdict, cycle.failed and cycle.failed.reason)
    assert abs(back.started - cycle.started) < timedelta(milliseconds=1)


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
        {"steps": [DOWN.steps[0].to_dict() | {"seconds": []}]},
    ],
)
def test_what_is_no_cycle_is_refused(changed):
    """Anything else than the shape is a KeyError or ValueError, as its contract says."""
    with pytest.raises((KeyError, ValueError)):
        Cycle.from_dict(DOWN.to_dict() | changed)


@pytest.mark.parametrize("name", DOWN.to_dict().keys() - {"step", "reason", "scope", "detail"})
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
