"""The end of the monitor in a cycle: it stops, cleans up, and waits for what comes late."""

import pytest

from lib.command import Stopped
from tests.unit.cycle.world import BEFORE, DENIED, DIGEST, FULL, HUNG, IMAGE, our, stops, told
from tests.unit.support import INSPECT, NAME, pulled


@pytest.mark.parametrize("step", ["look", "login", "pull", "build", "push", "rmi", "pull_back"])
def test_a_stop_ends_the_cycle_and_cleans_up(world, step):
    """Wherever it comes, no verdict is made of it, and what is left is looked for by commands that still run."""
    until = FULL[: FULL.index(step) + 1]
    world.announce(*until, "sweep", "sweep", **{step: {"does": stops}})

    with pytest.raises(Stopped):
        world.run()

    world.check()
    assert world.script.runner.commands[-1].cleanup
    assert world.script.runner.commands[-2].cleanup
    assert world.memory.pushes[NAME].digest == (DIGEST if step in ("rmi", "pull_back") else BEFORE.digest)


def test_an_only_cycle_waits_for_what_comes_late(world):
    """Where no second cycle will look for it, what was ended by force is looked for twice by the first."""
    world.cycle.is_only = True
    late = [
        ("sweep", {"out": f"{IMAGE}\n"}),
        ("describe", {"argv": (*INSPECT, IMAGE), "out": our(IMAGE, ())}),
        ("rmi", {"argv": ("rmi", IMAGE)}),
    ]
    world.announce(*FULL[:7], "ask", "sweep", *late, push=HUNG)

    assert told(world.run()) == ("down", "push", "timeout", "network")


@pytest.mark.parametrize("is_only", [True, False])
def test_what_came_to_its_own_end_is_waited_for_by_none(world, is_only):
    """A refused push is over when it fails."""
    world.cycle.is_only = is_only
    world.announce(*FULL[:7], "sweep", push={"out": "", "err": DENIED, "code": 1})

    assert told(world.run()) == ("down", "push", "denied", "credentials")


def test_what_can_t_be_cleaned_up_is_logged_and_removed_before_the_next_cycle(world, caplog):
    """A failed clean-up changes no verdict, and is made good."""
    fails = {"out": "", "err": "Error response from daemon: conflict: it is in use\n", "code": 1}
    world.announce(*FULL[:-1], ("remove_back", fails), ("describe", {"out": our()}), ("sweep", fails))

    assert told(world.run()) == ("up",)
    assert [record.levelname for record in caplog.records] == ["WARNING"]

    world.announce(*FULL, pull={"out": pulled(DIGEST)})
    assert told(world.run()) == ("up",)
