"""One cycle: what it does to the registry, what it says, and what a failing step means for it."""

import errno
from collections import Counter
from datetime import datetime, timedelta

import pytest

from lib import cycle as cycles
from lib.cycle.payload import write_context
from lib.result import Push, StepName
from lib.secret import Secret
from tests.unit.cycle.world import BEFORE, DENIED, LAST, SERVER_ERROR, STEPS, TARGET, our, steps_of, theirs, told
from tests.unit.fake_docker import CRASHED, GONE, fails, says
from tests.unit.support import AMBIGUOUS, MADE, NAME, NO_DAEMON, NOT_THERE, PASSWORD, labels_in

# A good cycle.


def test_a_good_cycle_pushes_a_new_image_and_gets_it_back(world):
    """Every step in its order; the registry has the new image, and the host nothing of it."""
    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle) == [f"{step} ok" for step in STEPS]
    digest = world.registry.images[NAME].digest
    assert (cycle.pushed_digest, cycle.pulled_digest) == (digest, digest)
    assert digest != BEFORE.digest
    assert cycle.failed is None


def test_the_cycle_after_it_has_nothing_to_sweep(world):
    """What was pushed is what the next one expects, and between its steps it asks only what has to be asked."""
    world.run()
    before = len(world.docker.commands)

    assert told(world.run()) == ("up",)
    asked = Counter(world.docker.verbs(since=before))
    assert asked == {"image": 1, "login": 1, "pull": 2, "build": 1, "push": 1, "rmi": 3}


