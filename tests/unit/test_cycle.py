"""One cycle: which commands run, in which order and with what, and what follows from each way in which one ends."""

import errno
import hashlib
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.command import Completed, Stopped
from lib.cycle import CycleRunner
from lib.cycle.housekeeping import Housekeeping
from lib.docker import BuiltBy, Docker
from lib.docker.environment import prepare_config
from lib.failure import Verdict
from lib.reference import Reference
from lib.result import Push, StepName
from lib.secret import Secret
from lib.target import Credentials, Target
from tests.unit.support import (
    AMBIGUOUS,
    CLIENT_VERSION,
    HOST,
    INSPECT,
    MADE,
    NAME,
    NO_DAEMON,
    NOT_THERE,
    PASSWORD,
    REFERENCE,
    SWEEP,
    VERSION,
    Memory,
    Observed,
    Script,
    described,
    digest_of,
    hangs,
    labels_in,
    labels_of,
    missing,
    pulled,
    pushed,
    removed,
)

TARGET = Target("lab", REFERENCE, Credentials("monitor", Secret(PASSWORD)))

#: What this cycle pushes, and what was pushed before it.
IMAGE, DIGEST = digest_of("a"), digest_of(1)
BEFORE = Push(digest_of(2), digest_of("b"), "token", "me", datetime.now(UTC) - timedelta(minutes=2))

#: How docker does not answer.
HUNG = {"does": hangs}
GONE = {"out": "28.2.2 \n", "err": NO_DAEMON, "code": 1}

SERVER_ERROR = "received unexpected HTTP status: 503 Service Unavailable\n"
DENIED = "denied: requested access to the resource is denied\n"

#: The commands of a good cycle by what they are for; {held} and {context} are filled in.
COMMANDS = {
    "look": (*INSPECT, NAME, "{held}"),
    "sweep": SWEEP,
    "login": ("login", "--username", "monitor", "--password-stdin", HOST),
    "pull": ("pull", NAME),
    "describe": (*INSPECT, NAME),
    "remove": ("rmi", NAME),
    "build": ("build", "--quiet", "--no-cache", "--force-rm", "--network", "none", "--tag", NAME, "{context}"),
    "push": ("push", NAME),
    "rmi": ("rmi", NAME),
    "pull_back": ("pull", NAME),
    "describe_back": (*INSPECT, NAME),
    "remove_back": ("rmi", NAME),
    "ask": VERSION,
    "ask_cli": CLIENT_VERSION,
    "hold": ("tag", "{image}", "{held}"),
    "give_back": ("tag", "{held}", NAME),
    "let_go": ("rmi", "{held}"),
}

#: What each gives when all is well.
GOOD = {
    "look": {"err": "{missing}", "code": 1},
    "sweep": {},
    "login": {"out": "Login Succeeded\n"},
    "pull": {"out": pulled(BEFORE.digest)},
    "remove": {"out": removed(BEFORE.image_id)},
    "build": {"out": f"{IMAGE}\n", "err": "DEPRECATED: The legacy builder is deprecated\n"},
    "push": {"out": pushed(DIGEST)},
    "rmi": {"out": removed(IMAGE)},
    "pull_back": {"out": pulled(DIGEST)},
    "remove_back": {"out": removed(IMAGE)},
    "ask": {"out": "28.2.2 20.10.24\n"},
    "ask_cli": {"out": "Docker version 28.2.2, build e6534b4\n"},
}

#: The steps of a cycle that finds what the one before it left, and after which nothing is left to look for.
FULL = ("look", "sweep", "login", "pull", "remove", "build", "push", "rmi", "pull_back", "remove_back")


