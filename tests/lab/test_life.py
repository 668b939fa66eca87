"""The real service in bad times: what it needs from its host is taken away while it runs, and given back."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.daemon import LabError, await_true
from lab.engine import Engine
from lab.monitor import PROGRAM, QUICK, SOON, Monitor
from lab.mounts import filled, read_only, small_disk
from lab.small_world import DOCKER, SmallWorld
from lab.target import login
from lib.cycle.payload import INSTANCE_LABEL, TARGET_LABEL

REPOSITORY = "-repository=127.0.0.1:5/small/world"
YEAR_SECONDS = 365 * 24 * 3600


@pytest.fixture
def world(tmp_path):
    """A world with a fake docker."""
    return SmallWorld(tmp_path / "world", REPOSITORY, *QUICK)


def await_health(monitor, code):
    await_true(lambda: monitor.get("/health")[0] == code, SOON, f"/health to be {code}")


def await_verdict(monitor, *awaited):
    await_true(lambda: monitor.verdict()[1:] == awaited, SOON, f"the verdict to be {awaited}")


def await_cycles(monitor, number):
    """Wait until so many more cycles were up."""
    awaited = monitor.successes() + number
    await_true(lambda: monitor.successes() >= awaited, SOON, "cycles to be up")


# What it writes to.


def test_a_folder_is_free_again_once_its_monitor_is_dead(world, tmp_path):
    """A second monitor on the same state-dir says so in one line; after kill -9 of the first, the next one has it."""
    state = f"-state-dir={tmp_path / 'state'}"
    with Monitor(tmp_path, world, *world.options, state) as first:
        first.await_status(200)
        with (tmp_path / "second").open("wb") as log:
            assert world.start(log, *world.options, state).wait(SOON) == 4
        assert first.get("/status")[0] == 200
        first.kill()
    with Monitor(tmp_path, world, *world.options, state, "-run-test-every=1h") as third:
        assert third.get("/status")[0] == 200, "it does not know what the first one saw"

    (line,) = (tmp_path / "second").read_text().splitlines()
    assert line == (
        f"registry-monitor: state-dir {tmp_path / 'state'} belongs to another monitor that runs: "
        "give each a folder of its own"
    )


def test_a_log_that_nobody_reads_any_more_is_no_reason_to_end(world, tmp_path):
    """Its standard error is a pipe, whose reader goes away: cycles go on, and it ends in order."""
    pipe = tmp_path / "monitor.log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with Monitor(tmp_path, world, *world.options, "-loglevel=debug") as monitor:
        await_cycles(monitor, 2)  # by the second one, the first is logged
        assert b"cycle finished" in os.read(reader, 65536)
        os.close(reader)
        await_cycles(monitor, 3)
        assert (monitor.get("/status")[0], monitor.get("/health")[0]) == (200, 200)
        assert monitor.stop() == 0


def has_children_at_work(monitor):
    """Return whether a child of a monitor still runs: one that has ended, and nobody waited for, has no environment."""
    for children in Path(f"/proc/{monitor.pid}/task").glob("*/children"):
        for child in children.read_text().split():
            with suppress(OSError):
                if Path(f"/proc/{child}/environ").read_bytes():
                    return True
    return False


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(filled, "disk_full (host)", id="full"),
        pytest.param(read_only, "Read-only file system", marks=pytest.mark.everything, id="read-only"),
    ],
)
def test_without_room_for_temporary_files_the_verdict_is_unknown(world, tmp_path, fault, words):
    """The registry is not blamed for a full or read-only temporary folder; it is up as soon as there is room again."""
    disk = tmp_path / "disk"
    world.env["TMPDIR"] = str(disk)
    with small_disk(disk, 1024 * 1024), Monitor(tmp_path, world, *world.options) as monitor:
        monitor.await_status(200)
        with fault(disk):
            await_true(lambda: monitor.verdict()[1] == "unknown", SOON, "the verdict to be unknown")
            assert words in monitor.get("/status")[1]
            assert monitor.get("/health")[0] == 200
        monitor.await_status(200)
        assert monitor.stop() == 0
        assert list(disk.iterdir()) == []


def test_without_file_descriptors_it_says_so_and_recovers(world, tmp_path):
    """With hardly a descriptor left it can't run docker: /health is 503, the verdict unknown; then all is well."""
    with Monitor(tmp_path, world, *world.options, "-run-test-every=2s") as monitor:
        monitor.await_status(200)
        before = resource.prlimit(monitor.pid, resource.RLIMIT_NOFILE)
        used = min(descriptors(monitor) for _ in range(100))
        # Enough to answer, and too few for the pipes of a child.
        resource.prlimit(monitor.pid, resource.RLIMIT_NOFILE, (used + 3, before[1]))
        await_health(monitor, 503)
        assert "Too many open files" in monitor.get("/health")[1]
        await_verdict(monitor, "unknown", "cli")
        resource.prlimit(monitor.pid, resource.RLIMIT_NOFILE, before)
        monitor.await_status(200)
        await_health(monitor, 200)
        await_true(lambda: descriptors(monitor) <= used, SOON, "it to close all that it opened")
        assert monitor.stop() == 0
        assert "Traceback" not in monitor.log.read_text()


