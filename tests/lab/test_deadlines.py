"""Deadlines: whatever hangs, a step and a cycle end in time, and leave nothing running."""

from __future__ import annotations

import time

import pytest

from lab.misbehaviour import downloading, silence, silence_at_door, stalled, uploading
from lab.network import DROP
from lib.result import StepName
from tests.lab import faults, host_faults
from tests.lab.faults import blob_get, door, layer_put, manifest_put
from tests.lab.ground import Lane
from tests.lab.rig import Rig

DEADLINE = 3.0
#: A second between SIGTERM and SIGKILL, and some for a busy machine.
LATE = 4.0

HANGING = {
    "packets dropped": (faults.filtered(DROP), StepName.PULL),
    "accepted, then silence": (door(silence_at_door), StepName.PULL),
    "half a layer": (blob_get(downloading(stalled(20_000))), StepName.PULL_BACK),
    "half an upload": (layer_put(uploading(stalled(20_000))), StepName.PUSH),
    "upload never acknowledged": (layer_put(silence), StepName.PUSH),
    "manifest PUT never answered": (manifest_put(silence), StepName.PUSH),
    "a CLI deaf to SIGTERM": (host_faults.cli(host_faults.DEAF), StepName.PUSH),
}


@pytest.mark.parametrize(("fault", "at"), HANGING.values(), ids=HANGING.keys())
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
        cycle = rig.cycle(host_faults.stalls_and_exits_well, StepName.PUSH)
        assert (cycle.verdict, cycle.pushed_digest) == ("down", None)
        assert rig.memory.last is None
        assert rig.cycle().verdict == "up"


def test_a_daemon_that_hangs_is_told_of_in_bounded_time(ground):
    """The step's deadline, the question to the daemon, once more before cleaning up, and no more than that."""
    with ground.sick_engine() as engine, Lane(ground, engine) as lane, Rig(lane, step_timeout=DEADLINE) as rig:
        assert rig.cycle().verdict == "up"
        begun = time.monotonic()
        with rig.struck(host_faults.engine_paused, StepName.PUSH) as cycle:
            assert time.monotonic() - begun <= DEADLINE + 2 * 3.0 + 2 * LATE
            assert (str(cycle.failed.reason), str(cycle.failed.scope)) == ("daemon", "host")
            assert rig.docker_pids() == []
        assert rig.cycle().verdict == "up"
        assert rig.leftovers() == []


def test_a_build_ended_at_its_deadline_leaves_no_image(ground):
    """What the daemon still makes of a build that was ended is removed by the next cycle at the latest."""
    with ground.sick_engine() as engine, Lane(ground, engine) as lane, Rig(lane, step_timeout=DEADLINE) as rig:
        cycle = rig.cycle(host_faults.engine_paused_for(DEADLINE + 1.0), StepName.BUILD)
        assert (cycle.verdict, str(cycle.failed.name), str(cycle.failed.scope)) == ("unknown", "build", "host")
        assert rig.cycle().verdict == "up"
        assert rig.leftovers() == []
