"""Hours: how long each verdict stood in each, and the sums from any hour on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.failure import Verdict
from lib.history.hours import HOUR_SECONDS, MOST_HOURS, Hour, Hours

spans = st.lists(
    st.tuples(st.sampled_from(Verdict), st.integers(0, 60 * HOUR_SECONDS), st.integers(0, 26 * HOUR_SECONDS)),
    max_size=20,
)


@given(spans, st.integers(0, 90), st.integers(0, 90))
def test_the_sums_are_those_of_the_hours_between_in_whatever_order_they_came(added, first, last):
    hours = Hours()
    for verdict, began, seconds in added:
        hours.add(verdict, began, began + seconds)
    begin, end = first * HOUR_SECONDS, (last + 1) * HOUR_SECONDS
    expected = dict.fromkeys(Verdict, 0.0)
    for verdict, began, seconds in added:
        expected[verdict] += max(0, min(began + seconds, end) - max(began, begin))
    assert hours.total(first, last) == pytest.approx(expected)
    assert Hours(hours.numbers).total(first, last) == hours.total(first, last)


def test_a_span_is_divided_among_its_hours_and_those_are_returned():
    hours = Hours()
    hours.add(Verdict.DOWN, 10.0, 11.5)
    assert hours.add(Verdict.UP, 3599.75, 7201.0) == (
        Hour(0, 250, 1500, 0),
        Hour(1, 3_600_000, 0, 0),
        Hour(2, 1000, 0, 0),
    )
    assert hours.add(Verdict.UNKNOWN, 5.0, 5.0) == ()


def test_a_month_is_kept_and_no_more():
    hours = Hours()
    hours.add(Verdict.UP, 0.0, 40 * 24 * 3600.0)
    assert hours.total(0, 99_999)[Verdict.UP] == (MOST_HOURS + 2) * HOUR_SECONDS
