"""The host: what the cycles of all targets share, what each has of its own, and what is logged about the engine."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace

import pytest

from lib.cycle.host import Host
from lib.failure import Reason, Verdict
from lib.history import History
from lib.instance import Instance
from lib.result import StepName
from lib.secret import Secret
from lib.target import Builder, Credentials
from tests.unit.examples import a_target
from tests.unit.fake_docker import GONE, FakeDocker, fails, says
from tests.unit.support import Memory, Observed


@pytest.fixture
def instance(tmp_path):
    with closing(Instance(tmp_path)) as instance:
        yield instance


@pytest.fixture
def docker():
    return FakeDocker()


@pytest.fixture
def new_host(docker, instance):
    def new(**options):
        return Host("docker", docker, {}, instance, History(instance.name), **options)

    return new


@pytest.fixture
def host(new_host):
    return new_host()


def test_the_plugins_that_the_user_has_are_found(new_host, instance, tmp_path):
    """Buildx may be one of them, and a private config folder would lose it; before the first cycle, too."""
    new_host(plugins=tmp_path).runner_for(a_target(), Memory(), Observed())

    assert folders(instance) == ["anonymous", "target"]
    assert {(folder / "cli-plugins").resolve() for folder in instance.folder.glob("*-*/")} == {tmp_path}


def folders(instance):
    return sorted(path.name.partition("-")[0] for path in instance.folder.iterdir() if path.is_dir())


def test_what_a_targets_cycles_shared_is_removed_with_it(host, instance):
    runners = [host.runner_for(a_target(name), Memory(), Observed()) for name in ("first", "second")]
    assert [runner().verdict for runner in runners] == [Verdict.UP, Verdict.UP]
    assert folders(instance) == ["anonymous", "target", "target"]
    for runner in runners:
        runner.close()
    assert folders(instance) == ["anonymous"]


def test_a_stranger_is_never_led_to_the_users_credential_store(host, instance):
    """Docker looks for one if a config folder has no login at all."""
    (folder,) = instance.folder.glob("anonymous-*")
    assert json.loads((folder / "config.json").read_text())["auths"]


def test_the_versions_are_those_of_the_last_answer(host, docker):
    assert host.docker_versions() == ("", "")
    assert host.ask() is None
    assert host.docker_versions() == ("28.2.2", "20.10.24")
    docker.fall_ill(GONE)
    assert host.ask().startswith("docker can't be used (daemon): Cannot connect to the Docker daemon")
    assert host.docker_versions() == ("28.2.2", "20.10.24")


def told(caplog):
    """Return what was logged, each with those of its fields that are about the engine."""
    names = ("client", "server", "store", "builder", "detail")
    return [{name: vars(record)[name] for name in names if name in vars(record)} for record in caplog.records]


@pytest.mark.parametrize(
    ("driver", "store"),
    [
        ('overlay2 [["Backing Filesystem","extfs"]]', "overlay2"),
        ("vfs null", "vfs"),
        ('overlayfs [["driver-type","io.containerd.snapshotter.v1"]]', "containerd (overlayfs)"),
    ],
)
def test_the_engine_is_logged_once(new_host, docker, caplog, driver, store):
    """Client, server, store and builder, as soon as the daemon answers."""
    caplog.set_level("INFO")
    host = new_host(builders={Builder.AUTO, Builder.CLASSIC})
    docker.when("version", instead=GONE)
    docker.when("info", instead=says(f"{driver}\n"))

    for _ in range(3):
        host.ask()

    assert told(caplog) == [{"client": "28.2.2", "server": "20.10.24", "store": store, "builder": "classic"}]


def test_an_engine_that_may_not_be_asked_for_its_store_is_logged_all_the_same(new_host, docker, caplog):
    """Docker can be used, and so the monitor is well; the store is not known, and that is logged once."""
    caplog.set_level("INFO")
    host = new_host(builders={Builder.AUTO})
    # docker does not call it a failure, and prints what the engine said instead of an answer.
    docker.when("info", instead=says(" null\n\nError response from daemon: Forbidden\n"), times=9)

    assert [host.ask() for _ in range(3)] == [None] * 3

    assert told(caplog) == [
        {"detail": "Error response from daemon: Forbidden; refused: GET /info, or HEAD /_ping before it"},
        {"client": "28.2.2", "server": "20.10.24", "store": "unknown", "builder": "classic"},
    ]


def test_a_builder_that_the_cli_lacks_is_logged(new_host, docker, caplog):
    """No cycle can be up with it, and people learn that before the first one."""
    fault = "ERROR: BuildKit is enabled but the buildx component is missing or broken."

    def wants_buildkit(command):
        return command.env["DOCKER_BUILDKIT"] == "1"

    docker.when("build", only=wants_buildkit, instead=fails(f"{fault}\n"), times=2)

    new_host(builders={Builder.BUILDKIT}).ask()

    assert told(caplog) == [{"builder": Builder.BUILDKIT, "detail": fault}]


@pytest.mark.parametrize(("builder", "times"), [(Builder.AUTO, 1), (Builder.BUILDKIT, 0)])
def test_an_engine_is_asked_for_the_classic_builder_only_if_a_target_may_want_it(new_host, docker, builder, times):
    """A proxy in front of it may not let `POST /build` through, which BuildKit does without."""
    new_host(builders={builder}).ask()

    asked = [command for command in docker.commands if command.argv[1:] == ("build", "--quiet", "-")]
    assert len(asked) == times


# What a cleaner of temporary files removes.


@pytest.mark.parametrize("lost", ["everything", "anonymous", "config.json", "cli-plugins"])
def test_before_each_cycle_all_is_there_again_that_docker_needs(new_host, instance, tmp_path, caplog, lost):
    host = new_host(plugins=tmp_path)
    runners = [host.runner_for(a_target(name), Memory(), Observed()) for name in ("first", "second")]
    for runner in runners:
        runner()
    (anonymous,) = instance.folder.glob("anonymous-*")
    logins = (anonymous / "config.json").read_text()
    if lost == "everything":
        shutil.rmtree(instance.folder)
    elif lost == "anonymous":
        shutil.rmtree(anonymous)
    else:
        (anonymous / lost).unlink()
    assert [runner().verdict for runner in runners] == [Verdict.UP, Verdict.UP]
    assert (anonymous / "config.json").read_text() == logins
    assert {
        path.name: (path / "cli-plugins").resolve() for path in instance.folder.iterdir() if path.is_dir()
    } == dict.fromkeys([path.name for path in (anonymous, *(runner.workspace for runner in runners))], tmp_path)
    assert len(caplog.records) == (lost in ("everything", "anonymous"))


def test_as_long_as_there_is_nowhere_for_temporary_files_cycles_are_unknown(docker, tmp_path):
    parent = tmp_path / "tmp"
    parent.mkdir()
    instance = Instance(parent)
    runner = Host("docker", docker, {}, instance, History(instance.name)).runner_for(a_target(), Memory(), Observed())
    shutil.rmtree(parent)
    cycle = runner()
    assert (cycle.verdict, cycle.failed.reason) == (Verdict.UNKNOWN, Reason.CLI)
    assert str(instance.folder) in cycle.failed.detail
    parent.mkdir()
    assert runner().verdict is Verdict.UP
    instance.close()


@pytest.mark.parametrize("lost", ["folder", "config.json"])
def test_logins_that_are_removed_in_the_middle_of_a_cycle_are_not_the_registrys_fault(docker, tmp_path, lost):
    with closing(Instance(tmp_path)) as instance:
        host = Host("docker", docker, {}, instance, History(instance.name))
        target = replace(a_target(), credentials=Credentials("monitor", Secret("password")))
        runner = host.runner_for(target, Memory(), Observed())
        docker.engine.registry.accounts[target.registry] = {"monitor": "password"}
        config = runner.workspace / "config.json"
        docker.when("push", before=config.unlink if lost == "config.json" else lambda: shutil.rmtree(instance.folder))
        cycle = runner()
        assert (cycle.verdict, cycle.failed.name, cycle.failed.reason) == (Verdict.UNKNOWN, StepName.PUSH, Reason.CLI)
        assert "the logins were removed from this host meanwhile" in cycle.failed.detail
        assert runner().verdict is Verdict.UP
