"""The dead are recognised by their locks, until nothing of them is left; the living and all others are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.instance import Instance
from lib.neighbours import Neighbours

#: Makes an instance, says its name, and waits to be killed.
OTHER = """
import sys, pathlib
from lib.instance import Instance
instance = Instance(pathlib.Path(sys.argv[1]), sys.argv[2])
print(instance.name, flush=True)
sys.stdin.read()
"""
ENGINE = "unix:///run/docker.sock"
A, B = "a" * 32, "b" * 32


class Process:
    """Another monitor's process on the same host, alive until it is killed."""

    def __init__(self, parent, engine=ENGINE):
        argv = [sys.executable, "-c", OTHER, str(parent), engine]
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        self.name = self.process.stdout.readline().strip()
        self.folder = parent / f"registry-monitor-{self.name}"

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path):
    started = []

    def start(**more):
        started.append(Process(tmp_path, **more))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def neighbours(tmp_path):
    """Those of an instance on the same engine."""
    return Instance(tmp_path, ENGINE).neighbours


def dead_folder(parent, name=A, *files):
    """Make the folder of a dead instance, with these files, and return it."""
    folder = parent / f"registry-monitor-{name}"
    folder.mkdir()
    for file in files:
        path = folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"of {name}")
    return folder


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def age(path, seconds):
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_a_living_instance_is_left_alone(neighbours, start):
    other = start()
    (other.folder / "target-1").mkdir()
    (other.folder / "target-1" / "config.json").write_text("{}")
    assert neighbours.look() == {}
    assert neighbours.is_living(other.name)
    assert (other.folder / "target-1" / "config.json").exists()


def test_one_that_was_killed_is_dead_until_it_is_forgotten(tmp_path, neighbours, start):
    """Whoever comes knows its name, however many come and are killed before they have removed what it made."""
    first, second = start(), start()
    first.kill()
    second.kill()
    for _ in range(2):
        assert set(neighbours.look()) == {first.name, second.name}
        assert set(Instance(tmp_path, ENGINE).neighbours.look()) == {first.name, second.name}
    neighbours.forget(first.name)
    assert set(Instance(tmp_path, ENGINE).neighbours.look()) == {second.name}
    assert not neighbours.is_living(first.name)


def test_what_was_in_its_folder_goes_at_once(tmp_path, neighbours):
    """Logins, payloads and links to the user's plugins; not what a link leads to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "docker-buildx").write_text("mine")
    notes = {"engine-1", f"image-{A}", "target-1/pulled-1", "built-1"}
    folder = dead_folder(tmp_path, A, "target-1/config.json", "target-2/payload-0", "plain", *notes - {"engine-1"})
    (folder / "cli-plugins").symlink_to(elsewhere)
    neighbours.look()
    assert files_in(folder) == notes - {"engine-1"}
    assert [path.name for path in folder.iterdir() if path.is_dir()] == ["target-1"]
    assert (elsewhere / "docker-buildx").read_text() == "mine"


def test_of_an_instance_on_another_engine_nothing_is_known_and_nothing_forgotten(tmp_path, neighbours, start):
    """Its logins go all the same."""
    other = start(engine="tcp://elsewhere:2376")
    (other.folder / "target-1").mkdir()
    for name in ("config.json", "pulled-1"):
        (other.folder / "target-1" / name).write_text("{}")
    other.kill()
    assert (neighbours.look(), neighbours.left) == ({}, {})
    assert not (other.folder / "target-1" / "config.json").exists()
    there = Instance(tmp_path, "tcp://elsewhere:2376").neighbours
    assert (set(there.look()), set(there.left)) == ({other.name}, {"pulled-1"})


def test_nobody_is_remembered_for_ever(tmp_path, neighbours):
    """Not if no monitor works on that engine any longer."""
    folders = [dead_folder(tmp_path, name, "engine-0") for name in (A, B)]
    neighbours.look()
    age(folders[0], 31 * 24 * 3600)
    age(folders[1], 29 * 24 * 3600)
    neighbours.look()
    assert [folder.exists() for folder in folders] == [False, True]


def test_one_that_died_after_a_long_life_is_no_less_remembered(tmp_path, neighbours):
    folder = dead_folder(tmp_path, A, "target-1/config.json")
    age(folder, 31 * 24 * 3600)
    assert set(neighbours.look()) == {A}


def test_for_how_long_a_folder_has_been_as_it_is(tmp_path, neighbours):
    folder = dead_folder(tmp_path)
    age(folder, 60)
    assert neighbours.look()[A] == pytest.approx(60, abs=30)
    age(folder, -60)  # by a clock that was set back since
    assert neighbours.look()[A] == 0


@pytest.mark.parametrize("note", [f"image-{A}", "target-1/pulled-1", "built-1"])
def test_one_with_something_to_be_done_is_not_forgotten(tmp_path, neighbours, note):
    folder = dead_folder(tmp_path, A, note)
    neighbours.look()
    neighbours.forget(A)
    assert folder.exists()
    assert neighbours.left == {folder.joinpath(note).name: folder / note}
    neighbours.done(folder.joinpath(note).name)
    neighbours.done("pulled-of-nobody")
    assert neighbours.left == {}
    neighbours.forget(A)
    assert not folder.exists()


@pytest.mark.parametrize("name", ["registry-monitor-1.0", "registry-monitor-backup", "registry-monitor-"])
def test_a_folder_that_no_instance_made_is_left_alone(tmp_path, neighbours, name):
    """Somebody's own folder that begins like an instance's is neither removed nor taken for a dead instance."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious").write_text("mine")
    assert neighbours.look() == {}
    assert (tmp_path / name / "precious").read_text() == "mine"


