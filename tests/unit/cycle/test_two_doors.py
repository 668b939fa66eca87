"""Two targets that reach one repository and tag by two names are one, from the first image that shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.reference import Reference
from tests.unit.cycle.world import STEPS, TARGET, World, our, told
from tests.unit.fake_docker import FakeDocker
from tests.unit.support import HOST

OTHER_HOST = "registry.internal:5888"
UP = ("up",)
FOREIGN = ("unknown", "pull_back", "foreign", "config")
ONE_REPOSITORY = (
    "two targets turn out to reach one repository and tag: they take turns from now on, and are judged as one"
)


@pytest.fixture
def doors(tmp_path):
    """Return the worlds of two targets, an outer and an inner one, which share a host."""
    docker = FakeDocker()
    docker.engine.registry.doors[OTHER_HOST] = HOST
    worlds = []

    def all_pushes():
        return {world.target.name: world.pushes for world in worlds}

    for name, host in (("outer", HOST), ("inner", OTHER_HOST)):
        target = replace(TARGET, name=name, reference=Reference(host, "lab/canary"), credentials=None)
        worlds.append(World(tmp_path / name, target, None, docker=docker, all_pushes=all_pushes))
    return worlds


def recognised(caplog):
    return [record for record in caplog.records if record.message == ONE_REPOSITORY]


def test_what_the_other_pushed_is_recognised_and_both_stay_up(doors, caplog):
    outer, inner = doors
    assert [told(world.run()) for _ in range(4) for world in (outer, inner)] == [UP] * 8
    (record,) = recognised(caplog)
    assert (record.levelname, record.target, record.other_target) == ("WARNING", "inner", "outer")
    assert record.repositories == f"{OTHER_HOST}/lab/canary:latest, {HOST}/lab/canary:latest"
    assert outer.pushes.doors is inner.pushes.doors
    assert outer.last_push is inner.last_push


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS[1:])
def test_whenever_the_other_comes_in_before_it_is_recognised_nothing_is_down(doors, caplog, step, moment, is_first):
    """A whole cycle of the other within one step of the first, in their first cycles or later ones."""
    outer, inner = doors
    if not is_first:
        outer.run()
        inner.pushes.forget()  # as if neither had seen the other yet
    cycles = []
    outer.during(step, **{moment: lambda: cycles.append(inner.cycle())})
    cycles.append(outer.cycle())
    assert {cycle.verdict for cycle in cycles} <= {"up", "unknown"}
    assert [told(world.run()) for _ in range(2) for world in doors] == [UP] * 4
    assert len(recognised(caplog)) == 1


@pytest.mark.parametrize("step", ["push", "rmi"])
def test_the_image_of_the_other_right_after_a_push_is_foreign_and_both_are_named(doors, caplog, step):
    outer, inner = doors
    outer.during(step, after=inner.cycle)
    cycle = outer.run()
    assert told(cycle) == FOREIGN
    assert "'inner'" in cycle.failed.detail
    assert "take turns from now on" in cycle.failed.detail
    assert len(recognised(caplog)) == 1


@pytest.mark.parametrize(("step", "verdict"), [("pull", UP), ("pull_back", FOREIGN)])
def test_an_image_that_the_other_removed_before_it_was_looked_at_is_known_by_its_digest(doors, caplog, step, verdict):
    """If an image has two names, the cycle that pushed it removes both."""
    outer, inner = doors
    if step == "pull":
        inner.cycle()
    else:
        outer.during("rmi", after=inner.cycle)
    outer.during(step, after=outer.host.images.clear)
    assert told(outer.run()) == verdict
    assert len(recognised(caplog)) == 1
    assert [told(world.run()) for _ in range(2) for world in doors] == [UP] * 4


def test_an_image_that_was_removed_before_it_was_looked_at_and_was_nobodys_of_us_says_nothing(doors):
    outer, _ = doors
    outer.during("rmi", after=lambda: outer.registry.put(outer.reference_name, our("x", instance="another")))
    outer.during("pull_back", after=outer.host.images.clear)
    assert told(outer.run()) == ("unknown", "pull_back", "daemon", "host")


def test_an_older_image_of_either_is_stale(doors):
    outer, inner = doors
    outer.run()
    old = outer.registry.images[outer.reference_name]
    inner.run()
    outer.run()
    outer.registry.put(outer.reference_name, old)
    assert told(inner.run()) == ("down", "pull", "stale", "registry")
    assert [told(world.run()) for _ in range(2) for world in doors] == [UP] * 4


def test_what_the_other_gave_up_and_the_registry_published_later_is_fine(doors):
    outer, inner = doors
    outer.run()
    inner.run()
    outer.during("push", instead=None, edit=lambda _: "no digest\n")
    assert outer.run().verdict == "unknown"
    assert told(inner.run()) == UP


def test_doors_that_lead_apart_are_told_once_and_are_two_again(doors, caplog):
    """A name can be made to lead to another registry, which has what was pushed there before."""
    outer, inner = doors
    outer.run()
    inner.run()
    outer.run()
    outer.registry.doors.clear()
    inner.registry.put(f"{OTHER_HOST}/lab/canary:latest", outer.registry.images[outer.reference_name])
    outer.run()
    assert told(inner.run()) == ("down", "pull", "stale", "registry")
    assert [told(world.run()) for _ in range(3) for world in doors] == [UP] * 6
    assert len(recognised(caplog)) == 1


def test_two_repositories_are_never_joined(doors, caplog):
    outer, _ = doors
    outer.registry.doors.clear()
    assert [told(world.run()) for _ in range(3) for world in doors] == [UP] * 6
    assert recognised(caplog) == []
    assert list(outer.pushes.doors) == [outer.reference_name]
