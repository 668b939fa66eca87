"""An instance has a private folder, and leaves only notes in it about what the next one has to do."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from lib.instance import Instance


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
    """The folder is removed with everything in it."""
    instance = Instance(tmp_path)
    (instance.new_folder("config") / "config.json").write_text("{}")

    instance.close()

    assert list(tmp_path.iterdir()) == []


NOTE = f"image-{'a' * 64}"


@pytest.mark.parametrize(
    ("note", "all_is_gone", "left"),
    [(None, True, set()), (None, False, {"engine"}), (NOTE, True, {"engine", "image"})],
)
def test_what_is_still_to_be_done_outlives_it_and_no_login_does(tmp_path, note, all_is_gone, left):
    """The next one knows its name, and what docker did not remove."""
    instance = Instance(tmp_path)
    (instance.new_folder("config") / "config.json").write_text("secret")
    if note:
        instance.note(note)
    instance.close(all_is_gone=all_is_gone)
    assert {path.name.partition("-")[0] for path in tmp_path.rglob("*") if path.is_file()} == left
    neighbours = Instance(tmp_path).neighbours
    assert set(neighbours.look()) == ({instance.name} if left else set())
    assert list(neighbours.left) == [note] * bool(note)


def test_a_note_that_was_seen_to_is_none(tmp_path):
    instance = Instance(tmp_path)
    instance.note(NOTE)
    instance.done(NOTE)
    instance.done(NOTE)
    instance.close()
    assert list(tmp_path.iterdir()) == []


def test_a_note_that_nothing_can_be_written_to_is_left_out(tmp_path):
    instance = Instance(tmp_path)
    shutil.rmtree(instance.folder)
    instance.note(NOTE)
    instance.done(NOTE)
    instance.close(all_is_gone=False)
    assert list(tmp_path.iterdir()) == []


def test_payloads_of_the_dead_make_room_for_it(tmp_path, monkeypatch):
    """They may be what fills the disk."""
    dead = tmp_path / f"registry-monitor-{'d' * 32}" / "target-1" / "context"
    dead.mkdir(parents=True)
    (dead / "payload-0").write_text("large")
    mkdir = Path.mkdir

    def made(path, *arguments, **options):
        assert not (dead / "payload-0").exists(), "No space left on device"
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", made)
    Instance(tmp_path).close()


def test_its_children_do_not_keep_it_alive(tmp_path):
    """The lock is not passed on to docker: one that outlives the monitor does not make it look alive."""
    instance = Instance(tmp_path)

    assert not os.get_inheritable(instance._lock)


def test_a_folder_that_takes_none_is_told(tmp_path):
    """If no private folder can be made, that is an OSError."""
    with pytest.raises(OSError, match="No such file"):
        Instance(tmp_path / "nowhere")


def test_folders_stand_where_temporary_files_do(tmp_path, monkeypatch):
    """Without a parent the system's folder for temporary files is taken."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert Instance().folder.parent == tmp_path


# What a cleaner of temporary files removes.


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def is_private(folder):
    return stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_is_there_is_left_as_it_is(tmp_path, caplog):
    instance = Instance(tmp_path)
    folder = instance.new_folder("config")
    (folder / "config.json").write_text("{}")
    instance.restore(folder)
    assert (folder / "config.json").read_text() == "{}"
    assert caplog.records == []


def test_a_folder_that_was_removed_is_made_again_and_that_is_logged_once(tmp_path, caplog):
    instance = Instance(tmp_path)
    folders = [instance.new_folder("config") for _ in range(3)]
    for _ in range(2):
        shutil.rmtree(instance.folder)
        for folder in (*folders, *folders):
            instance.restore(folder)
        assert all(is_private(folder) for folder in (instance.folder, *folders))
    assert [(record.levelname, record.folder) for record in caplog.records] == [("WARNING", str(folders[0]))] * 2
    assert caplog.records[0].advice == f"exclude registry-monitor-* from what cleans {tmp_path}"
    instance.close()
    assert list(tmp_path.iterdir()) == []


def test_one_of_its_folders_that_was_removed_alone_is_logged_too(tmp_path, caplog):
    instance = Instance(tmp_path)
    folders = [instance.new_folder("config") for _ in range(2)]
    folders[1].rmdir()
    for folder in (*folders, *folders):
        instance.restore(folder)
    assert [record.folder for record in caplog.records] == [str(folders[1])]


@pytest.mark.parametrize("made_by_docker", [False, True])
def test_an_instance_whose_folder_was_made_again_is_alive_to_others(tmp_path, made_by_docker):
    """Docker itself makes the folder that it should write to: nobody has locked that one."""
    instance = Instance(tmp_path)
    folder = instance.new_folder("config")
    shutil.rmtree(instance.folder)
    if made_by_docker:
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        instance.folder.chmod(0o755)
    instance.restore(folder)
    assert is_private(instance.folder)
    assert (folder / "config.json").exists() == made_by_docker
    assert Instance(tmp_path).neighbours.look() == {}
    assert folder.is_dir()


def test_a_folder_that_another_user_put_in_its_place_is_not_taken(tmp_path, monkeypatch):
    """Once a cleaner has removed it, its name is known: whoever makes it again would read the logins in it."""
    instance = Instance(tmp_path)
    folder = instance.new_folder("config")
    shutil.rmtree(instance.folder)
    folder.mkdir(parents=True)
    before, mode = descriptors(), stat.S_IMODE(instance.folder.stat().st_mode)
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(PermissionError, match="belongs to another user"):
            instance.restore(folder)
    assert stat.S_IMODE(instance.folder.stat().st_mode) == mode
    assert descriptors() == before
    shutil.rmtree(instance.folder)
    instance.restore(folder)
    assert is_private(folder)


@pytest.mark.parametrize("obstacle", [Path.touch, lambda path: path.symlink_to("/"), lambda path: path.parent.rmdir()])
def test_what_cant_be_made_again_is_an_error_until_it_can(tmp_path, obstacle):
    """A file, somebody's link, or nowhere to make it in; no descriptor is left of any try."""
    parent = tmp_path / "tmp"
    parent.mkdir()
    instance = Instance(parent)
    folder = instance.new_folder("config")
    shutil.rmtree(instance.folder)
    obstacle(instance.folder)
    before = descriptors()
    for _ in range(3):
        with pytest.raises(OSError, match=r"exists|Not a directory|No such file"):
            instance.restore(folder)
    assert descriptors() == before
    parent.mkdir(exist_ok=True)
    instance.folder.unlink(missing_ok=True)
    instance.restore(folder)
    assert is_private(folder)
