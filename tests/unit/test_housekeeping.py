"""A host looks after a cycle as it did before: ours goes, what is not ours stays, and names go back."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.command import Completed
from lib.cycle.build_cache import Traces, Turn
from lib.cycle.housekeeping import _LATE_SECONDS, Housekeeping, remove_images
from lib.cycle.payload import LABELS, Context
from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.answers import CacheRecord, Image
from lib.failure import Reason
from lib.reference import Reference
from lib.target import Target
from tests.unit.support import (
    INSPECT,
    NAME,
    NO_DAEMON,
    REFERENCE,
    SWEEP,
    Script,
    described,
    digest_of,
    hangs,
    is_missing,
    labels_of,
    missing,
)

TARGET = Target("lab", REFERENCE)
CONFLICT = "Error response from daemon: conflict: unable to delete {} (cannot be forced) - it is in use\n"
HAS_CHILDREN = CONFLICT.replace("it is in use", "image has dependent child images")
GONE = "Error response from daemon: No such image: {}\n"
NOW = datetime.now(UTC)


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def docker(script):
    return Docker(script.runner, "docker", {}, Path("/config"))


@pytest.fixture
def sleeps(monkeypatch):
    """For how long it was slept so far; no time passes."""
    slept = []
    monkeypatch.setattr("lib.cycle.housekeeping.time.sleep", slept.append)
    return slept


@pytest.fixture
def keeping():
    return Housekeeping(TARGET, "me", {"dead"}.__contains__)


def leftovers(script, *images):
    """Announce a sweep that finds these descriptions, each beside its ID."""
    ids = [image_id for image_id, _ in images]
    script.on(*SWEEP, out="".join(f"{image_id}\n" for image_id in ids))
    if ids:
        script.on(*INSPECT, *ids, out="".join(text for _, text in images))


def left(mark, tags=(), **labels):
    return digest_of(mark), described(digest_of(mark), tags, labels_of(**{"created": NOW} | labels))


def swept(keeping, docker, script, *images):
    """Return what a sweep removes of these images."""
    script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1)
    leftovers(script, *images)
    script._fp.register(["docker", "rmi", script._fp.any()], occurrences=9)
    keeping.prepare(docker)
    return [argv[1:] for argv in script.ran if argv[0] == "rmi"]


@pytest.mark.parametrize(
    ("image", "removed"),
    [
        (left("a"), True),  # ours, of this process and target
        (left("a", target="other"), False),  # of this process, but another target's cycle may need it now
        (left("a", target="other", created=NOW - timedelta(hours=3)), True),  # a target that a reload took away
        (left("a", instance="dead"), True),
        (left("a", instance="dead", target="other"), True),
        (left("a", instance="living"), False),
        (left("a", (NAME,), instance="living"), True),  # it has the very name that we are about to use
        (left("a", instance="unknown", created=NOW - timedelta(hours=3)), True),
        (left("a", instance="unknown", created=NOW - timedelta(hours=1)), False),
        ((digest_of("a"), described(digest_of("a"), ())), False),  # it lost its labels, and is nobody's
    ],
)
def test_leftovers_are_ours_or_of_the_dead(script, docker, keeping, image, removed):
    """Of all labelled images, those go that no living cycle can need."""
    assert swept(keeping, docker, script, image) == [(digest_of("a"),)] * removed


def container(mark, command="LABEL registry-monitor.target=lab", **labels):
    """Return a container as docker lists it: one of a build, unless its command is another."""
    labels = labels_of(**{"created": NOW} | labels)
    values = [labels.instance, labels.target, labels.token, labels.to_dict()[LABELS[3]]]
    return json.dumps([mark * 64, f"\"/bin/sh -c '#(nop) ' '{command}'\"", *values]) + "\n"


@pytest.mark.parametrize(
    ("listed", "removed"),
    [
        (container("a"), True),
        (container("a", instance="dead", target="other"), True),
        (container("a", target="other"), False),  # another target's cycle may be at it
        (container("a", instance="living"), False),
        (container("a", instance="unknown", created=NOW - timedelta(hours=3)), True),
        (container("a", command="/nothing"), False),  # somebody made it from a test image, and uses it
        (json.dumps(["a" * 64, "\"/bin/sh -c '#(nop) ' 'LABEL x=y'\"", "me", "lab", "", ""]) + "\n", False),
        ('?\n[]\n[1]\n7\n["a"]\n["a",1,"","","",""]\n' + container("b").replace('", "', '"]\n["'), False),
    ],
)
def test_containers_that_a_dying_daemon_left_of_a_build_go(script, docker, keeping, listed, removed):
    """By the labels that were being set in them, as images do; no other container is ever touched."""
    script.runner.containers = listed
    script._fp.register(["docker", "rm", "--volumes", script._fp.any()])

    assert swept(keeping, docker, script) == []
    assert [argv for argv in script.ran if argv[0] == "rm"] == [("rm", "--volumes", "a" * 64)] * removed


STUCK = (
    'Error response from daemon: container a: driver "overlay2" failed to remove root filesystem: '
    "unlinkat /var/lib/docker/overlay2/b/merged: device or resource busy"
)


def test_a_container_that_stays_is_told_and_keeps_no_other(script, docker, keeping, caplog):
    script.runner.containers = container("a") + container("b")
    script.on("rm", "--volumes", "a" * 64, err=f"{STUCK}\n", code=1)
    script.on("rm", "--volumes", "b" * 64)

    swept(keeping, docker, script)

    (record,) = caplog.records
    assert (record.target, record.reason, record.detail) == ("lab", "in_use", STUCK)


@pytest.mark.parametrize(
    "gone",
    [
        f"Error: No such container: {'a' * 64}",
        f"Error response from daemon: No such container: {'a' * 64}",
        f"Error response from daemon: removal of container {'a' * 64} is already in progress",
    ],
)
def test_a_container_that_goes_by_itself_is_no_news(script, docker, keeping, caplog, gone):
    script.runner.containers = container("a")
    script.on("rm", "--volumes", "a" * 64, err=f"{gone}\n", code=1)

    swept(keeping, docker, script)

    assert caplog.records == []


def test_a_daemon_that_goes_meanwhile_has_containers_looked_for_again(script, docker, keeping):
    """What was not removed for that is not forgotten."""
    script.runner.containers = container("a")
    script.on("rm", "--volumes", "a" * 64, err=NO_DAEMON, code=1)

    with pytest.raises(DockerError):
        swept(keeping, docker, script)

    script.on("rm", "--volumes", "a" * 64)
    swept(keeping, docker, script)
    assert len([argv for argv in script.ran if argv[0] == "rm"]) == 2


@pytest.mark.parametrize(("builder", "found"), [(BuiltBy.CLASSIC, 1), (BuiltBy.BUILDKIT, 1), (BuiltBy.BUILDAH, 0)])
def test_what_the_classic_builder_left_is_found_whatever_builds_by_now(script, docker, builder, found):
    """A target may have been given another builder since. podman has no daemon that could leave any."""
    script.runner.containers = container("a")

    assert len(replace(docker, builder=builder).build_containers(LABELS, 5)) == found


def test_a_leftover_goes_with_all_its_names(script, docker, keeping):
    """An image that has several names goes by them all at once; the others go by their IDs, those with a name first."""
    assert swept(keeping, docker, script, left("a"), left("b", ("x:1", "y:2")), left("c")) == [
        ("x:1", "y:2"), (digest_of("a"),), (digest_of("c"),),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("image", "removed_by"),
    [
        (Image(digest_of("a"), ("h:5/x:1",), (f"h:5/x@{digest_of(1)}",)), (digest_of("a"),)),
        (Image(digest_of("a"), ("x:1",), (f"y@{digest_of(1)}",)), ("x:1", f"y@{digest_of(1)}")),
        (Image(digest_of("a"), ("x:1", "x:2")), ("x:1", "x:2")),
    ],
)
def test_an_image_goes_by_its_id_where_docker_takes_that(script, docker, image, removed_by):
    """A name can be a newer image's by now; but an image with names in two places does not go by its ID."""
    script.on("rmi", *removed_by)

    remove_images(docker, [image], 5)

    assert script.ran == [("rmi", *removed_by)]


