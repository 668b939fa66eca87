"""A cycle's image: what comes back in its place, a push that comes late, and whose name it had before."""

import json
from datetime import UTC, datetime

import pytest

from lib.command import Stopped
from lib.failure import Verdict
from tests.unit.cycle.world import ABSENT, DENIED, DIGEST, FULL, HUNG, IMAGE, STRANGERS, our, stops, told
from tests.unit.support import INSPECT, MADE, NAME, described, digest_of, labels_in, missing, pulled, pushed, removed


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (our(digest_of("c"), created=MADE), ("down", "pull_back", "stale", "registry")),
        (our(digest_of("c"), created=datetime(2100, 1, 1, tzinfo=UTC)), ("down", "pull_back", "integrity", "registry")),
        (our(digest_of("c"), instance="another"), ("unknown", "pull_back", "foreign", "config")),
        (described(digest_of("c")), ("down", "pull_back", "integrity", "registry")),
    ],
)
def test_another_image_than_the_pushed_one_has_its_reason(world, found, wanted):
    """Stale, altered and another monitor's image are told apart, and removed again."""
    world.announce(
        *FULL[:9], "describe_back", "remove_back", "sweep",
        pull_back={"out": pulled(digest_of(3))}, describe_back={"out": found},
    )  # fmt: skip

    cycle = world.run()

    assert told(cycle) == wanted
    assert (cycle.pushed_digest, cycle.pulled_digest) == (DIGEST, digest_of(3))


def test_an_image_that_is_not_understood_blames_nobody_outside(world):
    """Where docker's description of what came back can't be read, the registry is not accused of another image."""
    world.announce(
        *FULL[:9], "describe_back", "ask", ("describe", ABSENT), "sweep",
        pull_back={"out": pulled(digest_of(3))}, describe_back={"out": "?\n"},
    )  # fmt: skip

    assert told(world.run()) == ("unknown", "pull_back", "daemon", "host")


@pytest.mark.parametrize("tells", [{"err": missing(NAME), "code": 1}, {"err": f"No such image: {NAME}\n", "code": 1}])
def test_an_image_that_is_gone_from_the_host_says_nothing_of_the_registry(world, tells):
    """Where somebody removes what came back before it is looked at, what was pushed is still known afterwards."""
    gone = [("describe_back", tells), "ask", ("describe", ABSENT)]
    world.announce(*FULL[:9], *gone, "sweep", pull_back={"out": pulled(digest_of(3))})

    assert world.run().verdict is Verdict.UNKNOWN
    assert world.memory.pushes[NAME].digest == DIGEST


# A push that was given up, and is published all the same.


def given_up(world):
    """Run a cycle whose push its deadline ends, and return the description of the image that it was about."""
    world.announce(*FULL[:7], "ask", "sweep", push=HUNG)
    assert told(world.run()) == ("down", "push", "timeout", "network")
    return labelled(world.dockerfile)


def labelled(dockerfile):
    """Given a Dockerfile, return the description of another image than the pushed one, with its labels."""
    shape = json.loads(described(digest_of("c")))
    shape["Config"]["Labels"] = dict(labels_in(dockerfile))
    return json.dumps(shape) + "\n"


def test_a_push_that_was_given_up_and_is_published_later_is_not_stale(world):
    """It is older than the last one that was acknowledged, but the registry went nowhere: it was made to take it."""
    late = given_up(world)
    world.announce(*FULL, "sweep")
    assert told(world.run()) == ("up",)
    world.announce(
        "look", *FULL[2:4], "describe", *FULL[4:], pull={"out": pulled(digest_of(3))}, describe={"out": late}
    )

    assert told(world.run()) == ("up",)


def test_a_push_that_was_given_up_and_is_published_over_the_next_is_the_daemons(world):
    """The engine finished the older push after the newer one: no registry is called down, and none lost anything."""
    late = given_up(world)
    world.announce(
        *FULL[:9], "describe_back", "ask", "remove_back", "sweep",
        pull_back={"out": pulled(digest_of(3))}, describe_back={"out": late},
    )  # fmt: skip

    cycle = world.run()

    assert told(cycle) == ("unknown", "pull_back", "daemon", "host")
    assert "given up" in cycle.failed.detail
    assert world.memory.pushes[NAME].digest == DIGEST


def test_a_push_that_was_acknowledged_is_stale_once_there_was_a_newer_one(world):
    """Only what was never acknowledged may come late."""
    world.announce(*FULL)
    world.run()
    old = labelled(world.dockerfile)
    newer = digest_of(4)
    again = [name for name in FULL if name != "sweep"]
    world.announce(*again, pull={"out": pulled(DIGEST)}, push={"out": pushed(newer)}, pull_back={"out": pulled(newer)})
    world.run()
    world.announce(
        "look", "login", "pull", "describe", "remove", "sweep", pull={"out": pulled(DIGEST)}, describe={"out": old}
    )

    assert told(world.run()) == ("down", "pull", "stale", "registry")


