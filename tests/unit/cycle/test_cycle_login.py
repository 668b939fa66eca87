"""A cycle's login: the password file, the docker config, and that neither shows."""

import json

import pytest

from lib.secret import PasswordFile
from lib.target import Credentials
from tests.unit.cycle.world import STEPS, steps_of, told
from tests.unit.fake_docker import fails
from tests.unit.support import HOST, PASSWORD


def test_the_password_file_is_read_at_every_cycle(make_world, tmp_path):
    """After a change, the next cycle uses the new password."""
    path = tmp_path / "password"
    world = make_world(credentials=Credentials("monitor", PasswordFile(path)))
    for number in range(2):
        path.write_text(f"password {number}\n")
        world.registry.accounts[HOST] = {"monitor": f"password {number}"}

        assert told(world.run()) == ("up",)


def test_no_login_outlives_its_cycle(world):
    """A password that the registry no longer accepts is refused by the login, not later by the pull."""
    world.run()
    world.registry.accounts[HOST] = {"monitor": "another"}

    assert told(world.run()) == ("down", "login", "unauthorized", "credentials")


@pytest.mark.parametrize("content", [None, b"", b"two\nlines\0\n"])
def test_a_password_file_that_can_t_be_read_is_told(make_world, tmp_path, content):
    """The step login fails for the configuration's fault; what is in the file is not shown."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    cycle = make_world(credentials=Credentials("monitor", PasswordFile(path))).run()

    assert told(cycle) == ("unknown", "login", "credential_helper", "config")
    assert str(path) in cycle.failed.detail
    assert "lines" not in cycle.failed.detail


def test_a_password_with_several_lines_logs_in_and_shows_in_no_line(make_world, tmp_path):
    """Such as a service account's key in JSON: docker may repeat one line of it, or all in one."""
    key = '{\n  "type": "service_account",\n  "private_key": "-----BEGIN-----\\nhunter2\\n"\n}\n'
    path = tmp_path / "key.json"
    path.write_text(f"{key}\n")
    world = make_world(credentials=Credentials("monitor", PasswordFile(path)))
    world.registry.accounts[HOST] = {"monitor": key}
    assert told(world.run()) == ("up",)

    said = ('"private_key": "-----BEGIN-----\\nhunter2\\n"', json.dumps(key), key.replace("\n", " "))
    world.during("login", instead=fails("".join(f"denied: {words} is wrong {{}}\n" for words in said)))
    cycle = world.run()
    assert cycle.failed.detail == "denied: <secret> is wrong {}"
    assert [word for word in ("hunter2", "BEGIN", "service_account") if word in repr(cycle)] == []


def test_a_password_that_docker_repeats_is_blanked(world):
    """Neither detail nor output of a step holds it."""
    world.during("login", instead=fails(f"denied: no {PASSWORD} here\n"))

    cycle = world.run()

    assert cycle.failed.detail == "denied: no <secret> here"
    assert PASSWORD not in repr(cycle)


def test_a_docker_config_is_copied_and_never_written(make_world, tmp_path):
    """Its logins are there for docker, in the private folder, while the cycle runs; the folder is not touched."""
    source = tmp_path / "source"
    source.mkdir()
    given = {"auths": {HOST: {"auth": "eDp5"}}, "credsStore": "pass", "currentContext": "remote"}
    (source / "config.json").write_text(json.dumps(given))
    (source / "config.json").chmod(0o400)
    before = (source / "config.json").stat()
    world = make_world(credentials=None, docker_config=source)
    world.registry.accounts[HOST] = {"x": "y"}
    private = world.folders[0] / "config.json"
    seen = []
    world.during("push", before=lambda: seen.append((json.loads(private.read_text()), private.stat().st_mode & 0o777)))

    cycle = world.run()

    assert steps_of(cycle) == [f"{step} ok" for step in STEPS[1:]]
    assert seen == [({"auths": {HOST: {"auth": "eDp5"}}, "credsStore": "pass"}, 0o600)]
    assert (source / "config.json").read_text() == json.dumps(given)
    assert (source / "config.json").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in source.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "can't be read: No such file or directory"),
        ('{"auths": {"a.ex', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (b"\xff", "is not JSON"),
        ("[]", "is not a Docker configuration"),
    ],
)
def test_a_docker_config_that_can_t_be_read_is_told_and_taken_once_it_can(make_world, tmp_path, content, why):
    """The first step fails for the configuration's fault, and names the file; no account is blamed."""
    source = tmp_path / "source"
    source.mkdir()
    file = source / "config.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    world = make_world(credentials=None, docker_config=source)
    cycle = world.run()

    assert told(cycle) == ("unknown", "pull", "credential_helper", "config")
    assert cycle.failed.detail == f"the logins in {source} can't be used: {file} {why}"
    assert cycle.failed.advice.startswith("Check that this file is there and whole")

    file.write_text(json.dumps({"auths": {HOST: {"auth": "eDp5"}}}))
    world.registry.accounts[HOST] = {"x": "y"}
    assert told(world.run()) == ("up",)


def test_a_docker_config_folder_that_is_gone_is_told(make_world, tmp_path):
    """It is not a folder without logins, for which the registry would refuse an account that nobody gave it."""
    cycle = make_world(credentials=None, docker_config=tmp_path / "gone").run()

    assert told(cycle) == ("unknown", "pull", "credential_helper", "config")
    assert cycle.failed.detail.endswith(f"{tmp_path / 'gone'} is not a folder")
