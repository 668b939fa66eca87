"""Images are removed with all their names, in whatever order docker lists them, as far as possible."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.cycle.removal import remove_images
from lib.docker import DockerError
from lib.failure import Reason
from tests.unit.cycle.world import World, theirs
from tests.unit.fake_docker import CRASHED, GONE, HUNG, NOT_FOUND, fails
from tests.unit.fake_docker.engine import Container
from tests.unit.support import NAME, digest_of, missing


def remove_all(world, *images):
    """Remove these images, listed in this order."""
    remove_images(world.cli, world.cli.find([image.image_id for image in images], 5).values(), 5)


@given(st.data())
@settings(max_examples=100, deadline=None)  # each makes folders, as fast as the disk is
def test_images_go_in_whatever_order_docker_lists_them(tmp_path_factory, data):
    """Docker does not tell a child from its parent: however a tree of images is built and listed, all of it goes."""
    world = World(tmp_path_factory.mktemp("world"))
    images = [theirs(mark) for mark in "0123456789"[: data.draw(st.integers(1, 10), "images")]]
    for number, image in enumerate(images):
        is_built_on_another = number and data.draw(st.booleans(), "is built on another")
        parent = data.draw(st.sampled_from(images[:number]), "parent").image_id if is_built_on_another else None
        world.host.add(image, parent=parent)
    parents = {local.parent for local in world.host.images.values()}
    for image in images:
        if image.image_id not in parents:
            world.host.add(
                image, *[f"{image.image_id[-1]}/{tag}" for tag in ("x:1", "y:2")[: data.draw(st.integers(0, 2))]]
            )

    remove_all(world, *data.draw(st.permutations(images)))

    assert world.host.images == {}


@given(order=st.permutations("abcd"))
@settings(deadline=None)  # the same
def test_one_image_that_stays_keeps_no_other(tmp_path_factory, order):
    """Everything that can go goes; what stays is reported in docker's own words."""
    world = World(tmp_path_factory.mktemp("world"))
    for mark in order:
        world.host.add(theirs(mark), parent=theirs("a").image_id if mark == "b" else None)
    world.host.containers["c" * 64] = Container(theirs("c").image_id)

    with pytest.raises(DockerError) as raised:
        remove_all(world, *map(theirs, order))

    assert set(world.host.images) == {theirs("c").image_id}
    assert raised.value.failure.reason is Reason.IN_USE
    assert theirs("c").image_id in raised.value.failure.detail


@pytest.mark.parametrize(
    ("names", "goes_by_id"),
    [
        ((NAME, f"127.0.0.1:5888/lab/canary@{digest_of(1)}"), True),
        (("x:1", f"y@{digest_of(1)}"), False),
        (("x:1", "x:2"), False),
    ],
)
def test_an_image_goes_by_its_id_where_docker_takes_that(world, names, goes_by_id):
    """A name can be a newer image's by now; but an image with names in two places can't be removed by its ID."""
    world.host.add(theirs("a"), *names)
    world.docker.when("rmi", before=lambda: world.host.add(theirs("b"), *names[:goes_by_id]))

    remove_all(world, theirs("a"))

    assert set(world.host.images) == ({theirs("b").image_id})


def test_an_image_that_gets_other_names_meanwhile_goes_by_those(world):
    """What stayed is listed again: the names that it had at first may not be its names now."""
    world.host.add(theirs("a"), "x:1", "x:2")
    world.host.add(theirs("b"))

    def rename():
        world.host.images[theirs("a").image_id].names = ["y:1", "y:2"]

    world.docker.when("rmi", before=rename)
    remove_all(world, theirs("a"), theirs("b"))

    assert world.host.images == {}


@pytest.mark.parametrize("words", [None, missing(theirs("b").image_id)])
def test_an_image_that_went_with_another_is_no_failure(world, words):
    """Intermediate images go with the one built on them; not finding them is all right, and not a sick daemon."""
    world.host.add(theirs("b"))
    world.host.add(theirs("a"), "x:1", parent=theirs("b").image_id)
    if words:
        world.docker.when("rmi", theirs("b").image_id, instead=fails(words))

    remove_all(world, theirs("b"), theirs("a"))

    assert world.host.images == {}


def test_what_was_removed_is_not_looked_for(world):
    """If docker said that everything is gone, it is not asked."""
    world.host.add(theirs("a"), "x:1")

    remove_all(world, theirs("a"))
    remove_all(world)

    assert world.docker.verbs() == ["image", "rmi"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [(GONE, Reason.DAEMON), (HUNG, Reason.TIMEOUT), (NOT_FOUND, Reason.CLI), (CRASHED, Reason.CLI)],
)
def test_a_docker_that_does_not_work_is_not_asked_again(world, broken, reason):
    """If the daemon does not answer, or the CLI is gone, nothing more is tried."""
    world.host.add(theirs("a"), "x:1")
    world.host.add(theirs("b"))
    world.docker.when("rmi", instead=broken)

    with pytest.raises(DockerError) as raised:
        remove_all(world, theirs("a"), theirs("b"))

    assert raised.value.failure.reason is reason
    assert world.docker.verbs() == ["image", "rmi"]
