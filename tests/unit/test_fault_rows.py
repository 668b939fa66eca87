"""The rows of the fault matrix, which tests/lab runs: none is forgotten, whichever are chosen."""

from __future__ import annotations

import pytest

from lab.faults.rows import ROWS, WITHOUT_ROW, one_of_each
from lib.failure.reason import Reason
from lib.result import StepName

_QUICK = one_of_each(ROWS)

chosen = pytest.mark.parametrize("rows", [ROWS, _QUICK], ids=["all", "quick"])


@chosen
def test_every_reason_has_a_row(rows):
    """No reason is without a fault that brings it about, except the known ones."""
    met = {row.expected.split()[-1] for row in rows}
    assert {str(reason) for reason in Reason} - met == {str(reason) for reason in WITHOUT_ROW}


@chosen
def test_every_step_is_struck(rows):
    """Also by what belongs to no step: the network, the engine, the CLI."""
    assert {row.step for row in rows} == set(StepName)


def test_the_quick_run_meets_every_fault_and_all_that_comes_of_it():
    """Each fault is run once, and once more for each other expected result."""
    assert {(row.name, row.expected) for row in _QUICK} == {(row.name, row.expected) for row in ROWS}
    assert len(_QUICK) == len({(row.name, row.expected) for row in ROWS})
    assert set(_QUICK) <= set(ROWS)


def test_rows_are_told_apart_by_their_names():
    """Each name belongs to one row."""
    assert len({str(row) for row in ROWS}) == len(ROWS)
