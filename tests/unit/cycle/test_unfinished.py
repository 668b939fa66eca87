"""An image that podman did not finish is ours if it was begun in a cycle of ours that was cut off."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lib.cycle.unfinished import Unfinished
from lib.docker import BuiltBy, DockerError
from lib.failure import Failure, Reason
from tests.unit.cycle.world import NOW, TARGET, Dying
from tests.unit.support import NAME

HOUR = timedelta(hours=1)


class Podman:
    """A store with unfinished images, by ID, each with when it was begun.

    Attributes:
        asked: how often it was asked for them.
        marks: those of which it was to remove what builds worked in.
    """

    builder = BuiltBy.BUILDAH

    def __init__(self, **images):
        self.images = images
        self.asked = 0
        self.marks = []

    def unfinished(self, _seconds):
        self.asked += 1
        return dict(self.images)

    def remove_marked(self, marks, _seconds):
        self.marks += marks

    def rmi(self, references, _seconds):
        (image,) = references
        if self.images.pop(image, None) is None:
            raise DockerError(Failure(Reason.DAEMON, "image not known", not_there=True))


@pytest.fixture
def instance():
    return Dying()


@pytest.fixture
def unfinished(instance):
    return Unfinished(instance)


@pytest.fixture
def podman(monkeypatch):
    """Podman, that is waited for in no time."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Podman(before=NOW - HOUR)


def test_what_a_cycle_began_that_was_cut_off_goes_and_what_is_older_stays(unfinished, instance, podman):
    unfinished.expect(TARGET, podman)
    podman.images["ours"] = datetime.now(UTC)
    unfinished.cut_off(NAME)

    unfinished.remove(podman, 5)

    assert list(podman.images) == ["before"]
    assert podman.marks == list(instance.notes)


def test_podman_is_asked_for_nothing_if_no_cycle_was_cut_off(unfinished, instance, podman):
    """That takes it a second."""
    unfinished.expect(TARGET, podman)
    unfinished.remove(podman, 5)
    unfinished.expect_none(NAME)
    unfinished.cut_off(NAME)
    unfinished.remove(podman, 5)

    assert podman.asked == 0
    assert instance.notes == {}


def test_what_comes_to_its_end_meanwhile_stays(unfinished, podman, monkeypatch):
    """Somebody else writes an image just now."""
    unfinished.expect(TARGET, podman)
    unfinished.cut_off(NAME)
    podman.images["theirs"] = datetime.now(UTC)
    removed = []
    monkeypatch.setattr("time.sleep", lambda _: podman.images.pop("theirs"))
    monkeypatch.setattr(podman, "rmi", lambda references, _: removed.append(references))

    unfinished.remove(podman, 5)

    assert removed == []


@pytest.mark.parametrize(("minutes", "stays"), [(-1, True), (1, False), (59, False), (61, True)])
def test_what_a_dead_instance_began_in_its_last_cycle_goes_and_the_note_of_it(
    unfinished, instance, podman, tmp_path, minutes, stays
):
    note = tmp_path / "writing-x"
    note.write_text(json.dumps([NOW.isoformat(), (NOW + HOUR).isoformat()]))
    instance.left = {note.name: note}
    podman.images["x"] = NOW + timedelta(minutes=minutes)

    unfinished.remove(podman, 5)

    assert ("x" in podman.images) is stays
    assert podman.marks == ["writing-x"]
    assert instance.left == {}


@pytest.mark.parametrize("text", ["", "{}", '["now", "then"]', "[1, 2]"])
def test_a_note_that_cant_be_read_says_nothing(unfinished, instance, podman, tmp_path, text):
    note = tmp_path / "writing-x"
    note.write_text(text)
    instance.left = {note.name: note}

    unfinished.remove(podman, 5)

    assert list(podman.images) == ["before"]
    assert instance.left == {}


def test_a_cycle_leaves_a_note_until_nothing_of_it_is_left(unfinished, instance, podman, tmp_path):
    """The next process reads that as its own."""
    unfinished.expect(TARGET, podman)
    ((name, text),) = instance.notes.items()
    note = tmp_path / name
    note.write_text(text)
    later = Dying()
    later.left = {name: note}
    podman.images["ours"] = datetime.now(UTC) + timedelta(seconds=TARGET.cycle_timeout / 2)
    Unfinished(later).remove(podman, 5)
    assert list(podman.images) == ["before"]

    unfinished.expect_none(NAME)
    assert instance.notes == {}


def test_with_docker_there_are_none(unfinished, instance, podman):
    podman.builder = BuiltBy.CLASSIC
    unfinished.expect(TARGET, podman)
    unfinished.cut_off(NAME)
    unfinished.remove(podman, 5)

    assert podman.asked == 0
    assert instance.notes == {}
