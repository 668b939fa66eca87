"""Rested images on a host: what a push and a check do there, what they prove, and that they leave nothing behind."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest

from lib.command import Stopped
from lib.cycle.rested import RestedRunner
from lib.docker import BuiltBy
from lib.rested import Kind, RestedImage
from lib.target import Builder
from tests.unit.cycle.world import DEAD, NOW, SERVER_ERROR, our, theirs
from tests.unit.fake_docker import GONE, HUNG, STOPPED, fails
from tests.unit.fake_docker.engine import Record
from tests.unit.support import HOST, NOT_THERE, digest_of

NAME = f"{HOST}/lab/canary:latest-cold-1"
NEW = RestedImage(1, "latest-cold-1", Kind.SINGLE, NOW)
LAYERED = RestedImage(2, "latest-cold-2", Kind.LAYERS, NOW)
INDEX = RestedImage(3, "latest-cold-3", Kind.INDEX, NOW)
INDEX_NAME = f"{HOST}/lab/canary:latest-cold-3"


@pytest.fixture
def runner(world):
    return RestedRunner(world.cycle)


@pytest.fixture
def with_index(world):
    """A world whose engine can hold an index, and the one that rests."""
    world.host.keeps_indexes = True
    return world, pushed(RestedRunner(world.cycle), INDEX)


def pushed(runner, image=NEW):
    """Push an image, and return it as it is known from then on."""
    result = runner.push(image)
    assert result.failure is None
    return replace(image, digest=result.digest, created=result.created, kind=result.kind)


def pushes(world):
    return world.docker.verbs().count("push")


def reason_of(result):
    return result.failure and str(result.failure.reason)


@pytest.mark.parametrize("builder", [BuiltBy.CLASSIC, BuiltBy.BUILDKIT])
@pytest.mark.parametrize("image", [NEW, LAYERED])
def test_what_is_pushed_is_found_whole_and_leaves_nothing(make_world, builder, image):
    """It gets no label that could make the registry let it expire."""
    world = make_world(image_labels=(("quay.expires-after", "2d"),), of_world={"builder": builder})
    runner = RestedRunner(world.cycle)
    known = pushed(runner, image)
    world.check()
    in_registry = world.registry.images[f"{HOST}/lab/canary:{image.tag}"]
    assert in_registry.digest == known.digest
    assert len(in_registry.layers) == image.kind.layers
    assert in_registry.labels["registry-monitor.target"] == "lab"
    assert "quay.expires-after" not in in_registry.labels

    assert runner.check(known).failure is None
    world.check()


def test_the_steps_of_a_cycle_are_not_counted_with_them(world, runner):
    runner.check(pushed(runner))
    assert world.observed.told == []
    assert world.run().failed is None


def test_what_was_pushed_and_not_noted_is_known_again(world, runner):
    """A process that ended in between finds its image: nothing is pushed a second time."""
    first = pushed(runner)
    again = pushed(RestedRunner(replace(world.cycle, instance="me-too")))
    assert (again.digest, again.created) == (first.digest, first.created)
    assert pushes(world) == 1
    world.check()


@pytest.mark.parametrize("content", [theirs("e"), our("e", instance="another")])
def test_nothing_is_pushed_over_what_is_not_ours(world, runner, content):
    world.registry.put(NAME, content)
    result = runner.push(NEW)
    assert (reason_of(result), result.digest) == ("foreign", None)
    assert NAME in result.failure.detail
    assert world.registry.images[NAME] == content
    world.check()


def test_overwrite_allows_it(make_world):
    world = make_world(overwrite=True)
    world.registry.put(NAME, theirs("e"))
    known = pushed(RestedRunner(world.cycle))
    assert world.registry.images[NAME].digest == known.digest
    world.check()


def test_an_image_of_the_host_with_that_name_gets_it_back(world, runner):
    world.has(theirs("e"), NAME)
    known = pushed(runner)
    world.check()
    assert runner.check(known).failure is None
    world.check()


def test_a_push_that_fails_says_why(world, runner):
    world.docker.when("push", instead=fails(SERVER_ERROR))
    result = runner.push(NEW)
    assert (reason_of(result), result.digest) == ("server_error", None)
    world.check()


def test_a_lost_tag_is_told_from_a_lost_image(world, runner):
    known = pushed(runner)
    del world.registry.images[NAME]
    result = runner.check(known)
    assert reason_of(result) == "not_found"
    assert f"the tag is gone, and the image is still there by its digest {known.digest}" in result.failure.detail
    world.check()
    del world.registry.images[f"{HOST}/lab/canary@{known.digest}"]
    result = runner.check(known)
    assert reason_of(result) == "not_found"
    assert "it can't be pulled by its digest either (not_found)" in result.failure.detail
    world.check()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (theirs("e"), "integrity"),
        (our("e", instance="another"), "foreign"),
        (our("e", created=NOW - timedelta(days=1)), "stale"),
        (our("e", created=NOW + timedelta(days=1)), "integrity"),
    ],
)
def test_another_image_under_its_tag_is_judged_by_its_labels(world, runner, content, reason):
    known = pushed(runner)
    world.registry.put(NAME, content)
    assert reason_of(runner.check(known)) == reason
    world.check()


def test_what_this_host_has_already_proves_nothing(world, runner):
    known = pushed(runner)
    world.has(world.registry.images[NAME], "somebodys/copy:1")
    assert reason_of(runner.check(known)) == "warm"


def test_a_check_that_hangs_is_a_timeout_and_leaves_nothing(world, runner):
    known = pushed(runner)
    world.docker.when("pull", instead=HUNG)
    assert reason_of(runner.check(known)) == "timeout"
    world.check()


@pytest.mark.parametrize("verb", ["pull", "build", "push"])
def test_a_monitor_that_is_stopped_meanwhile_leaves_nothing(world, runner, verb):
    world.docker.when(verb, instead=STOPPED)
    with pytest.raises(Stopped):
        runner.push(NEW)
    world.check()


def test_a_renewal_pushes_over_what_is_left_and_not_over_somebodys_image(world, runner):
    known = pushed(runner)
    renewed = pushed(runner, known)
    assert renewed.digest != known.digest
    assert pushes(world) == 2
    world.docker.when("pull", instead=fails(NOT_THERE))
    assert pushed(runner, renewed).digest != renewed.digest
    world.docker.when("pull", instead=fails(SERVER_ERROR))
    last = pushed(runner, renewed)
    assert pushes(world) == 4
    world.registry.put(NAME, theirs("e"))
    assert reason_of(runner.push(last)) == "foreign"
    world.check()


@pytest.mark.parametrize("builder", [BuiltBy.CLASSIC, BuiltBy.BUILDKIT])
@pytest.mark.parametrize("later", ["the same engine", "one with the classic store"])
def test_an_index_is_pulled_for_each_platform_by_whatever_engine(make_world, builder, later):
    world = make_world(of_world={"builder": builder})
    world.host.keeps_indexes = True
    runner = RestedRunner(world.cycle)
    known = pushed(runner, INDEX)
    world.check()
    in_registry = world.registry.images[INDEX_NAME]
    assert (known.kind, known.digest) == (Kind.INDEX, in_registry.digest)
    assert list(in_registry.platforms) == ["linux/amd64", "linux/arm64"]
    assert {image.labels["registry-monitor.target"] for image in in_registry.platforms.values()} == {"lab"}
    amd64, arm64 = (set(image.layers) for image in in_registry.platforms.values())
    assert not amd64 & arm64

    world.host.keeps_indexes = later == "the same engine"
    since = len(world.docker.commands)
    assert runner.check(known).failure is None
    world.check()
    pulls = [command.argv[2:4] for command in world.docker.commands[since:] if command.argv[1] == "pull"]
    assert pulls == [("--platform", "linux/amd64"), ("--platform", "linux/arm64")]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"keeps_indexes": False}, Builder.BUILDKIT),
        ({"builds_itself": False}, Builder.AUTO),
        ({"platform": "linux/s390x"}, Builder.AUTO),
        ({}, Builder.CLASSIC),
    ],
)
def test_an_engine_that_can_hold_no_index_has_one_of_one_layer(make_world, change, wanted):
    """It says so itself; and a target with the classic builder gets what that can build."""
    world = make_world(builder=wanted)
    for name, value in ({"keeps_indexes": True} | change).items():
        setattr(world.host, name, value)
    runner = RestedRunner(world.cycle)
    known = pushed(runner, INDEX)
    assert known.kind is Kind.SINGLE
    assert not world.registry.images[INDEX_NAME].platforms
    assert runner.check(known).failure is None
    world.check()


def test_an_engine_that_does_not_say_is_asked_again(world, runner):
    world.host.keeps_indexes = True
    world.docker.when("buildx", instead=GONE)
    result = runner.push(INDEX)
    assert (reason_of(result), result.kind) == ("daemon", Kind.INDEX)
    assert pushed(runner, INDEX).kind is Kind.INDEX


def test_an_index_that_was_not_noted_is_known_again_for_one(with_index):
    """Also by an engine that could not hold it."""
    world, first = with_index
    world.host.keeps_indexes = False
    again = pushed(RestedRunner(replace(world.cycle, instance="me-too")), INDEX)
    assert (again.digest, again.kind) == (first.digest, Kind.INDEX)
    assert pushes(world) == 1
    world.check()


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize("keeps_indexes", [True, False])
def test_an_index_of_which_only_an_image_got_to_its_tag_is_pushed_again(with_index, platform, keeps_indexes):
    """Docker 26.1 pushes one after the other under the index's tag, and then the index; it can be cut off between."""
    world, first = with_index
    world.registry.put(INDEX_NAME, world.registry.images[INDEX_NAME].platforms[platform])
    world.host.keeps_indexes = keeps_indexes
    again = pushed(RestedRunner(replace(world.cycle, instance="me-too")), INDEX)
    assert again.digest != first.digest
    assert again.kind is (Kind.INDEX if keeps_indexes else Kind.SINGLE)
    assert RestedRunner(world.cycle).check(again).failure is None
    world.check()


