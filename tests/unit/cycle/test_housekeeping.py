"""A host looks the same after a cycle as before: ours goes, what is not ours stays, and names go back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lib.docker import BuiltBy, DockerError
from lib.reference import Reference
from tests.unit.cycle.world import NOW, TARGET, World, our, theirs, told
from tests.unit.fake_docker import GONE, HUNG, NOT_FOUND, fails
from tests.unit.fake_docker.engine import Container
from tests.unit.support import NAME, labels_of

CONFLICT = fails("Error response from daemon: conflict: unable to delete x (cannot be forced) - it is in use\n")
LONG_AGO = NOW - timedelta(hours=3)


@pytest.fixture
def keeping(world):
    return world.housekeeping


def looks(world):
    """Return how often leftovers were looked for."""
    return world.docker.verbs().count("images")


# What goes, and what stays.


@pytest.mark.parametrize(
    ("image", "names", "goes"),
    [
        (our("a"), (), True),  # of this process and target
        (our("a", target="other"), (), False),  # of this process, but another target's cycle may need it now
        (our("a", target="other", created=LONG_AGO), (), True),  # a target that a reload removed
        (our("a", instance="dead"), (), True),
        (our("a", instance="dead", target="other"), (), True),
        (our("a", instance="living"), (), False),
        (our("a", instance="living"), (NAME,), True),  # it has the very name that we are about to use
        (our("a", instance="unknown", created=LONG_AGO), (), True),
        (our("a", instance="unknown", created=NOW - timedelta(hours=1)), (), False),
        (theirs("a"), (), False),
        (theirs("a", labels={"registry-monitor.instance": "dead"}), (), False),  # it lost its labels, and is nobody's
        (our("a"), ("x:1", "y:2"), True),  # with all its names
        (our("a"), ("x:1", "x:2"), True),
    ],
)
def test_leftovers_are_ours_or_of_the_dead(world, keeping, image, names, goes):
    """Those labelled images go that no living cycle can need."""
    world.host.add(image, *names)

    keeping.prepare(world.cli)

    assert (image.image_id not in world.host.images) is goes


def of_a_build(command="LABEL registry-monitor.target=lab", status="Created", **labels):
    """Return a container: one of a build, unless its command is another."""
    labels = labels_of(**{"created": NOW} | labels).to_dict()
    return Container(command=f"\"/bin/sh -c '#(nop) ' '{command}'\"", labels=labels, status=status, volume="v")


@pytest.mark.parametrize(
    ("container", "goes"),
    [
        (of_a_build(), True),
        (of_a_build(status="Dead"), True),
        (of_a_build(status="Up 2 seconds"), False),
        (of_a_build(instance="dead", target="other"), True),
        (of_a_build(target="other"), False),  # another target's cycle may be using it
        (of_a_build(instance="living"), False),
        (of_a_build(instance="unknown", created=LONG_AGO), True),
        (of_a_build(command="/nothing"), False),  # somebody made it from a test image, and uses it
        (replace(of_a_build("LABEL x=y"), labels={"registry-monitor.instance": "me"}), False),
    ],
)
def test_containers_that_a_dying_daemon_left_of_a_build_go(world, keeping, container, goes):
    """By the labels that were being set in them, as images do, with their volumes; no other is ever touched."""
    world.host.containers["a" * 64], world.host.volumes = container, {"v", "w"}

    keeping.prepare(world.cli)

    assert (world.host.containers, world.host.volumes) == (({}, {"w"}) if goes else ({"a" * 64: container}, {"v", "w"}))


def test_a_list_of_containers_that_is_not_understood_removes_none(world, keeping):
    world.host.containers["b" * 64] = of_a_build()
    world.docker.when(
        "ps",
        edit=lambda text: (
            '?\n[]\n[1]\n7\n["a"]\n["a",1,"","","","",""]\n["a","Created",1,"","","",""]\n'
            + text.replace('", "', '"]\n["')
        ),
    )

    keeping.prepare(world.cli)

    assert set(world.host.containers) == {"b" * 64}


#: How a proxy in front of the engine's socket refuses.
FORBIDDEN = fails(
    "Error response from daemon: <html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n"
    "</body></html>\n"
)


def test_a_cycle_does_without_a_look_for_containers_that_is_refused(world, caplog):
    """It is logged once that they can't be looked for, whatever images go meanwhile."""
    world.docker.when("ps", instead=FORBIDDEN, times=9)
    world.host.add(our("a", instance="dead"))

    for _ in range(2):
        world.housekeeping.expect_leftovers()
        assert told(world.run()) == ("up",)

    assert [record.detail.rpartition("; ")[2] for record in caplog.records] == [
        "refused: GET /containers/json, or HEAD /_ping before it"
    ]


