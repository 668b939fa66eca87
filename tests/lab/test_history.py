"""The history on the disk: kill -9 at any moment, disks that are full or read-only, and what a restart still knows."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing, suppress

import pytest

from lab.daemon import await_true
from lab.monitor import QUICK, SOON, Monitor, once
from lab.mounts import read_only, small_disk
from lab.small_world import SmallWorld
from lab.target import login, path_of
from lib.history.database import Database
from lib.history.hours import Bounds

REPOSITORY = "127.0.0.1:5/small/world"


def config_of(folder, targets):
    """Write a configuration of so many targets, and return the option that names it."""
    file = folder / "config.yml"
    names = "".join(f"  - {{name: t{number}, repository: {REPOSITORY}-{number}}}\n" for number in range(targets))
    file.write_text(f"run-test-every: 100ms\nretry-every: 100ms\ntargets:\n{names}")
    return f"-config={file}"


def database_of(state):
    return state / "history.sqlite3"


def remembered(state, name):
    """Return the digest that was pushed last to a name, as the history in a folder has it."""
    with closing(Database(database_of(state))) as database:
        push = database.kept(name, Bounds(1, 1)).push
    return push and push.digest


def knows(state, name, copy):
    """Tell whether the history in a folder, which a monitor has, holds a finished cycle of a name yet.

    The monitor lets nobody else read it: a copy is looked at, and removed.
    """
    shutil.copytree(state, copy)
    try:
        with closing(Database(database_of(copy))) as database:
            return database.kept(name, Bounds(1, 1)).cycles != ()
    finally:
        shutil.rmtree(copy)


def fill(disk):
    """Leave no room on a disk, and return the file that takes it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.everything)])
def test_no_kill_damages_the_history_or_loses_a_push(tmp_path, kills):
    """Killed with SIGKILL at random moments, however often: the file stays intact, and no acknowledged push is lost.

    A push that the monitor has acted upon, by the next step of its cycle, is in the file; or a later one is. On a disk
    in memory: on one that takes seconds for a write, a push may be lost, and the monitor says so beforehand.
    """
    world, disk, log = SmallWorld(tmp_path / "world"), tmp_path / "disk", tmp_path / "log"
    state = disk / "state"
    options = (config_of(tmp_path, 6), f"-state-dir={state}", "-concurrency=6")
    moments = random.Random(20261124)
    checked, told = 0, []
    with small_disk(disk, 64 * 1024 * 1024):
        for kill in range(kills):
            with log.open("wb") as output, world.start(output, *options) as monitor:
                # Some are killed while they start, the others at any moment of a cycle after some pushes.
                awaited = len(world.pushes()) + moments.randrange(8)
                await_true(lambda awaited=awaited: len(world.pushes()) >= awaited, SOON, "pushes")
                time.sleep(moments.uniform(0, 0.3))
                monitor.kill()
            told.append(log.read_text())
            if not database_of(state).exists():
                continue
            copy = tmp_path / f"after-{kill}"
            shutil.copytree(state, copy)  # looking at it would repair what a crash left
            with closing(sqlite3.connect(database_of(copy))) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            pushes, last = world.acted_upon()
            for name, place in last.items():
                assert remembered(copy, name) in pushes[name][place:], f"{name} after kill {kill}: {told[-5:]}"
                checked += 1
            shutil.rmtree(copy)

    assert checked > kills, "hardly a push came before the kills: this test shows nothing"
    assert not [
        text
        for text in told
        for fault in ("set aside", "history can't be", "slow", "integrity", "stale")
        if fault in text
    ]


def test_a_full_disk_costs_the_history_and_nothing_else(tmp_path):
    """On a full disk the monitor goes on and says so once; when there is room again, it writes what waited."""
    world, disk = SmallWorld(tmp_path / "world"), tmp_path / "disk"
    options = (*world.options, config_of(tmp_path, 1), f"-state-dir={disk / 'state'}")
    name = f"{REPOSITORY}-0:latest"
    with small_disk(disk, 1024 * 1024), Monitor(tmp_path, world, *options) as monitor:
        await_true(lambda: monitor.get("/status")[0] == 200, SOON, "a cycle to be up")
        filler = fill(disk)
        await_true(lambda: "can't be written" in monitor.log.read_text(), SOON, "the monitor to say so")
        assert monitor.get("/status")[0] == 200
        assert monitor.get("/health")[0] == 200
        filler.unlink()
        await_true(lambda: "can be written again" in monitor.log.read_text(), SOON, "the monitor to recover")
        # Before the stop: a push that this cuts off is cleaned up after, too, and was not acted upon.
        _, last = world.acted_upon()
        assert monitor.stop() == 0
        assert monitor.log.read_text().count("can't be written") == 1
        pushes, _ = world.acted_upon()
        assert remembered(disk / "state", name) in pushes[name][last[name] :]


def test_a_restart_on_a_full_disk_still_knows_what_was(tmp_path):
    """What can't be written can still be read: the verdict stands after a restart."""
    world, disk = SmallWorld(tmp_path / "world"), tmp_path / "disk"
    options = (*world.options, f"-repository={REPOSITORY}", f"-state-dir={disk / 'state'}", "-run-test-every=1h")
    name = f"{REPOSITORY}:latest"
    with small_disk(disk, 1024 * 1024):
        with Monitor(tmp_path, world, *options) as monitor:
            # It reports a verdict at once, and writes it soon after.
            await_true(lambda: knows(disk / "state", name, tmp_path / "copy"), SOON, "a cycle to be written")
            monitor.kill()
        fill(disk)
        with Monitor(tmp_path, world, *options) as monitor:
            assert monitor.get("/status")[0] == 200


