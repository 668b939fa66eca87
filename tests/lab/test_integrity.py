"""Integrity: what comes back is what was pushed; if not, who is to blame, seen on a registry that really does it."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from lab.faults import host, outside
from lab.faults.ground import REPOSITORY, Lane
from lab.faults.outside import manifest_put
from lab.faults.rig import Rig
from lab.misbehaviour import late
from lab.snapshot import take_snapshot
from lib.cycle.payload import Labels
from lib.result import StepName


@pytest.fixture
def rig(lane):
    """A monitor of the lane's repository."""
    with Rig(lane) as rig:
        yield rig


def test_a_deleted_tag_is_told_once_and_then_begun_anew(rig):
    """`not_found`, and the next cycle pushes again."""
    assert rig.cycle().verdict == "up"
    rig.lane.registry.delete_tag(REPOSITORY, "latest")
    lost = rig.cycle()
    assert (str(lost.failed.name), str(lost.failed.reason)) == ("pull", "not_found")
    assert [str(step.outcome) for step in rig.cycle().steps if step.name is StepName.PULL] == ["skipped"]
    assert rig.cycle().verdict == "up"


def test_a_push_that_was_cut_off_may_be_published_later(lane):
    """The registry publishes a manifest after the step was given up: the next pull finds a newer image, no fault."""
    published = threading.Event()
    with Rig(lane, step_timeout=3.0) as rig:
        assert rig.cycle().verdict == "up"
        before = lane.manifest()
        cut_off = rig.cycle(manifest_put(late(published)), StepName.PUSH)
        assert (str(cut_off.failed.name), str(cut_off.failed.reason)) == ("push", "timeout")
        assert published.wait(30.0)
        assert lane.manifest() != before
        assert rig.cycle().verdict == "up"
        assert rig.leftovers() == []


def test_two_monitors_may_take_turns_at_one_tag(lane):
    """Another monitor's image is fine at the first pull."""
    with Rig(lane) as one, Rig(lane) as other:
        for rig in (one, other, one, other):
            assert rig.cycle().verdict == "up"


def test_nothing_is_pushed_over_somebodys_image(rig):
    """The tag holds an image that no monitor made: it is still there afterwards."""
    rig.lane.push_somebodys_image()
    before = rig.lane.manifest()
    cycle = rig.cycle()
    assert (str(cycle.verdict), str(cycle.failed.reason), cycle.pushed_digest) == ("unknown", "foreign", None)
    assert rig.lane.manifest() == before
    assert rig.lane.registry.manifests_put(REPOSITORY) == ["latest"]


@pytest.mark.parametrize(
    ("step", "command"),
    [
        pytest.param(StepName.PULL, "image inspect --format {{json .}} ", marks=pytest.mark.everything),
        (StepName.PULL_BACK, "rmi "),
    ],
)
def test_somebodys_image_goes_though_dockerd_died_before_it_could(ground, step, command):
    """It came with the test image's pull, and is not taken for the host's own, which would stay for ever."""
    with ground.sick_engine() as engine, Lane(ground, engine) as lane, Rig(lane) as rig:
        assert rig.cycle().verdict == "up"
        before = take_snapshot(engine).images

        @contextmanager
        def fault(rig):
            with outside.strange_image(rig), host.killed_at(command)(rig):
                yield

        struck = rig.cycle(fault, step)
        assert struck.failed.name is step
        assert take_snapshot(engine).images != before
        assert rig.cycle().verdict == "up"
        assert take_snapshot(engine).images == before


def test_a_container_that_dockerd_left_of_a_build_goes(ground):
    """It died in the middle of one. Somebody's container stays, even with all labels of a test image."""
    with ground.sick_engine() as engine, Lane(ground, engine) as lane, Rig(lane) as rig:
        labels = Labels(rig.target.name, rig.instance, "token", datetime.now(UTC)).to_dict()
        engine.docker("import", "-", "somebodys:1", stdin=bytes(10240))
        engine.docker("create", *(f"--label={name}={value}" for name, value in labels.items()), "somebodys:1", "/x")
        before = take_snapshot(engine)
        (usual,) = (step.seconds for step in rig.cycle().steps if step.name is StepName.BUILD)
        for share in itertools.cycle((0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):

            @contextmanager
            def fault(rig, moment=share * usual):
                dying = threading.Timer(moment, engine.kill)
                dying.start()
                yield
                dying.join()
                engine.start()

            rig.cycle(fault, StepName.BUILD)
            if take_snapshot(engine).containers != before.containers:
                break
        assert rig.cycle().verdict == "up"
        assert take_snapshot(engine) == before


def test_a_registry_that_goes_back_in_time_is_told_once(rig):
    """`stale` at the first pull; the next cycle begins with what the registry then gives."""
    assert rig.cycle().verdict == "up"
    with rig.struck(outside.back_by_two) as cycle:
        assert (str(cycle.failed.name), str(cycle.failed.reason)) == ("pull", "stale")
    assert rig.cycle().verdict == "up"


def test_push_and_pull_name_the_same_digest(rig):
    """The digest that push acknowledges, the one that pull gives and the registry's own are one."""
    for _ in range(5):
        cycle = rig.cycle()
        assert cycle.pushed_digest == cycle.pulled_digest == rig.lane.manifest().digest