class World:
    """A target, its docker and what it remembers.

    Attributes:
        dockerfile: that of the last build.
    """

    def __init__(self, fp, folder, target=TARGET, last=BEFORE, **more):
        self.script = Script(fp)
        self.memory = Memory({target.reference.familiar: last} if last else {}, **more)
        self.observed = Observed()
        self.folders = [folder / name for name in ("target", "anonymous")]
        for path in self.folders:
            path.mkdir()
        env = {"PATH": "/bin", "DOCKER_BUILDKIT": "0"}
        docker, anonymous = (Docker(self.script.runner, "docker", env, path) for path in self.folders)
        housekeeping = Housekeeping(target, "me", {"dead"}.__contains__)
        self.held = housekeeping._waiting
        self.context = str(self.folders[0] / "context")
        self.cycle = CycleRunner(
            target, docker, anonymous, housekeeping, self.folders[0], self.memory, self.observed, "me"
        )
        self.announced = []
        self.dockerfile = ""

    def announce(self, *names, **changed):
        """Script the named commands in this order, each as it is when all is well, or as it is changed here.

        A name may stand in a pair with its own change, where a command runs more than once.
        """
        for name in names:
            name, change = (name, changed.pop(name, {})) if isinstance(name, str) else name  # noqa: PLW2901  unpacked
            answer = GOOD.get(name, {}) | change
            argv = answer.pop("argv", None) or self.argv(name)
            answer = {key: self.filled(value) if isinstance(value, str) else value for key, value in answer.items()}
            if name == "build":
                answer["does"] = self.keep_dockerfile(answer.get("does"))
            self.announced.append(argv)
            self.script.on(*argv, **answer)
        assert not changed, "changed, but not announced"

    def argv(self, name):
        return tuple(self.filled(argument) for argument in COMMANDS[name])

    def filled(self, text):
        for name, value in {
            "{held}": self.held,
            "{context}": self.context,
            "{image}": digest_of("e"),
            "{missing}": missing(NAME, self.held),
        }.items():
            text = text.replace(name, value)
        return text

    def keep_dockerfile(self, does):
        def keep():
            with open(f"{self.context}/Dockerfile", encoding="utf-8") as file:  # noqa: PTH123  a path given to docker
                self.dockerfile = file.read()
            if does:
                does()

        return keep

    def run(self):
        """Run one cycle; all that was announced must have run, in that order."""
        cycle = self.cycle()
        self.check()
        return cycle

    def check(self):
        assert self.script.ran == self.announced
        target, anonymous = ([path.name for path in folder.iterdir()] for folder in self.folders)
        assert target == []
        assert set(anonymous) <= {"config.json"}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Nothing comes late here: what waits for that waits no time."""
    monkeypatch.setattr("lib.cycle.housekeeping._LATE_SECONDS", 0.0)


@pytest.fixture
def world(fp, tmp_path):
    return World(fp, tmp_path)


@pytest.fixture
def make_world(fp, tmp_path):
    def make(last=BEFORE, instances=("me",), **changed):
        return World(fp, tmp_path, replace(TARGET, **changed), last, instances=instances)

    return make


def told(cycle):
    """Return what a cycle says: verdict, failed step, reason, scope."""
    failed = cycle.failed
    return (str(cycle.verdict), *((failed and map(str, (failed.name, failed.reason, failed.scope))) or ()))


def steps_of(cycle):
    return [f"{step.name} {step.outcome}" for step in cycle.steps]


def our(image_id=IMAGE, tags=(NAME,), **labels):
    return described(image_id, tags, labels_of(**labels))


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
    world.announce(*FULL[:4], ("describe", {"out": "?\n"}), "ask", "sweep", pull=pull)

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


#: An image that no monitor made, by how it came and its names, and whether its name may be taken away again.
STRANGERS = [
    ({"moved": 1}, (NAME,), True),  # it was not here before
    ({"moved": 0}, (NAME,), False),  # it was, and would be gone
    ({"moved": 0}, (NAME, "user/kept:1"), True),  # it was, and stays under its other name
    ({"moved": 0, "already": 3}, (NAME,), False),
    ({"moved": 1, "status": "Image is up to date"}, (NAME,), False),
]


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


# Deadlines, and whom they blame.


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
def test_what_was_ended_by_force_is_swept_again_before_the_next_cycle(world, step):
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
        pull={"out": pulled(last)},
    )

    assert told(world.run()) == ("up",)


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


# What comes back.


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
        *FULL[:9], "describe_back", "ask", "sweep",
        pull_back={"out": pulled(digest_of(3))}, describe_back={"out": "?\n"},
    )  # fmt: skip

    assert told(world.run()) == ("unknown", "pull_back", "daemon", "host")


@pytest.mark.parametrize("tells", [{"err": missing(NAME), "code": 1}, {"err": f"No such image: {NAME}\n", "code": 1}])
def test_an_image_that_is_gone_from_the_host_says_nothing_of_the_registry(world, tells):
    """Where somebody removes what came back before it is looked at, what was pushed is still known afterwards."""
    world.announce(*FULL[:9], ("describe_back", tells), "ask", "sweep", pull_back={"out": pulled(digest_of(3))})

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
    world.announce(*FULL)
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


# The base.

BASE = Reference("docker.io", "library/alpine", "3")


def base_argv(name):
    return {"argv": ("pull", name)}


@pytest.mark.parametrize("public", [False, True])
def test_a_base_image_is_pulled_and_built_on(make_world, public):
    """With `public-base` it is pulled without any login: in a config folder of its own, with none in it."""
    world = make_world(base_image=BASE, public_base=public)
    configs = []

    def look():
        path = world.folders[1 if public else 0] / "config.json"
        configs.append(json.loads(path.read_text()) if path.exists() else None)

    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", "alpine:3"), "does": look}),
        ("describe", {"argv": (*INSPECT, "alpine:3"), "out": described(digest_of("9"), ("alpine:3",), layers=2)}),
        *FULL[5:],
        pull_back={"out": pulled(DIGEST, moved=1, already=2)},
    )

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle)[2] == "base ok"
    assert world.dockerfile.startswith("FROM alpine:3\n")
    pull = next(command for command in world.script.runner.commands if command.argv[1:] == ("pull", "alpine:3"))
    assert pull.env["DOCKER_CONFIG"] == str(world.folders[public])


def test_an_anonymous_pull_never_asks_the_users_credential_store(make_world):
    """Docker takes a config without any entry for one that uses the user's store (pass, secretservice): it has one."""
    world = make_world(base_image=BASE, public_base=True)
    configs = []

    def look():
        path = world.folders[1] / "config.json"
        configs.append(json.loads(path.read_text()) if path.exists() else {})

    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", "alpine:3"), "does": look}),
        ("describe", {"argv": (*INSPECT, "alpine:3"), "out": described(digest_of("9"), ("alpine:3",), layers=2)}),
        *FULL[5:],
    )
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
def test_an_anonymous_config_that_can_t_be_written_fails_the_base(make_world, monkeypatch, number, wanted):
    """It is the base's step that needs it; the logins of the registry were made before."""
    world = make_world(base_image=BASE, public_base=True)

    def prepare(folder, *logins):
        if folder == world.folders[1]:
            raise OSError(number, os.strerror(number), str(folder))
        prepare_config(folder, *logins)

    monkeypatch.setattr("lib.cycle.prepare_config", prepare)
    world.announce(*FULL[:5], "sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "base", *wanted)
    assert str(world.folders[1]) in cycle.failed.detail


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("docker.io", ("unknown", "base", "base_image", "dependency")), (HOST, ("down", "base", "denied", "credentials"))],
)
def test_a_base_that_can_t_be_pulled_is_the_dependencys_fault(make_world, host, wanted):
    """Another registry's failure is not the monitored one's; the monitored one's own keeps its reason."""
    base = Reference(host, "library/alpine", "3")
    world = make_world(base_image=base)
    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", base.familiar), "out": "", "err": AMBIGUOUS, "code": 1}),
        "sweep",
    )

    assert told(world.run()) == wanted


