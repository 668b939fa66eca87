"""Everything of the dead goes, then their name; what somebody uses goes as soon as it can; the living lose nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from lib.docker import BuiltBy, DockerError
from tests.unit.cycle.world import DEAD, NOW, TARGET, our, theirs, told
from tests.unit.fake_docker import GONE, HUNG, fails
from tests.unit.fake_docker.engine import Container, Record
from tests.unit.support import NAME

LONG_AGO = NOW - timedelta(hours=3)
USER = "c" * 64
STUCK = "Error response from daemon: container c: failed to remove root filesystem: device or resource busy\n"


@pytest.fixture
def clock(monkeypatch):
    """Time, as a list of one number, that passes when a test says so."""
    now = [1000.0]
    monkeypatch.setattr("lib.cycle.leftovers.time.monotonic", lambda: now[0])
    monkeypatch.setattr("lib.cycle.housekeeping.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def keeping(world):
    return world.housekeeping


def note_of(image):
    return f"image-{image.image_id.partition(':')[2]}"


def with_parents(world, image_id):
    """Return an image and those that it was built on."""
    parent = world.host.images[image_id].parent
    return {image_id} | (with_parents(world, parent) if parent else set())


def somebody_uses(world, image):
    world.host.containers[USER] = Container(image.image_id)


# The dead.


def test_a_dead_instance_is_forgotten_when_nothing_of_it_is_left(world, keeping):
    world.host.add(our("a", instance="dead"))
    keeping.prepare(world.cli)
    assert (world.host.images, world.instance.dead) == ({}, {})


def test_one_that_has_just_died_is_remembered_until_the_engine_has_finished_all_for_it(world, keeping, clock):
    """A build that was killed can make its image when the first look is over."""
    world.instance.dead = {"dead": 1.0}
    keeping.prepare(world.cli)
    world.host.add(our("a", instance="dead"))
    clock[0] += 3.0
    keeping.prepare(world.cli)
    assert (set(world.host.images), set(world.instance.dead)) == ({our("a").image_id}, {"dead"})
    clock[0] += 3.0
    keeping.prepare(world.cli)
    assert (world.host.images, world.instance.dead) == ({}, {})
    before = len(world.docker.commands)
    clock[0] += 60.0
    keeping.prepare(world.cli)
    assert world.docker.verbs(since=before) == ["image"]


@pytest.mark.parametrize("broken", [GONE, HUNG])
@pytest.mark.parametrize("verb", ["images", "rmi", "ps"])
def test_nobody_is_forgotten_by_a_look_that_docker_fails(world, keeping, verb, broken):
    world.host.add(our("a", instance="dead"))
    world.docker.when(verb, instead=broken)
    with pytest.raises(DockerError):
        keeping.prepare(world.cli)
    assert set(world.instance.dead) == {"dead", DEAD}


def test_one_whose_image_somebody_uses_is_forgotten_when_that_is_gone(world, keeping, clock):
    image = our("a", instance="dead")
    world.host.add(image)
    somebody_uses(world, image)
    keeping.prepare(world.cli)
    assert (set(world.instance.dead), set(world.instance.notes)) == ({"dead"}, {note_of(image)})
    world.host.containers.clear()
    clock[0] += 301.0
    keeping.prepare(world.cli)
    assert (world.host.images, world.instance.dead, world.instance.notes) == ({}, {}, {})


def test_one_whose_container_stays_is_not_forgotten(world, keeping):
    labels = dict(our("a", instance="dead").labels)
    command = "\"/bin/sh -c '#(nop) ' 'LABEL registry-monitor.target=lab'\""
    world.host.containers[USER] = Container(command=command, labels=labels)
    world.docker.when("rm", instead=fails(STUCK))
    keeping.prepare(world.cli)
    assert set(world.instance.dead) == {"dead"}


@pytest.mark.parametrize("builder", [BuiltBy.BUILDKIT, BuiltBy.CLASSIC])
@pytest.mark.parametrize("names_copies", [True, False])
@pytest.mark.parametrize("step", ["build", "push"])
def test_what_a_build_of_it_left_in_buildkits_cache_goes_by_its_note(make_world, tmp_path, step, names_copies, builder):
    """Even if BuildKit does not say whose a record is, and whatever the builder is by now."""

    class Killed(BaseException):
        pass

    def die():
        for name, text in world.instance.notes.items():
            left[name] = tmp_path / name
            left[name].write_text(text)
        world.docker.fall_ill(GONE)
        raise Killed

    left = {}
    world = make_world(of_world={"builder": BuiltBy.BUILDKIT}.items())
    world.host.names_copies = names_copies
    world.host.cache["somebodys"] = Record("fileop target", "7B")
    world.during(step, after=die)
    with pytest.raises(Killed):
        world.cycle()
    world.docker.fall_ill(None)
    assert [name.partition("-")[0] for name in left] == ["built"]
    world.host.images.clear()

    following = make_world(of_world={"builder": builder, "docker": world.docker}.items())
    following.instance.left = dict(left)
    following.housekeeping.prepare(following.cli)
    assert set(world.host.cache) == {"somebodys"}
    assert following.instance.left == {}


def test_builds_of_the_dead_that_came_right_after_each_other_are_told_apart(make_world, tmp_path):
    """Nobody knows when the last one ended; a copy that was cut off is empty. Somebody else's stays."""
    world = make_world(of_world={"builder": BuiltBy.BUILDKIT}.items())
    began = NOW - timedelta(seconds=30)
    for number, seconds in enumerate((0.4, 60)):
        since = began + timedelta(seconds=number / 2)
        world.host.cache |= {
            f"sent{number}": Record("local source for context", "65.5kB", since + timedelta(seconds=0.1)),
            f"copy{number}": Record("fileop target", "0B" if number else "65.5kB", since + timedelta(seconds=0.2)),
        }
        shape = {
            "context": {"folder": f"/registry-monitor/{DEAD}/{number}/", "layer_bytes": [65536]},
            "began": since.isoformat(),
            "ended": (since + timedelta(seconds=seconds)).isoformat(),
        }
        world.instance.left[f"built-{number}"] = tmp_path / f"built-{number}"
        world.instance.left[f"built-{number}"].write_text(json.dumps(shape))
    world.host.cache["somebodys"] = Record("fileop target", "65.5kB", began - timedelta(seconds=5))
    world.housekeeping.prepare(world.cli)
    assert set(world.host.cache) == {"somebodys"}


