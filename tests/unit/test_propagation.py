"""A registry that publishes late gets the time that it is allowed, and not more."""

import pytest

from lib.cycle.propagation import pull_until_shown
from lib.docker import DockerError
from lib.docker.answers import Pulled
from lib.failure import Failure, Reason

NEW, OLD = "sha256:new", "sha256:old"
ABSENT = DockerError(Failure(Reason.NOT_FOUND, "manifest unknown", not_there=True))
REFUSED = DockerError(Failure(Reason.REFUSED, "connection refused"))


class Registry:
    """Gives one answer after the other, and the last one from then on; its clock advances only while waiting."""

    def __init__(self, monkeypatch, *answers):
        self.answers = list(answers)
        self.asked = []
        self.removed = 0
        self.now = 100.0
        monkeypatch.setattr("lib.cycle.propagation.time.monotonic", lambda: self.now)
        monkeypatch.setattr("lib.cycle.propagation.time.sleep", self.sleep)

    def sleep(self, seconds):
        self.now += seconds

    def pull(self, deadline):
        self.asked.append(deadline)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, DockerError):
            raise answer
        return Pulled(0.1, digest=answer, moved=1)

    def remove(self):
        self.removed += 1

    def pulled(self, patience):
        return pull_until_shown(self.pull, self.remove, NEW, patience, 60.0).digest


def test_without_patience_the_first_answer_counts(monkeypatch):
    """By default a tag that shows the previous image is not asked again."""
    registry = Registry(monkeypatch, OLD, NEW)

    assert (registry.pulled(patience=0), registry.removed, registry.asked) == (OLD, 0, [60.0])


def test_what_is_published_late_is_waited_for(monkeypatch):
    """Within the patience, a previous image is removed and the registry asked again, within the same deadline."""
    registry = Registry(monkeypatch, OLD, ABSENT, NEW)

    assert (registry.pulled(patience=10), registry.removed) == (NEW, 1)
    assert registry.asked == [60.0, 59.5, 59.0]


def test_past_the_patience_the_last_answer_counts(monkeypatch):
    """If the tag still shows the previous image then, that is passed on as it is."""
    registry = Registry(monkeypatch, OLD)

    assert registry.pulled(patience=2) == OLD
    assert registry.now == 102.0


def test_past_the_patience_an_absent_image_is_a_failure(monkeypatch):
    """A tag that shows nothing at all is an error in the end."""
    registry = Registry(monkeypatch, ABSENT)

    with pytest.raises(DockerError):
        registry.pulled(patience=1)
    assert registry.now == 101.0


def test_another_failure_is_not_waited_out(monkeypatch):
    """Only what can be lateness counts: a registry that can't be reached is not late."""
    registry = Registry(monkeypatch, REFUSED)

    with pytest.raises(DockerError):
        registry.pulled(patience=10)
    assert len(registry.asked) == 1


def test_how_long_it_waited_is_told_before_each_pull(monkeypatch):
    registry = Registry(monkeypatch, OLD, ABSENT, NEW)
    waited = []
    pull_until_shown(registry.pull, registry.remove, NEW, 10, 60.0, waited.append)
    assert waited == [0.0, 0.5, 1.0]
