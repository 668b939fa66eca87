"""BuildKit builds in the engine and nowhere else, and however a build ends, nothing of it stays in the cache."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager, suppress

import pytest

from lab.daemon import await_true
from lab.engine_table import verdicts_of
from lab.engines import NEWEST, DebianDocker
from lab.holdings import REST_SECONDS, holdings, space
from lab.monitor import Monitor, failed, once
from lab.socket_proxy import SocketProxy
from lab.target import PASSWORD, USER, login

# The first test waits for a whole Debian.
pytestmark = pytest.mark.timeout(600)

_PATIENCE = 240.0
_TARGETS, _CYCLES = 8, 24
#: How much of each cycle may stay in BuildKit's history.
_MOST_KEPT_BYTES = 40_000

STORES = pytest.mark.parametrize(
    "engine", ["containerd", pytest.param("classic", marks=pytest.mark.everything)], indirect=True
)


@pytest.fixture(scope="module")
def engine(debians, session_lab, request):
    """The newest Docker that a package has, with either store."""
    store, root = getattr(request, "param", "containerd"), debians.root(NEWEST)
    with DebianDocker(root, session_lab.folder / f"buildkit-{store}", containerd_store=store == "containerd") as engine:
        yield engine


@contextmanager
def refusing(engine, request):
    """Run a proxy in front of an engine's socket that refuses a request; return it, and the environment through it."""
    path = engine.folder / "proxy.sock"
    with SocketProxy(path, engine.folder / "docker.sock", request.__eq__) as proxy:
        yield proxy, {"DOCKER_HOST": f"unix://{path}"}


def cycle_of(engine, kept, *options, **more):
    """Run one cycle and return it; after it the engine holds what it held."""
    _, (cycle,), _ = once(engine, *options, **more)
    assert holdings(engine) == kept
    return cycle


def but_content(lines):
    """Return what an engine holds, without the remains of a cut-off transfer; containerd keeps those for a while."""
    return {line for line in lines if not line.startswith("content ")}


def test_if_the_engines_own_buildkit_is_out_of_reach_no_other_one_is_made(engine, folder, registry):
    """Buildx would pull one, and leave a container and a volume. The failure names the endpoint."""
    options = (*login(f"{registry.host}/buildkit/{folder.name}"), "-builder=buildkit")
    with refusing(engine, "POST /grpc") as (proxy, env):
        cycle = cycle_of(engine, holdings(engine), *options, env=env)

    assert failed(cycle) == ("build", "daemon", "host")
    assert "proxy.sock" in cycle["detail"]
    assert cycle["detail"].endswith("; refused: POST /grpc")
    assert proxy.refused
    assert engine.docker("ps", "--all", "--quiet").stdout == engine.docker("volume", "ls", "--quiet").stdout == ""


def test_auto_builds_with_buildkit_if_the_engine_refuses_the_classic_builder(engine, folder, registry):
    """The CLI still has it; that is not enough."""
    options = login(f"{registry.host}/buildkit/{folder.name}")
    with refusing(engine, "POST /build") as (proxy, env):
        cycle = cycle_of(engine, holdings(engine), *options, env=env)

    assert cycle["verdict"] == "up"
    assert proxy.refused


@pytest.mark.everything
@STORES
def test_targets_side_by_side_leave_nothing_in_the_cache_and_little_in_the_history(engine, folder, registry):
    """Their payloads have one size. BuildKit keeps of each build what it would keep of any."""
    folder.mkdir()
    shape = {
        "run-test-every": "100ms",
        "concurrency": _TARGETS // 2,
        "payload-size": "1KiB",
        "builder": "buildkit",
        "username": USER,
        "password": PASSWORD,
        "targets": [{"repository": f"{registry.host}/buildkit/{folder.name}-{n}"} for n in range(_TARGETS)],
    }
    (folder / "config.yml").write_text(json.dumps(shape))  # JSON is YAML
    kept, before = holdings(engine), space(engine, REST_SECONDS)
    with Monitor(folder, engine, f"-config={folder / 'config.yml'}", "-log-format=json") as monitor:
        await_true(lambda: verdicts_of(monitor).total() >= _CYCLES, _PATIENCE, f"{_CYCLES} cycles")
        verdicts = verdicts_of(monitor)
        monitor.stop()
    grown = space(engine, REST_SECONDS) - before

    assert set(verdicts) == {"up"}
    assert but_content(holdings(engine)) == but_content(kept)
    # What was under way when it was stopped built, too.
    assert 0 < grown.history_bytes < _MOST_KEPT_BYTES * (verdicts.total() + _TARGETS // 2)


@pytest.mark.everything
@STORES
def test_what_a_killed_monitor_left_in_the_cache_goes_with_the_next_start(engine, folder, registry):
    """In the middle of a build: what was sent as well as what was made. Its docker is killed with it."""
    folder.mkdir()
    options = (*login(f"{registry.host}/buildkit/{folder.name}"), "-builder=buildkit", "-payload-layers=3")
    kept = holdings(engine)
    with Monitor(folder, engine, *options, "-payload-size=96MiB") as monitor:
        await_true(lambda: holdings(engine) != kept, _PATIENCE, "a build to be under way")
        found = subprocess.run(["pgrep", "--parent", str(monitor.pid)], capture_output=True, text=True, check=False)
        monitor.kill()
        for child in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)

    assert cycle_of(engine, kept, *options)["verdict"] == "up"
