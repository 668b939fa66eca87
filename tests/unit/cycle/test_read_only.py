"""A read-only target: its image is only pulled, and the host is as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.command import Stopped
from lib.reference import Reference
from tests.unit.cycle.world import World, at_digest, our, steps_of, theirs, told
from tests.unit.fake_docker import GONE, HUNG, STOPPED
from tests.unit.fake_docker.engine import Container
from tests.unit.support import HOST, NAME, digest_of

IMAGE = theirs("a", layers=3)
UP = ("up",)
WARM = ("unknown", "pull", "warm", "host")
OTHER = f"{HOST}/lab/canary:other"
OTHER_DOOR = Reference("registry.internal:5888", "lab/canary")


@pytest.fixture
def make_read_only(make_world):
    """A world whose registry has somebody's image."""

    def make(image=IMAGE, **changed):
        world = make_world(None, read_only=True, **changed)
        if image:
            world.registry.put(NAME, image)
        return world

    return make


@pytest.fixture
def world(make_read_only):
    return make_read_only()


def test_it_logs_in_pulls_and_removes_and_nothing_else(world):
    cycle = world.run()
    assert steps_of(cycle) == ["login ok", "pull ok", "rmi ok"]
    assert (told(cycle), cycle.pulled_digest, cycle.pushed_digest, cycle.payload_bytes) == (UP, IMAGE.digest, None, 0)
    assert not {"build", "push"} & set(world.docker.verbs())
    assert [told(world.run()) for _ in range(3)] == [UP] * 3


def test_without_a_login_it_only_pulls_and_removes(make_read_only):
    assert steps_of(make_read_only(credentials=None).run()) == ["pull ok", "rmi ok"]


@pytest.mark.parametrize("content", [our("b"), our("c", instance="dead"), our("d", instance="another")])
def test_a_monitors_image_is_as_good_as_any(make_read_only, content):
    assert told(make_read_only(content).run()) == UP


def test_the_wanted_digest_is_up_and_any_other_is_the_registrys_fault(make_read_only):
    assert told(make_read_only(expect_digest=IMAGE.digest).run()) == UP
    wrong = make_read_only(expect_digest=digest_of("e")).run()
    assert told(wrong) == ("down", "pull", "integrity", "registry")
    assert wrong.failed.detail == f"the registry gave {IMAGE.digest}, and expect-digest is {digest_of('e')}"
    assert "expect-digest" in wrong.failed.advice


def test_an_image_that_podman_names_by_its_own_digest_first_is_the_wanted_one(make_read_only):
    world = make_read_only(expect_digest=digest_of("f"))
    world.docker.when("pull", after=lambda: world.host.find(NAME).names.append(f"{HOST}/lab/canary@{digest_of('f')}"))
    assert told(world.run()) == UP


def test_not_there_is_down_as_long_as_it_is_so(make_read_only):
    """There is no first start to forgive, and no loss that is reported only once."""
    world = make_read_only(None)
    assert [told(world.run()) for _ in range(3)] == [("down", "pull", "not_found", "registry")] * 3
    world.registry.put(NAME, IMAGE)
    assert told(world.run()) == UP


@pytest.mark.parametrize(
    "names",
    [
        pytest.param((NAME, at_digest(IMAGE)), id="as the host pulled it"),
        pytest.param((NAME,), id="by its name alone"),
        pytest.param((NAME, OTHER, at_digest(IMAGE)), id="with another tag"),
        pytest.param((OTHER,), id="by another tag"),
        pytest.param((OTHER, at_digest(IMAGE)), id="by another tag and by digest"),
        pytest.param(("somebody/kept:1",), id="by somebody's name"),
    ],
)
def test_what_the_host_had_is_warm_and_stays_with_its_names(world, names):
    world.has(IMAGE, *names)
    assert [told(world.cycle()) for _ in range(2)] == [WARM] * 2
    # For an image that it knows by a tag, Docker itself notes which digest a pull of that had.
    assert set(names) <= set(world.host.find(IMAGE.image_id).names) <= {*names, at_digest(IMAGE)}


@pytest.mark.parametrize(
    "names", [(), (at_digest(IMAGE),), (at_digest(IMAGE), "somebody/kept:1")], ids=["none", "by digest", "and another"]
)
def test_what_would_lose_a_name_of_its_own_keeps_ours(world, names):
    """Docker would remove it, or its names by digest, together with ours: so our name stays, and nothing is lost."""
    world.has(IMAGE, *names)
    assert told(world.cycle()) == WARM
    assert set(world.host.find(IMAGE.image_id).names) >= {*names, NAME}


def test_what_the_hosts_own_was_built_on_loses_only_our_name(world):
    """Docker keeps it for that, without a name."""
    world.has(IMAGE)
    world.host.add(theirs("b"), "somebody/built:1", parent=IMAGE.image_id)
    world.has(theirs("c"), "somebody/else:1")
    assert told(world.cycle()) == WARM
    assert world.host.find(IMAGE.image_id).names in ([], [at_digest(IMAGE)])


