"""What monitors leave when they die, or because somebody uses it: in the end it is removed, whatever comes between."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import engine_table
from lab.archive import file_system
from lab.daemon import await_true
from lab.engine import Engine
from lab.faults.rig import Rig
from lab.folder import MARK, processes
from lab.holdings import holdings
from lab.monitor import PROGRAM, QUICK, SOON, Monitor, once
from lab.target import login
from lib.cycle.payload import INSTANCE_LABEL, Labels

EAGER = ("-run-test-every=100ms", "-payload-size=64KiB")
UNKNOWN = "e" * 32
NOBODY = 65534


@pytest.fixture
def temporary(tmp_path):
    """The folder for temporary files of all monitors of a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def surroundings(engine, temporary):
    """The engine, with that folder, by which the processes of its monitors are recognised, too."""
    return SimpleNamespace(env={**engine.env, "TMPDIR": str(temporary), MARK: str(temporary)})


def images(engine, instance=None):
    """Return the images that monitors made, or the one of an instance."""
    label = f"{INSTANCE_LABEL}={instance}" if instance else INSTANCE_LABEL
    return engine.docker("images", "--all", "--quiet", "--no-trunc", f"--filter=label={label}").stdout.split()


def instances(temporary):
    return {folder.name.rpartition("-")[2] for folder in temporary.glob("registry-monitor-*")}


def kill_with_an_image(engine, surroundings, temporary, folder, *options):
    """Kill monitors in the middle of cycles until one leaves an image. Return that one's instance, and the images."""
    while True:
        before = instances(temporary)
        with Monitor(folder, surroundings, *options) as monitor:
            (instance,) = instances(temporary) - before
            monitor.await_status(200)
            await_true(lambda: images(engine, instance), SOON, "an image of a cycle under way")  # noqa: B023  at once
            monitor.kill()
        await_true(lambda: not processes(temporary), SOON, "its children to end")
        if left := images(engine, instance):
            return instance, left


def age(temporary):
    """Make those that died dead for some time: nothing of theirs can come late any more."""
    for folder in temporary.iterdir():
        os.utime(folder, (time.time() - 60, time.time() - 60))