def test_a_clean_host_is_asked_once(script, docker, keeping):
    """After a first look that finds nothing, preparing and restoring ask for no list of images."""
    script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1, times=2)
    leftovers(script)

    keeping.prepare(docker)
    keeping.restore(docker)
    keeping.prepare(docker)

    assert script.ran.count(SWEEP) == 1


def test_an_image_of_ours_under_our_name_is_swept(script, docker, keeping):
    """An image of a monitor's that has the test image's name does not wait: it goes."""
    script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1)
    leftovers(script)
    keeping.prepare(docker)
    script.on(*INSPECT, NAME, keeping._waiting, out=left("a", (NAME,))[1], err=missing(keeping._waiting), code=1)
    leftovers(script, left("a", (NAME,)))
    script.on("rmi", digest_of("a"))

    keeping.prepare(docker)

    # By its ID: if its name were another cycle's new image by now, that one would stay.
    assert script.ran[-1] == ("rmi", digest_of("a"))


def test_the_waiting_name_is_the_references_own():
    """It is found again after a crash, and no two targets share one."""
    other = replace(TARGET, reference=Reference("quay.io", "lab/canary"))
    names = {Housekeeping(target, "x", bool)._waiting for target in (TARGET, other, TARGET)}

    assert len(names) == 2
    assert all(name.startswith("registry-monitor-held/") for name in names)


