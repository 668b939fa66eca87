"""A world for each test of a cycle."""

from dataclasses import replace

import pytest

from tests.unit.cycle.world import LAST, TARGET, World


@pytest.fixture
def make_world(tmp_path, monkeypatch):
    made = []

    def make(last=LAST, *, of_world=(), **changed):
        made.append(World(tmp_path / str(len(made)), replace(TARGET, **changed), last, **dict(of_world)))
        monkeypatch.setattr("time.sleep", made[0].sleep)
        return made[-1]

    return make


@pytest.fixture
def world(make_world):
    return make_world()