def kill_at_its_start(surroundings, temporary, *options):
    """Start a monitor, and kill it when it has just found out who is dead."""
    before = instances(temporary)
    argv = [*PROGRAM, "-listen=127.0.0.1:0", *options]
    with subprocess.Popen(argv, env=surroundings.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while instances(temporary) == before:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()


def test_two_kills_in_a_row_leave_nothing_and_neither_does_a_monitor_in_between(
    engine, repository, surroundings, temporary, tmp_path
):
    """The second one dies before it could remove what the first left; one on another engine forgets nobody."""
    options = (*login(repository), *EAGER)
    first, left = kill_with_an_image(engine, surroundings, temporary, tmp_path, *options)
    kill_at_its_start(surroundings, temporary, *options)
    elsewhere = {"TMPDIR": str(temporary), "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    code, (cycle,), _ = once(engine, *login(repository), env=elsewhere)
    assert (code, cycle["reason"]) == (3, "daemon")
    assert set(left) <= set(images(engine, first))
    assert first in instances(temporary)
    assert not list(temporary.rglob("config.json"))

    # Of another target, with its own name for the test image.
    age(temporary)
    assert once(engine, *login(f"{repository}-other"), *EAGER, env={"TMPDIR": str(temporary)})[0] == 0
    assert images(engine) == []
    assert instances(temporary) == set()


@pytest.mark.parametrize("wiped", [True, False])
def test_with_a_state_dir_the_dead_are_known_without_their_folders(
    engine, repository, surroundings, temporary, tmp_path, wiped
):
    """A folder for temporary files that was emptied, or one that is now another user's."""
    options = (*login(repository), *EAGER, f"-state-dir={tmp_path / 'state'}")
    first, _ = kill_with_an_image(engine, surroundings, temporary, tmp_path, *options)
    (folder,) = temporary.glob(f"*{first}")
    if wiped:
        shutil.rmtree(folder)
    else:
        os.chown(folder, NOBODY, NOBODY)
    with Monitor(tmp_path, surroundings, *options) as monitor:
        await_true(lambda: not images(engine, first), SOON, "what the first one left to go")
        await_true(lambda: len(instances(temporary) - {first}) == 1, SOON, "those before it to be forgotten")
        assert monitor.stop() == 0
    assert images(engine) == []
    assert instances(temporary) == (set() if wiped else {first})


def put_image(engine, name, instance, age_hours):
    """Put an image on the engine that a monitor could have made then."""
    labels = Labels("somebodys", instance, "token", datetime.now(UTC) - timedelta(hours=age_hours)).to_dict()
    changes = [f"--change=LABEL {label}={value}" for label, value in labels.items()]
    return engine.docker("import", *changes, "-", name, stdin=file_system(name)).stdout.strip()


def test_without_any_trace_of_an_instance_its_images_go_by_their_age(engine, repository, temporary, tmp_path):
    """An instance of another user's, or in another folder for temporary files, is neither dead nor alive."""
    folder = temporary / f"registry-monitor-{UNKNOWN}"
    folder.mkdir()
    (folder / "precious").write_text("theirs")
    os.chown(folder, NOBODY, NOBODY)
    old, young = (put_image(engine, f"deaths/{hours}", UNKNOWN, hours) for hours in (3, 1))
    try:
        code, _, _ = once(engine, *login(repository), *EAGER, env={"TMPDIR": str(temporary)})
        assert code == 0
        assert images(engine, UNKNOWN) == [young]
        assert (folder / "precious").exists()
    finally:
        for image in (old, young):
            engine.docker("rmi", image, check=False)


def test_what_a_living_monitor_makes_stays_however_old_it_looks(engine, repository, surroundings, temporary, tmp_path):
    """By a wrong clock, everything can look abandoned: but its folder is locked."""
    with Monitor(tmp_path, surroundings, *login(repository), *QUICK) as monitor:
        monitor.await_status(200)
        (living,) = instances(temporary)
        image = put_image(engine, "deaths/living", living, 3)
        try:
            assert once(engine, *login(f"{repository}-2"), *EAGER, env={"TMPDIR": str(temporary)})[0] == 0
            assert image in images(engine, living)
        finally:
            engine.docker("rmi", image)
        assert monitor.stop() == 0
    assert instances(temporary) == set()


def test_a_host_whose_clock_is_ahead_removes_nothing_of_others(lane, monkeypatch):
    """The engine's own clock decides."""
    young, old = (put_image(lane.engine, f"deaths/{hours}", UNKNOWN, hours) for hours in (1, 3))

    class Ahead:
        now = staticmethod(lambda zone: datetime.now(zone) + timedelta(hours=9))

    with Rig(lane) as rig:
        monkeypatch.setattr("lib.cycle.leftovers.datetime", Ahead)
        assert rig.cycle().verdict == "up"
    assert images(lane.engine, UNKNOWN) == [young]
    assert old != young
    lane.engine.docker("rmi", young)


# Containers that somebody makes.

#: A docker that makes a container of the test image after a command, once.
_MAKER = """#!/bin/sh
{docker} "$@"
code=$?
if [ "$1" = {verb} ] && [ ! -s {made} ]; then
    {docker} create --network=none {image} /nothing >{made} 2>/dev/null
fi
exit $code
"""


class Maker:
    """Makes a container of a repository's test image after the first command of a kind."""

    def __init__(self, folder: Path, engine: Engine, repository: str, verb: str) -> None:
        folder.mkdir()
        self._engine = engine
        self._made = folder / "made"
        self.path = f"{folder}:{engine.env['PATH']}"
        docker = shutil.which("docker", path=engine.env["PATH"])
        script = _MAKER.format(docker=docker, verb=verb, image=f"{repository}:latest", made=self._made)
        (folder / "docker").write_text(script)
        (folder / "docker").chmod(0o755)

    def image(self) -> str:
        """Return the ID of the image that the container was made of."""
        return self._engine.docker("inspect", "--format={{.Image}}", self._container()).stdout.strip()

    def remove(self) -> None:
        self._engine.docker("rm", self._container())

    def _container(self) -> str:
        return self._made.read_text().strip()


def test_a_container_made_right_after_the_first_pull_is_told_by_once_and_the_image_goes_after_it(
    engine, repository, temporary, tmp_path
):
    """The image belongs to a monitor that ended well, which nobody knows here; the next build takes its name."""
    env = {"TMPDIR": str(temporary)}
    options = (*login(repository), "-payload-size=64KiB")
    assert once(engine, *options, env=env)[0] == 0
    maker = Maker(tmp_path / "maker", engine, repository, "pull")
    with_maker = {**engine.env, **env, "PATH": maker.path}
    told = subprocess.run([*PROGRAM, "-once", *options], env=with_maker, capture_output=True, text=True, check=False)
    image = maker.image()
    assert told.returncode == 0
    assert "a test image stays on this host until what uses it is removed: " in told.stdout.splitlines()[-1]
    assert told.stderr.count("reason=in_use") == 1
    assert "Find the container on this host" in told.stderr
    assert images(engine) == [image]
    assert not list(temporary.rglob("config.json"))

    maker.remove()
    age(temporary)
    assert once(engine, *options, env=env)[0] == 0
    assert images(engine) == []
    assert instances(temporary) == set()


@pytest.mark.everything
@pytest.mark.parametrize("verb", ["pull", "build", "push"])
def test_a_container_made_at_any_moment_is_told_once_by_the_service_and_the_image_goes_after_it(
    engine, repository, surroundings, temporary, tmp_path, verb
):
    options = (*login(repository), *EAGER, "-retry-every=100ms")
    assert once(engine, *options)[0] == 0
    maker = Maker(tmp_path / "maker", engine, repository, verb)
    surroundings.env["PATH"] = maker.path
    with Monitor(tmp_path, surroundings, *options) as monitor:
        monitor.await_status(200)
        await_true(lambda: monitor.successes() >= 2, SOON, "cycles to be up")
        image = maker.image()
        assert image in images(engine)
        assert "stays on this host" in monitor.get("/status")[1]
        assert "stays on this host" in monitor.get("/")[1]
        maker.remove()
        await_true(lambda: image not in images(engine), 2 * SOON, "the image to go")
        await_true(lambda: "stays on this host" not in monitor.get("/status")[1], SOON, "/status to be as ever")
        assert monitor.stop() == 0
        assert monitor.log.read_text().count('msg="could not clean up') == 1
    assert images(engine) == []
    assert instances(temporary) == set()


# An engine that dies.


@pytest.mark.everything
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["docker", "docker-buildkit", "forky-docker", "forky-containerd-buildkit"])
def test_twenty_restarts_of_the_engine_make_no_registry_down(debians, folder, repository, tmp_path, name):
    """At any moment of a cycle, by SIGTERM or SIGKILL: the verdict is up or unknown, and nothing is left."""
    (cell,) = (cell for cell in engine_table.engines() if cell.name == name)
    options = (*login(repository), *EAGER, "-retry-every=100ms", f"-builder={cell.builder}")
    with cell.start(folder, debians) as engine:
        before = holdings(engine)
        with Monitor(tmp_path, engine, *options) as monitor:
            for number in range(20):
                monitor.await_status(200)
                time.sleep(number * 0.05)
                (engine.kill if number % 4 == 0 else engine.stop)()
                await_true(lambda: monitor.verdict()[1] != "up", SOON, "the verdict to be unknown")
                engine.start()
            monitor.await_status(200)
            assert "verdict=down" not in monitor.log.read_text()
            assert monitor.stop() == 0
        assert holdings(engine) - before == frozenset()
