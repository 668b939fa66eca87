"""A replica shows what its source pushed, later: how much later is measured, and too late is `stale`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.history.acknowledged import Acknowledged
from lib.reference import Reference
from lib.result import Push
from tests.unit.cycle.world import NOW, TARGET, World, our, steps_of, theirs, told
from tests.unit.fake_docker import FakeDocker, fails
from tests.unit.fake_docker.registry import Content
from tests.unit.support import NAME

MIRROR = "mirror.example:5888"
SHOWN = f"{MIRROR}/lab/canary:latest"
UP = ("up",)
STALE = ("down", "pull", "stale", "registry")
FOREIGN = ("unknown", "pull", "foreign", "config")
LATER = 60.0


class Pair:
    """A source and its replica, on one host; `copy()` is what replicates."""

    def __init__(self, folder, **changed):
        docker = FakeDocker()
        self.now = 1000.0
        worlds = {}

        def all_pushes():
            return {name: world.pushes for name, world in worlds.items()}

        source = replace(TARGET, name="source", credentials=None)
        replica = replace(
            source, name="replica", reference=Reference(MIRROR, "lab/canary"), read_only=True, replica_of="source"
        )
        replica = replace(replica, **{"replica_within": 100.0, **changed})
        for target in (source, replica):
            world = World(folder / target.name, target, None, docker=docker, all_pushes=all_pushes)
            world.pushes.acknowledged = Acknowledged(None, lambda: self.now)
            worlds[target.name] = world
        self.source, self.replica = worlds["source"], worlds["replica"]
        self.registry = docker.engine.registry

    def copy(self):
        self.registry.put(SHOWN, self.registry.images[NAME])

    def push(self, *, copied=False):
        assert told(self.source.run()) == UP
        if copied:
            self.copy()

    def wait(self, seconds):
        self.now += seconds

    def look(self):
        """Return what the replica says, and its lag."""
        cycle = self.replica.run()
        return told(cycle), cycle.replication_lag


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def test_a_replica_that_shows_the_last_push_is_up_and_lags_by_nothing(pair):
    pair.push(copied=True)
    pair.wait(LATER)
    cycle = pair.replica.run()
    assert (told(cycle), steps_of(cycle), cycle.replication_lag) == (UP, ["pull ok", "rmi ok"], 0.0)
    assert cycle.pulled_digest == pair.source.last_push.digest


def test_a_replica_that_is_copied_late_lags_from_the_push_that_replaced_what_it_shows(pair):
    pair.push(copied=True)
    pair.wait(LATER)
    pair.push()
    assert pair.look() == (UP, 0.0)
    pair.wait(LATER)
    pair.push()
    assert pair.look() == (UP, LATER)
    pair.wait(LATER)
    assert pair.look() == (STALE, 2 * LATER)
    pair.copy()
    assert pair.look() == (UP, 0.0)


def test_a_replica_that_stands_still_is_stale_from_replica_within_on(pair):
    pair.push(copied=True)
    pair.push()
    pair.wait(100.0)
    assert pair.look() == (UP, 100.0)
    pair.wait(0.1)
    assert pair.look()[0] == STALE
    detail = pair.replica.run().failed.detail
    assert "source" in detail
    assert "1m40.1s ago" in detail
    assert "replica-within is 1m40s" in detail


def test_a_push_that_is_not_known_any_more_counts_from_when_it_was_made(pair):
    """The same after a restart, which keeps only the last push."""
    old = our("b", instance="me", target="source", created=NOW - timedelta(hours=1))
    pair.push()
    pair.registry.put(SHOWN, replace(old, labels={**old.labels, "registry-monitor.token": "long-gone"}))
    verdict, lag = pair.look()
    assert verdict == STALE
    assert 3600 <= lag <= 3600 + (datetime.now(UTC) - NOW).total_seconds()


def test_what_is_newer_than_any_push_that_was_acknowledged_was_not_replaced(pair):
    """A push that was cut off can still be published."""
    pair.push()
    new = our("b", target="source", created=NOW + timedelta(hours=1))
    pair.registry.put(SHOWN, replace(new, labels={**new.labels, "registry-monitor.token": "cut-off"}))
    assert pair.look() == (UP, 0.0)


def test_a_source_that_is_down_changes_nothing(pair):
    """It is judged by the last acknowledged push, even if the source has lost that."""
    pair.push(copied=True)
    del pair.registry.images[NAME]
    assert told(pair.source.run()) == ("down", "pull", "not_found", "registry")
    assert pair.source.last_push is None
    pair.wait(1000.0)
    assert pair.look() == (UP, 0.0)


def test_before_the_source_has_pushed_nothing_is_known_and_after_that_not_there_is_down(pair):
    cycle = pair.replica.run()
    assert told(cycle) == ("unknown", "pull", "not_found", "dependency")
    assert cycle.failed.detail.endswith("; source, which this is a replica of, has not pushed yet")
    assert "first push" in cycle.failed.advice
    pair.push()
    assert [pair.look() for _ in range(2)] == [(("down", "pull", "not_found", "registry"), None)] * 2


def test_a_registry_that_fails_is_down_before_the_first_push_too(pair):
    pair.replica.during("pull", instead=fails("received unexpected HTTP status: 503 Service Unavailable\n"))
    assert pair.look()[0] == ("down", "pull", "server_error", "registry")


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (theirs("b"), "without a monitor's labels"),
        (our("b", instance="another"), "another monitor's image"),
        (our("b", target="lab"), "this monitor's target 'lab'"),
    ],
)
def test_what_the_source_did_not_push_is_foreign(pair, shown, words):
    pair.push()
    pair.registry.put(SHOWN, shown)
    cycle = pair.replica.run()
    assert (told(cycle), cycle.replication_lag) == (FOREIGN, None)
    assert words in cycle.failed.detail
    assert "replica-of" in cycle.failed.advice


def test_an_image_before_the_first_push_is_foreign(pair):
    pair.registry.put(SHOWN, our("b", target="source"))
    assert pair.look() == (FOREIGN, None)


def test_a_source_that_is_gone_is_one_that_has_not_pushed(tmp_path):
    pair = Pair(tmp_path, replica_of="gone")
    pair.push(copied=True)
    assert pair.look() == (FOREIGN, None)


def test_a_replica_that_changed_what_was_pushed_is_not_up(pair):
    pair.push()
    pushed = pair.registry.images[NAME]
    pair.registry.put(SHOWN, Content("sha256:" + "9" * 64, ("sha256:other",), pushed.labels))
    assert pair.look() == (("down", "pull", "integrity", "registry"), None)


def test_a_push_through_another_door_of_the_source_counts(pair):
    """The pushes of two targets that are one replace each other."""
    pair.push(copied=True)
    door = World(pair.source.folders[0].parent / "door", replace(TARGET, name="door"), None, docker=pair.source.docker)
    pair.source.pushes.doors = door.pushes.doors = {**pair.source.pushes.doors, "door": door.pushes}
    door.pushes.pushed(Push("sha256:d", "sha256:e", "by the door", "me", NOW + timedelta(minutes=1)))
    pair.wait(LATER)
    assert pair.look() == (UP, LATER)


def test_the_replicas_image_is_warm_where_the_source_left_its_own(pair):
    """So they take turns: `Watched.shares`."""
    pair.push(copied=True)
    pair.replica.has(pair.registry.images[NAME], "somebody/kept:1")
    assert pair.look() == (("unknown", "pull", "warm", "host"), 0.0)


def test_the_sweep_of_one_leaves_the_others_image(pair):
    """A target without a turn has nothing on the host; but a sweep then still removes no name of the other's."""
    pair.push(copied=True)
    source = pair.source

    def sweep():
        source.housekeeping.expect_leftovers()
        source.housekeeping.restore(source.cli)

    image = pair.registry.images[SHOWN]
    pair.registry.put(SHOWN, replace(image, labels={**image.labels, "registry-monitor.target": "an older name"}))
    pair.replica.during("rmi", before=sweep)
    assert pair.look() == (UP, 0.0)


@pytest.mark.parametrize(("timeout", "late", "lag"), [(0.0, False, None), (5.0, False, 0.0), (5.0, True, 2.0)])
def test_the_lag_of_a_targets_own_tag_counts_from_the_push(tmp_path, monkeypatch, timeout, late, lag):
    """A registry that shows the previous image until somebody has asked a second time."""
    docker = FakeDocker()
    world = World(tmp_path, replace(TARGET, credentials=None, propagation_timeout=timeout), docker=docker)
    before, now = docker.engine.registry.images[NAME], [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def sleep(seconds):
        now[0] += seconds
        docker.engine.registry.put(NAME, shown[0])

    def hide():
        shown.append(docker.engine.registry.images[NAME])
        docker.engine.registry.put(NAME, before)

    shown = []
    monkeypatch.setattr("time.sleep", sleep)
    if late:
        world.during("push", after=hide)
        world.during("rmi", after=lambda: now.__setitem__(0, now[0] + 1.5))
    cycle = world.run()
    assert (told(cycle), cycle.propagation_lag) == (UP, lag)
