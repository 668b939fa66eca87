"""Kills at random moments, a third of them in pairs: the next start removes what was left, on the oldest engine and on
the newest, with either builder.
"""

from __future__ import annotations

import pytest

from bench.kills import Killing
from lab.engine_table import engines
from lab.engines import Debians
from lib.target import Builder

KILLS = 100
ENGINES = ("docker", "docker-buildkit", "forky-docker", "forky-docker-buildkit")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ENGINES)
def test_after_kills_at_random_moments_nothing_is_left(session_lab, name):
    """Killed while running, while starting and in pairs, and asked to end in between: engine and history are intact."""
    (cell,) = (cell for cell in engines() if cell.name == name)
    with cell.start(session_lab.folder / f"engine-{name}", Debians(session_lab.folder)) as engine:
        killing = Killing(session_lab, engine, session_lab.folder / f"kills-{name}", builder=Builder(cell.builder))
        toll = killing.run(KILLS)
    assert toll.faults == []
    assert set(toll.killed) == {"in its life", "at its start", "in a pair"}
    assert toll.left["folders"]