def test_what_can_t_be_given_back_now_is_given_back_later(script, docker, keeping, caplog):
    """A name whose way back fails waits on, and is tried again."""
    theirs = described(digest_of("e"))
    script.on(*INSPECT, NAME, keeping._waiting, out=theirs, err=missing(keeping._waiting), code=1)
    script.on("tag", digest_of("e"), keeping._waiting)
    leftovers(script)
    keeping.prepare(docker)
    script.on("tag", keeping._waiting, NAME, err=NO_DAEMON, code=1)
    keeping.restore(docker)
    leftovers(script)
    script.on("tag", keeping._waiting, NAME)
    script.on("rmi", keeping._waiting)

    keeping.restore(docker)

    assert script.ran[-2:] == [("tag", keeping._waiting, NAME), ("rmi", keeping._waiting)]
    (record,) = caplog.records
    assert (record.target, record.reason, record.detail) == ("lab", "daemon", NO_DAEMON.strip())


def test_a_name_that_docker_does_not_let_go_of_is_left_to_restore(script, docker, keeping):
    """remove_test_image() never raises; restore() then looks for what is left."""
    script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1)
    leftovers(script)
    keeping.prepare(docker)
    script.on("rmi", NAME, err=CONFLICT.format(NAME), code=1)
    leftovers(script)

    keeping.remove_test_image(docker)
    keeping.restore(docker)

    assert script.ran[-1] == SWEEP


@pytest.mark.parametrize("call", ["prepare", "restore"])
def test_an_image_that_stays_is_told_and_stops_nothing(script, docker, keeping, call, caplog):
    """A leftover that somebody uses is logged, and blinds no target: the cycle that it precedes is run."""
    if call == "prepare":
        script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1)
    leftovers(script, left("a", instance="dead", target="other"))
    script.on("rmi", digest_of("a"), err=CONFLICT.format(digest_of("a")), code=1)
    script.on(*INSPECT, digest_of("a"), out=left("a")[1])

    getattr(keeping, call)(docker)

    (record,) = caplog.records
    assert (record.levelname, record.target, record.reason) == ("WARNING", "lab", "in_use")
    assert digest_of("a") in record.detail


@pytest.mark.parametrize("broken", [{"err": NO_DAEMON, "code": 1}, {"does": hangs}, {"does": is_missing}])
@pytest.mark.parametrize("at", ["images", "inspect", "rmi"])
def test_a_sweep_that_docker_fails_stops_the_cycle(script, docker, keeping, at, broken, caplog):
    """Where docker itself does not work nothing is known of what is left: prepare() raises, and looks again."""
    script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1, times=2)
    script.on(*SWEEP, **({"out": f"{digest_of('a')}\n"} | (broken if at == "images" else {})))
    if at != "images":
        script.on(*INSPECT, digest_of("a"), **({"out": left("a")[1]} | (broken if at == "inspect" else {})))
    if at == "rmi":
        script.on("rmi", digest_of("a"), **broken)

    with pytest.raises(DockerError):
        keeping.prepare(docker)
    leftovers(script)
    keeping.prepare(docker)

    assert script.ran[-1] == SWEEP
    assert caplog.records == []


@pytest.mark.parametrize(("late", "sweeps"), [(False, [SWEEP]), (True, [SWEEP, SWEEP, SWEEP])])
def test_what_was_ended_by_force_is_looked_for_around_the_next_cycle_as_well(script, docker, keeping, late, sweeps):
    """The daemon may make an image long after its command was ended: a sweep at once, two more later, and no fourth."""
    script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1, times=3)
    leftovers(script)
    keeping.prepare(docker)
    before = len(script.ran)
    for _ in sweeps:
        leftovers(script)

    keeping.expect_leftovers(late=late)
    keeping.restore(docker)
    for _ in range(2):
        keeping.prepare(docker)
        keeping.restore(docker)

    assert [argv for argv in script.ran[before:] if argv == SWEEP] == sweeps
    assert script.ran[before] == SWEEP


