"""A watched target: whatever fails while a cycle is reported, all other listeners get it, and the fault is raised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.failure import Verdict
from lib.history import History
from lib.metrics.target import Series
from lib.progress import Listener
from lib.result import Outcome, Push, Step, StepName
from lib.target import Anonymous, StrangersMay
from lib.watch import Watch
from lib.watch.record import Record
from tests.unit.examples import NOON, a_cycle, a_lost_image, a_target, an_up_cycle

STEP = Step(StepName.PULL, Outcome.OK, 0.25)


class FaultyError(Exception):
    """Something broken says so."""


class Noting(Listener):
    """Notes what is reported to it, and may be broken."""

    def __init__(self, *, broken=False):
        self.told = []
        self.broken = broken

    def step_started(self, target, step):
        self._note(target, step)

    def step_finished(self, target, step):
        self._note(target, step)

    def cycle_finished(self, cycle):
        self._note(cycle)

    def rested_finished(self, target, image):
        self._note(target, image)

    def _note(self, *what):
        self.told.append(what)
        if self.broken:
            raise FaultyError


class Cycles:
    """What runs cycles of one step, all up."""

    staying = ("a is used by b",)

    def __init__(self, target, _, observer):
        self.target = target
        self.observer = observer

    def for_builder(self, docker, _):
        return docker

    def __call__(self):
        self.observer.step_started(StepName.PULL)
        self.observer.step_finished(STEP)
        return an_up_cycle()


class FoundOut:
    """What finds out that strangers can pull; the push is found out by nobody."""

    def __init__(self, runner):
        self.runner = runner

    def check(self, _, before):
        return replace(before, pull=True)


def breaks(*_):
    raise FaultyError


@pytest.fixture
def listeners():
    return (Noting(), Noting(broken=True), Noting())


@pytest.fixture
def watched(listeners):
    (watched,) = Watch(Cycles, History("me"), lambda _: listeners).replace([a_target()])
    return watched


def test_a_listener_that_is_broken_costs_neither_the_cycle_nor_the_others_anything(watched, listeners):
    with pytest.raises(FaultyError):
        watched.take_turn(lag=0.0)
    assert [len(listener.told) for listener in listeners] == [3, 3, 3]
    assert watched.record.standing().cycle.verdict is Verdict.UP
    listeners[1].broken = False
    assert watched.take_turn(lag=0.0).verdict is Verdict.UP


def test_what_becomes_of_rested_images_is_counted_and_told_after_the_cycle(watched, listeners, monkeypatch):
    listeners[1].broken = False
    image = a_lost_image()
    monkeypatch.setattr(watched.rested, "take_turn", lambda _, cycle: [image] if cycle.verdict is Verdict.UP else [])
    watched.take_turn(lag=0.0)
    assert [listener.told[-1] for listener in listeners] == [(watched.target, image)] * 3
    assert watched.series.cold_checks[Verdict.DOWN] == 1


@pytest.mark.parametrize("broken", [(History, "keep_finished"), (Record, "add"), (Series, "finish")])
def test_each_part_of_recording_is_tried_whatever_becomes_of_the_others(watched, listeners, monkeypatch, broken):
    parts = [(History, "keep_finished"), (Series, "finish")]
    done = []
    for part in parts:
        monkeypatch.setattr(*part, lambda *_, part=part: done.append(part))
    monkeypatch.setattr(*broken, breaks)
    listeners[1].broken = False
    with pytest.raises(FaultyError):
        watched.finished(an_up_cycle(), lag=0.0)
    assert [len(listener.told) for listener in listeners] == [1, 1, 1]
    assert done == [part for part in parts if part != broken and (broken[0], part[0]) != (Record, History)]
    assert (watched.record.standing() is None) == (broken[0] is Record)


@pytest.mark.parametrize("asked", [{"expect_private": True}, {"anonymous": Anonymous.REFUSED}, {}])
def test_what_strangers_can_do_is_recorded_and_counted_where_somebody_asks(monkeypatch, asked):
    """What was known of the other action stays; a reload that changes the target keeps all of it."""
    monkeypatch.setattr("lib.watch.watched.Strangers", FoundOut)
    watch = Watch(Cycles, History("me"))
    (watched,) = watch.replace([a_target(**asked)])
    watched.record.strangers = StrangersMay(push=True)
    watched.take_turn(lag=0.0)
    assert watched.record.strangers == StrangersMay(pull=True if asked else None, push=True)

    (again,) = watch.replace([a_target(run_every=5.0, **asked)])
    assert again.record.standing().strangers == again.series.strangers() == watched.record.strangers


def test_targets_that_may_only_pull_take_turns_once_they_show_one_image():
    """By what the configuration expects, by the last cycle that pulled, or by the history of that."""
    digests = {name: f"sha256:{64 * name}" for name in "abc"}
    targets = [a_target(name, read_only=True) for name in ("quay", "mirror", "other")]
    targets.append(a_target("wanted", read_only=True, expect_digest=digests["a"]))
    watch = Watch(Cycles, History("me"))

    def shows(watched, digest):
        watched.finished(replace(a_cycle((STEP,), watched.target.name, NOON, 1.0), pulled_digest=digest), 0.0)

    quay, mirror, other, wanted = watch.replace(targets)
    assert not any(quay.takes_turns_with(one) for one in (mirror, other, wanted))
    for watched, digest in ((quay, "a"), (mirror, "a"), (other, "b")):
        shows(watched, digests[digest])
    assert [quay.takes_turns_with(one) for one in (mirror, other, wanted)] == [True, False, True]
    shows(mirror, None)  # a cycle that came to nothing
    assert mirror.takes_turns_with(quay)
    shows(mirror, digests["c"])
    assert not mirror.takes_turns_with(quay)
    again = watch.replace([replace(target, run_every=5.0) for target in targets])
    assert [again[0].takes_turns_with(one) for one in again[1:]] == [False, False, True]


def test_a_source_its_replicas_and_its_other_doors_take_turns_and_nobody_else_does():
    watch = Watch(Cycles, History("me"))
    names = ("source", "door", "stranger")
    pushing = [a_target(name) for name in names]
    replicas = [a_target(name, read_only=True, replica_of=of) for name, of in (("r1", "source"), ("r2", "source"))]
    source, door, stranger, *others = watch.replace([*pushing, *replicas])
    assert [watched.takes_turns_with(source) for watched in (*others, door, stranger)] == [True, True, False, False]
    assert others[0].takes_turns_with(others[1])
    assert not door.takes_turns_with(others[0])
    push = Push("sha256:a", "sha256:b", "token", "me", NOON)
    source.pushes.pushed(push)
    assert door.pushes.recognise(push.token) == "source"
    assert door.takes_turns_with(others[0])
    # A reload that gives the source another repository is followed by what stays as it was.
    moved = watch.replace([a_target("source", reference="q.io/moved:canary"), *pushing[1:], *replicas])[0]
    assert watch.targets[3:] == tuple(others)
    assert moved.takes_turns_with(others[0])
    assert not door.takes_turns_with(others[0])


def test_what_stays_of_its_cycles_is_what_its_runner_says():
    (watched,) = Watch(Cycles, History("me")).replace([a_target()])
    assert watched.staying == ()
    watched.take_turn(lag=0.0)
    assert watched.staying == ("a is used by b",)
