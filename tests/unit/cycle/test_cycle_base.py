"""A cycle that builds on a base: where it comes from, and what follows if it does not come."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lib.docker.environment import prepare_config
from lib.reference import Reference
from lib.result import StepName
from tests.unit.cycle.world import DENIED, STEPS, TARGET, World, at_digest, steps_of, theirs, told
from tests.unit.fake_docker import HUNG, fails, says
from tests.unit.support import AMBIGUOUS, HOST, NAME, missing

ALPINE = Reference("docker.io", "library/alpine", "3")
BASE = theirs("9", layers=2)


@pytest.fixture
def on_alpine(make_world):
    """A world whose target is built on alpine, which stays on the host once it was pulled."""

    def make(**changed):
        world = make_world(base_image=ALPINE, **changed)
        world.registry.put("alpine:3", BASE)
        return world

    return make


@pytest.fixture
def on_digest(make_world):
    """A world whose target is built on an image of its repository, by digest."""
    world = make_world(base_layer_id=BASE.digest)
    world.registry.put(f"{HOST}/lab/canary:base", BASE)
    return world


def builds_on(world, base=BASE):
    """Return whether the registry has the payload on this base."""
    return world.registry.images[NAME].layers[:-1] == base.layers


def test_a_base_image_is_pulled_and_built_on(on_alpine):
    """It stays on the host, under its name."""
    world = on_alpine()

    cycle = world.cycle()

    assert told(cycle) == ("up",)
    assert steps_of(cycle) == [f"{step} ok" for step in (*STEPS[:2], "base", *STEPS[2:])]
    assert builds_on(world)
    assert world.host.names() == dict.fromkeys(("alpine:3", at_digest(BASE, "alpine:3")), BASE.image_id)


LABELLED = replace(BASE, labels={"quay.expires-after": "1h", "maintainer": "somebody", "registry-monitor.kind": "x"})


@pytest.mark.parametrize("option", ["base_image", "base_layer_id"])
def test_no_label_of_the_base_says_anything_of_the_test_image_but_those_that_are_asked_for(make_world, option):
    """Otherwise a base that expires, or is immutable, would make the registry treat the test image the same way."""
    wanted = {"base_image": ALPINE, "base_layer_id": LABELLED.digest}
    world = make_world(image_labels=(("maintainer", "me"), ("team", "ops")), **{option: wanted[option]})
    world.registry.put("alpine:3", LABELLED)
    world.registry.put(f"{HOST}/lab/canary:base", LABELLED)

    assert told(world.cycle()) == ("up",)
    labels = dict(world.registry.images[NAME].labels)
    assert (labels.pop("quay.expires-after"), labels.pop("registry-monitor.kind")) == ("", "")
    assert (labels.pop("maintainer"), labels.pop("team")) == ("me", "ops")
    assert set(labels) == {f"registry-monitor.{name}" for name in ("target", "instance", "token", "created")}


@pytest.mark.parametrize(("public", "user"), [(False, "monitor"), (True, None)])
def test_a_public_base_is_pulled_without_any_login(make_world, public, user):
    """Also from the registry that the monitor has logged in to."""
    name = f"{HOST}/lab/base:1"
    world = make_world(base_image=Reference(HOST, "lab/base", "1"), public_base=public)
    world.registry.put(name, BASE)
    world.during("base", before=world.registry.accounts.clear)

    assert told(world.cycle()) == ("up",)
    assert (name, user) in world.registry.pulls


def test_an_anonymous_pull_never_asks_the_users_credential_store(on_alpine):
    """Docker takes a config without any entry for one that uses the user's store (pass, secretservice): it has one."""
    world = on_alpine(public_base=True)
    configs = []

    def look():
        configs.append(json.loads((Path(world.docker.commands[-1].env["DOCKER_CONFIG"]) / "config.json").read_text()))

    world.during("base", before=look)
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
def test_an_anonymous_config_that_can_t_be_written_fails_the_base(on_alpine, monkeypatch, number, wanted):
    """It is the base's step that needs it; the logins of the registry were made before."""
    world = on_alpine(public_base=True)

    def prepare(folder, *logins):
        if folder == world.folders[1]:
            raise OSError(number, os.strerror(number), str(folder))
        prepare_config(folder, *logins)

    monkeypatch.setattr("lib.cycle.steps.prepare_config", prepare)

    cycle = world.run()

    assert told(cycle) == ("unknown", "base", *wanted)
    assert str(world.folders[1]) in cycle.failed.detail


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("docker.io", ("unknown", "base", "base_image", "dependency")), (HOST, ("down", "base", "denied", "credentials"))],
)
def test_a_base_that_can_t_be_pulled_is_the_dependencys_fault(make_world, host, wanted):
    """Another registry's failure is not the monitored one's; the monitored one's own keeps its reason."""
    world = make_world(base_image=Reference(host, "library/alpine", "3"))
    world.during("base", instead=fails(AMBIGUOUS))

    assert told(world.run()) == wanted


