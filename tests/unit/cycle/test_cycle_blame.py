"""A cycle whose commands run into their deadlines: whom the verdict blames, and what is cleaned up."""

import pytest

from tests.unit.cycle.world import STEPS, TARGET, theirs, told
from tests.unit.fake_docker import GONE, HUNG, fails
from tests.unit.support import NAME

REMOTE = ("login", "pull", "push", "pull_back")


@pytest.mark.parametrize("step", REMOTE)
def test_a_deadline_is_the_networks_where_the_daemon_answers(world, step):
    """Before the network is blamed, the daemon is asked; it answers."""
    world.during(step, instead=HUNG)

    assert told(world.run()) == ("down", step, "timeout", "network")


@pytest.mark.parametrize("ailment", [GONE, HUNG])
@pytest.mark.parametrize("step", STEPS)
def test_a_deadline_is_the_hosts_where_the_daemon_does_not_answer(world, step, ailment):
    """A daemon that hangs or is gone is blamed, the cycle is `unknown`, and no long wait for it follows."""
    world.during(step, instead=HUNG, after=lambda: world.docker.fall_ill(ailment))

    cycle = world.cycle()

    assert told(cycle) == ("unknown", step, "daemon", "host")
    assert "passed its deadline" in cycle.failed.detail
    assert world.docker.lost_seconds - TARGET.step_timeout < 10


@pytest.mark.parametrize("step", STEPS)
def test_a_cli_that_hangs_gets_the_blame_before_the_daemon(world, step):
    """If a CLI does not even give its own version, that is what hangs: nothing is known of the daemon."""
    world.during(step, instead=HUNG, after=lambda: world.docker.fall_ill(HUNG, HUNG))

    assert told(world.cycle()) == ("unknown", step, "cli", "host")


@pytest.mark.parametrize("ailment", [GONE, HUNG])
def test_a_login_without_a_daemon_is_the_daemons_fault_whatever_it_says(world, ailment):
    """If the daemon went away, the CLI logs in by itself, and knows neither its certificates nor its resolver."""
    words = 'Get "https://127.0.0.1:5888/v2/": tls: failed to verify certificate: x509: unknown authority\n'
    world.during("login", instead=fails(words), after=lambda: world.docker.fall_ill(ailment))

    cycle = world.run()

    assert told(cycle) == ("unknown", "login", "daemon", "host")
    assert "x509" in cycle.failed.detail


@pytest.mark.parametrize("when", ["at once", "between", "in the next"])
@pytest.mark.parametrize("step", ["pull", "build", "push", "pull_back"])
def test_what_was_ended_by_force_is_removed_whenever_it_comes(world, step, when):
    """The daemon may still make or pull an image once its command was ended, also in the middle of the next cycle."""
    world.during(
        step, instead=HUNG, is_late=True, after=world.docker.finish_late if when == "at once" else lambda: None
    )
    assert told(world.run())[1] == step
    if when == "in the next":
        world.during("pull_back", after=world.docker.finish_late)
    elif when == "between":
        world.docker.finish_late()

    assert told(world.run()) == ("up",)

    before = len(world.docker.commands)
    assert told(world.run()) == ("up",)
    assert "images" not in world.docker.verbs(since=before), "a third look finds nothing more to do"


def test_what_is_asked_besides_blames_the_daemon_too(world):
    """A question about what came back that is not answered in time is the hung daemon's fault, not the network's."""
    world.during("push", after=lambda: world.registry.put(NAME, theirs("c")))
    world.during("pull_back", after=lambda: world.docker.fall_ill(HUNG))

    assert told(world.cycle()) == ("unknown", "pull_back", "daemon", "host")


def test_upkeep_that_hangs_is_never_the_registrys_fault(world):
    """`docker image inspect` talks to no registry: if it hangs, and the daemon answers, the registry is not down."""
    world.docker.when("image", instead=HUNG)

    assert told(world.run()) == ("unknown", "login", "daemon", "host")