def late_leftover(script, sleeps):
    """Announce a sweep that finds nothing, and one that finds an image: the one that came while it was slept."""
    leftovers(script)
    script.on(*SWEEP, out=f"{digest_of('a')}\n", does=lambda: sleeps.append("swept"))
    script.on(*INSPECT, digest_of("a"), out=left("a")[1])
    script.on("rmi", digest_of("a"))


def test_what_comes_late_after_the_last_cycle_is_waited_for(script, docker, keeping, sleeps):
    """Where no cycle will follow it is looked for at once, and again a moment later."""
    late_leftover(script, sleeps)

    keeping.expect_leftovers(late=True)
    keeping.restore(docker, is_last=True)

    assert sleeps == [_LATE_SECONDS, "swept"]
    assert script.ran == [SWEEP, SWEEP, (*INSPECT, digest_of("a")), ("rmi", digest_of("a"))]


@pytest.mark.parametrize(("late", "is_last"), [(False, True), (True, False), (False, False)])
def test_what_can_t_come_late_or_has_a_next_cycle_is_not_waited_for(script, docker, keeping, sleeps, late, is_last):
    """What came to its own end is over; and the next cycle looks first."""
    leftovers(script)

    keeping.expect_leftovers(late=late)
    keeping.restore(docker, is_last=is_last)

    assert sleeps == []
    assert script.ran == [SWEEP]


def test_a_name_goes_back_after_what_comes_late_is_removed(script, docker, keeping, sleeps):
    """The late image takes the test image's name: that is free again before its owner gets it."""
    script.on(*INSPECT, NAME, keeping._waiting, out=described(digest_of("e")), err=missing(keeping._waiting), code=1)
    script.on("tag", digest_of("e"), keeping._waiting)
    leftovers(script)
    keeping.prepare(docker)
    late_leftover(script, sleeps)
    script.on("tag", keeping._waiting, NAME)
    script.on("rmi", keeping._waiting)

    keeping.expect_leftovers(late=True)
    keeping.restore(docker, is_last=True)

    assert script.ran[-3:] == [
        ("rmi", digest_of("a")), ("tag", keeping._waiting, NAME), ("rmi", keeping._waiting),
    ]  # fmt: skip


def test_no_command_takes_longer_than_a_step(script, docker):
    """Where steps have a short deadline, so has what goes on before and after them."""
    keeping = Housekeeping(replace(TARGET, step_timeout=4.0), "me", {"dead"}.__contains__)

    swept(keeping, docker, script, left("a"))
    keeping.remove_test_image(docker)

    assert [command.deadline for command in script.runner.commands] == [4.0] * 5


# Turns.


@pytest.fixture
def with_buildkit(docker):
    return replace(docker, builder=BuiltBy.BUILDKIT)


def in_another_thread(keeping, docker):
    """Have a thread take its turn; return what is set once that has come, and the thread."""
    came = threading.Event()

    def take_turn():
        with keeping.alone(docker):
            came.set()

    thread = threading.Thread(target=take_turn)
    thread.start()
    return came, thread


def test_targets_take_turns_at_the_build_cache(with_buildkit):
    """One that is at it may go deeper; another waits until it is through."""
    turn = Turn()
    keeping, other = (Housekeeping(TARGET, "me", bool, turn) for _ in range(2))
    with keeping.alone(with_buildkit):
        with keeping.alone(with_buildkit):
            came, thread = in_another_thread(other, with_buildkit)
        assert not came.wait(0.1)
    assert came.wait(5)
    thread.join()


@pytest.mark.parametrize(
    ("description", "waits"), [("[1/1] COPY payload-0 /registry-monitor/me/payload-0", False), ("fileop target", True)]
)
def test_nobody_waits_where_layers_are_known_by_name(with_buildkit, description, waits):
    turn = Turn()
    keeping, other = (Housekeeping(TARGET, "me", bool, turn) for _ in range(2))
    turn.learn([CacheRecord("x", NOW, False, 1, description)])
    turn.learn([])  # of a build that left nothing, there is nothing to learn
    with keeping.alone(with_buildkit):
        came, thread = in_another_thread(other, with_buildkit)
        assert came.wait(0.1 if waits else 5) is not waits
    thread.join()


