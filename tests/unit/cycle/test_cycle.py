"""One cycle: which commands run, in which order and with what, and what a step that fails makes of it."""

import errno
import json
from datetime import UTC, datetime, timedelta

import pytest

from lib.result import Push, StepName
from lib.secret import Secret
from tests.unit.cycle.world import (
    ABSENT,
    BEFORE,
    DENIED,
    DIGEST,
    FULL,
    GONE,
    IMAGE,
    SERVER_ERROR,
    STRANGERS,
    TARGET,
    our,
    steps_of,
    told,
)
from tests.unit.support import (
    AMBIGUOUS,
    INSPECT,
    MADE,
    NAME,
    NO_DAEMON,
    NOT_THERE,
    PASSWORD,
    described,
    digest_of,
    labels_in,
    pulled,
    pushed,
)

# A good cycle.


def test_a_good_cycle_runs_exactly_these_commands(world):
    """Every step once, in its order; between them only what has to be asked; afterwards nothing is left to look for."""
    world.announce(*FULL)

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle) == ["login ok", "pull ok", "build ok", "push ok", "rmi ok", "pull_back ok"]
    assert (cycle.pushed_digest, cycle.pulled_digest) == (DIGEST, DIGEST)
    assert cycle.failed is None


def test_the_cycle_after_it_has_nothing_to_sweep(world):
    """A cycle that left nothing spares the next one the looking; and what it pushed is what the next one expects."""
    world.announce(*FULL)
    world.run()
    world.announce(*[name for name in FULL if name != "sweep"], pull={"out": pulled(DIGEST)})

    assert told(world.run()) == ("up",)


def test_each_command_gets_its_input_its_environment_and_its_deadline(world):
    """The password goes to login alone; all run in the private config; a step has its deadline, else a short one."""
    world.announce(*FULL)
    world.run()

    for command in world.script.runner.commands:
        verb = command.argv[1]
        assert command.env == {"PATH": "/bin", "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(world.folders[0])}
        assert (command.stdin is not None) == (verb == "login")
        assert command.deadline <= TARGET.step_timeout
    by_verb = {command.argv[1]: command for command in world.script.runner.commands}
    assert by_verb["login"].stdin == Secret(PASSWORD)
    assert by_verb["push"].deadline == TARGET.step_timeout
    assert by_verb["images"].deadline < TARGET.step_timeout
    assert world.script.runner.commands[-1].cleanup


def test_every_step_is_told_as_it_begins_and_ends(world):
    """An observer hears of each step before its command runs, and after it."""
    world.announce(*FULL)
    cycle = world.run()

    assert world.observed.told == [(event, step.name) for step in cycle.steps for event in ("started", "finished")]


def test_the_image_is_built_new_and_labelled(world):
    """Its labels are the target's, the process's, and new ones of this cycle; its payload has the target's shape."""
    world.announce(*FULL)
    cycle = world.run()

    labels = labels_in(world.dockerfile)
    assert world.dockerfile.startswith("FROM scratch\n")
    assert labels["registry-monitor.target"] == "lab"
    assert labels["registry-monitor.instance"] == "me"
    assert datetime.fromisoformat(labels["registry-monitor.created"]) == cycle.started
    assert world.memory.pushes[NAME] == Push(DIGEST, IMAGE, labels["registry-monitor.token"], "me", cycle.started)


def test_each_cycle_has_a_token_of_its_own(world):
    """No two images of this monitor are the same."""
    tokens = set()
    for number in range(2):
        names = [name for name in FULL if number == 0 or name != "sweep"]
        world.announce(*names, pull={"out": pulled(DIGEST if number else BEFORE.digest)})
        world.run()
        tokens.add(world.memory.pushes[NAME].token)

    assert len(tokens) == 2


def test_without_credentials_there_is_no_login(make_world):
    """A registry that is open to all is tested as such."""
    world = make_world(credentials=None)
    world.announce(*[name for name in FULL if name != "login"])

    assert told(world.run()) == ("up",)


# The first pull.

FIRST = [name for name in FULL if name != "remove"]


@pytest.mark.parametrize("words", [NOT_THERE, AMBIGUOUS])
def test_on_an_empty_repository_the_pull_is_skipped(make_world, words):
    """While this monitor has pushed nothing, "not there" is no failure, in docker's ambiguous words as well."""
    world = make_world(last=None)
    world.announce(*FIRST, pull={"out": "", "err": words, "code": 1})

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle)[1] == "pull skipped"
    assert (cycle.steps[1].reason, cycle.steps[1].detail) == (None, None)


