"""From BuildKit's cache the monitor removes what its own build left there, on every engine, and nothing else."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.cycle import build_cache
from lib.cycle.build_cache import BuildLock, CacheFootprint, remove_abandoned, remove_footprint
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.leftovers import Leftovers
from lib.cycle.payload import Context
from lib.docker import BuiltBy, DockerError
from lib.docker.cache import CacheRecord, records_since
from tests.unit.cycle.world import DEAD, TARGET, Dying
from tests.unit.fake_docker import GONE
from tests.unit.fake_docker.engine import Record

BEGAN = datetime(2026, 11, 24, 14, 0, 58, 200_000, UTC)
INSTANCE, TOKEN = "a" * 32, "b" * 32
FOLDER = f"/registry-monitor/{INSTANCE}/{TOKEN}/"
NAME = f"registry-monitor-{INSTANCE}-{TOKEN}"
WITHOUT_NAME = CacheFootprint(Context(FOLDER, (500_000, 500_000)), BEGAN, BEGAN + timedelta(seconds=1))
NAMED = replace(WITHOUT_NAME, context=Context(FOLDER, (500_000, 500_000), NAME))

#: What a build leaves: on 20.10, and on 26.1 with either store, by a CLI that names its context or not. Seconds are
#: those after its beginning.
SOURCES = (("dockerfile", 0.1, "270kB"), ("context", 0.1, "270kB"), ("context", 0.3, "1MB"))
BLOCKY_SOURCES = (("dockerfile", 0.1, "283kB"), ("context", 0.3, "1.01MB"))
NAMED_SOURCES = (("dockerfile", 0.1, "279kB"), (NAME, 0.2, "4.1kB"), (NAME, 0.3, "1.01MB"))


def record(description, after=0.4, size="500kB", **more):
    return Record(description, size, BEGAN + timedelta(seconds=after), **more)


def sources(told=SOURCES):
    return {
        f"source{number}": record(f"local source for {name}", after, size)
        for number, (name, after, size) in enumerate(told)
    }


def copies(*descriptions, **told):
    return {f"layer{number}": record(description, **told) for number, description in enumerate(descriptions)}


NAMES = [f"[{number}/2] COPY payload-{number} {FOLDER}payload-{number}" for number in (1, 2)]
OLD = copies("fileop target", "fileop target") | sources()
NEW = copies(*NAMES) | sources(BLOCKY_SOURCES)
BY_NAME = copies(*NAMES, size="1.03MB") | sources(NAMED_SOURCES)
ENGINES = pytest.mark.parametrize(
    ("left", "footprint"),
    [(OLD, WITHOUT_NAME), (NEW, WITHOUT_NAME), (BY_NAME, NAMED)],
    ids=["20.10", "26.1", "by name"],
)


@pytest.fixture
def world(make_world):
    return make_world(of_world={"builder": BuiltBy.BUILDKIT})


def stays(world, records, footprint):
    """Return which of these records are still there once the build's were removed, and how many layers it reported."""
    world.host.cache = {name: replace(record) for name, record in records.items()}
    layers, _ = remove_footprint(world.cli, footprint, 5)
    return set(world.host.cache), len(layers)


@ENGINES
def test_all_that_a_build_left_is_removed_at_once(world, left, footprint):
    """However the engine describes it, and in one command: a record can be the parent of another."""
    assert stays(world, left, footprint) == (set(), 2)
    assert world.docker.verbs() == ["system", "builder"]


