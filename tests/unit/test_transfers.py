"""A push that only waited for slots that others are known to hold says nothing about its registry; any other does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.command import Completed
from lib.cycle.transfers import Transfers
from lib.docker import Docker, DockerError
from lib.failure import Failure, Reason
from lib.result import StepName

SLOTS, NO_SLOTS = (
    'overlay2 [["Backing Filesystem","extfs"]]\n',
    'overlayfs [["driver-type","io.containerd.snapshotter.v1"]]\n',
)


def failing(*, waited, deadline_passed=True):
    return DockerError(Failure(Reason.TIMEOUT, "why"), deadline_passed=deadline_passed, only_waited=waited)


def push(transfers, registry, error=None):
    try:
        with transfers.noted(StepName.PUSH, registry):
            if error:
                raise error
    except DockerError:
        pass


def why(transfers, registry, *, waited=True, store=SLOTS, code=0, step=StepName.PUSH):
    docker = Docker(lambda _: Completed(code, store, "", 0.0), "docker", {}, Path("/config"))
    return transfers.why_waited(step, registry, failing(waited=waited), docker, 3.0)


@pytest.fixture
def transfers():
    return Transfers()


def test_pushes_that_were_given_up_are_known_to_hold_slots(transfers):
    """Whose, and slots of which kind, is said."""
    push(transfers, "hung.example", failing(waited=False))

    assert why(transfers, "well.example") == (
        "it only waited for the engine, whose transfers with hung.example, under way or given up, took all of its"
        " max-concurrent-uploads"
    )
    assert why(transfers, "well.example", step=StepName.PULL) is None


@pytest.mark.parametrize(
    ("given_up", "asked"),
    [
        pytest.param([], {}, id="nobody else is seen"),
        pytest.param(["hung.example", "own.example"], {}, id="its own push was given up before"),
        pytest.param(["own.example"], {}, id="its own is the only one"),
        pytest.param(["hung.example"], {"waited": False}, id="it did more than wait"),
        pytest.param(["hung.example"], {"store": NO_SLOTS}, id="that engine has no slots"),
        pytest.param(["hung.example"], {"code": 1}, id="nothing is known of the engine"),
    ],
)
def test_waiting_alone_proves_nothing(transfers, given_up, asked):
    """A registry that hangs is to blame for as long as it hangs, whatever its engine calls that."""
    for registry in given_up:
        push(transfers, registry, failing(waited=False))

    assert why(transfers, "own.example", **asked) is None


@pytest.mark.parametrize(
    "error", [None, failing(waited=True), failing(waited=False, deadline_passed=False)], ids=["up", "waited", "failed"]
)
def test_only_a_push_that_was_ended_in_its_transfer_holds_a_slot(transfers, error):
    """One that ended by itself holds none, nor does one that never had one."""
    push(transfers, "other.example", error)

    assert why(transfers, "own.example") is None


def test_a_push_that_works_shows_that_slots_are_free_again(transfers):
    """Its registry answers: nothing is held there any more."""
    push(transfers, "hung.example", failing(waited=False))
    push(transfers, "hung.example")

    assert why(transfers, "own.example") is None


@pytest.mark.parametrize(
    ("under_way", "step", "is_seen"),
    [
        (StepName.PULL, StepName.PULL_BACK, True),
        (StepName.PUSH, StepName.PUSH, True),
        (StepName.PUSH, StepName.PULL, False),
        (StepName.BUILD, StepName.PULL, False),
    ],
)
def test_steps_of_other_targets_that_are_under_way_are_seen(transfers, under_way, step, is_seen):
    """As long as they are, and if they take slots of the same kind."""
    with transfers.noted(under_way, "other.example"):
        assert bool(why(transfers, "own.example", step=step)) is is_seen
    assert why(transfers, "own.example", step=step) is None