def test_a_read_only_disk_is_read_and_costs_the_history_nothing_else(tmp_path):
    """On a disk that is read-only when it starts, the monitor knows what a killed one saw, and says that it keeps
    nothing there.
    """
    world, disk = SmallWorld(tmp_path / "world"), tmp_path / "disk"
    options = (*world.options, f"-repository={REPOSITORY}", f"-state-dir={disk / 'state'}")
    name = f"{REPOSITORY}:latest"
    with small_disk(disk, 1024 * 1024):
        with Monitor(tmp_path, world, *options, *QUICK) as monitor:
            await_true(lambda: knows(disk / "state", name, tmp_path / "copy"), SOON, "a cycle to be written")
            monitor.kill()
        with read_only(disk), Monitor(tmp_path, world, *options, "-run-test-every=1h") as monitor:
            assert monitor.get("/status")[0] == 200, "it does not know what the one before it saw"
            assert "Read-only file system" in monitor.log.read_text()
            assert monitor.stop() == 0


def test_a_damaged_history_is_set_aside_and_the_monitor_runs(tmp_path):
    """A file that is not a history is kept under another name, and a new one begun."""
    world, state = SmallWorld(tmp_path / "world"), tmp_path / "state"
    state.mkdir()
    database_of(state).write_bytes(b"\0\1damaged" * 1000)
    with Monitor(tmp_path, world, *world.options, config_of(tmp_path, 1), f"-state-dir={state}") as monitor:
        await_true(lambda: monitor.get("/status")[0] == 200, SOON, "a cycle to be up")
        assert monitor.stop() == 0

    (aside,) = state.glob("history-set-aside-*.sqlite3")
    assert aside.read_bytes() == b"\0\1damaged" * 1000
    assert str(aside) in monitor.log.read_text()
    assert remembered(state, f"{REPOSITORY}-0:latest") is not None


def test_a_second_monitor_on_the_same_folder_exits_with_4(tmp_path):
    """Its message names the folder; the first one goes on."""
    world, state = SmallWorld(tmp_path / "world"), tmp_path / "state"
    options = (config_of(tmp_path, 1), f"-state-dir={state}")
    with Monitor(tmp_path, world, *world.options, *options) as monitor:
        with (tmp_path / "second").open("wb") as log:
            second = world.start(log, *options)
            assert second.wait(SOON) == 4
        await_true(lambda: monitor.get("/status")[0] == 200, SOON, "a cycle to be up")

    told = (tmp_path / "second").read_text()
    assert f"state-dir {state} belongs to another monitor" in told
    assert "Traceback" not in told


# On the real engine and registry.


def test_a_repository_that_is_lost_while_the_monitor_is_down_is_down(engine, registry, repository, tmp_path):
    """With a state-dir, an empty repository after a restart is a loss, not a first start; it is reported once."""
    options = (*login(repository), f"-state-dir={tmp_path / 'state'}")
    assert once(engine, *options)[1][0]["verdict"] == "up"
    registry.delete_tag(path_of(repository), "latest")

    verdicts = [(cycle["verdict"], cycle["reason"]) for _ in range(2) for cycle in once(engine, *options)[1]]

    assert verdicts == [("down", "not_found"), ("up", None)]


def test_a_reload_leaves_unchanged_targets_alone(engine, registry, repository, tmp_path):
    """SIGHUP: unchanged targets keep their counters; removed ones have no series; a bad file changes nothing."""
    config = tmp_path / "config.yml"
    common = "username: monitor\npassword: secret\npayload-size: 64KiB\nrun-test-every: 500ms\n"

    def write(*names, more=""):
        listed = "".join(f"  - {{name: {name}, repository: {repository}-{name}}}\n" for name in names)
        config.write_text(f"{common}{more}targets:\n{listed}")

    def counted(name):
        lines = monitor.get("/metrics")[1].splitlines()
        (line,) = (
            one for one in lines if one.startswith(f'registry_monitor_cycles_total{{target="{name}",verdict="up"')
        )
        return float(line.split()[1])

    def reloaded(said):
        os.kill(monitor.pid, signal.SIGHUP)
        await_true(lambda: said in monitor.log.read_text(), SOON, f"the log to say: {said}")

    write("kept", "gone")
    with Monitor(tmp_path, engine, f"-config={config}") as monitor:
        await_true(lambda: counted("kept") >= 2 and counted("gone") >= 1, SOON, "cycles to be up")
        write("kept", "new", more="concurrency: 2\n")
        before = counted("kept")
        reloaded("the configuration was reloaded")
        assert counted("kept") >= before
        await_true(lambda: counted("new") >= 1, SOON, "the new target to be up")
        await_true(lambda: 'target="gone"' not in monitor.get("/metrics")[1], SOON, "its series to disappear")
        assert "option=concurrency" in monitor.log.read_text()

        config.write_text("targets: [{repositori: x}]\nlisten: nowhere\n")
        reloaded("the configuration was not reloaded")
        assert "registry_monitor_config_last_reload_successful 0.0" in monitor.get("/metrics")[1]
        names = [target["target"] for target in json.loads(monitor.get("/status?format=json")[1])["targets"]]
        assert names == ["kept", "new"]
        await_true(lambda: monitor.log.read_text().count("nothing was changed") >= 2, SOON, "each fault to be logged")
        assert monitor.stop() == 0
