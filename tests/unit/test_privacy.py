"""Privacy: when a stranger's pull is tried, what it proves, and that it leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from examples import HandClock, a_failed_cycle, an_up_cycle

from lib.command import Stopped
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.privacy import Privacy
from lib.docker import Docker
from lib.target import Target
from tests.unit.support import (
    AMBIGUOUS,
    INSPECT,
    NO_DAEMON,
    NOT_THERE,
    REFERENCE,
    SWEEP,
    Script,
    described,
    digest_of,
    labels_of,
    missing,
    pulled,
    removed,
)

TARGET = Target("lab", REFERENCE, expect_private=True, expect_private_every=3600.0)
DIGEST = digest_of(1)
NAME = f"{REFERENCE.repository}@{DIGEST}"
UP = replace(an_up_cycle("lab"), pushed_digest=DIGEST)


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def privacy(script, clock):
    return privacy_of(script, clock, TARGET)


def privacy_of(script, clock, target):
    docker = Docker(script.runner, "docker", {}, Path("/stranger"))
    return Privacy(target, docker, Housekeeping(target, "me", set().__contains__), clock.monotonic)


def look(script):
    script.on(*INSPECT, NAME, err=missing(NAME), code=1)


def refuse(script, words):
    look(script)
    script.on("pull", NAME, err=words, code=1)


def test_a_pull_that_succeeds_is_told_loudly_and_leaves_nothing(script, privacy, caplog):
    look(script)
    script.on("pull", NAME, out=pulled(DIGEST))
    script.on("rmi", NAME, out=removed(digest_of("a"), name=NAME))
    assert privacy.check(UP) is True
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert "private" in told.advice
    assert script.ran[-1] == ("rmi", NAME)
    assert script.runner.commands[-1].cleanup


@pytest.mark.parametrize("words", [AMBIGUOUS, NOT_THERE, "unauthorized: authentication required\n"])
def test_a_refusal_is_one(script, privacy, caplog, words):
    refuse(script, words)
    assert privacy.check(UP) is False
    assert caplog.records == []


@pytest.mark.parametrize(
    "words", ["received unexpected HTTP status: 503 Service Unavailable\n", NO_DAEMON, "toomanyrequests: slow down\n"]
)
def test_what_is_no_refusal_proves_nothing(script, privacy, caplog, words):
    refuse(script, words)
    assert privacy.check(UP) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_image_that_is_still_here_proves_nothing(script, privacy):
    script.on(*INSPECT, NAME, out=described(digest_of("a"), (), labels_of(), digests=(NAME,)))
    assert privacy.check(UP) is None
    assert [argv[0] for argv in script.ran] == ["image"]


def test_it_is_tried_once_an_interval(script, privacy, clock):
    refuse(script, AMBIGUOUS)
    assert privacy.check(UP) is False
    clock.advance(3599.0)
    assert privacy.check(UP) is None
    clock.advance(1.0)
    refuse(script, AMBIGUOUS)
    assert privacy.check(UP) is False


@pytest.mark.parametrize("target", [replace(TARGET, expect_private=False), TARGET])
def test_it_is_tried_only_where_asked_for_and_after_a_cycle_that_was_up(script, clock, target):
    cycle = a_failed_cycle(target="lab") if target.expect_private else UP
    assert privacy_of(script, clock, target).check(cycle) is None
    assert script.ran == []


def test_it_has_the_deadline_of_a_step(script, clock):
    refuse(script, AMBIGUOUS)
    privacy_of(script, clock, replace(TARGET, step_timeout=7.0)).check(UP)
    assert script.runner.commands[-1].deadline == 7.0


def test_a_stop_in_the_middle_leaves_nothing(script, privacy, monkeypatch):
    """What the daemon still finishes after its client was ended is looked for, as no cycle comes after this one."""
    waited = []
    monkeypatch.setattr("lib.cycle.housekeeping.time.sleep", waited.append)

    def stop():
        raise Stopped

    look(script)
    script.on("pull", NAME, does=stop)
    script.on(*SWEEP, times=2)

    with pytest.raises(Stopped):
        privacy.check(UP)

    assert script.ran.count(SWEEP) == 2
    assert len(waited) == 1
    assert all(command.cleanup for command in script.runner.commands[-2:])
