"""What a pull brought, no monitor made, and could not be removed in its cycle: it goes later, and only that goes."""

from tests.unit.cycle.world import ABSENT, DENIED, DIGEST, FULL, GONE, told
from tests.unit.support import NAME, described, digest_of, missing, pulled

STRANGE = digest_of(3)
IN_USE = {"err": f"Error response from daemon: conflict: unable to delete {NAME} - it is in use\n", "code": 1}


def a_stranger(digest=STRANGE):
    """Return the description of an image that no monitor made, under the test image's name."""
    return described(digest_of("e"), digests=(f"127.0.0.1:5888/lab/canary@{digest}",))


def met(world, digest=STRANGE):
    """Return a first look that meets that image."""
    return "look", {"out": a_stranger(digest), "err": missing(world.held)}


def brought(world):
    """Run a cycle whose first pull brings that image; the daemon is gone before anybody looks at it."""
    world.announce(*FULL[:4], ("describe", GONE), ("ask", GONE), pull={"out": pulled(STRANGE)})
    assert told(world.run()) == ("unknown", "pull", "daemon", "host")


def brought_beside_one_that_waits(world):
    """The same, as an image of the host's own waits; return the look that meets both."""
    world.announce(
        ("look", {"out": described(digest_of("e")), "err": missing(world.held)}), "hold", *FULL[1:4],
        ("describe", GONE), ("ask", GONE), pull={"out": pulled(STRANGE)},
    )  # fmt: skip
    assert told(world.run()) == ("unknown", "pull", "daemon", "host")
    return "look", {"out": a_stranger() + described(digest_of("e"), (world.held,)), "err": "", "code": 0}


def test_what_a_pull_brought_is_removed_before_the_next_cycle(world):
    """It was not on the host before: it is no image of the host's own, that would have to have its name back."""
    brought(world)
    world.announce(met(world), "remove", "sweep", *FULL[2:], "sweep")

    assert told(world.run()) == ("up",)


def test_what_came_back_is_removed_before_the_next_cycle_as_well(world):
    """The daemon is gone between the look at it and its removal."""
    world.announce(
        *FULL[:9], "describe_back", ("remove_back", GONE), ("describe", GONE),
        pull_back={"out": pulled(STRANGE)}, describe_back={"out": a_stranger()},
    )  # fmt: skip
    assert told(world.run()) == ("down", "pull_back", "integrity", "registry")
    world.announce(met(world), "remove", "sweep", *FULL[2:], pull={"out": pulled(DIGEST)})

    assert told(world.run()) == ("up",)


def test_another_image_that_has_the_name_by_then_is_the_hosts(world):
    """Somebody made or pulled it when no cycle was under way."""
    brought(world)
    world.announce(met(world, digest_of(4)), "hold", "sweep", *FULL[2:], "sweep", "give_back", "let_go")

    assert told(world.run()) == ("up",)


def test_what_a_pull_brought_and_somebody_uses_is_the_hosts(world):
    """Docker does not remove what a container was made from, and it keeps its name."""
    brought(world)
    world.announce(met(world), ("remove", IN_USE), "hold", "sweep", *FULL[2:], "sweep", "give_back", "let_go")

    assert told(world.run()) == ("up",)


def test_the_hosts_own_that_waits_goes_on_waiting_where_somebody_uses_what_a_pull_brought(world):
    """The image that had the name before gets it back, and no other takes its place."""
    look = brought_beside_one_that_waits(world)
    world.announce(look, ("remove", IN_USE), "sweep", *FULL[2:], "sweep", "give_back", "let_go")

    assert told(world.run()) == ("up",)


def test_the_hosts_own_that_waits_goes_on_waiting_where_what_a_pull_brought_is_the_base(make_world):
    """The base stays, by its digest, and takes no place of the image that had the name before."""
    world = make_world(last=None, base_layer_id=STRANGE)
    look = brought_beside_one_that_waits(world)
    denied = {"out": "", "err": DENIED, "code": 1}
    world.announce(look, "sweep", ("login", denied), "ask", "sweep", "give_back", "let_go")

    assert told(world.run())[1] == "login"


def test_one_that_goes_by_itself_meanwhile_is_no_failure(world):
    """The daemon may finish a removal that was given up."""
    brought(world)
    world.announce(met(world), ("remove", ABSENT), "sweep", *FULL[2:], "sweep")

    assert told(world.run()) == ("up",)


def test_one_that_docker_can_not_remove_is_told_and_tried_again(world):
    """It is not taken for the host's for that."""
    brought(world)
    full = {"err": "Error response from daemon: no space left on device\n", "code": 1}
    world.announce(met(world), ("remove", full), ("describe", {"out": a_stranger()}), "remove", "sweep")
    assert told(world.run()) == ("unknown", "login", "disk_full", "host")


def test_the_base_stays_though_a_pull_brought_it(make_world):
    """What `base-layer-id` names is never removed."""
    world = make_world(last=None, base_layer_id=STRANGE)
    world.announce(*FULL[:4], ("describe", GONE), ("ask", GONE), pull={"out": pulled(STRANGE)})
    assert told(world.run()) == ("unknown", "pull", "daemon", "host")
    denied = {"out": "", "err": DENIED, "code": 1}
    world.announce(met(world), "hold", "sweep", ("login", denied), "ask", "sweep", "give_back", "let_go")

    assert told(world.run())[1] == "login"


def test_it_is_tried_again_as_long_as_docker_does_not_work(world):
    """A daemon that is gone again fails the cycle, and what a pull brought is not taken for the host's."""
    brought(world)
    world.announce(met(world), ("remove", GONE), ("ask", GONE))
    assert told(world.run()) == ("unknown", "login", "daemon", "host")
    world.announce(met(world), "remove", "sweep", *FULL[2:], "sweep")

    assert told(world.run()) == ("up",)


def test_what_is_gone_by_then_is_forgotten(world):
    """One with the same digest that comes later, by somebody else's pull, is the host's."""
    brought(world)
    world.announce(*FULL, "sweep")
    assert told(world.run()) == ("up",)
    world.announce(met(world), "hold", "sweep", *FULL[2:], "give_back", "let_go", pull={"out": pulled(DIGEST)})

    assert told(world.run()) == ("up",)


def test_an_only_cycle_removes_it_once_the_daemon_is_back(world):
    """There will be no next one before which that could be done."""
    world.cycle.is_only = True
    world.announce(
        *FULL[:4], ("describe", {"out": "?\n"}), "ask", ("describe", {"out": a_stranger()}), "remove", "sweep", "sweep",
        pull={"out": pulled(STRANGE)},
    )  # fmt: skip

    assert told(world.run()) == ("unknown", "pull", "daemon", "host")