def test_each_command_gets_its_input_its_environment_and_its_deadline(world):
    """Only login gets the password; all run in the private config; a step has its deadline, others a short one."""
    world.run()

    for command in world.docker.commands:
        assert command.env == {"PATH": "/bin", "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(world.folders[0])}
        assert (command.stdin is not None) == (command.argv[1] == "login")
        assert command.deadline <= TARGET.step_timeout
    by_verb = {command.argv[1]: command for command in world.docker.commands}
    assert by_verb["login"].stdin == Secret(PASSWORD)
    assert by_verb["push"].deadline == TARGET.step_timeout
    assert by_verb["images"].deadline < TARGET.step_timeout


def test_build_is_under_way_while_its_payload_is_written_and_its_seconds_are_dockers(world, monkeypatch):
    """With 1 GiB that takes longer than the build, and a monitor with nothing under way looks dead."""
    so_far = []

    def write(*arguments, **options):
        so_far.extend(world.observed.told)
        return write_context(*arguments, **options)

    monkeypatch.setattr(cycles, "write_context", write)
    cycle = world.run()

    assert so_far[-1] == ("started", StepName.BUILD)
    assert world.observed.told.count(("started", StepName.BUILD)) == 1
    (build,) = (step for step in cycle.steps if step.name is StepName.BUILD)
    assert build.seconds == 0.25, "what the docker command took"


def test_every_step_is_told_as_it_begins_and_ends(world):
    """An observer hears of each step before its command runs, and after it."""
    cycle = world.run()

    assert world.observed.told == [(event, step.name) for step in cycle.steps for event in ("started", "finished")]


def test_the_image_is_built_new_and_labelled(world):
    """Its labels are the target's, the process's, and new ones of this cycle; its payload has the target's shape."""
    cycle = world.run()

    labels, image = labels_in(world.host.dockerfile), world.registry.images[NAME]
    assert world.host.dockerfile.startswith("FROM scratch\n")
    assert image.labels == labels
    assert len(image.layers) == TARGET.payload_layers
    assert labels["registry-monitor.target"] == "lab"
    assert labels["registry-monitor.instance"] == "me"
    assert datetime.fromisoformat(labels["registry-monitor.created"]) == cycle.started
    assert world.last_push == Push(image.digest, image.image_id, labels["registry-monitor.token"], "me", cycle.started)


def test_each_cycle_has_a_token_of_its_own(world):
    """No two images of this monitor are the same."""
    tokens = set()
    for _ in range(2):
        world.run()
        tokens.add(world.last_push.token)

    assert len(tokens) == 2


def test_without_credentials_there_is_no_login(make_world):
    """A registry that is open to all is tested as such."""
    cycle = make_world(credentials=None).run()

    assert told(cycle) == ("up",)
    assert "login ok" not in steps_of(cycle)


# The first pull.


@pytest.mark.parametrize("words", [NOT_THERE, AMBIGUOUS])
def test_on_an_empty_repository_the_pull_is_skipped(make_world, words):
    """While this monitor has pushed nothing, "not there" is not a failure, in docker's ambiguous words as well."""
    world = make_world(last=None)
    world.during("pull", instead=fails(words))

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert steps_of(cycle)[1] == "pull skipped"
    assert (cycle.steps[1].reason, cycle.steps[1].detail) == (None, None)


@pytest.mark.parametrize(
    ("words", "reason", "scope"), [(NOT_THERE, "not_found", "registry"), (AMBIGUOUS, "denied", "credentials")]
)
def test_what_was_pushed_and_is_gone_is_told_once(world, words, reason, scope):
    """A lost image is `down`; the next cycle starts over, since otherwise one loss would be reported for ever."""
    world.during("pull", instead=fails(words), times=2)

    assert told(world.run()) == ("down", "pull", reason, scope)
    assert told(world.run()) == ("up",)


def test_another_failure_of_the_pull_is_no_empty_repository(make_world):
    """An outage at the very first pull is `down`, and nothing is pushed."""
    world = make_world(last=None)
    world.during("pull", instead=fails(SERVER_ERROR))

    assert told(world.run()) == ("down", "pull", "server_error", "registry")
    assert world.registry.images == {}


@pytest.mark.parametrize("last", [None, LAST])
def test_nothing_is_pushed_over_an_image_that_no_monitor_made(make_world, last):
    """Somebody's image under our tag stays: `unknown`, and the message says what to do."""
    world = make_world(last=last)
    world.registry.put(NAME, theirs("c"))

    cycle = world.run()

    assert told(cycle) == ("unknown", "pull", "foreign", "config")
    assert NAME in cycle.failed.detail
    assert "overwrite" in cycle.failed.detail
    assert world.registry.images[NAME] == theirs("c")


def test_nothing_is_pushed_over_an_image_that_is_not_understood(make_world):
    """If docker's description of the pulled image can't be read, nobody knows whose it is: nothing is pushed."""
    world = make_world(last=None)
    world.registry.put(NAME, our("c"))
    world.during("pull", "image", instead=says("?\n"))

    assert told(world.run()) == ("unknown", "pull", "daemon", "host")
    assert world.registry.images[NAME] == our("c")


@pytest.mark.parametrize("last", [None, LAST])
def test_what_docker_says_is_nothing_is_nothing_to_overwrite(make_world, last):
    """If the pull worked, and docker then describes no image at all, there is none to spare or to remove."""
    world = make_world(last=last)
    world.registry.put(NAME, theirs("c"))
    world.during("pull", "image", before=lambda: world.host.rmi(NAME), instead=says("[]\n"))

    assert told(world.run()) == ("up",)


@pytest.mark.parametrize(
    ("found", "changed"),
    [
        (theirs("c"), {"overwrite": True}),
        (
            theirs(
                "c",
                comment="Updated at 2026-11-24 08:30:00 +0000",
                command=("sh", "echo", '"2026-11-24', "08:30:00", '+0000"', ">", "foo"),
            ),
            {},
        ),
    ],
)
def test_what_may_be_overwritten_is(make_world, found, changed):
    """`overwrite` allows any image; the original monitor's is allowed without asking."""
    world = make_world(last=None, **changed)
    world.registry.put(NAME, found)

    assert told(world.run()) == ("up",)
    assert world.registry.images[NAME].image_id == world.last_push.image_id


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (our("c", created=LAST.created - timedelta(minutes=2)), ("down", "pull", "stale", "registry")),
        (our("c", created=LAST.created), ("down", "pull", "integrity", "registry")),
        (our("c", created=LAST.created + timedelta(minutes=1)), ("up",)),
        (our("c", instance="another", created=MADE), ("up",)),
    ],
)
def test_an_image_other_than_the_last_pushed_one_is_judged_by_its_labels(world, found, wanted):
    """Older is stale, altered is integrity; a newer one of ours, or another monitor's, is fine at the first pull."""
    world.registry.put(NAME, found)

    assert told(world.run()) == wanted
    assert (world.registry.images[NAME] == found) == (wanted != ("up",))


