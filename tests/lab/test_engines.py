"""Engines of the kinds that users have: whole cycles, their cold proof, and that nothing is left or lost.

These are a part of what `tests.lab.engine_table` measures.
"""

from __future__ import annotations

import json
import subprocess
from itertools import count

import pytest

from lab.daemon import await_true
from lab.engines import make_debian
from lab.monitor import Monitor
from tests.lab import engine_table
from tests.lab.test_cycle import once

# The first test waits for a whole Debian.
pytestmark = pytest.mark.timeout(600)

_CYCLES = 3
_TARGETS = 8
_PATIENCE = 240.0
_numbers = count(1)


@pytest.fixture(scope="module")
def root(session_lab):
    """The root of another Debian, with its engines."""
    return make_debian(session_lab.folder / engine_table.SUITE, engine_table.SUITE)


@pytest.fixture
def folder(session_lab):
    """A folder of this test's own, which does not exist yet."""
    return session_lab.folder / f"engines-{next(_numbers)}"


@pytest.mark.parametrize("name", ["docker-buildkit", "containerd-buildkit", "podman"])
def test_every_cycle_is_up_and_cold_and_leaves_all_as_it_was(root, folder, registry, name):
    """The monitor finds by itself what to remove of its own, and what was there before stays."""
    (cell,) = (cell for cell in engine_table.CELLS if cell.name == name)

    result = engine_table.measure(cell, folder, root, registry, _CYCLES)

    assert result.verdicts.keys() == {"up"}
    assert result.read_back == result.pushed == _CYCLES * engine_table.LAYERS
    assert (result.left, result.lost) == (frozenset(), frozenset())
    assert result.engine["builder"] == ("buildah" if name == "podman" else "buildkit")


@pytest.mark.parametrize("name", ["docker-buildkit", "containerd"])
def test_targets_side_by_side_are_all_up(root, folder, registry, name):
    """What one removes while another looks at what is there is no failure; each finds its own in the build cache."""
    (cell,) = (cell for cell in engine_table.CELLS if cell.name == name)
    names = [f"{registry.host}/engines/{folder.name}-{number}" for number in range(_TARGETS)]
    shape = {
        "run-test-every": "100ms",
        "concurrency": _TARGETS // 2,
        "payload-size": "64KiB",
        "builder": cell.builder,
        "username": engine_table.USER,
        "password": engine_table.PASSWORD,
        "targets": [{"repository": name} for name in names],
    }
    with cell.start(folder, root) as engine:
        config = folder / "config.yml"
        config.write_text(json.dumps(shape))  # JSON is YAML
        with Monitor(folder, engine, f"-config={config}", "-log-format=json") as monitor:
            cycles = _CYCLES * _TARGETS
            await_true(lambda: engine_table.verdicts_of(monitor).total() >= cycles, _PATIENCE, f"{cycles} cycles")
            monitor.stop()
        events = [json.loads(line) for line in monitor.log.read_text().splitlines()]

    assert [event for event in events if event["level"] in {"warn", "error"}] == []


def test_a_build_of_podmans_that_is_stopped_leaves_no_image(root, folder, registry):
    """What it worked in holds the images that it made so far; that is removed with them."""
    (cell,) = (cell for cell in engine_table.CELLS if cell.name == "podman")
    options = (f"-repository={registry.host}/engines/{folder.name}", f"-username={engine_table.USER}")
    options += (f"-password={engine_table.PASSWORD}", "-payload-size=64MiB", "-payload-layers=8")
    with cell.start(folder, root) as engine:
        before = engine_table.holdings(engine)
        with Monitor(folder, engine, *options) as monitor:
            await_true(lambda: len(engine_table.holdings(engine) - before) > 1, _PATIENCE, "a build to be under way")
            assert monitor.stop() == 0
        assert engine_table.holdings(engine) == before


def test_somebody_elses_build_at_the_same_time_loses_nothing(folder, registry):
    """Records of others that are as new as ours, of the very same form, stay in the build cache."""
    repository = f"{registry.host}/engines/{folder.name}"
    with engine_table.docker_of_debian(folder, folder) as engine:
        context = folder / "somebodys"
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\nCOPY payload-0 /\n")
        build = f"""
        while [ ! -e {folder}/ended ]; do
            head -c 1048576 /dev/urandom >{context}/payload-0
            DOCKER_CONFIG=$(mktemp -d) docker build --quiet {context} >>{folder}/images || exit 1
            echo >>{folder}/builds
        done
        """
        with subprocess.Popen(["sh", "-c", build], env=engine.env | {"DOCKER_BUILDKIT": "1"}) as others:
            options = (f"-repository={repository}", f"-username={engine_table.USER}")
            cycle = once(engine, *options, f"-password={engine_table.PASSWORD}", "-builder=buildkit")[1][0]
            (folder / "ended").touch()
        builds = len((folder / "builds").read_text().splitlines())
        template = "--format={{range .BuildCache}}{{println .Description}}{{end}}"
        records = engine.docker("system", "df", "--verbose", template).stdout.splitlines()

    assert (others.returncode, cycle["verdict"]) == (0, "up")
    assert builds > 0
    assert records.count("fileop target") == builds
    assert records.count("local source for dockerfile") == builds
    # Ours can be the one too many, where a build of theirs sent as much in the same moment.
    assert records.count("local source for context") - 2 * builds in (0, 1)
