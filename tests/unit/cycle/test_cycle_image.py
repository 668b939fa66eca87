"""A cycle's image: what comes back in its place, a push that comes late, and whose name it had before."""

from datetime import UTC, datetime

import pytest

from tests.unit.cycle.world import DENIED, STEPS, World, at_digest, our, theirs, told
from tests.unit.fake_docker import HUNG, fails, says
from tests.unit.fake_docker.registry import Content
from tests.unit.support import HOST, MADE, NAME


def comes_back(world, found):
    """Make the registry show another image once it has acknowledged the push."""
    world.during("push", after=lambda: world.registry.put(NAME, found))


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (our("c", created=MADE), ("down", "pull_back", "stale", "registry")),
        (our("c", created=datetime(2100, 1, 1, tzinfo=UTC)), ("down", "pull_back", "integrity", "registry")),
        (our("c", instance="another"), ("unknown", "pull_back", "foreign", "config")),
        (theirs("c"), ("down", "pull_back", "integrity", "registry")),
    ],
)
def test_another_image_than_the_pushed_one_has_its_reason(world, found, wanted):
    """Stale, altered and another monitor's images are distinguished, and removed again."""
    comes_back(world, found)

    cycle = world.run()

    assert told(cycle) == wanted
    assert cycle.pulled_digest == found.digest != cycle.pushed_digest
    assert f"{HOST}/lab/canary@{cycle.pushed_digest}" in world.registry.images


def test_an_image_that_is_not_understood_blames_nobody_outside(world):
    """If docker's description of what came back can't be read, the registry is not accused of another image."""
    comes_back(world, theirs("c"))
    world.during("pull_back", "image", instead=says("?\n"))

    assert told(world.run()) == ("unknown", "pull_back", "daemon", "host")


@pytest.mark.parametrize("tells", [None, fails(f"No such image: {NAME}\n")])
def test_an_image_that_is_gone_from_the_host_says_nothing_of_the_registry(world, tells):
    """If somebody removes what came back before it is looked at, the push is still known afterwards."""
    comes_back(world, theirs("c"))
    world.during("pull_back", "image", before=lambda: world.host.rmi(NAME), instead=tells)

    cycle = world.run()

    assert told(cycle)[0] == "unknown"
    assert world.last_push.digest == cycle.pushed_digest


# A push that was given up, and is published all the same.


def given_up(world):
    """Run a cycle whose push its deadline ends, and return the image that it was about."""
    built = []
    world.during("push", before=lambda: built.append(world.host.find(NAME).content), instead=HUNG)
    assert told(world.run()) == ("down", "push", "timeout", "network")
    return built[0]


def test_a_push_that_was_given_up_and_is_published_later_is_not_stale(world):
    """It is older than the last acknowledged one, but the registry did not go back: it was made to accept it."""
    late = given_up(world)
    assert told(world.run()) == ("up",)
    world.registry.put(NAME, late)

    assert told(world.run()) == ("up",)


def test_a_push_that_was_given_up_and_is_published_over_the_next_is_the_daemons(world):
    """The engine finished the older push after the newer one: no registry is called down, and none lost anything."""
    comes_back(world, given_up(world))

    cycle = world.run()

    assert told(cycle) == ("unknown", "pull_back", "daemon", "host")
    assert "given up" in cycle.failed.detail
    assert world.last_push.digest == cycle.pushed_digest


def test_a_push_that_was_acknowledged_is_stale_once_there_was_a_newer_one(world):
    """Only what was never acknowledged may come late."""
    world.run()
    old = world.registry.images[NAME]
    world.run()
    world.registry.put(NAME, old)

    assert told(world.run()) == ("down", "pull", "stale", "registry")


# What was here before.

KEPT = theirs("c", layers=3)


def _not_here(_):
    pass


def _without_a_name(host):
    host.add(KEPT)


def _by_another_name(host):
    host.add(KEPT, "user/kept:1")


def _by_this_name(host):
    host.add(KEPT, NAME)


def _by_its_layers(host):
    host.add(Content(theirs("d").image_id, KEPT.layers))


