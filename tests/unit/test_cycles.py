"""Cycles: what the cycles of one target share, and that it goes with the target."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from examples import a_target

from lib.cycle.cycles import Cycles
from lib.docker import DockerError
from lib.instance import Instance
from lib.target import Builder
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


def test_the_plugins_that_the_user_has_are_found(script, instance, tmp_path):
    """Buildx may be one of them, and a private config folder would lose it."""
    Cycles("docker", script.runner, {}, instance, Memory(), Observed(), plugins=tmp_path)
    (folder,) = instance.folder.iterdir()
    assert (folder / "cli-plugins").resolve() == tmp_path


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
    script.on("build", "--help", out="Usage:  docker build [OPTIONS] PATH | URL | -\n")
    script.on(*VERSION, out="28.2.2 20.10.24\n")
    assert cycles.docker_versions() == ("28.2.2", "20.10.24")
    script.on(*VERSION, err=NO_DAEMON, code=1)
    with pytest.raises(DockerError):
        cycles.docker_versions()


STORE = ("info", "--format", "{{.Driver}} {{json .DriverStatus}}")
CLASSIC_HELP = "Usage:  docker build [OPTIONS] PATH | URL | -\n"


def told(caplog):
    """Return what was logged, each with those of its fields that tell of the engine."""
    names = ("client", "server", "store", "builder", "detail")
    return [{name: vars(record)[name] for name in names if name in vars(record)} for record in caplog.records]


@pytest.mark.parametrize(
    ("driver", "store"),
    [
        ('overlay2 [["Backing Filesystem","extfs"]]', "overlay2"),
        ('overlayfs [["driver-type","io.containerd.snapshotter.v1"]]', "containerd (overlayfs)"),
    ],
)
def test_the_engine_is_told_once(cycles, script, caplog, driver, store):
    """Client, server, store and builder, as soon as the daemon answers."""
    caplog.set_level("INFO")
    script.on("build", "--help", out=CLASSIC_HELP, times=2)
    script.on(*VERSION, err=NO_DAEMON, code=1)
    script.on(*VERSION, out="28.2.2 26.1.5\n")
    script.on(*STORE, out=f"{driver}\n")

    for _ in range(3):
        cycles.tell_engine({Builder.AUTO, Builder.CLASSIC})

    assert told(caplog) == [{"client": "28.2.2", "server": "26.1.5", "store": store, "builder": "classic"}]


def test_a_builder_that_the_cli_lacks_is_told(cycles, script, caplog):
    """With it no cycle can be up, and people learn that before the first one."""
    fault = "ERROR: BuildKit is enabled but the buildx component is missing or broken."
    script.on("build", "--help", out=CLASSIC_HELP)
    script.on("build", "--help", err=f"{fault}\n", code=1)
    script.on(*VERSION, out="28.2.2 20.10.24\n")
    script.on(*STORE, out="overlay2 []\n")

    cycles.tell_engine({Builder.BUILDKIT})

    assert told(caplog) == [{"builder": Builder.BUILDKIT, "detail": fault}]
