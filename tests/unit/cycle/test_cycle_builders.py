"""A cycle on other builders than the classic one."""

import pytest

from lib.docker import BuiltBy
from tests.unit.cycle.world import SERVER_ERROR, told
from tests.unit.fake_docker import fails, says


@pytest.fixture
def with_buildkit(make_world):
    return make_world(of_world={"builder": BuiltBy.BUILDKIT})


@pytest.mark.parametrize(("names_copies", "names_contexts"), [(False, False), (True, False), (True, True)])
def test_with_buildkit_the_layers_are_removed_from_its_cache_before_they_are_pulled(
    make_world, names_copies, names_contexts
):
    """Right after the image, since otherwise they would not have to be moved; and nothing of what was sent stays."""
    world = make_world(of_world={"builder": BuiltBy.BUILDKIT, "names_contexts": names_contexts})
    world.host.names_copies = names_copies

    assert [told(world.run()) for _ in range(2)] == [("up",)] * 2


def test_with_buildkit_its_cache_is_looked_at_once_a_cycle(with_buildkit):
    """That takes a while on a host that builds a lot."""
    with_buildkit.run()
    before = len(with_buildkit.docker.commands)
    with_buildkit.run()

    asked = with_buildkit.docker.verbs(since=before)
    assert (asked.count("system"), asked.count("builder")) == (1, 1)


def test_what_buildkit_keeps_in_its_history_is_small(with_buildkit):
    """It keeps each Dockerfile."""
    with_buildkit.run()

    assert len(with_buildkit.host.dockerfile) < 1000


def test_where_the_layers_are_not_found_the_verdict_says_so(with_buildkit):
    """A pull that moved nothing proves nothing, and people learn why."""
    with_buildkit.during("rmi", "system", instead=says(""))

    cycle = with_buildkit.cycle()

    assert told(cycle) == ("unknown", "pull_back", "warm", "host")
    assert "in BuildKit's cache 0 of the 1 layers were found, and removed" in cycle.failed.detail


@pytest.mark.parametrize("step", ["push", "rmi", "pull_back"])
def test_what_a_failed_cycle_left_in_buildkits_cache_is_removed_at_its_end(with_buildkit, step):
    """A step that fails after the build leaves the image, and everything that the build left."""
    with_buildkit.during(step, instead=fails(SERVER_ERROR))

    assert told(with_buildkit.run())[1] == step


@pytest.mark.parametrize("builder", [BuiltBy.BUILDAH, BuiltBy.CLASSIC])
def test_what_podmans_builder_leaves_is_looked_for(make_world, builder):
    """It keeps an image for the labels alone, which `rmi` leaves there; so does its service, asked by docker's CLI."""
    world = make_world(of_world={"builder": builder})
    world.host.is_podmans = True

    assert [told(world.run()) for _ in range(2)] == [("up",)] * 2
