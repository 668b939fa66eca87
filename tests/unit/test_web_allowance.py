"""Allowance: an amount at once, and then as much as is refilled."""

from __future__ import annotations

import pytest

from lib.web.allowance import Allowance


@pytest.fixture
def now():
    return [0.0]


def test_after_a_quiet_time_it_is_whole_and_then_there_is_no_more_than_comes_back(now):
    allowance = Allowance(1.0, 0.2, lambda: now[0])
    allowance.take(1.0)
    assert allowance.pause() == 0
    taken = 0.0
    while now[0] < 100:
        now[0] += allowance.pause()
        allowance.take(0.01)
        taken += 0.01
    assert taken == pytest.approx(100 * 0.2, rel=0.01)


def test_a_long_quiet_time_saves_up_no_more_than_the_whole(now):
    allowance = Allowance(1.0, 0.2, lambda: now[0])
    allowance.take(1.0)
    now[0] += 3600
    assert allowance.take(3.0) == -2.0
    assert allowance.pause() == pytest.approx(10.0)


def test_what_is_given_back_is_there_again(now):
    allowance = Allowance(10.0, 1.0, lambda: now[0])
    allowance.take(4.0)
    allowance.take(-1.0)
    assert allowance.left() == 7.0
