"""A cycle that builds on a base: where it comes from, and what follows where it does not."""

import errno
import hashlib
import json
import os
from dataclasses import replace

import pytest

from lib.command import Completed
from lib.cycle import CycleRunner
from lib.cycle.housekeeping import Housekeeping
from lib.docker import Docker
from lib.docker.environment import prepare_config
from lib.reference import Reference
from lib.result import StepName
from tests.unit.cycle.world import DIGEST, FULL, TARGET, steps_of, told
from tests.unit.support import (
    AMBIGUOUS,
    HOST,
    INSPECT,
    NAME,
    NOT_THERE,
    REFERENCE,
    Memory,
    Observed,
    described,
    digest_of,
    hangs,
    missing,
    pulled,
)

BASE = Reference("docker.io", "library/alpine", "3")


def base_argv(name):
    return {"argv": ("pull", name)}


@pytest.mark.parametrize("public", [False, True])
def test_a_base_image_is_pulled_and_built_on(make_world, public):
    """With `public-base` it is pulled without any login: in a config folder of its own, with none in it."""
    world = make_world(base_image=BASE, public_base=public)
    configs = []

    def look():
        path = world.folders[1 if public else 0] / "config.json"
        configs.append(json.loads(path.read_text()) if path.exists() else None)

    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", "alpine:3"), "does": look}),
        ("describe", {"argv": (*INSPECT, "alpine:3"), "out": described(digest_of("9"), ("alpine:3",), layers=2)}),
        *FULL[5:],
        pull_back={"out": pulled(DIGEST, moved=1, already=2)},
    )

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle)[2] == "base ok"
    assert world.dockerfile.startswith("FROM alpine:3\n")
    pull = next(command for command in world.script.runner.commands if command.argv[1:] == ("pull", "alpine:3"))
    assert pull.env["DOCKER_CONFIG"] == str(world.folders[public])


def test_an_anonymous_pull_never_asks_the_users_credential_store(make_world):
    """Docker takes a config without any entry for one that uses the user's store (pass, secretservice): it has one."""
    world = make_world(base_image=BASE, public_base=True)
    configs = []

    def look():
        path = world.folders[1] / "config.json"
        configs.append(json.loads(path.read_text()) if path.exists() else {})

    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", "alpine:3"), "does": look}),
        ("describe", {"argv": (*INSPECT, "alpine:3"), "out": described(digest_of("9"), ("alpine:3",), layers=2)}),
        *FULL[5:],
    )
    world.cycle()

    assert configs[0].get("auths")
    assert not any(configs[0]["auths"].values())


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        (errno.ENOSPC, ("disk_full", "host")),
        (errno.EDQUOT, ("disk_full", "host")),
        (errno.EACCES, ("credential_helper", "config")),
    ],
)
def test_an_anonymous_config_that_can_t_be_written_fails_the_base(make_world, monkeypatch, number, wanted):
    """It is the base's step that needs it; the logins of the registry were made before."""
    world = make_world(base_image=BASE, public_base=True)

    def prepare(folder, *logins):
        if folder == world.folders[1]:
            raise OSError(number, os.strerror(number), str(folder))
        prepare_config(folder, *logins)

    monkeypatch.setattr("lib.cycle.prepare_config", prepare)
    world.announce(*FULL[:5], "sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "base", *wanted)
    assert str(world.folders[1]) in cycle.failed.detail


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("docker.io", ("unknown", "base", "base_image", "dependency")), (HOST, ("down", "base", "denied", "credentials"))],
)
def test_a_base_that_can_t_be_pulled_is_the_dependencys_fault(make_world, host, wanted):
    """Another registry's failure is not the monitored one's; the monitored one's own keeps its reason."""
    base = Reference(host, "library/alpine", "3")
    world = make_world(base_image=base)
    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", base.familiar), "out": "", "err": AMBIGUOUS, "code": 1}),
        "sweep",
    )

    assert told(world.run()) == wanted


def test_a_base_that_is_slow_is_the_dependencys_fault(make_world):
    """A deadline passed while the base came is no fault of the monitored registry's."""
    world = make_world(base_image=BASE)
    world.announce(*FULL[:5], ("pull", {"argv": ("pull", "alpine:3"), "does": hangs}), "ask", "sweep")

    assert told(world.run()) == ("unknown", "base", "base_image", "dependency")


LAYER_ID = digest_of("9")
AT_DIGEST = f"{REFERENCE.repository}@{LAYER_ID}"
LOCAL = f"registry-monitor-base/{hashlib.sha256(NAME.encode()).hexdigest()[:16]}:local"


def find(*names, text=""):
    """Announce that images are looked for; `text` describes those that are there."""
    absent = [name for name in names if name not in text]
    return "describe", {"argv": (*INSPECT, *names), "out": text, "err": missing(*absent), "code": int(bool(absent))}