@pytest.mark.parametrize(
    ("words", "reason", "scope"), [(NOT_THERE, "not_found", "registry"), (AMBIGUOUS, "denied", "credentials")]
)
def test_what_was_pushed_and_is_gone_is_told_once(world, words, reason, scope):
    """A lost image is `down`; the cycle after it begins anew, or one loss would be told for ever."""
    gone = {"out": "", "err": words, "code": 1}
    world.announce("look", "sweep", "login", "pull", "sweep", pull=gone)
    assert told(world.run()) == ("down", "pull", reason, scope)

    world.announce(*[name for name in FIRST if name != "sweep"], pull=gone)
    assert told(world.run()) == ("up",)


def test_another_failure_of_the_pull_is_no_empty_repository(make_world):
    """An outage at the very first pull is `down`, and nothing is pushed."""
    world = make_world(last=None)
    world.announce("look", "sweep", "login", "pull", "sweep", pull={"out": "", "err": SERVER_ERROR, "code": 1})

    assert told(world.run()) == ("down", "pull", "server_error", "registry")


@pytest.mark.parametrize("last", [None, BEFORE])
def test_nothing_is_pushed_over_an_image_that_no_monitor_made(make_world, last):
    """Somebody's image under our tag stays: `unknown`, and the message says what to do."""
    world = make_world(last=last)
    world.announce(
        "look", "sweep", "login", "pull", "describe", "remove", "sweep",
        pull={"out": pulled(digest_of(3))}, describe={"out": described(digest_of("c"))},
    )  # fmt: skip

    cycle = world.run()

    assert told(cycle) == ("unknown", "pull", "foreign", "config")
    assert NAME in cycle.failed.detail
    assert "overwrite" in cycle.failed.detail


def test_nothing_is_pushed_over_an_image_that_is_not_understood(make_world):
    """Where docker's description of the pulled image can't be read, nobody knows whose it is: nothing is pushed."""
    world = make_world(last=None)
    pull = {"out": pulled(digest_of(3))}
    world.announce(*FULL[:4], ("describe", {"out": "?\n"}), "ask", ("describe", ABSENT), "sweep", pull=pull)

    assert told(world.run()) == ("unknown", "pull", "daemon", "host")