def test_a_turn_that_does_not_end_is_not_waited_for_for_ever(with_buildkit):
    turn = Turn()
    keeping = Housekeeping(TARGET, "me", bool, turn)
    other = Housekeeping(replace(TARGET, step_timeout=0.1), "me", bool, turn)
    with keeping.alone(with_buildkit):
        came, thread = in_another_thread(other, with_buildkit)
        assert came.wait(5)
    thread.join()


def test_without_buildkit_nobody_waits(docker):
    keeping = Housekeeping(TARGET, "me", bool)
    with keeping.turn.taken(5):
        came, thread = in_another_thread(keeping, docker)
        assert came.wait(5)
    thread.join()


# What removes images.


class Store:
    """An engine's images, some of them built on others: as `docker rmi` and `docker image inspect` have it.

    Attributes:
        images: their names, by ID.
        parents: of images, by ID.
        used: those that a container was made from.
    """

    def __init__(self, images, parents=(), used=()):
        self.images = dict(images)
        self.parents = dict(parents)
        self.used = set(used)

    def __call__(self, command):
        verb, *asked = command.argv[1:]
        if verb == "rmi":
            errors = "".join(filter(None, map(self.remove, asked)))
            return Completed(1 if errors else 0, "", errors, 0.1)
        asked = [name for name in asked if name.startswith("sha256:")]
        found = "".join(described(name, tuple(self.images[name])) for name in asked if name in self.images)
        errors = missing(*(name for name in asked if name not in self.images))
        return Completed(1 if errors else 0, found, errors, 0.1)

    def remove(self, name):
        """Given a name or ID, remove it; return docker's words where it can't."""
        image = next((one for one, tags in self.images.items() if name == one or name in tags), None)
        if image is None:
            return GONE.format(name)
        tags = self.images[image]
        if len(tags) > 1 and name != image:
            tags.remove(name)
            return None
        if image in self.used:
            return CONFLICT.format(image)
        if image in self.parents.values():
            return HAS_CHILDREN.format(image)
        del self.images[image]
        parent = self.parents.pop(image, None)
        if parent is not None and not self.images[parent] and parent not in self.parents.values():
            self.remove(parent)  # images between go with the one built on them
        return None

    def list(self):
        return [Image(image, tuple(tags)) for image, tags in self.images.items()]


@given(st.data())
@settings(max_examples=100)
def test_images_go_in_whatever_order_docker_lists_them(data):
    """Docker tells no child from its parent: however a tree of images is built and listed, all of it goes."""
    ids = [digest_of(mark) for mark in "0123456789"[: data.draw(st.integers(1, 10), "images")]]
    parents = {
        image: data.draw(st.sampled_from(ids[:number]), "parent")
        for number, image in enumerate(ids)
        if number and data.draw(st.booleans(), "is built on another")
    }
    leaves = set(ids) - set(parents.values())
    store = Store({i: ["x:1", "y:2"][: data.draw(st.integers(0, 2))] if i in leaves else [] for i in ids}, parents)
    store.images = {image: [f"{image[-1]}/{tag}" for tag in tags] for image, tags in store.images.items()}

    remove_images(Docker(store, "docker", {}, Path("/config")), data.draw(st.permutations(store.list())), 5)

    assert store.images == {}


def test_an_image_that_gets_other_names_meanwhile_goes_by_those(script, docker):
    """What stayed is looked at anew: the names that it had when it was first listed may not be its names now."""
    image = digest_of("a")
    script.on("rmi", "x:1", "x:2", err=GONE.format("x:1"), code=1)
    script.on("rmi", digest_of("b"))
    script.on(*INSPECT, image, out=described(image, ("y:1", "y:2")))
    script.on("rmi", "y:1", "y:2")

    remove_images(docker, [Image(image, ("x:1", "x:2")), Image(digest_of("b"))], 5)

    assert script.ran[-1] == ("rmi", "y:1", "y:2")


@given(st.permutations("abcd"))
def test_one_image_that_stays_keeps_no_other(order):
    """All that can go goes; what stays is told in docker's own words of it."""
    store = Store({digest_of(mark): [] for mark in order}, {digest_of("b"): digest_of("a")}, used=[digest_of("c")])

    with pytest.raises(DockerError) as raised:
        remove_images(Docker(store, "docker", {}, Path("/config")), store.list(), 5)

    assert store.images == {digest_of("c"): []}
    assert (raised.value.failure.reason, raised.value.failure.detail) == (
        Reason.IN_USE, CONFLICT.format(digest_of("c")).strip(),
    )  # fmt: skip


