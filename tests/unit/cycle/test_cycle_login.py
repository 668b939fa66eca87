"""A cycle's login: the password file, the docker config, and that neither shows."""

import json

import pytest

from lib.secret import Secret
from lib.target import Credentials
from tests.unit.cycle.world import BEFORE, DIGEST, FULL, told
from tests.unit.support import HOST, PASSWORD, pulled


def test_the_password_file_is_read_at_every_cycle(make_world, tmp_path):
    """A password that was changed is the new one from the next cycle on."""
    path = tmp_path / "password"
    world = make_world(credentials=Credentials("monitor", path))
    for number in range(2):
        path.write_text(f"password {number}\n")
        names = [name for name in FULL if number == 0 or name != "sweep"]
        world.announce(*names, pull={"out": pulled(DIGEST if number else BEFORE.digest)})
        world.run()

    given = [command.stdin for command in world.script.runner.commands if command.stdin]
    assert given == [Secret("password 0"), Secret("password 1")]


@pytest.mark.parametrize("content", [None, b"", b"two\nlines\n"])
def test_a_password_file_that_can_t_be_read_is_told(make_world, tmp_path, content):
    """The step login fails for the configuration's fault; what is in the file is not told."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    world = make_world(credentials=Credentials("monitor", path))
    world.announce("look", "sweep", "sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "login", "credential_helper", "config")
    assert str(path) in cycle.failed.detail
    assert "lines" not in cycle.failed.detail.replace("more than one line", "")


def test_a_password_that_docker_repeats_is_blanked(world):
    """Neither detail nor output of a step holds it."""
    world.announce(
        "look", "sweep", "login", "ask", "sweep", login={"out": "", "err": f"denied: no {PASSWORD} here\n", "code": 1}
    )

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
    private = world.folders[0] / "config.json"
    seen = []

    def look():
        seen.append((json.loads(private.read_text()), private.stat().st_mode & 0o777))

    world.announce(*[name for name in FULL if name != "login"], push={"does": look})

    assert told(world.run()) == ("up",)
    assert seen == [({"auths": {HOST: {"auth": "eDp5"}}, "credsStore": "pass"}, 0o600)]
    assert (source / "config.json").read_text() == json.dumps(given)
    assert (source / "config.json").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in source.iterdir()] == ["config.json"]


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_docker_config_that_can_t_be_read_is_told(make_world, tmp_path, content):
    """The first step fails for the configuration's fault."""
    source = tmp_path / "source"
    source.mkdir()
    if content is None:
        (source / "config.json").mkdir()
    else:
        (source / "config.json").write_text(content)
    world = make_world(credentials=None, docker_config=source)
    world.announce("sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "pull", "credential_helper", "config")
    assert str(source) in cycle.failed.detail