def test_what_is_left_of_a_build_and_may_not_be_removed_stays(world, keeping, caplog):
    world.host.containers["a" * 64] = of_a_build()
    world.docker.when("rm", instead=FORBIDDEN, times=9)

    for _ in range(2):
        keeping.expect_leftovers()
        keeping.prepare(world.cli)

    assert [record.detail.rpartition("; ")[2] for record in caplog.records] == [
        "refused: DELETE /containers/ID, or HEAD /_ping before it"
    ]


STUCK = (
    'Error response from daemon: container a: driver "overlay2" failed to remove root filesystem: '
    "unlinkat /var/lib/docker/overlay2/b/merged: device or resource busy"
)


def test_a_container_that_stays_is_told_and_keeps_no_other(world, keeping, caplog):
    world.host.containers = {mark * 64: of_a_build() for mark in "ab"}
    world.docker.when("rm", "--volumes", "a" * 64, instead=fails(f"{STUCK}\n"))

    keeping.prepare(world.cli)

    (record,) = caplog.records
    assert (record.target, record.reason, record.detail) == ("lab", "in_use", STUCK)
    assert set(world.host.containers) == {"a" * 64}


@pytest.mark.parametrize(
    "gone",
    [
        f"Error: No such container: {'a' * 64}",
        f"Error response from daemon: No such container: {'a' * 64}",
        f"Error response from daemon: removal of container {'a' * 64} is already in progress",
    ],
)
def test_a_container_that_goes_by_itself_is_no_news(world, keeping, caplog, gone):
    world.host.containers["a" * 64] = of_a_build()
    world.docker.when("rm", instead=fails(f"{gone}\n"))

    keeping.prepare(world.cli)

    assert caplog.records == []


def test_a_daemon_that_goes_meanwhile_has_containers_looked_for_again(world, keeping):
    """What was not removed for that is not forgotten."""
    world.host.containers["a" * 64] = of_a_build()
    world.docker.when("rm", instead=GONE)

    with pytest.raises(DockerError):
        keeping.prepare(world.cli)
    keeping.prepare(world.cli)

    assert world.host.containers == {}


@pytest.mark.parametrize(("builder", "goes"), [(BuiltBy.CLASSIC, 1), (BuiltBy.BUILDKIT, 1), (BuiltBy.BUILDAH, 0)])
def test_what_the_classic_builder_left_is_found_whatever_builds_by_now(make_world, builder, goes):
    """A target may have been given another builder since. podman has no daemon that could leave any."""
    world = make_world(of_world={"builder": builder})
    world.host.containers["a" * 64] = of_a_build()

    world.housekeeping.prepare(world.cli)

    assert len(world.host.containers) == 1 - goes


def test_a_leftover_whose_name_is_a_newer_images_by_now_takes_only_itself_away(world, keeping):
    """Another cycle may be under way: what it has just built stays."""
    world.host.add(our("a"), NAME)
    world.docker.when("rmi", before=lambda: world.host.add(our("b"), NAME))

    keeping.prepare(world.cli)

    assert world.host.names() == {NAME: our("b").image_id}
    assert our("a").image_id not in world.host.images


# When leftovers are looked for.


def test_a_clean_host_is_asked_once(world, keeping):
    """After a first look that finds nothing, preparing and restoring do not list images."""
    keeping.prepare(world.cli)
    keeping.restore(world.cli)
    keeping.prepare(world.cli)

    assert looks(world) == 1


def test_an_image_of_ours_under_our_name_is_swept(world, keeping):
    """An image of a monitor's that has the test image's name does not wait: it goes, also from a host once clean."""
    keeping.prepare(world.cli)
    world.host.add(our("a"), NAME)

    keeping.prepare(world.cli)

    assert world.host.images == {}


def test_what_other_instances_left_is_found_within_the_hour(world, keeping, monkeypatch):
    """One may die when nothing here gives an occasion to look."""
    now = [1000.0]
    monkeypatch.setattr("lib.cycle.housekeeping.time.monotonic", lambda: now[0])
    keeping.prepare(world.cli)
    world.host.add(our("a", instance="dead"))
    keeping.prepare(world.cli)
    assert looks(world) == 1

    now[0] += 3601.0
    keeping.prepare(world.cli)

    assert world.host.images == {}