def descriptors(monitor):
    """Return how many file descriptors a monitor has a moment later."""
    time.sleep(0.02)
    return len(list(Path(f"/proc/{monitor.pid}/fd").iterdir()))


# What a target needs.


def test_what_one_target_lacks_is_that_ones_affair_and_passes(world, tmp_path):
    """At the start and at a reload: a target without its password file or Docker config is unknown, and says which file
    it is; the others run, and it recovers by itself.
    """
    password, logins, config = tmp_path / "password", tmp_path / "logins", tmp_path / "config.yml"
    targets = {
        "whole": {},
        "lacking": {"username": "u", "password-file": str(password)},
        "torn": {"docker-config": str(logins)},
    }

    def configure(*names):
        shapes = [{"name": name, "repository": f"127.0.0.1:5/small/{name}", **targets[name]} for name in names]
        config.write_text(json.dumps({"run-test-every": "500ms", "targets": shapes}))  # JSON is YAML

    def verdicts():
        told = json.loads(monitor.get("/status?format=json")[1])["targets"]
        return {each["target"]: (each["last_cycle"] or {}).get("detail") or each["verdict"] for each in told}

    def awaited(expected):
        await_true(lambda: verdicts() == expected, SOON, f"the targets to be {expected}")

    options = (f"-docker={DOCKER}", "-payload-size=1KiB", f"-config={config}")
    logins.mkdir()
    (logins / "config.json").write_text('{"auths": ')
    configure("whole", "lacking")
    with Monitor(tmp_path, world, *options) as monitor:
        lacks = f"the password file {password} can't be read: No such file or directory"
        awaited({"whole": "up", "lacking": lacks})
        configure("whole", "lacking", "torn")
        os.kill(monitor.pid, signal.SIGHUP)
        is_torn = f"the logins in {logins} can't be used: {logins}/config.json is not JSON"
        awaited({"whole": "up", "lacking": lacks, "torn": is_torn})

        asked = subprocess.run(
            [*PROGRAM, *options, "-check-config"], env=world.env, capture_output=True, text=True, check=False
        )
        assert asked.returncode == 2
        assert f"targets[1] (lacking): password-file: {password} can't be read" in asked.stderr
        assert f"targets[2] (torn): docker-config: {logins}/config.json is not JSON" in asked.stderr

        password.write_text("p")
        (logins / "config.json").write_text("{}")
        awaited(dict.fromkeys(targets, "up"))
        assert monitor.stop() == 0

    password.unlink()
    configure("lacking")
    with (tmp_path / "alone").open("wb") as log:
        assert world.start(log, f"-config={config}").wait(SOON) == 2


