"""Rested images over time: which is due, the result of a check, what is kept, counted, shown and logged."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest

from lib.cycle.rested import RestedResult
from lib.failure import Failure, Reason
from lib.history import History
from lib.rested import Cold, Kind, RestedImage
from lib.result import Outcome, Step, StepName
from lib.watch.rested import Rested
from tests.unit.examples import NOON, a_cycle, a_failed_cycle, a_lost_image, a_target, an_up_cycle

DAY = 24 * 3600.0
UP = an_up_cycle()
LOST = Failure(Reason.NOT_FOUND, "manifest unknown")
REFUSED = Failure(Reason.REFUSED, "connection refused")
WARM = Failure(Reason.WARM, "it was here")
AWAY = Step(StepName.PULL_BACK, Outcome.FAILED, 1.0, failure=REFUSED)
#: A cycle whose first pull worked, before the registry went away.
HALF = a_cycle((Step(StepName.PULL, Outcome.OK, 0.1), AWAY), "quay", NOON, 2.0)


class Kept(History):
    """Keeps rested images in memory."""

    def __init__(self):
        super().__init__("me")
        self.rested = {}

    def keep_rested(self, reference, image):
        self.rested[image.number] = image


class Registry:
    """A made-up runner: it pushes what it is asked to, and finds what is not missing."""

    def __init__(self, *, is_only=False):
        self.is_only = is_only
        self.did = []
        self.failures = {}
        self.kinds = {}

    def push(self, image):
        self.did.append(f"push {image.number}")
        failure = self.failures.get(image.number)
        digest, created = (None, None) if failure else (f"sha256:{len(self.did)}", NOON)
        return RestedResult(digest, created, failure, self.kinds.get(image.number, image.kind))

    def check(self, image):
        self.did.append(f"check {image.number}")
        return RestedResult(None, None, self.failures.get(image.number), image.kind)


class Time:
    """A target with rested images, a registry and a clock that is moved by hand."""

    def __init__(self, images=2, *, is_only=False):
        self.now = NOON.timestamp()
        self.history = Kept()
        self.registry = Registry(is_only=is_only)
        self.reload(images)

    def reload(self, images):
        """Begin again, with what was kept."""
        target = a_target(cold_images=images, cold_every=DAY)
        self.rested = Rested(target, self.history, self.history.rested.values(), lambda: self.now)
        self.rested._runner = self.registry

    def pass_by(self, seconds=DAY, cycle=UP):
        """Let time pass, and a turn after it. Return the numbers of the images that this yields."""
        self.now += seconds
        return [image.number for image in self.rested.take_turn(None, cycle)]

    @property
    def images(self):
        return self.rested.cold.images


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def pushed(time):
    """All are pushed, and were found intact once."""
    for _ in range(4):
        time.pass_by()
    time.registry.did.clear()
    return time


def test_they_are_pushed_one_by_one_and_then_checked_by_turns(time):
    for _ in range(6):
        time.pass_by()
        assert time.pass_by(DAY / 2 - 1) == []
        assert time.pass_by(DAY / 2 - 1) == []
    assert time.registry.did == ["push 1", "push 2", "check 1", "check 2", "check 1", "check 2"]
    assert [image.kind for image in time.images] == [Kind.SINGLE, Kind.LAYERS]
    assert [image.tag for image in time.images] == ["canary-cold-1", "canary-cold-2"]


def test_there_is_one_of_each_kind_among_three_as_far_as_the_engine_can_hold_them():
    time = Time(6)
    time.registry.kinds[6] = Kind.SINGLE
    for _ in range(6):
        time.pass_by()
    kinds = [Kind.SINGLE, Kind.LAYERS, Kind.INDEX]
    assert [image.kind for image in time.images] == [*kinds, *kinds[:2], Kind.SINGLE]
    assert time.history.rested[3].to_dict()["kind"] == "index"
    time.reload(6)
    assert [image.kind for image in time.images][2::3] == [Kind.INDEX, Kind.SINGLE]


def test_the_first_is_pushed_after_the_first_cycle_that_is_up(time):
    assert time.pass_by(0, a_failed_cycle()) == []
    assert time.pass_by(0) == [1]


def test_without_any_nothing_is_done_or_said():
    time = Time(0)
    assert time.pass_by() == []
    assert time.rested.cold is None
    assert time.registry.did == []


def test_a_restart_or_a_reload_changes_nothing_about_what_is_due(time):
    time.pass_by()
    time.reload(2)
    assert time.pass_by(DAY - 1) == []
    assert time.pass_by(1) == [2]
    time.reload(2)
    time.pass_by()
    assert time.registry.did == ["push 1", "push 2", "check 1"]


def test_a_clock_that_was_set_back_keeps_none_waiting(time):
    time.pass_by()
    assert time.pass_by(-7 * DAY) == [2]


def test_more_are_pushed_in_time_and_fewer_are_kept(pushed, caplog):
    caplog.set_level(logging.INFO)
    pushed.reload(3)
    assert pushed.pass_by() == [3]
    pushed.reload(1)
    (told,) = [record for record in caplog.records if "beyond" in record.message]
    assert told.tags == "canary-cold-2, canary-cold-3"
    assert [pushed.pass_by(), pushed.pass_by()] == [[1], [1]]
    assert len(pushed.images) == 1
    assert set(pushed.history.rested) == {1, 2, 3}


def test_a_push_that_fails_comes_again_and_keeps_no_check_waiting(time):
    time.pass_by()
    time.registry.failures[2] = Failure(Reason.QUOTA, "no room")
    assert time.pass_by() == [2]
    (_, second) = time.images
    assert (second.digest, str(second.verdict), second.failure.reason) == (None, "down", Reason.QUOTA)
    assert time.rested.cold.up is None
    assert time.pass_by(3599) == []
    assert time.pass_by(1) == [1]
    assert time.pass_by() == [2]
    assert time.registry.did == ["push 1", "push 2", "check 1", "push 2"]


def test_a_loss_is_an_error_once_and_so_is_its_end_told(pushed, caplog):
    caplog.set_level(logging.INFO)
    pushed.registry.failures[1] = LOST
    assert pushed.pass_by() == [1]
    assert pushed.rested.cold.up is False
    assert pushed.pass_by() == [2]
    assert pushed.rested.cold.up is False
    pushed.pass_by()
    pushed.registry.failures.clear()
    pushed.pass_by()
    pushed.pass_by()
    assert pushed.rested.cold.up is True
    assert [(record.levelname, record.message) for record in caplog.records if record.tag == "canary-cold-1"] == [
        ("ERROR", "a rested image is lost"),
        ("INFO", "a rested image is still lost"),
        ("INFO", "a rested image is there again"),
    ]
    assert not [did for did in pushed.registry.did if "push" in did]


def test_an_unknown_check_leaves_all_as_it_was(pushed):
    pushed.registry.failures[1] = LOST
    pushed.pass_by()
    pushed.pass_by()
    pushed.registry.failures[1] = WARM
    assert pushed.pass_by() == [1]
    assert (str(pushed.images[0].verdict), pushed.rested.cold.up) == ("unknown", False)
    assert pushed.pass_by() == [2]


def test_a_registry_that_is_down_as_a_whole_has_lost_nothing(pushed):
    """The check is made again in the next turn, and not counted."""
    pushed.registry.failures[1] = REFUSED
    assert pushed.pass_by(DAY, HALF) == []
    assert pushed.pass_by(120, HALF) == []
    assert pushed.registry.did == ["check 1"] * 2
    assert pushed.pass_by(120, a_failed_cycle()) == []
    assert pushed.registry.did == ["check 1"] * 2
    pushed.registry.failures.clear()
    assert pushed.pass_by(120) == [1]
    assert pushed.rested.cold.up is True


def test_what_can_be_the_registrys_trouble_counts_if_the_next_cycle_is_up(pushed):
    pushed.registry.failures[1] = REFUSED
    assert pushed.pass_by() == []
    assert pushed.pass_by(120) == [1]
    assert pushed.rested.cold.up is False


def test_where_there_is_one_turn_only_it_counts_at_once():
    time = Time(1, is_only=True)
    time.pass_by()
    time.registry.failures[1] = REFUSED
    assert time.pass_by() == [1]


def test_a_renewal_pushes_all_that_are_lost_at_once_and_none_besides(pushed):
    pushed.registry.failures[2] = LOST
    pushed.pass_by()
    pushed.pass_by()
    before = pushed.images
    pushed.registry.failures.clear()
    pushed.rested.renew()
    assert pushed.pass_by(1, a_failed_cycle()) == []
    assert pushed.pass_by(1) == [2]
    assert pushed.images[0] == before[0]
    assert pushed.images[1].digest != before[1].digest
    assert pushed.rested.cold.up is True
    assert pushed.registry.did == ["check 1", "check 2", "push 2"]


def test_a_renewal_that_fails_leaves_the_loss(pushed):
    pushed.registry.failures[2] = LOST
    pushed.pass_by()
    pushed.pass_by()
    pushed.registry.failures[2] = Failure(Reason.QUOTA, "no room")
    pushed.rested.renew()
    pushed.pass_by(1)
    assert pushed.rested.cold.lost[0].failure == LOST


def test_the_json_has_what_was_promised():
    assert Cold((a_lost_image(),)).to_dict() == {
        "up": False,
        "images": [
            {
                "tag": "canary-cold-2",
                "digest": "sha256:d",
                "created": "2026-11-17T12:00:00.000Z",
                "kind": "layers",
                "last_check": "2026-11-24T12:00:00.000Z",
                "verdict": "down",
                "reason": "not_found",
                "detail": "manifest unknown",
            }
        ],
    }


@pytest.mark.parametrize("image", [a_lost_image(), RestedImage(1, "t", Kind.SINGLE, datetime(2026, 1, 1, tzinfo=UTC))])
def test_what_is_kept_is_read_again(image):
    assert RestedImage.from_row(image.number, json.loads(json.dumps(image.to_row()))) == image


@pytest.mark.parametrize(
    "change",
    [
        {"digest": None},
        {"created": None},
        {"kind": "odd"},
        {"lost": "yes"},
        {"acted": 5},
        {"scope": "odd"},
        {"digest": 0},
        {"verdict": ""},
    ],
)
def test_what_does_not_fit_is_refused(change):
    with pytest.raises((ValueError, KeyError)):
        RestedImage.from_row(2, a_lost_image().to_row() | change)
