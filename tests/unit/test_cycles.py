"""Cycles: what the cycles of one target share, and that it goes with the target."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from examples import a_target

from lib.cycles import Cycles
from lib.docker import DockerError
from lib.instance import Instance
from tests.unit.support import NO_DAEMON, VERSION, Memory, Observed, Script


@pytest.fixture
def instance(tmp_path):
    with closing(Instance(tmp_path)) as instance:
        yield instance


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def cycles(script, instance):
    return Cycles("docker", script.runner, {}, instance, Memory(), Observed())


def folders(instance):
    return sorted(path.name.partition("-")[0] for path in instance.folder.iterdir())


def test_what_a_targets_cycles_shared_is_removed_with_it(cycles, instance):
    first, second = a_target("first"), a_target("second")
    for target in (first, second, first):
        cycles._kept_of(target)
    assert folders(instance) == ["anonymous", "target", "target"]
    cycles.forget(first)
    assert folders(instance) == ["anonymous", "target"]
    cycles.forget(a_target("third"))
    cycles.forget(second)
    assert folders(instance) == ["anonymous"]


def test_a_stranger_is_never_led_to_the_users_credential_store(cycles, instance):
    """Docker looks for one where a config folder holds no login at all."""
    (folder,) = instance.folder.iterdir()
    assert json.loads((folder / "config.json").read_text())["auths"]


def test_the_versions_are_asked_without_any_target(cycles, script):
    script.on(*VERSION, out="28.2.2 20.10.24\n")
    assert cycles.docker_versions() == ("28.2.2", "20.10.24")
    script.on(*VERSION, err=NO_DAEMON, code=1)
    with pytest.raises(DockerError):
        cycles.docker_versions()
