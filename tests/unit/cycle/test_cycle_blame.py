"""A cycle whose commands run into their deadlines: whom the verdict blames, and what is cleaned up."""

import pytest

from tests.unit.cycle.world import BEFORE, DENIED, DIGEST, FULL, GONE, HUNG, IMAGE, our, told
from tests.unit.support import INSPECT, digest_of, hangs, pulled


@pytest.mark.parametrize("step", ["login", "pull", "push", "pull_back"])
def test_a_deadline_is_the_networks_where_the_daemon_answers(world, step):
    """Before the network is blamed, the daemon is asked; it answers."""
    world.announce(*FULL[: FULL.index(step) + 1], "ask", "sweep", **{step: {"does": hangs}})

    assert told(world.run()) == ("down", step, "timeout", "network")


#: What is asked where the daemon does not answer: once for the blame, and once more before anything is removed.
ASKED = [[("ask", GONE), ("ask", GONE)], [("ask", HUNG), "ask_cli", ("ask", HUNG)]]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("step", ["login", "pull", "build", "push", "rmi", "pull_back"])
def test_a_deadline_is_the_hosts_where_the_daemon_does_not_answer(world, step, asked):
    """A daemon that hangs or is gone gets the blame, the cycle is `unknown`, and nothing more is tried."""
    world.announce(*FULL[: FULL.index(step) + 1], *asked, **{step: HUNG})

    cycle = world.run()

    assert told(cycle) == ("unknown", step, "daemon", "host")
    assert "passed its deadline" in cycle.failed.detail
    assert all(command.deadline < 10 for command in world.script.runner.commands[-len(asked) :])


@pytest.mark.parametrize("step", ["login", "pull", "build", "push", "rmi", "pull_back"])
def test_a_cli_that_hangs_gets_the_blame_before_the_daemon(world, step):
    """A CLI that does not even tell its own version is what hangs: nothing is known of the daemon."""
    hung = [(name, HUNG) for name in ("ask", "ask_cli", "ask")]
    world.announce(*FULL[: FULL.index(step) + 1], *hung, **{step: HUNG})

    assert told(world.run()) == ("unknown", step, "cli", "host")


@pytest.mark.parametrize(("step", "reason", "asked"), [("build", "build", ["ask"]), ("rmi", "daemon", ["ask", "ask"])])
def test_a_deadline_of_a_local_step_is_never_the_registrys(world, step, reason, asked):
    """Neither build nor rmi talks to the registry: where one takes too long, the registry is not called down."""
    world.announce(*FULL[: FULL.index(step) + 1], *asked, "sweep", **{step: HUNG})

    assert told(world.run()) == ("unknown", step, reason, "host")


@pytest.mark.parametrize("asked", ASKED)
def test_a_login_without_a_daemon_is_the_daemons_fault_whatever_it_says(world, asked):
    """Where the daemon went away, the CLI logs in by itself, and knows neither its certificates nor its resolver."""
    words = 'Get "https://127.0.0.1:5888/v2/": tls: failed to verify certificate: x509: unknown authority\n'
    world.announce("look", "sweep", "login", *asked, login={"out": "", "err": words, "code": 1})

    cycle = world.run()

    assert told(cycle) == ("unknown", "login", "daemon", "host")
    assert "x509" in cycle.failed.detail


@pytest.mark.parametrize("step", ["login", "pull", "push", "pull_back"])
def test_what_was_ended_by_force_is_swept_again_around_the_next_cycle(world, step):
    """The daemon may still make or pull an image once its command was ended: it is looked for at once, and later."""
    world.announce(*FULL[: FULL.index(step) + 1], "ask", "sweep", **{step: {"does": hangs}})
    world.run()
    last = DIGEST if step == "pull_back" else BEFORE.digest
    late = {"out": f"{IMAGE}\n"}
    world.announce(
        "look",
        ("sweep", late),
        ("describe", {"argv": (*INSPECT, IMAGE), "out": our(IMAGE, ())}),
        ("rmi", {"argv": ("rmi", IMAGE)}),
        *FULL[2:],
        "sweep",
        pull={"out": pulled(last)},
    )

    assert told(world.run()) == ("up",)
    world.announce("look", *FULL[2:], pull={"out": pulled(DIGEST)})
    assert told(world.run()) == ("up",), "a third look finds nothing more to do"


def test_what_came_to_its_own_end_is_swept_once(world):
    """A refused push is over when it fails: the next cycle has nothing to look for."""
    world.announce(*FULL[:7], "sweep", push={"out": "", "err": DENIED, "code": 1})
    world.run()
    world.announce(*[name for name in FULL if name != "sweep"])

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize("words", ["unexpected EOF\n", "read tcp 127.0.0.1:1->127.0.0.1:2: connection reset by peer\n"])
def test_a_broken_connection_is_the_daemons_where_it_is_gone(world, words):
    """A dying daemon breaks off as a registry does: it is asked before the network is blamed."""
    world.announce(*FULL[:7], ("ask", GONE), ("ask", GONE), push={"err": words, "out": "", "code": 1})

    assert told(world.run()) == ("unknown", "push", "daemon", "host")


def test_what_is_asked_besides_blames_the_daemon_too(world):
    """A question about what came back that is not answered in time is the hung daemon's fault, not the network's."""
    world.announce(
        *FULL[:9], "describe_back", ("ask", HUNG), "ask_cli", ("ask", HUNG),
        pull_back={"out": pulled(digest_of(3))}, describe_back=HUNG,
    )  # fmt: skip

    assert told(world.run()) == ("unknown", "pull_back", "daemon", "host")


def test_upkeep_that_hangs_is_never_the_registrys_fault(world):
    """`docker image inspect` talks to no registry: where it hangs, and the daemon answers, the registry is not down."""
    world.announce("look", "ask", "ask", "sweep", look={"out": "", "err": "", "does": hangs})

    assert told(world.run()) == ("unknown", "login", "daemon", "host")


def test_a_step_gets_what_is_left_of_the_cycle(make_world, monkeypatch):
    """Late in a cycle its own deadline is the nearer one; past it no command is begun."""
    now = [1000.0]
    monkeypatch.setattr("lib.cycle.steps.time.monotonic", lambda: now[0])
    world = make_world(step_timeout=120.0, cycle_timeout=300.0)

    def takes(seconds):
        return {"does": lambda: now.__setitem__(0, now[0] + seconds)}

    world.announce(*FULL[:7], "ask", "sweep", pull=takes(100), build=takes(110), push=takes(95))

    cycle = world.run()

    deadlines = {command.argv[1]: command.deadline for command in world.script.runner.commands}
    assert (deadlines["login"], deadlines["build"], deadlines["push"]) == (120, 120, 90)
    assert told(cycle) == ("down", "rmi", "timeout", "network")
    assert "the cycle's deadline of 300 s passed before docker rmi began" in cycle.failed.detail