def test_what_a_dead_process_left_of_an_index_is_removed(world, runner):
    """Also from BuildKit's cache, in which this target's own cycles don't look."""
    world.host.keeps_indexes = True
    place = f"/registry-monitor/{DEAD}/{'0' * 32}/payload-0-arm64"
    world.host.cache["left"] = Record(f"[linux/arm64 1/1] COPY payload-0 {place}")
    world.host.add(our("e", instance=DEAD), INDEX_NAME)
    pushed(runner, INDEX)
    world.check()


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
@pytest.mark.parametrize("keeps_indexes", [True, False])
def test_a_failure_says_which_platform_it_was(with_index, platform, keeps_indexes):
    world, known = with_index
    world.host.keeps_indexes = keeps_indexes
    runner, images = RestedRunner(world.cycle), world.registry.images
    world.docker.when("pull", "--platform", platform, instead=fails(SERVER_ERROR))
    result = runner.check(known)
    assert reason_of(result) == "server_error"
    assert result.failure.detail.startswith(f"{platform}: received unexpected HTTP status: 503")
    world.check()

    # A registry's garbage collection removes what has no tag.
    child = f"{HOST}/lab/canary@{images[INDEX_NAME].platforms[platform].digest}"
    lost = images.pop(child)
    result = runner.check(known)
    assert reason_of(result) == "not_found"
    assert result.failure.detail.startswith(f"{platform}: ")
    assert f"manifest for {child} not found" in result.failure.detail
    assert f"it can't be pulled by its digest either (not_found, {platform})" in result.failure.detail
    world.check()

    images[child] = lost
    assert runner.check(known).failure is None
    world.check()


