"""An instance has a private folder, knows the dead by their locks, and buries them and nobody else."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib.instance import Instance

#: Makes an instance, says its name, and waits to be killed.
OTHER = """
import sys, pathlib
from lib.instance import Instance
instance = Instance(pathlib.Path(sys.argv[1]))
print(instance.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another monitor's process on the same host, alive."""
    root = Path(__file__).parents[2]
    argv = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        process.instance = process.stdout.readline().strip()
        yield process
        process.kill()


def test_each_instance_is_another(tmp_path):
    """Names are random, so that no two processes ever share one."""
    one, two = Instance(tmp_path), Instance(tmp_path)

    assert one.name != two.name
    assert one.folder != two.folder


def test_its_folders_are_private(tmp_path):
    """Nobody else may read what is in them, whatever the umask."""
    before = os.umask(0)
    try:
        instance = Instance(tmp_path)
        folders = [instance.folder, instance.new_folder("config"), instance.new_folder("config")]
    finally:
        os.umask(before)

    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 3
    assert len(set(folders)) == 3
    assert all(folder.parent == instance.folder for folder in folders[1:])


def test_closing_leaves_nothing(tmp_path):
    """The folder goes with all that is in it."""
    instance = Instance(tmp_path)
    (instance.new_folder("config") / "config.json").write_text("{}")

    instance.close()

    assert list(tmp_path.iterdir()) == []


def test_a_living_instance_is_left_alone(tmp_path, other):
    """The folder of a process that lives stays, and its name is not among the dead."""
    assert Instance(tmp_path).dead == frozenset()
    assert (tmp_path / f"registry-monitor-{other.instance}").is_dir()


def test_an_instance_that_was_killed_is_dead_and_buried(tmp_path, other):
    """After a `kill -9` the next start knows the name, for the images, and removes the folder."""
    other.kill()
    other.wait()

    instance = Instance(tmp_path)

    assert instance.dead == {other.instance}
    assert list(tmp_path.iterdir()) == [instance.folder]


def test_its_children_do_not_keep_it_alive(tmp_path):
    """The lock is not passed on to docker: one that outlives the monitor does not make it look alive."""
    instance = Instance(tmp_path)

    assert not os.get_inheritable(instance._lock)


@pytest.mark.parametrize("name", ["registry-monitor-1.0", "registry-monitor-backup", "registry-monitor-"])
def test_a_folder_that_no_instance_made_is_left_alone(tmp_path, name):
    """Somebody's own folder that begins like an instance's is neither removed nor taken for a dead instance."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious").write_text("mine")

    assert Instance(tmp_path).dead == frozenset()
    assert (tmp_path / name / "precious").read_text() == "mine"


def test_what_is_no_folder_or_a_link_is_left_alone(tmp_path):
    """Neither a file nor a link with an instance's name is followed or removed."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("mine")
    link = tmp_path / f"registry-monitor-{'a' * 32}"
    link.symlink_to(tmp_path / "elsewhere")
    file = tmp_path / f"registry-monitor-{'b' * 32}"
    file.write_text("mine")

    assert Instance(tmp_path).dead == frozenset()
    assert (tmp_path / "elsewhere" / "precious").read_text() == "mine"
    assert link.is_symlink()
    assert file.read_text() == "mine"


def test_another_users_folder_is_left_alone(tmp_path, monkeypatch):
    """On a shared folder for temporary files, another user's instance is that user's to bury."""
    stranger = tmp_path / f"registry-monitor-{'a' * 32}"
    stranger.mkdir()
    monkeypatch.setattr("lib.instance.os.geteuid", lambda: stranger.stat().st_uid + 1)

    assert Instance(tmp_path).dead == frozenset()
    assert stranger.is_dir()


def test_an_instance_that_died_before_it_had_its_lock_leaves_nothing(tmp_path):
    """What a process that was killed at its very start left is removed by the next start a minute later."""
    unborn = tmp_path / f".registry-monitor-{'a' * 32}"
    unborn.mkdir()
    a_minute_ago = time.time() - 61
    os.utime(unborn, (a_minute_ago, a_minute_ago))

    instance = Instance(tmp_path)

    assert list(tmp_path.iterdir()) == [instance.folder]


def test_an_instance_that_is_about_to_take_its_lock_is_left_alone(tmp_path):
    """A process that starts at the same time has made its folder, and not locked it yet: it is not dead."""
    unborn = tmp_path / f".registry-monitor-{'a' * 32}"
    unborn.mkdir()

    assert Instance(tmp_path).dead == frozenset()
    assert unborn.is_dir()


def test_an_instance_that_had_its_lock_is_dead_at_once(tmp_path):
    """A folder that took its known name was locked: where it is not any more, its process has ended, however young."""
    killed = tmp_path / f"registry-monitor-{'a' * 32}"
    killed.mkdir()

    assert Instance(tmp_path).dead == {"a" * 32}
    assert not killed.exists()


def test_a_folder_that_takes_none_is_told(tmp_path):
    """Where no private folder can be made, that is an OSError."""
    with pytest.raises(OSError, match="No such file"):
        Instance(tmp_path / "nowhere")


def test_folders_stand_where_temporary_files_do(tmp_path, monkeypatch):
    """Without a parent the system's folder for temporary files is taken."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert Instance().folder.parent == tmp_path
