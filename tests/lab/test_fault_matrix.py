"""The fault matrix, on a real engine and registry over a real network path."""

from __future__ import annotations

import pytest

from lab.session import Lab
from lib.failure.reason import Reason
from tests.lab.fault_matrix import ROWS
from tests.lab.ground import Ground
from tests.lab.matrix import running

#: What no fault of a registry, network or host brings about, and other tests bring about otherwise.
_WITHOUT_ROW = {
    Reason.QUOTA: "a hosted registry's words; the classifier's corpus has them",
    Reason.PROXY: "dockerd's own setting",
    Reason.WARM: "a builder's doing: the cycle's tests",
    Reason.REFERENCE: "refused before anything runs: the options' tests",
    Reason.CREDENTIAL_HELPER: "a login that was never tried: the cycle's tests",
    Reason.UNCLASSIFIED: "words that nobody has met",
}

# The first row that is looked at waits for all that began before it.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def results(request):
    """What comes of the rows that are asked for, by their names; they run side by side."""
    asked = [
        item.callspec.params["row"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec")
    ]
    with Lab() as lab, running(Ground(lab), asked) as results:
        yield results


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_fault_is_judged_as_it_should_be_and_the_next_cycle_is_clean(row, results):
    """The expected verdict, scope, reason and step, within the deadline; then up, with nothing left."""
    assert results[str(row)].result().faults() == []


def test_every_reason_has_a_row():
    """No reason is without a fault that brings it about, but for those that are known to be."""
    met = {row.expected.split()[-1] for row in ROWS}
    assert {str(reason) for reason in Reason} - met == {str(reason) for reason in _WITHOUT_ROW}


def test_rows_are_told_apart_by_their_names():
    """A name stands for one row."""
    assert len({str(row) for row in ROWS}) == len(ROWS)