@pytest.mark.parametrize(
    "stranger",
    [
        record("[1/1] COPY . /registry-monitor/"),
        record(f"[1/1] COPY payload-0 /registry-monitor/{INSTANCE}/{'c' * 32}/payload-0"),
        record("mount / from exec /bin/sh -c make"),
        record("fileop target", is_shared=True),  # an image has it: ours is gone by then
        record("fileop target", size="501MB"),
        record("fileop target", after=-5),
        record("fileop target", after=5),
        record("local source for dockerfile", size="109B"),
        record("local source for dockerfile", size="266kB"),
        record("local source for dockerfile", size="286kB"),
        record("local source for dockerfile", size="270kB", after=60),
        record("local source for context", size="0B"),
        record("local source for context", size="1MB", after=0.9),
        record(f"local source for registry-monitor-{INSTANCE}-{'c' * 32}", size="1MB"),
        record("pulled from docker.io/library/alpine:3"),
        record(""),
        record("fileop target", size="no size"),  # a line that is not understood
    ],
)
@ENGINES
def test_what_is_not_of_the_build_stays(world, left, footprint, stranger):
    """However much alike it is."""
    assert stays(world, {"x": stranger} | left, footprint) == ({"x"}, 2)


def test_where_layers_can_not_be_told_apart_all_stay(world):
    """Better a cycle without proof than somebody's lost layer."""
    left = {"x": record("fileop target")} | OLD

    assert stays(world, left, WITHOUT_NAME) == ({"x", "layer0", "layer1"}, 0)


@pytest.mark.parametrize(("left", "size", "ours"), [(NEW, "1MB", "source1"), (OLD, "270kB", "source1")])
def test_where_contexts_without_a_name_can_not_be_told_apart_both_stay(world, left, size, ours):
    """The next build uses ours again, so that their number does not grow."""
    twin = record("local source for context", 0.35, size)

    assert stays(world, {"x": twin} | left, WITHOUT_NAME)[0] == {"x", ours}


def test_a_context_with_a_name_has_no_twin(world):
    """Targets side by side send payloads of one size."""
    twins = {"x": record("local source for context", 0.35, "1.01MB"), "y": record(f"local source for {NAME[:-1]}c")}

    assert stays(world, twins | BY_NAME, NAMED)[0] == {"x", "y"}


def test_of_a_build_that_was_cut_off_what_there_is_is_removed(world):
    """What was sent may be all that is left."""
    assert stays(world, sources(), WITHOUT_NAME) == (set(), 0)


def test_what_buildkit_made_of_the_base_goes_with_the_layers_on_it(world):
    """With or without a description. What others made on it stays, and so does what is older than the build."""
    chain = {
        "older": record("", -60),
        "base": record("from local ", parents=("older",)),
        "between": record("", parents=("base",)),
        "theirs": record("", parents=("base",)),
        "layer0": record(NAMES[0], parents=("between",)),
        "layer1": record(NAMES[1], parents=("layer0",)),
    }

    assert stays(world, chain, NAMED) == ({"older", "theirs"}, 2)


def test_where_nothing_is_left_nothing_is_removed(world):
    """A filter without an ID would fit everything."""
    others = {"x": record("pulled from docker.io/library/alpine:3")}

    assert stays(world, others, NAMED) == ({"x"}, 0)


def test_records_in_use_are_waited_for(world, monkeypatch):
    """Docker marks their IDs, and removes them only when the build has released them."""
    monkeypatch.setattr(build_cache.time, "sleep", lambda _: None)
    world.host.cache = {"layer0": record(NAMES[0]), "layer1": record(NAMES[1], in_use=2)}

    layers, is_all = remove_footprint(world.cli, NAMED, 5)

    assert ([layer.record_id for layer in layers], is_all) == (["layer0", "layer1"], True)
    assert world.host.cache == {}


def test_what_stays_in_use_is_not_counted(world, monkeypatch):
    """By what the removal says, not by what was asked for; it is tried again later."""
    monkeypatch.setattr(build_cache, "_IN_USE_SECONDS", 0)
    world.host.cache = {"layer0": record(NAMES[0]), "layer1": record(NAMES[1], in_use=9)}

    layers, is_all = remove_footprint(world.cli, NAMED, 5)

    assert ([layer.record_id for layer in layers], is_all) == (["layer0"], False)