# The time. That the wall clock jumps can't be shown here, as the kernel has one for all; `tests/unit/test_status.py`
# does, with a clock of its own.


@pytest.mark.parametrize(
    "uptime_seconds",
    [pytest.param(1, marks=pytest.mark.everything, id="a second"), pytest.param(YEAR_SECONDS, id="a year")],
)
def test_how_long_the_host_has_been_up_is_all_the_same(world, tmp_path, uptime_seconds):
    """On a host that has just booted, and on one that has been up for a year, cycles run and are judged as usual."""

    class Elsewhen(Monitor):
        def program(self):
            program = super().program()
            shift = f"--monotonic={uptime_seconds - int(time.monotonic())}"
            return replace(program, argv=("unshare", "--time", shift, *program.argv))

    with Elsewhen(tmp_path, world, *world.options) as monitor:
        await_cycles(monitor, 3)
        assert (monitor.get("/status")[0], monitor.get("/health")[0]) == (200, 200)


# The engine.


@pytest.mark.everything  # tests/lab/test_detection.py has a daemon that was gone
def test_a_daemon_that_is_restarted_is_told_and_then_forgotten(session_lab, registry, repository, tmp_path):
    """While dockerd is away /health is 503 and the verdict unknown; when it is back, so are both, without a restart."""
    with (
        Engine(session_lab.folder / f"engine-{os.urandom(4).hex()}") as engine,
        Monitor(tmp_path, engine, *login(repository), *QUICK) as monitor,
    ):
        monitor.await_status(200)
        engine.stop()
        await_health(monitor, 503)
        await_verdict(monitor, "unknown", "daemon")
        engine.start()
        monitor.await_status(200)
        await_health(monitor, 200)
        assert monitor.stop() == 0
        assert engine.docker("images", "--all", "--quiet").stdout == ""


@pytest.mark.everything  # tests/lab/test_deaths.py and test_service.py have leftovers, too
def test_leftovers_of_a_dead_monitor_are_removed_and_a_living_ones_are_not(engine, registry, repository, tmp_path):
    """Of two monitors on one host, one is killed in a cycle: the next start cleans up after that one alone."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    surroundings = SimpleNamespace(env=engine.env | {"TMPDIR": str(temporary)})

    def started(name, target, *options):
        (tmp_path / name).mkdir()
        return Monitor(tmp_path / name, surroundings, *login(f"{repository}-{target}"), *QUICK, *options)

    def instances():
        return {folder.name.rpartition("-")[2] for folder in temporary.iterdir()}

    def images(label):
        return engine.docker("images", "--all", "--quiet", f"--filter=label={label}").stdout.split()

    def is_caught_with_an_image(monitor):
        monitor.pause()
        # Docker finishes what it is doing, unless it waits for the monitor, as a login does for the password.
        with suppress(LabError):
            await_true(lambda: not has_children_at_work(monitor), 2.0, "docker")
        if not has_children_at_work(monitor) and images(f"{TARGET_LABEL}={repository}-two"):
            return True
        monitor.resume()
        return False

    with started("living", "one") as living:
        living.await_status(200)
        own = instances()
        with started("killed", "two", "-run-test-every=100ms") as killed:
            killed.await_status(200)
            await_true(lambda: is_caught_with_an_image(killed), SOON * 3, "it to have an image")
            killed.kill()
        (dead,) = instances() - own
        left = images(f"{INSTANCE_LABEL}={dead}")
        with started("next", "two") as following:
            following.await_status(200)
            await_true(lambda: instances() & (own | {dead}) == own, SOON, "the dead one to be forgotten")
            assert images(f"{INSTANCE_LABEL}={dead}") == []
            await_cycles(living, 2)
            assert following.stop() == 0
        assert "failures_total{" not in living.get("/metrics")[1]
        assert living.stop() == 0

    assert left, "the kill came when there was no image: this test shows nothing"
    assert instances() == set()
    assert images(INSTANCE_LABEL) == []
