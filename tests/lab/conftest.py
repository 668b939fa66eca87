"""What tests of the lab share: other Debians for their engines, and rows of faults.

A module has those as ROWS: each is a test, and they run side by side.
"""

from __future__ import annotations

from itertools import count

import pytest

from lab.engines import Debians
from lab.faults.ground import Ground
from lab.faults.matrix import running
from lab.faults.rows import one_of_each
from lab.session import Lab

_numbers = count(1)


def pytest_generate_tests(metafunc):
    """Run a test that takes a `row` for each of its module's ROWS, the most of them only when everything is run."""
    if "row" in metafunc.fixturenames:
        quick = set(one_of_each(metafunc.module.ROWS))
        metafunc.parametrize(
            "row",
            [
                pytest.param(row, marks=[] if row in quick else pytest.mark.everything, id=str(row))
                for row in metafunc.module.ROWS
            ],
        )


@pytest.fixture(scope="module")
def results(request):
    """The results of the rows of faults that a module asks for, by their names; they run side by side."""
    asked = [
        item.callspec.params["row"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec") and "row" in item.callspec.params
    ]
    with Lab() as lab, running(Ground(lab), asked) as results:
        yield results


@pytest.fixture(scope="session")
def debians(session_lab):
    """Other Debians, with their engines."""
    return Debians(session_lab.folder)


@pytest.fixture
def folder(session_lab):
    """A folder for an engine of this test's own, which does not exist yet."""
    return session_lab.folder / f"engines-{next(_numbers)}"
