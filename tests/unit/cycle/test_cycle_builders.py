"""A cycle on other builders than the classic one."""

import re
from dataclasses import replace
from datetime import UTC, datetime

from lib.command import Completed
from lib.docker import BuiltBy
from tests.unit.cycle.world import BEFORE, DIGEST, FULL, SERVER_ERROR, told
from tests.unit.support import NAME, pulled


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
    sweep = ["images", "ps", "system"]
    cycle = ["login", "pull", "rmi", "build", "push", "rmi", "system", "builder", "pull", "rmi"]
    assert cache.ran == ["image", *sweep, *cycle]


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