@pytest.mark.parametrize("text", ["", "?", "[]", "{}", '{"context": {"folder": "/", "layer_bytes": [1]}}'])
def test_a_note_of_a_build_that_cant_be_read_is_dropped(world, keeping, tmp_path, text):
    """The disk was full, or an older version wrote it."""
    (tmp_path / "built-1").write_text(text)
    world.instance.left = {"built-1": tmp_path / "built-1", "built-2": tmp_path / "gone"}
    keeping.prepare(world.cli)
    assert world.instance.left == {}


def test_without_the_folder_for_temporary_files_the_dead_are_those_that_were_known(world, keeping, clock, monkeypatch):
    keeping.prepare(world.cli)

    def gone():
        raise FileNotFoundError

    monkeypatch.setattr(world.instance, "look", gone)
    world.host.add(our("a", instance="dead"))
    clock[0] += 3601.0
    keeping.prepare(world.cli)
    assert world.host.images == {}


def test_images_that_a_dead_instance_owed_go_whoever_made_them(world, keeping):
    """It had pulled them, and somebody used them then."""
    owed, other = our("a", instance="unknown"), our("b", instance="unknown")
    for image in (owed, other):
        world.host.add(image)
    world.instance.left = dict.fromkeys((note_of(owed), note_of(our("e")), "pulled-1"))
    keeping.prepare(world.cli)
    assert set(world.host.images) == {other.image_id}
    assert set(world.instance.left) == {"pulled-1"}


# The living, by whichever clock.


@pytest.mark.parametrize(
    ("image", "stays"),
    [
        (our("a", instance="living", created=LONG_AGO), True),
        (our("a", instance="unknown", created=LONG_AGO), False),
        (our("a", target="other", created=LONG_AGO), True),  # that target's cycle is under way
        (our("a", target="removed", created=LONG_AGO), False),
    ],
)
def test_whom_we_know_to_be_alive_loses_nothing_however_old(world, keeping, image, stays):
    """The time can have jumped meanwhile."""
    world.instance.living = {"living", "me"}
    other = replace(TARGET, name="other", reference=replace(TARGET.reference, tag="other"))
    keeping.leftovers.expect(other, world.cli)
    world.host.add(image)
    keeping.prepare(world.cli)
    assert (image.image_id in world.host.images) is stays