def test_what_somebody_else_removes_is_not_waited_for(world):
    """Somebody may prune everything at the same moment."""
    world.host.cache = dict(BY_NAME)
    world.docker.when("builder", before=world.host.cache.clear)

    assert remove_footprint(world.cli, NAMED, 5) == ([], True)


def test_what_dead_instances_left_is_removed(world):
    """It is recognised by its path or its context's name, and only by all of it; a Dockerfile by its size."""
    dead, living = "d" * 32, "e" * 32
    now = datetime.now(UTC)
    world.host.cache = {
        "dead": record(f"[1/1] COPY payload-0 /registry-monitor/{dead}/{TOKEN}/payload-0"),
        "sent": record(f"local source for registry-monitor-{dead}-{TOKEN}", size="4.1kB"),
        "dockerfile": record("local source for dockerfile", size="279kB"),
        "used": record("local source for dockerfile", size="279kB", in_use=1),
        "theirs": record("local source for dockerfile", size="12.3kB"),
        "context": record("local source for context", size="270kB"),
        "strange": record(f"[1/1] COPY . /opt/registry-monitor/{dead}"),
        "living": Record(f"local source for registry-monitor-{living}-{TOKEN}", created=now - timedelta(minutes=119)),
        "old": Record(f"local source for registry-monitor-{living}-{TOKEN}", created=now - timedelta(minutes=121)),
    }

    def is_over(instance, created):
        return instance == dead or created < now - timedelta(hours=2)

    assert remove_abandoned(world.cli, is_over, 5)
    assert not remove_abandoned(world.cli, is_over, 5)
    assert set(world.host.cache) == {"living", "theirs", "context", "strange", "used"}


