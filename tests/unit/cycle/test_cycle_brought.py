"""An image that a pull brought, that no monitor made, and that its cycle could not remove: only that goes later."""

import pytest

from tests.unit.cycle.world import BEFORE, DENIED, at_digest, theirs, told
from tests.unit.fake_docker import GONE, fails, says
from tests.unit.fake_docker.engine import Container
from tests.unit.support import NAME

STRANGE, OTHER = theirs("3"), theirs("4")


def brought(world):
    """Run a cycle whose first pull brings an image; the daemon is gone before anybody looks at it, and then back."""
    world.registry.put(NAME, STRANGE)
    world.during("pull", after=lambda: world.docker.fall_ill(GONE))
    assert told(world.cycle()) == ("unknown", "pull", "daemon", "host")
    assert world.host.names()[NAME] == STRANGE.image_id
    world.docker.fall_ill(None)
    world.registry.put(NAME, BEFORE)


def brought_beside_one_that_waits(world):
    """The same, as an image of the host's own waits to get its name back."""
    world.has(OTHER, NAME)
    brought(world)


def use(world, content):
    """Let a container be made from an image: it stays on the host, by its names."""
    world.host.containers["c" * 64] = Container(content.image_id)


def test_what_a_pull_brought_is_removed_before_the_next_cycle(world):
    """It was not on the host before: it is not the host's own image, which would have to get its name back."""
    brought(world)

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize("verb", ["image", "rmi"])
def test_what_came_back_is_removed_before_the_next_cycle_as_well(world, verb):
    """The daemon is gone between its pull and the look at it, or that and its removal."""
    pushed = []
    world.during("rmi", before=lambda: (pushed.append(world.registry.images[NAME]), world.registry.put(NAME, STRANGE)))
    world.docker.when(
        verb,
        only=lambda _: world.host.names().get(NAME) == STRANGE.image_id,
        before=lambda: world.docker.fall_ill(GONE),
    )
    assert told(world.cycle())[1] == "pull_back"
    assert STRANGE.image_id in world.host.images
    world.docker.fall_ill(None)
    world.registry.put(NAME, *pushed)

    assert told(world.run()) == ("up",)


def test_another_image_that_has_the_name_by_then_is_the_hosts(world):
    """Somebody made or pulled it when no cycle was under way."""
    brought(world)
    world.host.rmi(NAME)
    world.has(OTHER, NAME)

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize("before", [brought, brought_beside_one_that_waits])
def test_what_a_pull_brought_and_somebody_uses_stays(world, before):
    """Docker does not remove what a container was made from; the image that had the name before gets it back."""
    before(world)
    use(world, STRANGE)

    assert told(world.cycle()) == ("up",)
    owner = OTHER if before is brought_beside_one_that_waits else STRANGE
    assert world.host.names()[NAME] == owner.image_id
    assert set(world.host.images) == {STRANGE.image_id, owner.image_id}


@pytest.mark.parametrize("before", [brought, brought_beside_one_that_waits])
def test_the_base_stays_though_a_pull_brought_it(make_world, before):
    """What `base-layer-id` names is never removed; nor does it take the place of the image that had the name before."""
    world = make_world(base_layer_id=STRANGE.digest)
    before(world)
    world.during("login", instead=fails(DENIED))

    assert told(world.cycle())[1] == "login"
    owner = OTHER if before is brought_beside_one_that_waits else STRANGE
    assert world.host.names()[NAME] == owner.image_id
    assert world.host.names()[at_digest(STRANGE)] == STRANGE.image_id


def test_one_that_goes_by_itself_meanwhile_is_no_failure(world):
    """The daemon may finish a removal that was given up."""
    brought(world)
    world.docker.when("rmi", before=lambda: world.host.rmi(NAME))

    assert told(world.run()) == ("up",)


def test_one_that_docker_can_not_remove_is_told_and_tried_again(world):
    """It is not taken for the host's for that."""
    brought(world)
    world.docker.when("rmi", instead=fails("Error response from daemon: no space left on device\n"))

    assert told(world.run()) == ("unknown", "login", "disk_full", "host")


def test_it_is_tried_again_as_long_as_docker_does_not_work(world):
    """A daemon that is gone again fails the cycle, and what a pull brought is not taken for the host's."""
    brought(world)
    world.docker.when("rmi", before=lambda: world.docker.fall_ill(GONE))
    assert told(world.cycle()) == ("unknown", "login", "daemon", "host")
    world.docker.fall_ill(None)

    assert told(world.run()) == ("up",)


def test_what_is_gone_by_then_is_forgotten(world):
    """One with the same digest that comes later, by somebody else's pull, is the host's."""
    brought(world)
    world.host.rmi(NAME)
    world.during("login", before=lambda: world.docker.fall_ill(GONE))
    assert told(world.run())[2] == "daemon"
    world.docker.fall_ill(None)
    world.has(STRANGE, NAME, at_digest(STRANGE))

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize("is_base", [False, True])
def test_an_only_cycle_removes_it_at_its_end(make_world, is_base):
    """There will be no next one before which that could be done; but the base stays."""
    world = make_world(base_layer_id=STRANGE.digest if is_base else None, of_world={"is_only": True})
    world.registry.put(NAME, STRANGE)
    world.during("pull", "image", instead=says("?\n"))

    assert told(world.cycle()) == ("unknown", "pull", "daemon", "host")
    assert set(world.host.images) == ({STRANGE.image_id} if is_base else set())