def test_a_base_that_is_slow_is_the_dependencys_fault(make_world):
    """A deadline passed while the base came is no fault of the monitored registry's."""
    world = make_world(base_image=BASE)
    world.announce(*FULL[:5], ("pull", {"argv": ("pull", "alpine:3"), "does": hangs}), "ask", "sweep")

    assert told(world.run()) == ("unknown", "base", "base_image", "dependency")


LAYER_ID = digest_of("9")
AT_DIGEST = f"{REFERENCE.repository}@{LAYER_ID}"
LOCAL = f"registry-monitor-base/{hashlib.sha256(NAME.encode()).hexdigest()[:16]}:local"


def find(*names, text=""):
    """Announce that images are looked for; `text` describes those that are there."""
    absent = [name for name in names if name not in text]
    return "describe", {"argv": (*INSPECT, *names), "out": text, "err": missing(*absent), "code": int(bool(absent))}


@pytest.mark.parametrize("others", [("user/base:1",), ()])
def test_a_local_image_is_built_on_by_its_id(make_world, others):
    """It gets a name to build on, which is taken away again only where the image has others, and so stays."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST, text=described(LAYER_ID, others, layers=2)),
        ("hold", {"argv": ("tag", LAYER_ID, LOCAL)}),
        *FULL[5:],
        *([("rmi", {"argv": ("rmi", LOCAL)})] if others else []),
        pull_back={"out": pulled(DIGEST, moved=1, already=2)},
    )

    assert told(world.run()) == ("up",)
    assert world.dockerfile.startswith(f"FROM {LOCAL}\n")


def test_a_base_by_digest_is_pulled_from_the_repository(make_world):
    """A digest that no local image has is one of the repository's."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST),
        ("pull", {"argv": ("pull", AT_DIGEST), "out": pulled(LAYER_ID)}),
        find(AT_DIGEST, text=described(digest_of("8"), (), digests=(AT_DIGEST,))),
        ("hold", {"argv": ("tag", digest_of("8"), LOCAL)}),
        *FULL[5:],
        ("rmi", {"argv": ("rmi", LOCAL)}),
        pull_back={"out": pulled(DIGEST, moved=1, already=1)},
    )

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle)[2] == "base ok"


