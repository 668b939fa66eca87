"""Engines of the kinds that users have: whole cycles, their cold proof, and that nothing is left or lost.

That is what `lab.engine_table` measures, in fewer cycles.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress
from functools import lru_cache
from threading import Thread

import pytest

from lab import engine_table
from lab.daemon import LabError, await_true
from lab.holdings import holdings
from lab.misbehaviour import calling, plain, silence
from lab.monitor import Monitor, failed, once
from lab.port import on_loopback
from lab.proxy import Proxy

# The first test waits for a whole Debian.
pytestmark = pytest.mark.timeout(600)

_CELLS = engine_table.cells()
_CYCLES = 2
_TARGETS = 8
_PATIENCE = 240.0


def _cell(name):
    """Given an engine's name, return it."""
    return next(cell for cell in _CELLS if cell.name == name)


def _steps_with_phases(cell, engine):
    """Given an engine, return the steps whose phases its lines show, with layers of payload as here.

    With containerd's store a push says nothing before a layer is there, and podman not when the last of several came.
    """
    if cell.expected != ("up",):
        return frozenset()
    if "podman" in cell.name:
        return {"push"}
    return {"pull", "pull_back"} if engine["store"].startswith("containerd") else {"pull", "push", "pull_back"}


@pytest.mark.parametrize(
    "cell",
    [pytest.param(cell, marks=[] if cell.is_quick else pytest.mark.everything, id=cell.name) for cell in _CELLS],
)
def test_every_cycle_is_up_and_cold_and_leaves_all_as_it_was(debians, folder, registry, cell):
    """The monitor finds by itself what to remove of its own, and what was there before stays. If nothing can be built,
    every cycle says so.
    """
    result = engine_table.measure(cell, folder, debians, registry, _CYCLES)

    assert (*result.verdicts, *result.reasons) == cell.expected
    assert result.read_back == result.pushed == (_CYCLES * engine_table.LAYERS if cell.expected == ("up",) else 0)
    assert (result.left, result.lost) == (frozenset(), frozenset())
    assert result.divided == _steps_with_phases(cell, result.engine)
    if "podman" in cell.name:
        assert result.engine["builder"] == "buildah"
    else:
        assert result.engine["builder"] == ("buildkit" if cell.builder == "buildkit" else "classic")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("docker-buildkit", marks=pytest.mark.everything),
        "trixie-containerd",
        pytest.param("forky-docker-buildkit", marks=pytest.mark.everything),
        pytest.param("forky-containerd-buildkit", marks=pytest.mark.everything),
    ],
)
def test_targets_side_by_side_are_all_up(debians, folder, registry, name):
    """If one removes something while another lists, that is not a failure; each finds its own in the build cache."""
    cell = _cell(name)
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
    with cell.start(folder, debians) as engine:
        config = folder / "config.yml"
        config.write_text(json.dumps(shape))  # JSON is YAML
        with Monitor(folder, engine, f"-config={config}", "-log-format=json") as monitor:
            cycles = _CYCLES * _TARGETS
            await_true(lambda: engine_table.verdicts_of(monitor).total() >= cycles, _PATIENCE, f"{cycles} cycles")
            monitor.stop()
        troubles = monitor.troubles()
        assert not troubles, "\n".join(map(str, troubles))  # whole: pytest shows a list's beginning only


@pytest.mark.everything
@pytest.mark.parametrize("name", ["forky-docker", "forky-containerd"])
def test_an_engine_stopped_in_the_middle_of_a_pull_is_the_hosts_affair(debians, folder, registry, name):
    """Whatever it says about its own unfinished business: leases, snapshots, its connection to containerd."""
    host, _, port = registry.host.rpartition(":")

    with _cell(name).start(folder, debians) as engine, Proxy(on_loopback, (host, int(port)), plain) as proxy:
        options = (f"-repository={proxy.host}/engines/{folder.name}", f"-username={engine_table.USER}")
        options += (f"-password={engine_table.PASSWORD}", "-payload-size=64KiB")
        assert once(engine, *options)[0] == 0
        stopping = Thread(target=engine.stop)
        # Once only: docker asks again.
        stop = lru_cache(stopping.start)
        with proxy.rule(calling(stop, silence), "GET", "/blobs/"):
            code, (cycle,), _ = once(engine, *options)
        stopping.join()

    assert (code, *failed(cycle)) == (3, "pull", "daemon", "host"), cycle["detail"]


@pytest.mark.everything  # tests/lab/test_podman_ends.py has the moment at which podman itself can list no image
def test_a_build_of_podmans_that_is_stopped_leaves_no_image(debians, folder, registry):
    """The container that it worked in holds the images that it made so far; it is removed with them."""
    cell = _cell("podman")
    options = (f"-repository={registry.host}/engines/{folder.name}", f"-username={engine_table.USER}")
    options += (f"-password={engine_table.PASSWORD}", "-payload-size=64MiB", "-payload-layers=8")

    def is_under_way():
        # podman can't list what it holds at the moment when it writes an image.
        with suppress(LabError):
            return len(holdings(engine) - before) > 1
        return False

    with cell.start(folder, debians) as engine:
        before = holdings(engine)
        with Monitor(folder, engine, *options) as monitor:
            await_true(is_under_way, _PATIENCE, "a build to be under way")
            assert monitor.stop() == 0
        assert holdings(engine) == before


def test_somebody_elses_build_at_the_same_time_loses_nothing(debians, folder, registry):
    """Records of others that are as new as ours, of the very same form, stay in the build cache."""
    repository = f"{registry.host}/engines/{folder.name}"
    with engine_table.docker_of_debian(folder, debians) as engine:
        context = folder / "somebodys"
        context.mkdir()
        (context / "Dockerfile").write_text("FROM scratch\nCOPY payload-0 /\n")
        build = f"""
        while [ ! -e {folder}/ended ]; do
            head -c 65536 /dev/urandom >{context}/payload-0
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
    # Ours can be the surplus one, if a build of theirs sent as much at the same moment.
    assert records.count("local source for context") - 2 * builds in (0, 1)
