"""Of BuildKit's cache the monitor removes what its own build left there, on every engine, and nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from lib.cycle.build_cache import Traces, new_padding, remove_layers_of_dead, remove_traces
from lib.cycle.payload import Context
from lib.docker import BuiltBy, Docker
from lib.docker.answers import CacheRecord
from tests.unit.support import NO_DAEMON, Script

BEGAN = datetime(2026, 11, 24, 14, 0, 58, 200_000, UTC)
INSTANCE, TOKEN = "a" * 32, "b" * 32
FOLDER = f"/registry-monitor/{INSTANCE}/{TOKEN}/"
CONTEXT = Context(FOLDER, (500_000, 500_000), 12_345, 11_968)
TRACES = Traces(CONTEXT, BEGAN, BEGAN + timedelta(seconds=1))

#: What a build of CONTEXT leaves: on 20.10, and on 26.1 with either store. Seconds are those after its beginning.
SOURCES = (("dockerfile", 0.1, "12.3kB"), ("context", 0.2, "12kB"), ("context", 0.3, "1MB"))
BLOCKY_SOURCES = (("dockerfile", 0.1, "20.5kB"), ("context", 0.2, "16.4kB"), ("context", 0.3, "1.01MB"))


def record(name, description, after=0.4, size="500kB", shared="false"):
    """Return the line that docker prints of a record."""
    created = BEGAN + timedelta(seconds=after)
    return f"{name} {created:%F %T.%f}123 +0000 UTC {shared} {size} {description}\n"


def sources(told=SOURCES):
    return [
        record(f"source{number}", f"local source for {name}", after, size)
        for number, (name, after, size) in enumerate(told)
    ]


def copies(*descriptions, **told):
    return [record(f"layer{number}", description, **told) for number, description in enumerate(descriptions)]


OLD = [*copies("fileop target", "fileop target"), *sources()]
NAMES = [f"[{number}/2] COPY payload-{number} {FOLDER}payload-{number}" for number in (1, 2)]
NEW = [*copies(*NAMES), *sources()]
CONTAINERD = [*copies(*NAMES, size="1.03MB"), *sources(BLOCKY_SOURCES)]
OURS = {"layer0", "layer1", "source0", "source1", "source2"}


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def docker(script, tmp_path):
    return Docker(script.runner, "docker", {}, tmp_path, builder=BuiltBy.BUILDKIT)


def removed(docker, script, lines, traces=TRACES):
    """Return which records are removed of those that docker tells of, and how many layers that were said to be."""
    script._fp.register(["docker", "system", script._fp.any()], stdout="".join(lines))
    script._fp.register(["docker", "builder", script._fp.any()])
    layers = remove_traces(docker, traces, 5)
    pruned = [argv for argv in script.ran if argv[0] == "builder"]
    return {name for argv in pruned for name in argv[-1].removeprefix("id=").split("|")}, len(layers)


@pytest.mark.parametrize("lines", [OLD, NEW, CONTAINERD], ids=["20.10", "26.1", "containerd"])
def test_all_that_a_build_left_is_removed_at_once(docker, script, lines):
    """Whatever way the engine describes it, and in one command: a record can be the parent of another."""
    assert removed(docker, script, lines) == (OURS, 2)
    assert [argv[0] for argv in script.ran] == ["system", "builder"]
    assert script.ran[1][:5] == ("builder", "prune", "--all", "--force", "--filter")
    assert 'ge .CreatedAt "2026-11-24 14:00:57"' in script.ran[0][-1]


@pytest.mark.parametrize(
    "stranger",
    [
        record("x", "[1/1] COPY . /registry-monitor/"),
        record("x", f"[1/1] COPY payload-0 /registry-monitor/{INSTANCE}/{'c' * 32}/payload-0"),
        record("x", "mount / from exec /bin/sh -c make"),
        record("x", "fileop target", shared="true"),  # an image has it: ours is gone by then
        record("x", "fileop target", size="501MB"),
        record("x", "fileop target", after=-5),
        record("x", "fileop target", after=5),
        record("x", "local source for dockerfile", size="109B"),
        record("x", "local source for dockerfile", size="12.3kB", after=60),
        record("x", "local source for context", size="0B"),
        record("x", "local source for context", size="1MB", after=0.9),
        record("x", "pulled from docker.io/library/alpine:3"),
        "a line that is no record\n",
    ],
)
@pytest.mark.parametrize("lines", [OLD, NEW, CONTAINERD], ids=["20.10", "26.1", "containerd"])
def test_what_is_not_of_the_build_stays(docker, script, lines, stranger):
    """However much alike it is."""
    assert removed(docker, script, [stranger, *lines])[0] == OURS


def test_where_layers_can_not_be_told_apart_all_stay(docker, script):
    """Rather a cycle without proof than somebody's layer lost."""
    assert removed(docker, script, [record("x", "fileop target"), *OLD]) == ({"source0", "source1", "source2"}, 0)