def test_an_index_whose_tag_is_lost_is_looked_for_by_its_digest_for_each_platform(with_index):
    world, known = with_index
    del world.registry.images[INDEX_NAME]
    result = RestedRunner(world.cycle).check(known)
    assert f"the image is still there by its digest {known.digest}" in result.failure.detail
    assert [name for name, _ in world.registry.pulls[-2:]] == [f"{HOST}/lab/canary@{known.digest}"] * 2
    world.check()


def test_each_platforms_layers_have_to_be_moved(with_index):
    world, known = with_index
    copy = replace(world.registry.images[INDEX_NAME].platforms["linux/arm64"], image_id=digest_of("e"), labels={})
    world.has(copy, "somebodys/copy:1")
    result = RestedRunner(world.cycle).check(known)
    assert reason_of(result) == "warm"
    assert result.failure.detail.startswith("linux/arm64: ")


@pytest.mark.parametrize("instead", [HUNG, STOPPED])
@pytest.mark.parametrize("verb", ["build", "push"])
def test_an_index_that_is_cut_off_leaves_nothing(world, runner, verb, instead):
    world.host.keeps_indexes = True
    world.docker.when(verb, instead=instead)
    with pytest.raises(Stopped) if instead is STOPPED else nullcontext():
        assert reason_of(runner.push(INDEX)) is not None
    world.check()


def test_without_a_login_none_is_tried(make_world):
    world = make_world(credentials=None)
    world.registry.accounts.clear()
    runner = RestedRunner(world.cycle)
    assert runner.check(pushed(runner)).failure is None
    assert "login" not in world.docker.verbs()