@pytest.mark.parametrize("has_layers", [False, True])
def test_on_a_host_with_very_many_images_only_what_was_moved_is_removed(make_read_only, monkeypatch, has_layers):
    """Then the list of images is cut off, and what is not in it can be the host's own."""
    monkeypatch.setattr("lib.cycle.brought._MOST_LISTED", 1)
    world = make_read_only(expect_digest=digest_of("e"))
    world.has(theirs("a" if has_layers else "b", layers=3), "somebody/kept:1")
    world.host.images = dict(world.host.images)
    if has_layers:
        world.docker.when("images", edit=lambda _: f"{digest_of('d')} some/other\n", times=9)
    assert told(world.cycle()) == ("down", "pull", "integrity", "registry")
    assert (world.host.find(NAME) is not None) is has_layers


def test_where_the_host_has_all_layers_the_image_that_came_is_removed(world):
    world.has(theirs("b", layers=0), "somebody/based:1")
    world.host.images[theirs("b", layers=0).image_id].content = type(IMAGE)(
        theirs("b", layers=0).image_id, (*IMAGE.layers, "sha256:more")
    )
    cycle = world.run()
    assert told(cycle) == WARM
    assert "all of its layers" in cycle.failed.detail


def test_an_image_of_the_hosts_that_the_tag_was_before_gets_its_name_back(world):
    world.has(theirs("c"), NAME, at_digest(theirs("c")))
    assert [told(world.run()) for _ in range(3)] == [UP] * 3


@pytest.mark.parametrize("has_own", [False, True])
@pytest.mark.parametrize(("step", "verdict"), [("images", UP), ("pull", WARM)])
def test_what_another_cycle_pulls_meanwhile_is_not_the_hosts_own(make_read_only, tmp_path, step, verdict, has_own):
    """Two names of one image, or mirrors: one that is warm because of that leaves nothing that would keep both so."""
    pulled = set()
    door = make_read_only(of_world={"pulled": pulled})
    if has_own:
        door.has(theirs("c"), NAME)
    other = World(
        tmp_path / "other", replace(door.target, reference=OTHER_DOOR), None, docker=door.docker, pulled=pulled
    )
    other.registry.put(OTHER_DOOR.familiar, IMAGE)
    other.registry.accounts[OTHER_DOOR.host] = other.registry.accounts[HOST]
    told_of_other = []

    def door_comes():
        door.docker.when(step, only=lambda _: told_of_other == [], after=lambda: other.host.rmi(OTHER_DOOR.familiar))
        told_of_other.append(told(door.cycle()))

    other.during("rmi", before=door_comes)
    other.cycle()
    assert told_of_other == [verdict]
    assert door.host.snapshot() == door.stays
    assert [told(world.run()) for world in (door, other)] == [UP] * 2


@pytest.mark.parametrize("has_own", [False, True])
@pytest.mark.parametrize("step", ["pull", "rmi"])
def test_a_process_that_is_killed_leaves_a_note_for_the_next(make_read_only, step, has_own):
    world = make_read_only()
    if has_own:
        world.has(theirs("c"), NAME)

    class Killed(BaseException):
        pass

    def kill():
        raise Killed

    world.during(step, **({"after": kill} if step == "pull" else {"before": kill}))
    runner = world.cycle
    left = world.folders[0].with_name("dead")
    left.mkdir()

    def die():
        for path in world.folders[0].iterdir():
            path.rename(left / path.name)
        raise Killed

    world.docker.when("image", only=lambda command: command.cleanup, before=die)
    with pytest.raises(Killed):
        runner()
    notes = {path.name: path for path in left.glob("pulled-*")}
    assert len(notes) == 1
    assert world.host.snapshot() != world.stays

    runner.left.update(notes)
    world.housekeeping.__post_init__()  # the next process knows nothing else
    assert told(world.run()) == UP
    assert (runner.left, list(left.glob("pulled-*"))) == ({}, [])


@pytest.mark.parametrize("has_own", [False, True])
def test_what_comes_late_is_removed_before_the_next_cycle(make_read_only, has_own):
    """A pull ended at its deadline can still come about, over the name that the host's own image got back."""
    world = make_read_only(credentials=None)
    if has_own:
        world.has(theirs("c"), NAME)
    world.during("pull", instead=HUNG, is_late=True)
    assert told(world.cycle()) == ("down", "pull", "timeout", "network")
    world.docker.finish_late()
    assert world.host.find(NAME).content == IMAGE
    assert told(world.run()) == UP


def test_after_a_deadline_the_hosts_own_image_is_nobodys_leftover(world):
    world.has(theirs("c"), NAME)
    world.during("pull", instead=HUNG)
    world.cycle()
    assert world.host.snapshot() == world.stays
    world.docker.fall_ill(GONE)
    world.cycle()
    world.docker.fall_ill(None)
    assert told(world.run()) == UP


def test_a_monitor_that_is_stopped_leaves_nothing(world):
    world.during("rmi", instead=STOPPED)
    with pytest.raises(Stopped):
        world.cycle()
    world.check()


def test_what_somebody_else_removed_meanwhile_is_removed(world):
    world.during("rmi", before=lambda: world.host.rmi(NAME))
    assert steps_of(world.run())[-1] == "rmi skipped"


def test_a_container_of_somebodys_keeps_the_image(world):
    world.during("rmi", before=lambda: world.host.containers.update(c=Container(IMAGE.image_id)))
    assert told(world.cycle()) == ("unknown", "rmi", "in_use", "host")
