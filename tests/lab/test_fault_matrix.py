"""The fault matrix, on a real engine and registry over a real network path."""

from __future__ import annotations

import pytest

from lab.faults import rows

# The first row that is looked at waits for all that began before it.
pytestmark = pytest.mark.timeout(1200)

ROWS = rows.ROWS


def test_a_fault_is_judged_as_it_should_be_and_the_next_cycle_is_clean(row, results):
    """The expected verdict, scope, reason and step, within the deadline; then up, with nothing left."""
    assert results[str(row)].result().faults() == []