@pytest.mark.parametrize(("late", "wanted"), [(False, 1), (True, 3)])
def test_what_was_ended_by_force_is_looked_for_around_the_next_cycle_as_well(world, keeping, late, wanted):
    """The daemon may make an image long after its command was ended: a look at once, two more later, and no fourth."""
    keeping.prepare(world.cli)
    keeping.expect_leftovers(late=late)
    before = looks(world)
    gone = 0
    for tidy in (keeping.restore, keeping.prepare, keeping.restore, keeping.prepare, keeping.restore):
        world.host.images.clear()
        world.host.add(our("a"))
        tidy(world.cli)
        gone += not world.host.images

    assert gone == looks(world) - before == wanted
    assert world.slept == []


# What can't be done now.


def test_what_can_t_be_given_back_now_is_given_back_later(world, keeping, caplog):
    """A name that can't be given back keeps waiting, and is tried again."""
    world.has(theirs("e"), NAME)
    keeping.prepare(world.cli)
    world.host.rmi(NAME)
    world.docker.when("tag", instead=GONE)

    keeping.restore(world.cli)
    assert NAME not in world.host.names()
    keeping.restore(world.cli)

    world.check()
    (record,) = caplog.records
    assert (record.target, record.reason, record.detail) == ("lab", "daemon", GONE.stderr.strip())


def test_no_two_targets_keep_images_waiting_under_one_name(make_world, tmp_path):
    """Each image gets its own name back."""
    one = make_world()
    reference = Reference("quay.io", "lab/canary")
    one.host.add(theirs("f"), reference.familiar)
    one.has(theirs("e"), NAME)
    two = World(tmp_path / "two", replace(TARGET, reference=reference), None, docker=one.docker)

    for world in (one, two):
        world.housekeeping.prepare(world.cli)
        world.host.rmi(world.target.reference.familiar)
    assert all(name.startswith("registry-monitor-held/") for name in one.host.names())
    for world in (one, two):
        world.housekeeping.restore(world.cli)

    one.check()


def test_a_name_that_docker_does_not_let_go_of_is_left_to_restore(world, keeping):
    """remove_test_image() never raises; restore() then looks for what is left."""
    keeping.prepare(world.cli)
    world.host.add(our("a"), NAME)
    world.docker.when("rmi", instead=CONFLICT)

    keeping.remove_test_image(world.cli)
    keeping.restore(world.cli)

    assert world.host.images == {}


@pytest.mark.parametrize("call", ["prepare", "restore"])
def test_an_image_that_stays_is_told_and_stops_nothing(world, keeping, call, caplog):
    """A leftover that somebody uses is logged, and stops no target: the cycle after it is run."""
    used = our("a", instance="dead", target="other")
    world.host.add(used)
    world.host.containers["c" * 64] = Container(used.image_id)

    keeping.expect_leftovers()
    getattr(keeping, call)(world.cli)

    (record,) = caplog.records
    assert (record.levelname, record.target, record.reason) == ("WARNING", "lab", "in_use")
    assert used.image_id in record.detail
    assert used.image_id in world.host.images


@pytest.mark.parametrize("broken", [GONE, HUNG, NOT_FOUND])
@pytest.mark.parametrize(
    "at", [("images",), ("image", "inspect", "--format", "{{json .}}", our("a").image_id), ("rmi",)]
)
def test_a_sweep_that_docker_fails_stops_the_cycle(world, keeping, at, broken, caplog):
    """If docker itself does not work, nothing is known about what is left: prepare() raises, and looks again."""
    world.host.add(our("a"))
    world.docker.when(*at, instead=broken)

    with pytest.raises(DockerError):
        keeping.prepare(world.cli)
    keeping.prepare(world.cli)

    assert world.host.images == {}
    assert caplog.records == []


def test_no_command_takes_longer_than_a_step(make_world):
    """If steps have a short deadline, so have the commands before and after them."""
    world = make_world(step_timeout=4.0)
    world.host.add(our("a"))

    world.housekeeping.prepare(world.cli)
    world.housekeeping.remove_test_image(world.cli)

    assert {command.deadline for command in world.docker.commands} == {4.0}