def test_the_very_image_that_is_the_base_may_be_overwritten(make_world):
    """The image under the tag that `base-layer-id` names is no reason to stop, and stays on the host to build on."""
    world = make_world(last=None, base_layer_id=LAYER_ID)
    base = described(digest_of("8"), (NAME,), digests=(AT_DIGEST,))
    world.announce(
        *FULL[:4],
        ("describe", {"out": base}),
        find(LAYER_ID, AT_DIGEST, text=base),
        ("hold", {"argv": ("tag", digest_of("8"), LOCAL)}),
        *FULL[5:],
        ("rmi", {"argv": ("rmi", LOCAL)}),
        pull={"out": pulled(LAYER_ID)},
        pull_back={"out": pulled(DIGEST, moved=1, already=1)},
    )

    assert told(world.run()) == ("up",)


def test_a_base_that_vanishes_as_it_comes_is_a_failed_step(make_world):
    """Where somebody removes the base between its pull and the build, that is a failure, and no crash."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST),
        ("pull", {"argv": ("pull", AT_DIGEST), "out": pulled(LAYER_ID)}),
        find(AT_DIGEST),
        "ask",
        "sweep",
    )

    cycle = world.run()

    assert told(cycle)[:2] == ("unknown", "base")
    assert steps_of(cycle)[2:] == ["base failed"]


def test_a_base_that_docker_says_is_nothing_is_a_failed_step(make_world):
    """Nothing can be built on what docker pulled, and then describes as no image at all."""
    world = make_world(base_layer_id=LAYER_ID)
    world.announce(
        *FULL[:5],
        find(LAYER_ID, AT_DIGEST),
        ("pull", {"argv": ("pull", AT_DIGEST), "out": pulled(LAYER_ID)}),
        ("describe", {"argv": (*INSPECT, AT_DIGEST), "out": "[]\n"}),
        "sweep",
    )

    cycle = world.run()

    assert told(cycle) == ("unknown", "base", "base_image", "dependency")
    assert AT_DIGEST in cycle.failed.detail


def test_a_short_id_that_is_nowhere_is_told(make_world):
    """An ID can only be a local image's."""
    world = make_world(base_layer_id="abcdef123456")
    at = f"{REFERENCE.repository}@abcdef123456"
    world.announce(*FULL[:5], find("abcdef123456", at), "sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "base", "base_image", "dependency")
    assert "abcdef123456" in cycle.failed.detail


def test_a_step_stands_once_in_a_cycle(make_world):
    """Where the base was pulled, and then can't be described, the step failed: it did not also succeed."""
    world = make_world(base_image=BASE)
    world.announce(
        *FULL[:5],
        ("pull", {"argv": ("pull", "alpine:3")}),
        ("describe", {"argv": (*INSPECT, "alpine:3"), "err": missing("alpine:3"), "code": 1}),
        "ask",
        "sweep",
    )

    assert [step.name for step in world.run().steps] == [StepName.LOGIN, StepName.PULL, StepName.BASE]


def test_two_targets_on_one_base_do_not_take_each_others_name_away(tmp_path):
    """Two cycles at once build on one local image: the name that one takes away is not the one the other builds on."""
    engine = Engine()
    dockerfiles = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        target = replace(TARGET, name=name, base_layer_id=LAYER_ID, reference=Reference(HOST, f"lab/{name}"))
        docker = Docker(engine, "docker", {}, tmp_path / name)
        housekeeping = Housekeeping(target, "me", {"dead"}.__contains__)
        CycleRunner(target, docker, docker, housekeeping, tmp_path / name, Memory(), Observed(), "me")()
        dockerfiles.append(engine.dockerfile)

    (one,), (two,) = ([line for line in text.splitlines() if line.startswith("FROM ")] for text in dockerfiles)
    assert one != two


class Engine:
    """An engine that holds one image, LAYER_ID, and an empty registry; it keeps the last Dockerfile."""

    def __call__(self, command):
        verb = command.argv[1]
        if verb == "pull":
            return Completed(1, "", NOT_THERE, 0.1)
        if verb == "image":
            asked = command.argv[5:]
            text = "".join(described(LAYER_ID, ("user/base:1",)) for name in asked if name == LAYER_ID)
            errors = missing(*(name for name in asked if name != LAYER_ID))
            return Completed(1 if errors else 0, text, errors, 0.1)
        if verb == "build":
            with open(f"{command.argv[-1]}/Dockerfile", encoding="utf-8") as file:  # noqa: PTH123  a path given to docker
                self.dockerfile = file.read()
            return Completed(1, "", "enough is known\n", 0.1)
        return Completed(0, "", "", 0.1)


# Logins.


def test_the_password_file_is_read_at_every_cycle(make_world, tmp_path):
    """A password that was changed is the new one from the next cycle on."""
    path = tmp_path / "password"
    world = make_world(credentials=Credentials("monitor", path))
    for number in range(2):
        path.write_text(f"password {number}\n")
        names = [name for name in FULL if number == 0 or name != "sweep"]
        world.announce(*names, pull={"out": pulled(DIGEST if number else BEFORE.digest)})
        world.run()

    given = [command.stdin for command in world.script.runner.commands if command.stdin]
    assert given == [Secret("password 0"), Secret("password 1")]


@pytest.mark.parametrize("content", [None, b"", b"two\nlines\n"])
def test_a_password_file_that_can_t_be_read_is_told(make_world, tmp_path, content):
    """The step login fails for the configuration's fault; what is in the file is not told."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    world = make_world(credentials=Credentials("monitor", path))
    world.announce("look", "sweep", "sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "login", "credential_helper", "config")
    assert str(path) in cycle.failed.detail
    assert "lines" not in cycle.failed.detail.replace("more than one line", "")


def test_a_password_that_docker_repeats_is_blanked(world):
    """Neither detail nor output of a step holds it."""
    world.announce(
        "look", "sweep", "login", "ask", "sweep", login={"out": "", "err": f"denied: no {PASSWORD} here\n", "code": 1}
    )

    cycle = world.run()

    assert cycle.failed.detail == "denied: no <secret> here"
    assert PASSWORD not in repr(cycle)


def test_a_docker_config_is_copied_and_never_written(make_world, tmp_path):
    """Its logins are there for docker, in the private folder, while the cycle runs; the folder is not touched."""
    source = tmp_path / "source"
    source.mkdir()
    given = {"auths": {HOST: {"auth": "eDp5"}}, "credsStore": "pass", "currentContext": "remote"}
    (source / "config.json").write_text(json.dumps(given))
    (source / "config.json").chmod(0o400)
    before = (source / "config.json").stat()
    world = make_world(credentials=None, docker_config=source)
    private = world.folders[0] / "config.json"
    seen = []

    def look():
        seen.append((json.loads(private.read_text()), private.stat().st_mode & 0o777))

    world.announce(*[name for name in FULL if name != "login"], push={"does": look})

    assert told(world.run()) == ("up",)
    assert seen == [({"auths": {HOST: {"auth": "eDp5"}}, "credsStore": "pass"}, 0o600)]
    assert (source / "config.json").read_text() == json.dumps(given)
    assert (source / "config.json").stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in source.iterdir()] == ["config.json"]


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_docker_config_that_can_t_be_read_is_told(make_world, tmp_path, content):
    """The first step fails for the configuration's fault."""
    source = tmp_path / "source"
    source.mkdir()
    if content is None:
        (source / "config.json").mkdir()
    else:
        (source / "config.json").write_text(content)
    world = make_world(credentials=None, docker_config=source)
    world.announce("sweep")

    cycle = world.run()

    assert told(cycle) == ("unknown", "pull", "credential_helper", "config")
    assert str(source) in cycle.failed.detail


# The end of the monitor.


def stops():
    raise Stopped


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
    world.announce(*FULL[:-1], ("remove_back", fails), ("sweep", fails))

    assert told(world.run()) == ("up",)
    assert [record.levelname for record in caplog.records] == ["WARNING"]

    world.announce(*FULL, pull={"out": pulled(DIGEST)})
    assert told(world.run()) == ("up",)


# Other builders than the classic one.


class BuildCache:
    """BuildKit's cache: a docker that is scripted, but for what it tells of its build cache and removes from it."""

    def __init__(self, world, finds=True):
        self.ran = []
        self.pruned = []
        self._world = world
        self._finds = finds
        world.cycle.equipped = self.equipped
        argv = ("build", "--quiet", "--no-cache", "--provenance=false", "--network", "none", "--tag", NAME)
        self.build = {"argv": (*argv, world.context)}

    def equipped(self, docker):
        return replace(docker, runner=self, builder=BuiltBy.BUILDKIT, build_flags=("--provenance=false",))

    def __call__(self, command):
        verb = command.argv[1]
        self.ran.append(verb)
        if verb == "system":
            return Completed(0, self.record(), "", 0.1)
        if verb == "builder":
            self.pruned.append(command.argv[-1])
            return Completed(0, "", "", 0.1)
        return self._world.script.runner(command)

    def record(self):
        """Return how docker tells of the layer that the last build left, and is there until it is removed."""
        built = re.search(r"COPY payload-0 (\S+)", self._world.dockerfile)
        if built is None or self.pruned or not self._finds:
            return ""
        return f"layer {datetime.now(UTC):%F %T.%f} +0000 UTC false 1.05MB [1/1] COPY payload-0 {built[1]}\n"


def test_with_buildkit_the_layers_are_removed_from_its_cache_before_they_are_pulled(world):
    """Right after the image; once that is done, nothing more is looked for."""
    cache = BuildCache(world)
    world.announce(*FULL, build=cache.build)

    assert told(world.run()) == ("up",)
    assert cache.pruned == ["id=layer"]
    verbs = ["image", "images", "system", "login", "pull", "rmi", "build", "push", "rmi", "system", "builder", "pull"]
    assert cache.ran == [*verbs, "rmi"]


def test_what_is_sent_to_buildkit_has_a_length_by_chance(world):
    """By it, the monitor knows what was sent for its own build."""
    lengths = set()
    for number in range(3):
        cache = BuildCache(world)
        names = [name for name in FULL if number == 0 or name != "sweep"]
        world.announce(*names, build=cache.build, pull={"out": pulled(DIGEST if number else BEFORE.digest)})
        world.run()
        lengths.add(len(world.dockerfile))

    assert len(lengths) > 1


def test_where_the_layers_are_not_found_the_verdict_says_so(world):
    """A pull that moved nothing proves nothing, and people learn why."""
    cache = BuildCache(world, finds=False)
    warm = pulled(DIGEST, moved=0, already=1)
    world.announce(*FULL, "sweep", build=cache.build, pull_back={"out": warm})

    cycle = world.run()

    assert told(cycle) == ("unknown", "pull_back", "warm", "host")
    assert "in BuildKit's cache 0 of the 1 layers were found, and removed" in cycle.failed.detail


def test_what_a_failed_cycle_left_in_buildkits_cache_is_removed_at_its_end(world):
    """A push that fails leaves the image, and all that the build left."""
    cache = BuildCache(world)
    names = [*FULL[: FULL.index("push") + 1], "sweep"]
    world.announce(*names, build=cache.build, push={"err": SERVER_ERROR, "code": 1})

    assert told(world.run()) == ("down", "push", "server_error", "registry")
    assert cache.pruned == ["id=layer"]


def test_what_podmans_builder_leaves_is_looked_for(world):
    """It keeps an image for the labels alone, which `rmi` leaves there."""
    world.cycle.equipped = lambda docker: replace(docker, builder=BuiltBy.BUILDAH)
    world.announce(*FULL, "sweep")

    assert told(world.run()) == ("up",)