@pytest.mark.parametrize(("how", "tags", "removable"), STRANGERS)
def test_an_image_of_the_hosts_that_comes_back_is_not_removed(world, how, tags, removable):
    """Neither is one that comes back in place of the pushed one."""
    world.announce(
        *FULL[:9], "describe_back", *(["remove_back"] if removable else []), "sweep",
        pull_back={"out": pulled(digest_of(3), **how)}, describe_back={"out": described(digest_of("c"), tags)},
    )  # fmt: skip

    assert told(world.run()) == ("down", "pull_back", "integrity", "registry")


@pytest.mark.parametrize(("moved", "already"), [(0, 0), (0, 3), (2, 1), (3, 1)])
def test_a_payload_layer_that_was_not_moved_is_no_success(make_world, moved, already):
    """A warm pull back proves nothing of the registry: `unknown`, and the host's fault."""
    world = make_world(payload_layers=3)
    world.announce(*FULL, "sweep", pull_back={"out": pulled(DIGEST, moved=moved, already=already)})

    assert told(world.run()) == ("unknown", "pull_back", "warm", "host")


def test_an_image_that_somebody_gave_another_name_meanwhile_goes_all_the_same(world):
    """Where rmi takes only a name away, the image goes with its other names, or nothing would have to be moved."""
    renamed = our(IMAGE, tags=("user/kept:1",))
    world.announce(
        *FULL[:8],
        ("describe", {"argv": (*INSPECT, IMAGE), "out": renamed}),
        ("rmi", {"argv": ("rmi", IMAGE), "out": removed(IMAGE, name="user/kept:1")}),
        *FULL[8:],
        rmi={"out": removed()},
    )

    assert told(world.run()) == ("up",)


# Names that were others' before.


def held_world(world, *names, **changed):
    """Announce a cycle that meets a user's image under the test image's name."""
    theirs = described(digest_of("e"))
    world.announce(
        ("look", {"out": theirs, "err": missing(world.held)}), "hold", "sweep", *names, "give_back", "let_go", **changed
    )


def test_a_users_image_gets_its_name_back(world):
    """An image that had the test image's name has it again after the cycle."""
    held_world(world, *FULL[2:])

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize("step", ["login", "pull", "build", "push", "rmi", "pull_back"])
def test_a_users_image_gets_its_name_back_after_a_failure(world, step):
    """Whichever step fails, the name goes back."""
    until = [*FULL[2 : FULL.index(step) + 1], *(["ask"] if step == "login" else [])]
    held_world(world, *until, "sweep", **{step: {"out": "", "err": DENIED, "code": 1}})

    assert told(world.run())[1] == step


def test_a_users_image_gets_its_name_back_after_a_stop(world):
    """Also where the monitor is being stopped, by commands that still run then."""
    held_world(world, *FULL[2:7], "sweep", "sweep", push={"does": stops})

    with pytest.raises(Stopped):
        world.run()
    world.check()
    assert [command.cleanup for command in world.script.runner.commands[-4:]] == [True] * 4


def test_a_name_that_waited_when_the_monitor_died_is_given_back(world):
    """What an earlier process held is held on, and given back."""
    both = described(digest_of("c")) + described(digest_of("e"), (world.held,))
    world.announce(("look", {"out": both, "err": "", "code": 0}))
    world.announce(
        "hold", "sweep", *FULL[2:], "give_back", "let_go", hold={"argv": ("tag", digest_of("c"), world.held)}
    )

    assert told(world.run()) == ("up",)


def test_what_dead_instances_left_is_removed_before_the_cycle(world):
    """The first look finds images of an instance that died, and of this host's living ones: the dead one's go."""
    dead, living = digest_of("d"), digest_of("f")
    left = our(dead, ("old:1",), instance="dead") + our(living, (), instance="living", created=datetime.now(UTC))
    world.announce(
        "look",
        ("sweep", {"out": f"{dead}\n{living}\n"}),
        ("describe", {"argv": (*INSPECT, dead, living), "out": left}),
        ("rmi", {"argv": ("rmi", dead)}),
        *FULL[2:],
    )

    assert told(world.run()) == ("up",)


def test_a_name_that_waits_alone_is_given_back(world):
    """Where a process died before it built anything, only the waiting name is left, and goes back."""
    waiting = described(digest_of("e"), (world.held,))
    world.announce(("look", {"out": waiting, "err": missing(NAME)}), *FULL[1:], "give_back", "let_go")

    assert told(world.run()) == ("up",)
