"""Health: only what keeps the monitor from judging is a fault, and each fault goes away by itself."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from lib.command import Stopped
from lib.failure import Failure, Reason
from lib.health import ASK_EVERY_SECONDS, Health
from lib.progress import Progress
from lib.result import Outcome, Step, StepName
from lib.watch.worker import WorkerState
from tests.unit.examples import HandClock, a_target, eventually

NO_DAEMON = "daemon: Cannot connect to the Docker daemon"


@pytest.fixture
def world():
    """A daemon and workers that are fine until a test says otherwise."""
    return SimpleNamespace(daemon=None, asked=0, workers=[], clock=HandClock())


@pytest.fixture
def health(world):
    def ask():
        world.asked += 1
        if isinstance(world.daemon, Exception):
            raise world.daemon
        return world.daemon

    return Health(ask, lambda: world.workers, world.clock.monotonic)


def worker(target, alive=True, turn_started=None, fault=None, wakes=None, progress=None):
    watched = SimpleNamespace(target=target, progress=progress or Progress())
    return WorkerState(watched, alive, turn_started, fault, wakes)


def ok(step):
    return Step(step, Outcome.OK, 0.1)


# The daemon.


def test_before_the_first_answer_nobody_can_judge(health):
    assert health.faults == ("the docker daemon has not been asked yet",)


def test_a_daemon_that_answers_is_no_fault(health):
    health.ask()
    assert health.faults == ()


def test_a_daemon_that_is_gone_is_one_until_it_is_back(health, world, caplog):
    caplog.set_level(logging.INFO)
    world.daemon = NO_DAEMON
    health.ask()
    health.ask()
    assert health.faults == (NO_DAEMON,)
    world.daemon = None
    health.ask()
    assert health.faults == ()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_what_breaks_the_question_is_told_too(health, world):
    world.daemon = RuntimeError("no more threads")
    health.ask()
    assert health.faults == ("the docker daemon could not be asked: RuntimeError: no more threads",)


def test_a_step_that_succeeded_spares_the_question(health, world):
    health.step_finished(a_target(), ok(StepName.PUSH))
    world.clock.advance(9.0)
    health.ask()
    assert (health.faults, world.asked) == ((), 0)
    world.clock.advance(1.0)
    health.ask()
    assert world.asked == 1


@pytest.mark.parametrize(
    "step",
    [
        ok(StepName.LOGIN),  # newer clients log in without the daemon
        Step(StepName.PULL, Outcome.SKIPPED, 0.1),
        Step(StepName.PULL, Outcome.FAILED, 0.1, Failure(Reason.DAEMON, "gone")),
    ],
)
def test_other_steps_prove_no_daemon(health, step):
    health.step_finished(a_target(), step)
    assert health.faults == ("the docker daemon has not been asked yet",)


def test_a_step_that_succeeded_ends_the_fault(health, world):
    world.daemon = NO_DAEMON
    health.ask()
    health.step_finished(a_target(), ok(StepName.PULL))
    assert health.faults == ()


def test_an_answer_does_not_stand_for_ever(health, world):
    health.ask()
    world.clock.advance(61.0)
    assert health.faults == ("the docker daemon has not answered for 61 s",)


def test_it_asks_in_the_background_until_it_is_stopped(health, world):
    health.start()
    eventually(lambda: world.asked == 1)
    health.stop()
    health._thread.join(10)
    assert not health._thread.is_alive()


def test_it_asks_again_ten_seconds_after_the_last_answer_whoever_had_it(health, world, monkeypatch):
    pauses = []

    def wait(pause):
        pauses.append(pause)
        world.clock.advance(pause)
        if len(pauses) == 2:
            world.clock.advance(4)
            health.step_finished(a_target(), Step(StepName.PULL, Outcome.OK, 1.0))
            world.clock.advance(3)
        return len(pauses) == 5

    monkeypatch.setattr(health._stopped, "wait", wait)
    health._ask_again_and_again()
    assert pauses == [0.0, ASK_EVERY_SECONDS, ASK_EVERY_SECONDS - 3, ASK_EVERY_SECONDS, ASK_EVERY_SECONDS]


# The workers.


@pytest.fixture
def asked(health):
    """The same, with a daemon that has answered."""
    health.ask()
    return health


def test_workers_that_wait_or_run_within_their_deadlines_are_well(asked, world):
    world.workers = [
        worker(a_target("a")),
        worker(a_target("b", cycle_timeout=5.0), turn_started=world.clock.now - 60),
    ]
    assert asked.faults == ()


def test_a_dead_worker_is_a_fault(asked, world):
    world.workers = [worker(a_target("a")), worker(a_target("quay"), alive=False)]
    assert asked.faults == ("worker of quay: its thread has died",)


def test_a_cycle_that_broke_off_is_a_fault(asked, world):
    world.workers = [worker(a_target(), fault="worker of quay: its last cycle broke off: KeyError: 'layer'")]
    assert asked.faults == ("worker of quay: its last cycle broke off: KeyError: 'layer'",)


def test_a_worker_past_its_deadlines_is_stuck_until_a_step_is_seen(asked, world):
    progress = Progress(world.clock.monotonic)
    world.workers = [worker(a_target(cycle_timeout=100.0), turn_started=world.clock.now, progress=progress)]
    world.clock.advance(161.0)
    asked.ask()
    assert asked.faults == ("worker of quay: stuck, no sign of it for 161 s",)
    progress.step_started(StepName.RMI)
    assert asked.faults == ()
    world.clock.advance(161.0)
    asked.ask()
    progress.step_finished(ok(StepName.RMI))
    assert asked.faults == ()


def test_steps_of_an_earlier_cycle_are_no_sign_of_this_one(asked, world):
    progress = Progress(world.clock.monotonic)
    progress.step_started(StepName.PULL)
    world.clock.advance(1000.0)
    asked.ask()
    world.workers = [worker(a_target(cycle_timeout=100.0), turn_started=world.clock.now, progress=progress)]
    assert asked.faults == ()


def test_what_a_turn_does_after_its_cycle_counts_from_that_cycles_end(asked, world):
    progress = Progress(world.clock.monotonic)
    world.workers = [worker(a_target(cycle_timeout=100.0), turn_started=world.clock.now, progress=progress)]
    progress.cycle_started()
    world.clock.advance(100.0)
    progress.cycle_finished()
    world.clock.advance(160.0)
    asked.ask()
    assert asked.faults == ()


def test_a_question_that_was_broken_off_because_the_monitor_stops_says_nothing(asked, world, caplog):
    world.daemon = Stopped()
    world.clock.advance(11)
    asked.ask()
    assert asked.faults == ()
    assert caplog.records == []


# What only a restart can help.


def test_neither_a_daemon_that_is_gone_nor_a_cycle_that_broke_off_is_a_stuck_worker(health, world):
    world.daemon = NO_DAEMON
    world.workers = [worker(a_target(), fault="worker of quay: its last cycle broke off: KeyError: 'layer'")]
    health.ask()
    assert health.faults == (NO_DAEMON, "worker of quay: its last cycle broke off: KeyError: 'layer'")
    assert health.stuck == ()


def test_workers_that_wait_are_not_stuck_before_they_are_long_overdue(asked, world):
    now = world.clock.now
    world.workers = [
        worker(a_target("asleep", run_every=86400.0), wakes=now + 86400),
        worker(a_target("late"), wakes=now - 60),
        worker(a_target("queued")),
    ]
    assert asked.stuck == ()
    world.clock.advance(1)
    assert asked.stuck == ("worker of late: asleep, though it was due 61 s ago",)


def test_workers_that_are_dead_or_past_their_deadlines_are_stuck(asked, world):
    world.workers = [
        worker(a_target("a"), alive=False),
        worker(a_target("b", cycle_timeout=100.0), turn_started=world.clock.now - 161),
        worker(a_target("c", cycle_timeout=100.0), turn_started=world.clock.now - 160),
    ]
    assert asked.stuck == ("worker of a: its thread has died", "worker of b: stuck, no sign of it for 161 s")
    assert asked.faults == asked.stuck
