"""A real engine and a real registry, once for all tests; a repository for each."""

from __future__ import annotations

import re
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from lab.engine import Engine
from lab.registry import Registry
from lab.session import Lab
from lab.snapshot import take_snapshot
from tests.lab.ground import Ground, Lane

USER, PASSWORD = "monitor", "secret"

_numbers = count(1)


def pytest_collection_modifyitems(items):
    """Mark every test in this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("lab")


@pytest.fixture(scope="session")
def session_lab():
    """The lab of the whole run."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def engine(session_lab):
    """A private dockerd, not logged in anywhere."""
    return session_lab.enter(Engine(session_lab.folder / "engine"))


@pytest.fixture(scope="session")
def registry(session_lab):
    """A registry that lets USER in, by PASSWORD."""
    return session_lab.enter(Registry(session_lab.folder / "registry", users={USER: PASSWORD}))


@pytest.fixture
def repository(registry, request):
    """The full name of a repository that no other test uses."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    return f"{registry.host}/tests/{name}-{next(_numbers)}"


@pytest.fixture
def docker(engine):
    """Given arguments, run the docker CLI on the engine (`lab.engine.Engine.docker`)."""
    return engine.docker


@pytest.fixture
def snapshot(engine):
    """Return what the engine holds now (`lab.snapshot.take_snapshot`)."""
    return partial(take_snapshot, engine)


@pytest.fixture(scope="session")
def ground():
    """What all tests of faults stand on."""
    with Lab() as lab:
        yield Ground(lab)


@pytest.fixture
def lane(ground):
    """A lane on the calm engine."""
    with Lane(ground, ground.calm) as lane:
        yield lane
