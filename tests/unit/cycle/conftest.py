"""A world for each test of a cycle."""

from dataclasses import replace

import pytest

from tests.unit.cycle.world import BEFORE, TARGET, World


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Nothing comes late here: what waits for that waits no time."""
    monkeypatch.setattr("lib.cycle.housekeeping._LATE_SECONDS", 0.0)


@pytest.fixture
def world(fp, tmp_path):
    return World(fp, tmp_path)


@pytest.fixture
def make_world(fp, tmp_path):
    def make(last=BEFORE, instances=("me",), **changed):
        return World(fp, tmp_path, replace(TARGET, **changed), last, instances=instances)

    return make