@pytest.mark.parametrize("words", [GONE.format(digest_of("b")), missing(digest_of("b"))])
def test_an_image_that_went_with_another_is_no_failure(script, docker, words):
    """Images between go with the one built on them; not to find them is all right, and no sick daemon."""
    images = [Image(digest_of("b")), Image(digest_of("a"), ("x:1",))]
    script.on("rmi", digest_of("a"))
    script.on("rmi", digest_of("b"), err=words, code=1)
    script.on(*INSPECT, digest_of("b"), err=missing(digest_of("b")), code=1)

    remove_images(docker, images, 5)

    assert [argv[0] for argv in script.ran] == ["rmi", "rmi", "image"]


def test_what_was_removed_is_not_looked_for(script, docker):
    """Where docker said that all is gone, it is not asked."""
    script.on("rmi", digest_of("a"))

    remove_images(docker, [Image(digest_of("a"), ("x:1",))], 5)
    remove_images(docker, [], 5)

    assert script.ran == [("rmi", digest_of("a"))]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"err": NO_DAEMON, "code": 1}, Reason.DAEMON),
        ({"does": hangs}, Reason.TIMEOUT),
        ({"does": is_missing}, Reason.CLI),
        ({"code": -9}, Reason.CLI),
    ],
)
def test_a_docker_that_does_not_work_is_not_asked_again(script, docker, broken, reason):
    """Where the daemon does not answer, or the CLI is gone, nothing more is tried."""
    script.on("rmi", digest_of("a"), **broken)

    with pytest.raises(DockerError) as raised:
        remove_images(docker, [Image(digest_of("a"), ("x:1",)), Image(digest_of("b"))], 5)

    assert raised.value.failure.reason is reason
    assert script.ran == [("rmi", digest_of("a"))]


# BuildKit's cache.

TRACES = Traces(Context("/registry-monitor/me/token/", (10,), 20_000), NOW, NOW)
LAYER = f"layer {NOW:%F %T.%f} +0000 UTC false 10B [1/1] COPY payload-0 /registry-monitor/me/token/payload-0\n"
DEAD_LAYER = LAYER.replace("/me/token/", f"/{'d' * 32}/{'e' * 32}/")


def test_what_a_build_left_is_removed_once(script, docker, keeping):
    """Before a pull has to move it, or else at the end of the cycle, or before the next."""
    script._fp.register(["docker", "system", script._fp.any()], stdout=LAYER)
    script.on("builder", "prune", "--all", "--force", "--filter", "id=layer")
    keeping._looks = 0
    keeping.expect_traces(TRACES)

    assert [keeping.remove_traces(docker) for _ in range(2)] == [1, 0]
    keeping.restore(docker)
    assert len(script.ran) == 2


def test_what_can_not_be_removed_from_the_cache_is_told_and_tried_again(script, docker, keeping, caplog):
    """The next cycle begins with it."""
    script._fp.register(["docker", "system", script._fp.any()], stderr=NO_DAEMON, returncode=1)
    keeping._looks = 0
    keeping.expect_traces(TRACES)

    keeping.restore(docker)

    assert "could not clean up" in caplog.text
    script.on(*INSPECT, NAME, keeping._waiting, err=missing(NAME, keeping._waiting), code=1)
    leftovers(script)
    script._fp.register(["docker", "system", script._fp.any()], stdout=LAYER)
    script.on("builder", "prune", "--all", "--force", "--filter", "id=layer")
    keeping.prepare(docker)
    assert script.ran[-1][0] == "builder"


def test_layers_of_the_dead_are_swept_from_buildkits_cache(script, docker):
    """Only where that is the builder, for it takes a look at the whole cache."""
    keeping = Housekeeping(TARGET, "me", {"d" * 32}.__contains__)
    script._fp.register(["docker", "system", script._fp.any()], stdout=LAYER + DEAD_LAYER.replace("layer", "old", 1))
    script._fp.register(["docker", "builder", script._fp.any()])

    assert swept(keeping, replace(docker, builder=BuiltBy.BUILDKIT), script) == []

    assert script.ran[-1][-1] == "id=old"