def test_an_image_from_before_a_restart_is_ours(make_world):
    """An instance that the memory knows is this monitor: an older image of its is stale, too."""
    world = make_world(of_world={"instances": ("me", "earlier")})
    world.registry.put(NAME, our("c", instance="earlier", created=MADE))

    assert told(world.run()) == ("down", "pull", "stale", "registry")


def test_a_registry_that_went_back_in_time_is_told_once(world):
    """After `stale` the next cycle starts over."""
    world.registry.put(NAME, our("c", created=MADE))

    assert told(world.run())[2] == "stale"
    assert told(world.run()) == ("up",)


def test_a_digest_that_docker_does_not_name_is_made_up_for_by_the_image(make_world):
    """Without digests the image itself is compared; and it is removed after the cycle as usual."""
    world = make_world(last=None)
    world.during(
        "pull_back", edit=lambda text: "".join(line for line in text.splitlines(keepends=True) if "Digest" not in line)
    )

    cycle = world.run()

    assert told(cycle) == ("up",)
    assert cycle.pulled_digest is None


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
    """It is the last step; and nothing of ours is left on the host."""
    world.during(step, instead=fails(words))

    cycle = world.run()

    assert told(cycle)[1:3] == (step, wanted)
    assert [one.name for one in cycle.steps] == list(STEPS[: STEPS.index(step) + 1])
    assert cycle.steps[-1].detail == words.strip()
    assert (cycle.pushed_digest is not None) == (step in ("rmi", "pull_back"))
    assert (world.registry.images[NAME] != BEFORE) == (step in ("rmi", "pull_back"))
    assert cycle.pulled_digest is None


def test_what_a_failed_cycle_leaves_is_removed(world):
    """After a failed push the built image goes, with intermediate images, but not another process's."""
    living = our("f", instance="living")
    world.during("push", before=lambda: world.host.add(living), instead=fails(DENIED))

    assert told(world.cycle()) == ("down", "push", "denied", "credentials")
    assert set(world.host.images) == {living.image_id}


@pytest.mark.parametrize(("instead", "reason"), [(CRASHED, "cli"), (GONE, "daemon")])
def test_a_docker_that_failed_once_still_cleans_up(world, instead, reason):
    """A CLI that a signal ended, or a daemon that is back by then, leaves something, and `once` has no next cycle."""
    world.during("push", instead=instead)

    assert told(world.run()) == ("unknown", "push", reason, "host")


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_payload_that_can_t_be_written_is_the_hosts_fault(world, monkeypatch):
    """A full disk of the monitor's is reported as such, and `unknown`."""
    monkeypatch.setattr("lib.cycle.payload._write_random", no_space)

    assert told(world.run()) == ("unknown", "build", "disk_full", "host")


def test_a_full_disk_is_no_bad_login(world, monkeypatch):
    """If the private config can't be written because the disk is full, no credential helper is blamed."""
    monkeypatch.setattr("lib.cycle.steps.prepare_config", no_space)

    assert told(world.run())[1:] == ("login", "disk_full", "host")


def test_a_daemon_that_is_not_there_fails_the_first_step(world):
    """The daemon is asked first, since a login would talk to the registry without it."""
    world.docker.fall_ill(GONE)

    cycle = world.run()

    assert told(cycle) == ("unknown", "login", "daemon", "host")
    assert len(cycle.steps) == 1
    assert "login" not in world.docker.verbs()


def test_docker_s_own_retries_are_counted(world):
    """A step that succeeds only after docker tried again says so: each countdown once, of each layer."""
    lines = [
        f"{layer}: Retrying in {left} second{'s' * (left > 1)}\n"
        for left in (5, 4, 3, 2, 1, 10, 9)
        for layer in ("6fda1dc5fc2d", "4e2db465598f")
    ]
    world.during("push", edit=lambda text: "".join(lines) + text)

    cycle = world.run()

    assert {step.name: step.retries for step in cycle.steps if step.retries} == {StepName.PUSH: 4}