@pytest.mark.parametrize("last", [None, BEFORE])
def test_what_docker_says_is_nothing_is_nothing_to_overwrite(make_world, last):
    """Where the pull worked, and docker then describes no image at all, there is none to spare or to remove."""
    world = make_world(last=last)
    world.announce(*FULL[:4], ("describe", {"out": "[]\n"}), *FULL[5:], pull={"out": pulled(digest_of(3))})

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        (described(digest_of("c")), {"overwrite": True}),
        (
            described(
                digest_of("c"),
                comment="Updated at 2026-11-24 08:30:00 +0000",
                command=["sh", "echo", '"2026-11-24', "08:30:00", '+0000"', ">", "foo"],
            ),
            {},
        ),
    ],
)
def test_what_may_be_overwritten_is(make_world, found, changed):
    """`overwrite` allows any image; the original monitor's is allowed without asking."""
    world = make_world(last=None, **changed)
    world.announce(*FULL[:4], "describe", *FULL[4:], pull={"out": pulled(digest_of(3))}, describe={"out": found})

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize(("how", "tags", "removable"), STRANGERS)
def test_an_image_of_the_hosts_that_the_first_pull_meets_is_not_removed(make_world, how, tags, removable):
    """Of an image that no monitor made the name is taken away only where that removes nothing of the host's own."""
    world = make_world(last=None, overwrite=True)
    world.announce(
        *FULL[:4], "describe", *(["remove"] if removable else []), *FULL[5:],
        pull={"out": pulled(digest_of(3), **how)}, describe={"out": described(digest_of("c"), tags)},
    )  # fmt: skip

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ({"created": BEFORE.created - timedelta(minutes=2)}, ("down", "pull", "stale", "registry")),
        ({"created": BEFORE.created}, ("down", "pull", "integrity", "registry")),
        ({"created": BEFORE.created + timedelta(minutes=1)}, ("up",)),
        ({"instance": "another", "created": MADE}, ("up",)),
    ],
)
def test_an_image_other_than_the_last_pushed_one_is_judged_by_its_labels(world, found, wanted):
    """Older is stale, altered is integrity; a newer one of ours, or another monitor's, is fine at the first pull."""
    world.announce(
        "look", "sweep", "login", "pull", "describe", "remove",
        *(FULL[5:] if wanted == ("up",) else ["sweep"]),
        pull={"out": pulled(digest_of(3))}, describe={"out": our(digest_of("c"), **found)},
    )  # fmt: skip

    assert told(world.run()) == wanted


def test_an_image_from_before_a_restart_is_ours(make_world):
    """An instance that the memory knows is this monitor: an older image of its is stale, too."""
    world = make_world(instances=("me", "earlier"))
    world.announce(
        "look", "sweep", "login", "pull", "describe", "remove", "sweep",
        pull={"out": pulled(digest_of(3))}, describe={"out": our(digest_of("c"), instance="earlier", created=MADE)},
    )  # fmt: skip

    assert told(world.run()) == ("down", "pull", "stale", "registry")


def test_a_registry_that_went_back_in_time_is_told_once(world):
    """After `stale` the next cycle begins anew."""
    old = {"pull": {"out": pulled(digest_of(3))}, "describe": {"out": our(digest_of("c"), created=MADE)}}
    world.announce("look", "sweep", "login", "pull", "describe", "remove", "sweep", **old)
    world.run()
    world.announce("look", "login", "pull", "describe", "remove", *FULL[5:], **old)

    assert told(world.run()) == ("up",)


def test_a_digest_that_docker_does_not_name_is_made_up_for_by_the_image(make_world):
    """Without digests the image itself is compared; and it is removed after the cycle as ever."""
    world = make_world(last=None)

    def announce_description():
        labels = labels_in(world.dockerfile)
        shape = json.loads(our())
        shape["Config"]["Labels"] = labels
        world.announce("describe_back", "remove_back", describe_back={"out": json.dumps(shape) + "\n"})

    world.announce(
        *FIRST[:-1],
        pull={"out": "", "err": NOT_THERE, "code": 1},
        pull_back={"out": pulled(None), "does": announce_description},
    )

    assert told(world.run()) == ("up",)


# A step that fails.


@pytest.mark.parametrize(
    ("step", "words", "wanted"),
    [
        ("login", "Error response from daemon: login attempt failed with status: 401 Unauthorized\n", "unauthorized"),
        ("pull", DENIED, "denied"),
        ("pull", SERVER_ERROR, "server_error"),
        ("build", NO_DAEMON, "daemon"),
        ("build", "write /var/lib/docker/tmp: no space left on device\n", "disk_full"),
        ("push", DENIED, "denied"),
        ("push", SERVER_ERROR, "server_error"),
        ("rmi", "Error response from daemon: conflict: unable to remove repository reference\n", "in_use"),
        ("pull_back", SERVER_ERROR, "server_error"),
        ("pull_back", NOT_THERE, "not_found"),
    ],
)
def test_a_cycle_stops_at_its_first_failed_step_and_cleans_up(world, step, words, wanted):
    """Nothing runs after a failed step but what looks for leftovers; and that not where docker itself is gone."""
    asked = ["ask"] if step == "login" else []
    cleaned = ("ask", GONE) if wanted == "daemon" else "sweep"
    world.announce(*FULL[: FULL.index(step) + 1], *asked, cleaned, **{step: {"out": "", "err": words, "code": 1}})

    cycle = world.run()

    assert told(cycle)[1:3] == (step, wanted)
    assert cycle.steps[-1].detail == words.strip()
    assert (cycle.pushed_digest is not None) == (step in ("rmi", "pull_back"))
    assert cycle.pulled_digest is None


