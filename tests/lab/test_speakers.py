"""Who spoke, for real: gates in front of the engine, the kernel below it, and those who stand behind a registry."""

from __future__ import annotations

import pytest

from lab.faults import speakers

# The first row that is looked at waits for all that began before it.
pytestmark = pytest.mark.timeout(1200)

ROWS = speakers.ROWS


def test_who_spoke_is_found_and_the_next_cycle_is_clean(row, results):
    """The expected verdict, scope, reason and step, within the deadline; then up, with nothing left."""
    assert results[str(row)].result().faults() == []
