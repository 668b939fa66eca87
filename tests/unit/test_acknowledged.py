"""Acknowledged: which push replaced an image, and how long ago."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lib.history.acknowledged import Acknowledged
from lib.result import Push
from tests.unit.examples import NOON, HandClock


def a_push(number):
    return Push(f"sha256:{number}", f"sha256:i{number}", f"token {number}", "me", made(number))


def made(number):
    return NOON + timedelta(minutes=number)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def pushes(clock):
    """Twenty-five pushes, the last of them just now, one each minute: the first five are forgotten."""
    pushes = Acknowledged(None, clock.monotonic, lambda: made(24).timestamp())
    for number in range(25):
        pushes.add(a_push(number))
        clock.now += 60.0 if number < 24 else 0.0
    return pushes


@pytest.mark.parametrize(
    ("token", "number", "lag"),
    [
        pytest.param("token 24", 24, 0.0, id="the last"),
        pytest.param("token 23", 23, 0.0, id="replaced just now"),
        pytest.param("token 10", 10, 13 * 60.0, id="replaced long ago"),
        pytest.param("token 2", 2, 22 * 60.0, id="forgotten: counts from when it was made"),
        pytest.param("given up", 10.5, 13 * 60.0, id="not acknowledged, between two that were"),
        pytest.param("cut off", 30, 0.0, id="not acknowledged, after all that were"),
        pytest.param("token 10", 0, 13 * 60.0, id="the token counts, whatever a clock said"),
    ],
)
def test_an_image_lags_from_the_push_that_replaced_it(pushes, token, number, lag):
    assert pushes.lag(token, made(number)) == lag


def test_what_an_earlier_process_pushed_last_came_when_it_was_made(clock):
    pushes = Acknowledged(a_push(0), clock.monotonic, lambda: made(3).timestamp())
    assert (bool(pushes), pushes.find("token 0"), pushes.lag("token 0", made(0))) == (True, a_push(0), 0.0)
    assert pushes.lag("older", made(-1)) == 4 * 60.0
    pushes.add(a_push(3))
    clock.now += 5.0
    assert pushes.lag("token 0", made(0)) == 5.0


def test_a_clock_that_was_set_back_makes_no_lag_negative(clock):
    pushes = Acknowledged(a_push(0), clock.monotonic, lambda: made(-60).timestamp())
    assert pushes.lag("older", made(-1)) == 0.0


def test_without_a_push_there_is_none(clock):
    pushes = Acknowledged(None, clock.monotonic)
    assert (bool(pushes), pushes.find("token 0")) == (False, None)