@pytest.mark.parametrize(
    ("here", "stays"),
    [
        (_not_here, False),
        (_without_a_name, True),
        (_by_another_name, True),
        (_by_this_name, True),
        (_by_its_layers, True),
    ],
)
@pytest.mark.parametrize("step", ["pull", "pull_back"])
def test_an_image_of_the_hosts_that_a_pull_meets_is_not_removed(make_world, step, here, stays):
    """An image that no monitor made, and that was here before, is still here afterwards, with any name it had."""
    world = make_world(last=None, overwrite=True)
    comes_to_be = lambda: (here(world.host), world.registry.put(NAME, KEPT))  # noqa: E731
    world.during("login" if step == "pull" else "rmi", after=comes_to_be)
    world.during(step, edit=lambda text: f"{text}{'c' * 12}: Pull complete\n" if here is _by_this_name else text)

    cycle = world.cycle()

    assert told(cycle) == (("up",) if step == "pull" else ("down", "pull_back", "integrity", "registry"))
    assert (KEPT.image_id in world.host.images) == stays
    names = world.host.names()
    assert ("user/kept:1" in names) == (here is _by_another_name)
    assert (NAME in names) == (step == "pull_back" and stays and here is not _by_another_name)


@pytest.mark.parametrize("kept", [1, 3])
def test_a_payload_layer_that_was_not_moved_is_no_success(make_world, kept):
    """A warm pull back proves nothing about the registry: `unknown`, and the host's fault."""
    world = make_world(payload_layers=3)
    other = theirs("d")
    world.during(
        "rmi",
        after=lambda: world.has(Content(other.image_id, world.registry.images[NAME].layers[:kept]), "user/kept:1"),
    )

    assert told(world.run()) == ("unknown", "pull_back", "warm", "host")


def test_an_image_that_was_here_all_the_time_is_no_success(world):
    """Nothing of it was moved, nor said to be here."""
    world.during("rmi", after=lambda: world.host.add(world.registry.images[NAME]))

    assert told(world.run()) == ("unknown", "pull_back", "warm", "host")


def test_an_image_that_somebody_gave_another_name_meanwhile_goes_all_the_same(world):
    """If rmi removes only a name, the image goes with its other names; otherwise nothing would have to be moved."""
    world.during("push", after=lambda: world.host.tag(NAME, "user/kept:1"))

    assert told(world.run()) == ("up",)


# Names that were others' before.


@pytest.fixture
def held_world(world):
    """A world with a user's image under the test image's name."""
    world.has(theirs("e"), NAME)
    return world


def test_a_users_image_gets_its_name_back(held_world):
    """An image that had the test image's name has it again after the cycle."""
    assert told(held_world.run()) == ("up",)


@pytest.mark.parametrize(("overwrite", "verdict"), [(False, "unknown"), (True, "up")])
def test_the_very_image_that_the_registry_has_keeps_its_names(make_world, overwrite, verdict):
    """Even that by digest, which docker removes with the last tag."""
    world = make_world(overwrite=overwrite, last=None)
    image = theirs("e")
    world.registry.put(NAME, image)
    world.has(image, NAME, at_digest(image))

    assert told(world.run())[0] == verdict


@pytest.mark.parametrize("step", STEPS)
def test_a_users_image_gets_its_name_back_after_a_failure(held_world, step):
    """Whichever step fails, the name goes back."""
    held_world.during(step, instead=fails(DENIED))

    assert told(held_world.run())[1] == step


def died(world, folder):
    """Let the monitor die in a cycle, and return the world of its next start."""
    world.housekeeping.prepare(world.cli)
    return World(folder, docker=world.docker)


def test_a_name_that_waited_when_the_monitor_died_is_given_back(held_world, tmp_path):
    """If a process died before it built anything, only the waiting name is left, and goes back."""
    wanted = held_world.stays
    world = died(held_world, tmp_path / "next")

    assert told(world.cycle()) == ("up",)
    assert world.host.snapshot() == wanted


def test_a_name_that_somebody_took_since_the_monitor_died_stays_theirs(held_world, tmp_path):
    """The image that has it now has it afterwards; the one before is still there."""
    world = died(held_world, tmp_path / "next")
    world.host.add(theirs("c"), NAME)

    assert told(world.cycle()) == ("up",)
    assert world.host.names() == {NAME: theirs("c").image_id}
    assert theirs("e").image_id in world.host.images
