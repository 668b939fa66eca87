"""What applies to every test, and the lab that those outside `tests/unit` work in.

The caller's own settings of the monitor and of Docker change nothing. There is a real engine and a real registry, once
for all tests of a run, or of a worker if several share the run; and a repository for each test.
"""

from __future__ import annotations

import os
import re
import signal
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from lab.engine import Engine
from lab.faults.ground import Ground, Lane
from lab.registry import Registry
from lab.session import Lab
from lab.snapshot import take_snapshot
from lab.target import PASSWORD, USER

_PREFIXES = ("REGISTRY_MONITOR_", "DOCKER_", "PROMETHEUS_", "UNDER_DOCKER", "STATE_DIRECTORY")
_TESTS = Path(__file__).parent
#: Tests of what tests and measures: there is time for them when everything is run.
_OF_TOOLS = (_TESTS / "bench", _TESTS / "equipment")
#: What takes over half a minute, longest first: no worker is to wait for it at the end.
_LONG = [
    _TESTS / "lab" / f"test_{name}.py"
    for name in (
        *("every_engine", "pulp", "dashboard", "fault_matrix", "systemd", "rested", "deadlines", "secrets", "engines"),
        *("prometheus",),
        *("starved", "service", "speakers", "replicas", "life", "many_targets", "habits", "strangers"),
        *("image", "socket_proxy", "podman_service", "history"),
    )
]

# No example has a deadline of its own, which a busy machine would miss. Unless a profile is asked for, hypothesis looks
# for new examples; `ci` has the same at every run.
_FREE = settings(deadline=None, print_blob=True)
settings.register_profile("free", _FREE)
settings.register_profile("ci", settings.get_profile("ci"), max_examples=200)
settings.register_profile("everything", _FREE, max_examples=1500)
settings.load_profile("free")

# A shell that runs this in the background makes it ignore Control-C, and so each program that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = count(1)


def pytest_collection_modifyitems(items):
    """Mark what needs the lab, and what the quick suite leaves out; what takes longest comes first."""
    for item in items:
        if not item.path.is_relative_to(_TESTS / "unit"):
            item.add_marker("lab")
        if any(item.path.is_relative_to(folder) for folder in _OF_TOOLS):
            item.add_marker("everything")
    items.sort(key=lambda item: _LONG.index(item.path) if item.path in _LONG else len(_LONG))


@pytest.fixture(autouse=True)
def _neutral_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)


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