def test_what_is_no_folder_or_a_link_is_left_alone(tmp_path, neighbours):
    """Neither a file nor a link with an instance's name is followed or removed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("mine")
    link, file = (tmp_path / f"registry-monitor-{name}" for name in (A, B))
    link.symlink_to(tmp_path / "elsewhere")
    file.write_text("mine")
    assert neighbours.look() == {}
    assert (tmp_path / "elsewhere" / "precious").read_text() == "mine"
    assert link.is_symlink()
    assert file.read_text() == "mine"


def test_another_users_folder_proves_nothing(tmp_path, neighbours, monkeypatch):
    """Anybody can make a folder with the name of a living instance."""
    folder = dead_folder(tmp_path, A, "target-1/config.json")
    monkeypatch.setattr("lib.neighbours.os.geteuid", lambda: folder.stat().st_uid + 1)
    assert neighbours.look() == {}
    assert files_in(folder) == {"target-1/config.json"}


def test_a_folder_that_cant_be_looked_into_is_neither_alive_nor_dead(tmp_path, neighbours, monkeypatch):
    dead_folder(tmp_path, A)

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr("lib.neighbours.os.open", refuse)
    assert neighbours.look() == {}
    assert not neighbours.is_living(A)


def test_an_instance_that_died_before_it_had_its_lock_leaves_nothing(tmp_path, neighbours):
    """It made nothing. What is left of it is removed a minute later."""
    unborn = tmp_path / f".registry-monitor-{A}"
    unborn.mkdir()
    age(unborn, 61)
    assert neighbours.look() == {}
    assert not unborn.exists()


def test_an_instance_that_is_about_to_take_its_lock_is_left_alone(tmp_path, neighbours):
    """A process that starts at the same time has made its folder, and not locked it yet: it is not dead."""
    unborn = tmp_path / f".registry-monitor-{A}"
    unborn.mkdir()
    assert neighbours.look() == {}
    assert unborn.is_dir()


def test_an_instance_that_had_its_lock_is_dead_at_once(tmp_path, neighbours):
    """A folder that took its known name was locked: if it is not any more, its process has ended, however young."""
    dead_folder(tmp_path, A)
    assert set(neighbours.look()) == {A}


def test_without_the_folder_for_temporary_files_nobody_knows(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Neighbours(tmp_path / "nowhere", "").look()