def test_a_base_that_is_slow_is_the_dependencys_fault(on_alpine):
    """A deadline that passed while the base came is not the monitored registry's fault."""
    world = on_alpine()
    world.during("base", instead=HUNG)

    assert told(world.run()) == ("unknown", "base", "base_image", "dependency")


def test_a_local_image_is_built_on_by_its_id(make_world):
    """It gets a name to build on, which is removed again."""
    world = make_world(base_layer_id=BASE.image_id)
    world.has(BASE, "user/base:1")

    assert told(world.run()) == ("up",)
    assert builds_on(world)


def test_a_local_image_without_a_name_keeps_the_one_that_it_got(make_world):
    """Removing its only name would remove the image."""
    world = make_world(base_layer_id=BASE.image_id)
    world.has(BASE)

    for _ in range(2):
        assert told(world.cycle()) == ("up",)
        (name,) = world.host.images[BASE.image_id].names
        assert name.startswith("registry-monitor-base/")


def test_a_base_by_digest_is_pulled_from_the_repository(on_digest):
    """A digest that no local image has is one of the repository's; it stays, by its digest."""
    cycle = on_digest.cycle()

    assert told(cycle) == ("up",)
    assert steps_of(cycle)[2] == "base ok"
    assert builds_on(on_digest)
    assert on_digest.host.names() == {at_digest(BASE): BASE.image_id}


def test_the_very_image_that_is_the_base_may_be_overwritten(make_world):
    """The image under the tag that `base-layer-id` names is not a reason to stop, and stays on the host to build on."""
    world = make_world(last=None, base_layer_id=BASE.digest)
    world.registry.put(NAME, BASE)

    assert told(world.cycle()) == ("up",)
    assert builds_on(world)
    assert world.host.names() == {at_digest(BASE): BASE.image_id}
    assert [name for name, _ in world.registry.pulls] == [NAME, NAME]


def test_a_base_that_vanishes_as_it_comes_is_a_failed_step(on_digest):
    """If somebody removes the base between its pull and the build, that is a failure, not a crash."""
    on_digest.during("base", after=lambda: on_digest.host.rmi(at_digest(BASE)))

    cycle = on_digest.run()

    assert told(cycle)[:2] == ("unknown", "base")
    assert steps_of(cycle)[2:] == ["base failed"]


def test_a_base_that_docker_says_is_nothing_is_a_failed_step(on_digest):
    """Nothing can be built on something that docker pulled, and then does not describe at all."""
    on_digest.docker.when("image", "inspect", "--format", "{{json .}}", at_digest(BASE), instead=says("[]\n"))

    cycle = on_digest.cycle()

    assert told(cycle) == ("unknown", "base", "base_image", "dependency")
    assert at_digest(BASE) in cycle.failed.detail


def test_a_short_id_that_is_nowhere_is_told(make_world):
    """An ID can only be a local image's."""
    cycle = make_world(base_layer_id="abcdef123456").run()

    assert told(cycle) == ("unknown", "base", "base_image", "dependency")
    assert "abcdef123456" in cycle.failed.detail


def test_a_step_stands_once_in_a_cycle(on_alpine):
    """If the base was pulled, and then can't be described, the step failed: it did not also succeed."""
    world = on_alpine()
    world.during("base", "image", instead=fails(missing("alpine:3")))

    assert [step.name for step in world.cycle().steps] == [StepName.LOGIN, StepName.PULL, StepName.BASE]


@pytest.mark.parametrize("fault", [None, DENIED])
def test_two_targets_on_one_base_do_not_take_each_others_name_away(make_world, tmp_path, fault):
    """A cycle ends while another one is about to build on the same local image: both find their base."""
    one = make_world(base_layer_id=BASE.image_id)
    one.has(BASE, "user/base:1")
    target = replace(TARGET, name="two", reference=Reference(HOST, "lab/two"), base_layer_id=BASE.image_id)
    two = World(tmp_path / "two", target, None, docker=one.docker)
    ended = []
    if fault:
        two.during("push", instead=fails(fault))
    one.during("build", before=lambda: ended.append(two.cycle()))

    assert told(one.run()) == ("up",)
    assert [told(cycle)[0] for cycle in ended] == ["down" if fault else "up"]
