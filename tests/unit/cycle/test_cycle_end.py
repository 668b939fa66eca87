"""The end of the monitor in a cycle: it stops, cleans up, and waits for what comes late."""

import pytest

from lib.command import Stopped
from tests.unit.cycle.world import DENIED, LAST, STEPS, theirs, told
from tests.unit.fake_docker import HUNG, STOPPED, fails
from tests.unit.support import NAME


@pytest.mark.parametrize("step", STEPS)
def test_a_stop_ends_the_cycle_and_cleans_up(world, step):
    """Wherever it comes, there is no verdict; what is left is removed, even what the engine still finishes."""
    world.has(theirs("e"), NAME)
    world.during(step, instead=STOPPED, is_late=step != "login")

    with pytest.raises(Stopped):
        world.run()

    world.docker.finish_late()
    world.check()
    pushed = world.registry.images[NAME].digest
    assert world.last_push.digest == (pushed if step in ("rmi", "pull_back") else LAST.digest)


@pytest.mark.parametrize("step", ["build", "pull_back"])
def test_a_stop_before_a_step_has_nothing_late_to_wait_for(world, step):
    """The command before it ended: what it made is there, and goes at once."""
    world.during(step, instead=Stopped())

    with pytest.raises(Stopped):
        world.run()

    world.check()
    assert world.slept == []


def test_a_stop_before_the_first_step_ends_the_cycle(world):
    world.has(theirs("e"), NAME)
    world.docker.when("image", instead=STOPPED)

    with pytest.raises(Stopped):
        world.run()

    world.check()
    assert world.observed.told == []


@pytest.mark.parametrize("step", ["pull", "build", "pull_back"])
def test_an_only_cycle_waits_for_what_comes_late(make_world, step):
    """If no second cycle will look for it, the result of what was ended by force is looked for a moment later."""
    world = make_world(of_world={"is_only": True})
    world.during(step, instead=HUNG, is_late=True)

    assert told(world.run())[1] == step
    assert len(world.slept) == 1


@pytest.mark.parametrize("is_only", [True, False])
def test_what_came_to_its_own_end_is_waited_for_by_none(make_world, is_only):
    """A refused push is over when it fails."""
    world = make_world(of_world={"is_only": is_only})
    world.during("push", instead=fails(DENIED))

    assert told(world.run()) == ("down", "push", "denied", "credentials")
    assert world.slept == []


def test_what_can_t_be_cleaned_up_is_logged_and_removed_before_the_next_cycle(world, caplog):
    """A failed clean-up changes no verdict, and is made good."""
    conflict = fails("Error response from daemon: conflict: it is in use\n")
    world.afterwards("rmi", instead=conflict, times=2)

    assert told(world.cycle()) == ("up",)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert len(world.host.images) == 1
    assert told(world.run()) == ("up",)
