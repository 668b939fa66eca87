"""The tallies of the hours: their sums from any hour on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lib.failure import Verdict
from lib.history.record import Hours


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(Verdict)), max_size=80), st.integers(0, 61))
def test_the_sums_are_those_of_the_hours_from_the_first_one_on(cycles, first):
    hours = Hours()
    cycles.sort(key=lambda cycle: cycle[0])
    for hour, verdict in cycles:
        hours.add(hour, verdict, 2.0)
    counted = [verdict for hour, verdict in cycles if hour >= first]
    each = [counted.count(verdict) for verdict in (Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN)]
    assert hours.total(first) == (*each, 2.0 * len(counted))