@pytest.mark.parametrize(("in_use", "goes"), [(2, True), (10, False)])
def test_a_build_that_a_dead_instance_began_is_waited_for(world, monkeypatch, in_use, goes):
    """Its docker may go on. If that takes too long, it stays for now."""
    monkeypatch.setattr(build_cache, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(build_cache, "_IN_USE_SECONDS", 0.2 if goes else 0)
    world.host.cache = {"sent": record(f"local source for registry-monitor-{DEAD}-{TOKEN}", in_use=in_use)}

    assert remove_abandoned(world.cli, lambda instance, _: instance == DEAD, 5)
    assert bool(world.host.cache) is not goes


def test_what_comes_late_of_a_dead_instances_build_is_swept_after_the_cycle(world):
    """Not an hour later: if there was something of it, more can come."""
    sent = record(f"local source for registry-monitor-{DEAD}-{TOKEN}")
    world.host.cache = {"sent": sent}
    world.housekeeping.prepare(world.cli)
    assert world.host.cache == {}

    world.host.cache = {"late": sent}
    world.housekeeping.restore(world.cli)
    assert world.host.cache == {}


def test_a_record_is_read_whole(world):
    """A description holds spaces, or is empty; a size is in units of a thousand; a moment is UTC."""
    world.host.cache["x"] = record("[1/1] COPY a /a", size="1.05MB", parents=("y", "z"), in_use=1)
    world.host.cache["y"] = record("")

    found = records_since(world.cli, BEGAN, 5)

    created = BEGAN + timedelta(seconds=0.4)
    assert found == (
        CacheRecord("x", created, False, 1_050_000, "[1/1] COPY a /a", is_in_use=True, parents=("y", "z")),
        CacheRecord("y", created, False, 500_000, ""),
    )


def test_a_daemon_that_does_not_answer_is_told(world):
    """Then nobody knows what is left."""
    world.docker.fall_ill(GONE)

    with pytest.raises(DockerError, match="Is the docker daemon running"):
        remove_footprint(world.cli, NAMED, 5)


# When it is removed.


def test_what_can_not_be_removed_from_the_cache_is_told_and_tried_again(world, caplog):
    """The next cycle begins with it."""
    world.housekeeping.prepare(world.cli)
    with world.housekeeping.building(world.cli, NAMED.context):
        world.host.cache = {one: replace(BY_NAME[one], created=datetime.now(UTC)) for one in BY_NAME}
    built = set(world.host.cache)
    world.docker.when("system", instead=GONE)

    world.housekeeping.restore(world.cli)
    assert "could not clean up" in caplog.text
    assert set(world.host.cache) == built

    world.housekeeping.prepare(world.cli)
    assert world.host.cache == {}


def test_what_is_in_use_is_tried_again_in_the_next_cycle(world, monkeypatch):
    """Not only in this one: the layers would stay for good."""
    monkeypatch.setattr(build_cache, "_IN_USE_SECONDS", 0)
    world.housekeeping.prepare(world.cli)
    with world.housekeeping.building(world.cli, NAMED.context):
        world.host.cache = {"x": Record(NAMES[0], in_use=1)}

    world.housekeeping.restore(world.cli)
    assert set(world.host.cache) == {"x"}

    world.housekeeping.prepare(world.cli)
    assert world.host.cache == {}


def test_what_the_dead_left_is_swept_from_buildkits_cache(world):
    """Those of dead instances, and of no others; of an unknown one, those that no cycle can still need."""
    unknown = "f" * 32
    world.instance.living = {INSTANCE}
    world.host.cache = {
        name: Record(
            f"[1/1] COPY payload-0 /registry-monitor/{instance}/{TOKEN}/payload-0", created=datetime.now(UTC) - age
        )
        for name, instance, age in (
            ("dead", DEAD, timedelta(0)),
            ("living", INSTANCE, timedelta(hours=3)),
            ("young", unknown, timedelta(minutes=119)),
            ("abandoned", unknown, timedelta(minutes=121)),
        )
    }

    world.housekeeping.prepare(world.cli)

    assert set(world.host.cache) == {"living", "young"}


def test_without_buildkit_nobody_looks_at_its_cache(make_world):
    """That takes a while on a host that builds a lot."""
    world = make_world()
    world.run()

    assert "system" not in world.docker.verbs()


# Turns.


def in_another_thread(keeping, docker):
    """Let a thread take its turn; return what is set once that has come, and the thread."""
    came = threading.Event()

    def take_turn():
        with keeping.alone(docker):
            came.set()

    thread = threading.Thread(target=take_turn)
    thread.start()
    return came, thread


def two_keepings(turn, **changed):
    leftovers = Leftovers(Dying())
    return Housekeeping(TARGET, leftovers, turn), Housekeeping(replace(TARGET, **changed), leftovers, turn)


def test_targets_take_turns_at_the_build_cache(world):
    """The holder may enter again; another waits until it is done."""
    keeping, other = two_keepings(BuildLock())
    with keeping.alone(world.cli):
        with keeping.alone(world.cli):
            came, thread = in_another_thread(other, world.cli)
        assert not came.wait(0.1)
    assert came.wait(5)
    thread.join()


@pytest.mark.parametrize(
    ("description", "waits"), [("[1/1] COPY payload-0 /registry-monitor/me/payload-0", False), ("fileop target", True)]
)
def test_nobody_waits_where_layers_are_known_by_name(world, description, waits):
    turn = BuildLock()
    keeping, other = two_keepings(turn)
    turn.learn([CacheRecord("x", BEGAN, False, 1, description)])
    turn.learn([])  # a build that left nothing teaches nothing
    with keeping.alone(world.cli):
        came, thread = in_another_thread(other, world.cli)
        assert came.wait(0.1 if waits else 5) is not waits
    thread.join()


def test_a_turn_that_does_not_end_is_not_waited_for_for_ever(world):
    keeping, other = two_keepings(BuildLock(), step_timeout=0.1)
    with keeping.alone(world.cli):
        came, thread = in_another_thread(other, world.cli)
        assert came.wait(5)
    thread.join()


def test_without_buildkit_nobody_waits(make_world):
    world = make_world()
    keeping, _ = two_keepings(BuildLock())
    with keeping.build_lock.taken(5):
        came, thread = in_another_thread(keeping, world.cli)
        assert came.wait(5)
    thread.join()
