"""Starved: what stood still on this side, or had no time left, is never the network's fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

from lab.daemon import await_true
from lab.faults.ground import PASSWORD, REPOSITORY, USERNAME, Lane
from lab.misbehaviour import calling, silence
from lab.monitor import PROGRAM, SOON

STEP_TIMEOUT = 5.0
#: A process that stands still for so long has lost a step's whole time.
LONG = STEP_TIMEOUT + 1.0

_numbers = count(1)

_FREEZER = Path("/sys/fs/cgroup/freezer")
_BUILDS_SLOWLY = """case "$*" in "build --quiet"*) sleep "$SECONDS_A_BUILD" ;; esac
exec "$DOCKER" "$@"
"""


class Run:
    """A monitor that runs one cycle in a process of its own; the registry never acknowledges its upload."""

    def __init__(self, lane, *options, strike=None):
        """Given a lane, options, and what strikes in a thread of its own as soon as the upload has come."""
        self.lane = lane
        target = (f"-repository={lane.host}/{REPOSITORY}", f"-username={USERNAME}", f"-password={PASSWORD}")
        self._argv = [*PROGRAM, "-once", "-output=json", *target, *options]
        self._striking = threading.Thread(target=strike, args=(self,)) if strike else None

    def cycle(self):
        """Return the cycle as JSON has it."""
        with self.lane.proxy.rule(calling(self._strike, silence), "PATCH", "/blobs/uploads/"):
            self._process = subprocess.Popen(self._argv, env=self.lane.engine.env, stdout=subprocess.PIPE)
            out, _ = self._process.communicate()
            if self._striking:
                self._striking.join()
        (cycle,) = json.loads(out)["cycles"]
        return cycle

    @property
    def monitor(self):
        return [self._process.pid]

    @property
    def cli(self):
        """The docker programs that the monitor runs now."""
        return [pid for pid in _processes() if _parent(pid) == self._process.pid]

    @property
    def engine(self):
        return [self.lane.engine.pid]

    def _strike(self):
        if self._striking and self._striking.ident is None:
            self._striking.start()


def _processes():
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]


def _parent(pid):
    try:
        return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has just ended
        return None


@contextmanager
def stopped(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(pids):
    """Freeze processes by a cgroup of their own."""
    group = _FREEZER / f"lab-{os.getpid()}-{next(_numbers)}"
    group.mkdir()
    _move(pids, group)
    state = group / "freezer.state"
    state.write_text("FROZEN")
    try:
        yield
    finally:
        state.write_text("THAWED")
        _move(_members(group), _FREEZER)
        await_true(lambda: not _members(group), SOON, "the cgroup to be empty")
        group.rmdir()


def _members(group):
    return (group / "cgroup.procs").read_text().split()


def _move(pids, group):
    for pid in pids:
        with suppress(ProcessLookupError):  # it has just ended
            (group / "cgroup.procs").write_text(str(pid))


#: This machine's ways to make processes stand still.
WAYS = {"SIGSTOP": stopped} | ({"freezer": frozen} if (_FREEZER / "release_agent").exists() else {})


@pytest.fixture
def lane(ground):
    with ground.sick_engine() as engine, Lane(ground, engine) as lane:
        yield lane


def still(way, whom, seconds=LONG):
    """Return as a strike that some stand still for a while."""

    def strike(run):
        with way([pid for one in whom for pid in getattr(run, one)]):
            time.sleep(seconds)

    return strike


def told(cycle):
    return cycle["verdict"], cycle["step"], cycle["reason"], cycle["scope"]


def test_a_registry_that_hangs_is_down_where_everybody_ran(lane):
    """The other tests' registry, without anything that strikes on this side."""
    assert told(Run(lane, f"-step-timeout={STEP_TIMEOUT}s").cycle()) == ("down", "push", "timeout", "network")


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[] if way is stopped else pytest.mark.everything, id=name) for name, way in WAYS.items()],
)
@pytest.mark.parametrize(
    "whom", [("monitor", "cli", "engine"), pytest.param(("monitor", "cli"), marks=pytest.mark.everything)], ids=" ".join
)
def test_a_host_that_stood_still_is_starved(lane, way, whom):
    """Whether the whole machine was paused, or the container that the monitor runs in."""
    cycle = Run(lane, f"-step-timeout={STEP_TIMEOUT}s", strike=still(way, whom)).cycle()

    assert told(cycle) == ("unknown", "push", "starved", "host")
    # The kernel says of a child that it was stopped by a signal, not of one that was frozen.
    assert ("had stopped it meanwhile" if way is stopped else "did not run for") in cycle["detail"]


@pytest.mark.everything  # a host that stood still stops the CLI, too
def test_a_docker_program_that_was_stopped_is_starved(lane):
    """Somebody stopped the CLI alone, and let it go on before the deadline."""
    cycle = Run(lane, f"-step-timeout={STEP_TIMEOUT}s", strike=still(stopped, ["cli"], STEP_TIMEOUT / 2)).cycle()

    assert told(cycle) == ("unknown", "push", "starved", "host")
    assert "had stopped it meanwhile" in cycle["detail"]


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[] if way is stopped else pytest.mark.everything, id=name) for name, way in WAYS.items()],
)
def test_an_engine_that_stood_still_and_came_back_is_starved(lane, way):
    """It answers when the deadline has passed, and did not before."""
    cycle = Run(lane, "-step-timeout=12s", strike=still(way, ["engine"], 8.0)).cycle()

    assert told(cycle) == ("unknown", "push", "starved", "host")
    assert "did not answer for a while" in cycle["detail"]


@pytest.mark.parametrize(
    ("step_timeout", "build_seconds"), [("10s", 5), pytest.param("2m", 9, marks=pytest.mark.everything)]
)
def test_a_build_that_takes_the_cycles_time_starves_the_push(lane, step_timeout, build_seconds):
    """The push had less than its deadline, or next to nothing of the cycle's, since the build took that."""
    program = lane.folder / "slow-docker"
    docker = subprocess.run(["which", "docker"], env=lane.engine.env, capture_output=True, text=True, check=True)
    program.write_text(f"#!/bin/sh\nDOCKER={docker.stdout.strip()} SECONDS_A_BUILD={build_seconds}\n{_BUILDS_SLOWLY}")
    program.chmod(0o700)
    options = ("-cycle-timeout=12s", f"-step-timeout={step_timeout}", f"-docker={program}")

    cycle = Run(lane, *options).cycle()

    assert told(cycle) == ("unknown", "push", "starved", "host")
    assert "work on this host took the rest" in cycle["detail"]
