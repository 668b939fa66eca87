"""Deadlines: whatever hangs, a step and a cycle end in time, and leave nothing running."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from lab import engine_table
from lab.daemon import await_true
from lab.engines import Debians
from lab.faults import host, outside
from lab.faults.ground import Lane
from lab.faults.outside import blob_get, door, layer_put, manifest_put
from lab.faults.rig import Rig
from lab.misbehaviour import downloading, plain, silence, silence_at_door, stalled, uploading
from lab.monitor import SOON, Monitor
from lab.network import DROP
from lab.port import on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lib.result import StepName

DEADLINE = 3.0
#: A second between SIGTERM and SIGKILL, and some for a busy machine.
LATE = 4.0
#: More than the five uploads for which an engine has slots.
HANGING_CYCLES = 6

HANGING = {
    "packets dropped": (outside.filtered(DROP), StepName.PULL),
    "accepted, then silence": (door(silence_at_door), StepName.PULL),
    "half a layer": (blob_get(downloading(stalled(20_000))), StepName.PULL_BACK),
    "half an upload": (layer_put(uploading(stalled(20_000))), StepName.PUSH),
    "upload never acknowledged": (layer_put(silence), StepName.PUSH),
    "manifest PUT never answered": (manifest_put(silence), StepName.PUSH),
    "a CLI deaf to SIGTERM": (host.cli(host.DEAF), StepName.PUSH),
}


#: The others are in the fault matrix, too, which sees less of them.
QUICK = ("half an upload",)


@pytest.mark.parametrize(
    ("fault", "at"),
    [
        pytest.param(*row, marks=[] if name in QUICK else pytest.mark.everything, id=name)
        for name, row in HANGING.items()
    ],
)
def test_a_step_ends_at_its_deadline_with_all_its_processes(fault, at, lane):
    """The step is failed in time, and no process of it is left while the fault lasts; then the next cycle is clean."""
    with Rig(lane, step_timeout=DEADLINE) as rig:
        assert rig.cycle().verdict == "up"
        with rig.struck(fault, at) as cycle:
            failed = cycle.failed
            assert failed is not None
            assert failed.name is at
            assert DEADLINE <= failed.seconds <= DEADLINE + LATE
            assert rig.docker_pids() == []
        assert rig.cycle().verdict == "up"
        assert rig.leftovers() == []


def test_the_cycle_ends_at_its_own_deadline_where_that_is_less(lane):
    """A step gets what is left of the cycle's deadline."""
    with Rig(lane, step_timeout=60.0, cycle_timeout=5.0) as rig:
        begun = time.monotonic()
        cycle = rig.cycle(manifest_put(silence), StepName.PUSH)
        assert time.monotonic() - begun <= 5.0 + LATE
        assert (str(cycle.failed.name), str(cycle.failed.reason)) == ("push", "timeout")
        assert rig.cycle().verdict == "up"


def test_exit_code_0_after_our_own_kill_is_no_success(lane):
    """A CLI that exits 0 when it is ended at the deadline has not pushed anything."""
    with Rig(lane, step_timeout=DEADLINE) as rig:
        cycle = rig.cycle(host.stalls_and_exits_well, StepName.PUSH)
        assert (cycle.verdict, cycle.pushed_digest) == ("down", None)
        assert rig.pushes.last is None
        assert rig.cycle().verdict == "up"


@pytest.mark.everything  # the fault matrix has such a daemon at three steps
def test_a_daemon_that_hangs_is_told_of_in_bounded_time(ground):
    """The step's deadline, the question to the daemon, once more before cleaning up, and nothing more."""
    with ground.sick_engine() as engine, Lane(ground, engine) as lane, Rig(lane, step_timeout=DEADLINE) as rig:
        assert rig.cycle().verdict == "up"
        begun = time.monotonic()
        with rig.struck(host.engine_paused, StepName.PUSH) as cycle:
            assert time.monotonic() - begun <= DEADLINE + 2 * 3.0 + 2 * LATE
            assert (str(cycle.failed.reason), str(cycle.failed.scope)) == ("daemon", "host")
            assert rig.docker_pids() == []
        assert rig.cycle().verdict == "up"
        assert rig.leftovers() == []


def test_a_build_ended_at_its_deadline_leaves_no_image(ground):
    """If the daemon still finishes a build that was ended, the next cycle removes the result at the latest."""
    with ground.sick_engine() as engine, Lane(ground, engine) as lane, Rig(lane, step_timeout=DEADLINE) as rig:
        cycle = rig.cycle(host.engine_paused_for(DEADLINE + 1.0), StepName.BUILD)
        assert (cycle.verdict, str(cycle.failed.name), str(cycle.failed.scope)) == ("unknown", "build", "host")
        assert rig.cycle().verdict == "up"
        assert rig.leftovers() == []


class Hanging:
    """A registry that can stop answering uploads, and one that is always well, for one monitor of two targets."""

    def __init__(self, folder, engine, held):
        hung, well = (
            held.enter_context(Registry(folder / name, users={engine_table.USER: engine_table.PASSWORD}))
            for name in ("hung", "well")
        )
        host, _, port = hung.host.rpartition(":")
        self.proxy = held.enter_context(Proxy(on_loopback, (host, int(port)), plain))
        shape = {
            "run-test-every": "100ms",
            "step-timeout": f"{DEADLINE}s",
            "username": engine_table.USER,
            "password": engine_table.PASSWORD,
            "targets": [
                {"name": "hung", "repository": f"{self.proxy.host}/a/b"},
                {"name": "well", "repository": f"{well.host}/a/b"},
            ],
        }
        config = folder / "config.yml"
        config.write_text(json.dumps(shape))  # JSON is YAML
        self.monitor = held.enter_context(Monitor(folder, engine, f"-config={config}"))

    def cycle(self, target):
        """Return a target's last cycle, None before the first."""
        targets = json.loads(self.monitor.get("/status?format=json")[1])["targets"]
        (cycle,) = (one["last_cycle"] for one in targets if one["target"] == target)
        return cycle

    def is_up(self, target):
        cycle = self.cycle(target)
        return cycle is not None and cycle["verdict"] == "up"


@pytest.mark.everything
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["docker", "trixie-containerd"])
def test_a_registry_that_hangs_is_down_as_long_as_it_hangs(session_lab, name):
    """On either image store, with the engine's five upload slots long gone; a registry that is well is not `down`.

    When the registry answers again, all targets are up again without any restart.
    """
    debians = Debians(session_lab.folder)
    (cell,) = (cell for cell in engine_table.cells() if cell.name == name)
    folder = session_lab.folder / f"hanging-{name}"
    with ExitStack() as held:
        world = Hanging(folder, held.enter_context(cell.start(folder, debians)), held)
        await_true(lambda: world.is_up("hung") and world.is_up("well"), SOON, "both to be up")
        hung, well = {}, {}
        with world.proxy.rule(silence, "PATCH|PUT", "/blobs/uploads/"):
            begun = datetime.now(UTC).isoformat()
            while len(hung) < HANGING_CYCLES:
                for target, cycles in (("hung", hung), ("well", well)):
                    cycle = world.cycle(target)
                    if cycle["started"] > begun:
                        cycles[cycle["started"]] = cycle["verdict"], cycle["step"], cycle["reason"]
                time.sleep(0.1)

        assert set(hung.values()) == {("down", "push", "timeout")}
        starved = {("unknown", "push", "starved")}
        assert set(well.values()) - {("up", None, None)} == (starved if name == "docker" else set())
        await_true(lambda: world.is_up("hung") and world.is_up("well"), SOON, "both to be up again")