def test_what_a_failed_cycle_leaves_is_removed(world):
    """After a failed push the built image goes, with the images between, and not what is another process's."""
    left = [our(IMAGE), our(digest_of("d"), ()), our(digest_of("f"), (), instance="living", created=datetime.now(UTC))]
    ids = [IMAGE, digest_of("d"), digest_of("f")]
    world.announce(
        *FULL[:7],
        ("sweep", {"out": "\n".join(ids) + "\n"}),
        ("describe", {"argv": (*INSPECT, *ids), "out": "".join(left)}),
        ("rmi", {"argv": ("rmi", IMAGE)}),
        ("rmi", {"argv": ("rmi", digest_of("d"))}),
        push={"out": "", "err": DENIED, "code": 1},
    )

    assert told(world.run()) == ("down", "push", "denied", "credentials")


def test_a_docker_that_crashed_once_still_cleans_up(world):
    """A CLI that a signal ended is no gone daemon: what was built is removed, as `once` has no next cycle."""
    world.announce(*FULL[:7], "ask", "sweep", push={"out": "", "code": -9})

    assert told(world.run())[1:] == ("push", "cli", "host")


def test_a_daemon_that_is_back_by_the_clean_up_is_cleaned_up(world):
    """A daemon that was started anew during a step has what that step left: it is asked, and answers."""
    world.announce(*FULL[:7], "ask", "sweep", push={"out": "", "err": NO_DAEMON, "code": 1})

    assert told(world.run()) == ("unknown", "push", "daemon", "host")
    assert all(command.cleanup for command in world.script.runner.commands[-2:])


def test_a_payload_that_can_t_be_written_is_the_hosts_fault(world, monkeypatch):
    """A full disk of the monitor's is told as such, and `unknown`."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lib.cycle.write_context", full)
    world.announce(*FULL[:5], "sweep")

    assert told(world.run()) == ("unknown", "build", "disk_full", "host")


def test_a_full_disk_is_no_bad_login(world, monkeypatch):
    """Where the private config can't be written since the disk is full, no credential helper is blamed."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lib.cycle.prepare_config", full)
    world.announce("sweep")

    assert told(world.cycle())[1:] == ("login", "disk_full", "host")


def test_a_daemon_that_is_not_there_fails_the_first_step(world):
    """The daemon is asked first, since a login would talk to the registry without it."""
    world.announce("look", ("ask", GONE), look={"out": "", "err": NO_DAEMON, "code": 1})

    cycle = world.run()

    assert told(cycle) == ("unknown", "login", "daemon", "host")
    assert len(cycle.steps) == 1


def test_docker_s_own_retries_are_counted(world):
    """A step that succeeds only after docker tried again says so: each countdown once, of each layer."""
    lines = [
        f"{layer}: Retrying in {left} second{'s' * (left > 1)}\n"
        for left in (5, 4, 3, 2, 1, 10, 9)
        for layer in ("6fda1dc5fc2d", "4e2db465598f")
    ]
    world.announce(*FULL, push={"out": "".join(lines) + pushed(DIGEST)})

    cycle = world.run()

    assert {step.name: step.retries for step in cycle.steps if step.retries} == {StepName.PUSH: 4}