@pytest.mark.parametrize(
    ("ours_is_off", "engines_is_off", "stays"), [(0, 0, False), (9, 0, True), (0, -9, True), (9, 9, False)]
)
def test_one_clock_that_is_wrong_makes_nothing_old(world, keeping, monkeypatch, ours_is_off, engines_is_off, stays):
    """If this host's is hours ahead, everything that other monitors make looks old to it."""

    class Clock:
        now = staticmethod(lambda zone: NOW.astimezone(zone) + timedelta(hours=ours_is_off))

    monkeypatch.setattr("lib.cycle.leftovers.datetime", Clock)
    world.host.clock_is_off = timedelta(hours=engines_is_off)
    world.host.add(our("a", instance="unknown", created=NOW if ours_is_off else LONG_AGO))
    keeping.prepare(world.cli)
    assert bool(world.host.images) is stays


def test_the_engine_is_asked_for_the_time_only_if_that_matters(world, keeping):
    for mark in "ab":
        world.host.add(our(mark, instance="unknown"))
    keeping.prepare(world.cli)
    assert "info" not in world.docker.verbs()


def test_an_engine_that_says_no_time_is_believed_to_have_ours(world, keeping):
    world.docker.when("info", instead=fails("Error response from daemon: 403 Forbidden\n"))
    for mark in "ab":
        world.host.add(our(mark, instance="unknown", created=LONG_AGO))
    keeping.prepare(world.cli)
    assert world.host.images == {}
    assert world.docker.verbs().count("info") == 1


# What somebody uses.


@pytest.mark.parametrize("instance", ["me", "unknown", "living"])
@pytest.mark.parametrize("step", ["pull", "build", "push", "pull_back"])
def test_an_image_that_somebody_makes_a_container_from_is_told_and_goes_with_it(
    make_world, clock, caplog, instance, step
):
    """At any moment, and whoever had pushed the image that the first pull brought."""
    world = make_world(None)
    world.registry.put(NAME, our("f", instance=instance))
    used = []

    def use():
        used.append(world.host.find(NAME).content)
        somebody_uses(world, used[0])

    world.during(step, after=use)
    cycle = world.cycle()
    assert told(cycle) == (("up",) if step in ("pull", "pull_back") else ("unknown", "rmi", "in_use", "host"))
    records = [record for record in caplog.records if record.reason == "in_use"]
    assert [(record.target, record.advice) for record in records] == [
        ("lab", "Find the container on this host that was made from the test image, and remove it.")
    ]
    assert world.cycle.staying == (records[0].detail,)
    assert used[0].image_id in records[0].detail
    for _ in range(3):
        clock[0] += 301.0
        assert told(world.cycle()) == ("up",)
    assert set(world.host.images) == with_parents(world, used[0].image_id)
    assert len(caplog.records) == 1
    world.host.containers.clear()
    clock[0] += 301.0
    assert told(world.run()) == ("up",)
    assert (world.cycle.staying, world.instance.notes) == ((), {})


def test_of_an_image_in_use_and_those_that_it_is_built_on_one_is_told(world, keeping, caplog):
    parent, image = our("a"), our("b")
    world.host.add(parent)
    world.host.add(image, parent=parent.image_id)
    somebody_uses(world, image)
    keeping.prepare(world.cli)
    (record,) = caplog.records
    assert image.image_id in record.detail
    assert set(world.instance.notes) == {note_of(image), note_of(parent)}


def test_an_image_without_labels_is_never_owed(world, keeping):
    world.has(theirs("a"), NAME)
    world.docker.when("rmi", instead=fails("Error response from daemon: conflict: in use\n"))
    keeping.remove_test_image(world.cli)
    assert world.instance.notes == {}


# The end.


def close(world, *, is_late=False):
    return world.housekeeping.leftovers.close(is_late=is_late)


def test_at_the_end_nothing_is_looked_for_if_all_was_cleaned_up(world):
    world.run()
    before = len(world.docker.commands)
    assert close(world)
    assert world.docker.verbs(since=before) == []


@pytest.mark.parametrize(("is_late", "is_gone"), [(False, True), (True, False)])
def test_at_the_end_what_came_late_goes_if_there_is_time(world, is_late, is_gone):
    """For all targets."""
    world.during("push", instead=HUNG)
    world.cycle()
    for target in ("lab", "other"):
        world.host.add(our("a" if target == "lab" else "b", target=target))
    world.docker.stop()
    assert close(world, is_late=is_late) is is_gone
    assert (world.host.images == {}) is is_gone


def test_at_the_end_of_a_host_without_docker_it_is_known_that_something_can_be_left(world):
    world.during("build", before=lambda: world.docker.fall_ill(GONE))
    world.cycle()
    assert not close(world)