@pytest.mark.parametrize("others", [("user/base:1",), ()])
def test_a_local_image_is_built_on_by_its_id(make_world, others):
    """It gets a name to build on, which is taken away again only where the image has others, and so stays."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST, text=described(LAYER_ID, others, layers=2)),
        ("hold", {"argv": ("tag", LAYER_ID, LOCAL)}),
        *FULL[5:],
        *([("rmi", {"argv": ("rmi", LOCAL)})] if others else []),
        pull_back={"out": pulled(DIGEST, moved=1, already=2)},
    )

    assert told(world.run()) == ("up",)
    assert world.dockerfile.startswith(f"FROM {LOCAL}\n")


def test_a_base_by_digest_is_pulled_from_the_repository(make_world):
    """A digest that no local image has is one of the repository's."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST),
        ("pull", {"argv": ("pull", AT_DIGEST), "out": pulled(LAYER_ID)}),
        find(AT_DIGEST, text=described(digest_of("8"), (), digests=(AT_DIGEST,))),
        ("hold", {"argv": ("tag", digest_of("8"), LOCAL)}),
        *FULL[5:],
        ("rmi", {"argv": ("rmi", LOCAL)}),
        pull_back={"out": pulled(DIGEST, moved=1, already=1)},
    )

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle)[2] == "base ok"


def test_the_very_image_that_is_the_base_may_be_overwritten(make_world):
    """The image under the tag that `base-layer-id` names is no reason to stop, and stays on the host to build on."""
    world = make_world(last=None, base_layer_id=LAYER_ID)
    base = described(digest_of("8"), (NAME,), digests=(AT_DIGEST,))
    world.announce(
        *FULL[:4],
        ("describe", {"out": base}),
        find(LAYER_ID, AT_DIGEST, text=base),
        ("hold", {"argv": ("tag", digest_of("8"), LOCAL)}),
        *FULL[5:],
        ("rmi", {"argv": ("rmi", LOCAL)}),
        pull={"out": pulled(LAYER_ID)},
        pull_back={"out": pulled(DIGEST, moved=1, already=1)},
    )

    assert told(world.run()) == ("up",)


def test_a_base_that_vanishes_as_it_comes_is_a_failed_step(make_world):
    """Where somebody removes the base between its pull and the build, that is a failure, and no crash."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST),
        ("pull", {"argv": ("pull", AT_DIGEST), "out": pulled(LAYER_ID)}),
        find(AT_DIGEST),
        "ask",
        "sweep",
    )

    cycle = world.run()

    assert told(cycle)[:2] == ("unknown", "base")
    assert steps_of(cycle)[2:] == ["base failed"]


def test_a_base_that_docker_says_is_nothing_is_a_failed_step(make_world):
    """Nothing can be built on what docker pulled, and then describes as no image at all."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST),
        ("pull", {"argv": ("pull", AT_DIGEST), "out": pulled(LAYER_ID)}),
        ("describe", {"argv": (*INSPECT, AT_DIGEST), "out": "[]\n"}),
        "sweep",
    )

    cycle = world.run()

    assert told(cycle) == ("unknown", "base", "base_image", "dependency")
    assert AT_DIGEST in cycle.failed.detail


def test_a_short_id_that_is_nowhere_is_told(make_world):
    """An ID can only be a local image's."""
    world = make_world(base_layer_id="abcdef123456")
    at = f"{REFERENCE.repository}@abcdef123456"
    world.announce(*FULL[:5], find("abcdef123456", at), "sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "base", "base_image", "dependency")
    assert "abcdef123456" in cycle.failed.detail


def test_a_step_stands_once_in_a_cycle(make_world):
    """Where the base was pulled, and then can't be described, the step failed: it did not also succeed."""
    world = make_world(base_image=BASE)
    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", "alpine:3")}),
        ("describe", {"argv": (*INSPECT, "alpine:3"), "err": missing("alpine:3"), "code": 1}),
        "ask",
        "sweep",
    )

    assert [step.name for step in world.run().steps] == [StepName.LOGIN, StepName.PULL, StepName.BASE]


def test_two_targets_on_one_base_do_not_take_each_others_name_away(tmp_path):
    """Two cycles at once build on one local image: the name that one takes away is not the one the other builds on."""
    engine = Engine()
    dockerfiles = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        target = replace(TARGET, name=name, base_layer_id=LAYER_ID, reference=Reference(HOST, f"lab/{name}"))
        docker = Docker(engine, "docker", {}, tmp_path / name)
        housekeeping = Housekeeping(target, "me", {"dead"}.__contains__)
        CycleRunner(target, docker, docker, housekeeping, tmp_path / name, Memory(), Observed(), "me")()
        dockerfiles.append(engine.dockerfile)

    (one,), (two,) = ([line for line in text.splitlines() if line.startswith("FROM ")] for text in dockerfiles)
    assert one != two


class Engine:
    """An engine that holds one image, LAYER_ID, and an empty registry; it keeps the last Dockerfile."""

    def __call__(self, command):
        verb = command.argv[1]
        if verb == "pull":
            return Completed(1, "", NOT_THERE, 0.1)
        if verb == "image":
            asked = command.argv[5:]
            text = "".join(described(LAYER_ID, ("user/base:1",)) for name in asked if name == LAYER_ID)
            errors = missing(*(name for name in asked if name != LAYER_ID))
            return Completed(1 if errors else 0, text, errors, 0.1)
        if verb == "build":
            with open(f"{command.argv[-1]}/Dockerfile", encoding="utf-8") as file:  # noqa: PTH123  a path given to docker
                self.dockerfile = file.read()
            return Completed(1, "", "enough is known\n", 0.1)
        return Completed(0, "", "", 0.1)
