"""Outages that really happened to registries, replayed here: the monitor sees them, and names them."""

from __future__ import annotations

import pytest

from lab.outages.outages import OUTAGES

# The first row that is looked at waits for all that began before it.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.everything]

#: Those that strike a cycle: the fault matrix runs them side by side.
ROWS = tuple(outage.row for outage in OUTAGES if outage.row)
REPLAYS = tuple(outage for outage in OUTAGES if outage.replay)


def test_an_outage_that_strikes_a_cycle_is_named(row, results):
    assert results[str(row)].result().faults() == []


@pytest.mark.parametrize("outage", REPLAYS, ids=str)
def test_an_outage_that_strikes_elsewhere_is_seen(outage, ground):
    assert outage.replay(ground) == outage.says


def test_34_of_39_are_seen_and_each_other_is_explained():
    assert [outage.number for outage in OUTAGES] == list(range(1, 40))
    assert sum(outage.is_seen for outage in OUTAGES) >= 34
    assert all(outage.note for outage in OUTAGES if not outage.is_seen)