def test_where_payloads_can_not_be_told_apart_both_stay(docker, script):
    """Ours is used again by the next build, so that they do not become more."""
    twin = record("x", "local source for context", 0.35, "1MB")

    assert removed(docker, script, [twin, *NEW])[0] == OURS - {"source2"}


def test_a_payload_as_large_as_what_came_by_chance_is_no_twin(docker, script):
    """Both are ours."""
    alike = (("dockerfile", 0.1, "12.3kB"), ("context", 0.2, "1MB"), ("context", 0.3, "1MB"))
    context = replace(CONTEXT, ignore_bytes=998_000)

    assert removed(docker, script, [*copies(*NAMES), *sources(alike)], replace(TRACES, context=context))[0] == OURS


def test_of_a_build_that_was_cut_off_what_there_is_is_removed(docker, script):
    """What was sent may be all that is left."""
    assert removed(docker, script, sources()) == ({"source0", "source1", "source2"}, 0)


def test_where_nothing_is_left_nothing_is_removed(docker, script):
    """A filter without an ID would fit everything."""
    assert removed(docker, script, []) == (set(), 0)
    assert [argv[0] for argv in script.ran] == ["system"]


def test_layers_that_dead_instances_left_are_removed(docker, script):
    """They are known by their path, and only by all of it."""
    dead, living = "d" * 32, "e" * 32
    lines = [
        record("dead", f"[1/1] COPY payload-0 /registry-monitor/{dead}/{TOKEN}/payload-0"),
        record("living", f"[1/1] COPY payload-0 /registry-monitor/{living}/{TOKEN}/payload-0"),
        record("strange", f"[1/1] COPY . /opt/registry-monitor/{dead}"),
    ]
    script._fp.register(["docker", "system", script._fp.any()], stdout="".join(lines), occurrences=2)
    script.on("builder", "prune", "--all", "--force", "--filter", "id=dead")

    remove_layers_of_dead(docker, {dead}.__contains__, 5)
    remove_layers_of_dead(docker, set().__contains__, 5)

    assert [argv[0] for argv in script.ran] == ["system", "builder", "system"]
    assert 'split .Description "/registry-monitor/"' in script.ran[0][-1]


def test_a_record_is_read_whole(docker, script):
    """A description holds spaces; a size is in units of a thousand; a moment is UTC."""
    script._fp.register(["docker", "system", script._fp.any()], stdout=record("x", "[1/1] COPY a /a", size="1.05MB"))

    (found,) = docker.cache_records_since(BEGAN, 5)

    assert found == CacheRecord("x", BEGAN + timedelta(seconds=0.4), False, 1_050_000, "[1/1] COPY a /a")


def test_a_daemon_that_does_not_answer_is_told(docker, script):
    """Then nobody knows what is left."""
    script._fp.register(["docker", "system", script._fp.any()], stderr=NO_DAEMON, returncode=1)

    with pytest.raises(Exception, match="Is the docker daemon running"):
        remove_traces(docker, TRACES, 5)


def test_paddings_differ():
    """Two builds seldom have a Dockerfile of one length."""
    paddings = {new_padding() for _ in range(50)}

    assert len(paddings) > 40
    assert max(paddings) < 200_000
