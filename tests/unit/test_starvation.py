"""A pulse finds when the monitor or the engine did not run; a cycle's own work can leave a step too little time."""

from __future__ import annotations

import threading
import time
from itertools import count
from pathlib import Path

import pytest

from lib.command import Completed, Ending, Stopped
from lib.cycle.starvation import BEAT_SECONDS, Pulse, why_short
from lib.docker import Docker
from lib.failure import Failure, Reason
from lib.reference import Reference
from lib.result import Outcome, Step, StepName
from lib.target import Target
from tests.unit.support import REFERENCE

ANSWERED = Completed(0, "28.2.2 20.10.24\n", "", 0.0)
SILENT = Completed(-15, "", "", 3.0, ending=Ending.DEADLINE)
LONG = 30.0


class Clock:
    """Stands still unless it is set."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def pulse_of(clock, engine=lambda _: ANSWERED, deadline=10.0):
    return Pulse(Docker(engine, "docker", {}, Path("/config")), 3.0, deadline, clock)


@pytest.mark.parametrize(("late", "is_starved"), [(0.0, False), (0.9, False), (1.1, True), (12.0, True)])
def test_a_monitor_that_did_not_run_is_found_although_nobody_has_woken_up_yet(late, is_starved):
    """A busy scheduler is late by less than a second; also if the step's end is known before the next beat."""
    clock = Clock()
    pulse = pulse_of(clock)
    with pulse.taken():
        clock.now += BEAT_SECONDS + late
        why = pulse.why_starved(10.0)

    assert why == (
        f"the monitor, and most likely its whole host, did not run for {late:.1f} s meanwhile" if why else None
    )
    assert bool(why) is is_starved


@pytest.mark.parametrize(("seconds", "is_starved"), [(20.0, True), (21.0, False)])
def test_only_a_tenth_of_the_time_that_a_step_had_excuses_it(seconds, is_starved):
    """Two seconds are nothing in two minutes: a registry that hangs is not hidden by a hiccup of this host."""
    clock = Clock()
    pulse = pulse_of(clock)
    with pulse.taken():
        clock.now += BEAT_SECONDS + 2.0

        assert bool(pulse.why_starved(seconds)) is is_starved


def test_no_pulse_no_pause():
    """What was before the cycle, or was never watched, does not count."""
    clock = Clock()
    pulse = pulse_of(clock)
    clock.now += 100.0

    assert pulse.why_starved(10.0) is None
    with pulse.taken():
        assert pulse.why_starved(10.0) is None


def test_the_pulse_beats_by_itself_and_ends():
    """By the real clock, in a thread that is gone afterwards; nobody is asked in a short cycle."""
    pulse = Pulse(Docker(lambda _: pytest.fail("asked"), "docker", {}, Path("/config")), 3.0, LONG)
    with pulse.taken():
        first = pulse._last_beat
        while pulse._last_beat == first:
            time.sleep(0.01)
        assert pulse.why_starved(1.0) is None

    assert [thread.name for thread in threading.enumerate() if thread.name == "pulse"] == []


def test_a_cycle_without_threads_has_no_pulse(monkeypatch):
    """If no thread can be started, nothing is taken for a pause."""

    def refuse(_):
        raise RuntimeError("can't start new thread")

    clock = Clock()
    pulse = pulse_of(clock)
    monkeypatch.setattr("lib.cycle.starvation.threading.Thread.start", refuse)
    with pulse.taken():
        clock.now += 100.0

        assert pulse.why_starved(10.0) is None


@pytest.mark.parametrize(("answer", "is_starved"), [(ANSWERED, False), (SILENT, True), (Stopped(), False)])
def test_an_engine_that_gave_no_sign_of_life_is_found(answer, is_starved):
    """It is asked while the step runs: at its end it may have come back. A monitor that stops is not silence."""
    asked = threading.Event()
    ticks = count(1000.0, BEAT_SECONDS)

    def engine(command):
        assert command.argv[1] == "version"
        asked.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    pulse = pulse_of(lambda: next(ticks), engine)
    with pulse.taken():
        assert asked.wait(LONG)

    assert pulse.why_starved(10.0) == (
        "the docker daemon did not answer for a while, and then did again" if is_starved else None
    )


def steps_before(**seconds):
    return [Step(StepName(name), Outcome.OK, taken) for name, taken in seconds.items()]


OTHERS_BASE = Reference("docker.io", "library/alpine")


@pytest.mark.parametrize(
    ("step_timeout", "cycle_timeout", "before", "given", "is_short"),
    [
        pytest.param(6.0, 7.0, {"pull": 0.2, "build": 5.0}, 1.7, True, id="a build took what the push should have had"),
        pytest.param(6.0, 7.0, {"pull": 0.2}, 6.0, False, id="it had its whole deadline"),
        pytest.param(6.0, 7.0, {"pull": 5.0, "build": 1.0}, 1.0, False, id="the network itself took it"),
        pytest.param(6.0, 7.0, {"pull": 0.2, "build": 0.9}, 5.8, False, id="next to nothing is missing"),
        pytest.param(120.0, 7.0, {"pull": 0.2, "build": 5.0}, 1.7, True, id="the cycle's deadline, mostly the build's"),
        pytest.param(60.0, 5.0, {"pull": 0.3, "build": 1.0}, 3.5, False, id="the cycle's deadline, mostly the push's"),
        pytest.param(6.0, 10.0, {"pull": 0.2, "base": 8.0}, 1.7, True, id="another registry took it"),
    ],
)  # fmt: skip
def test_time_belongs_to_whom_it_was_taken_by(step_timeout, cycle_timeout, before, given, is_short):
    """Time missing from a step's deadline counts against this host only if the registry's own steps did not take it."""
    target = Target("lab", REFERENCE, step_timeout=step_timeout, cycle_timeout=cycle_timeout, base_image=OTHERS_BASE)

    assert bool(why_short(target, steps_before(**before), given)) is is_short


def test_a_base_of_the_registrys_own_is_the_registrys_time():
    """It is the monitored registry that took so long."""
    target = Target("lab", REFERENCE, step_timeout=6.0, cycle_timeout=10.0)

    assert why_short(target, steps_before(base=8.0), 1.7) is None


def test_what_took_the_time_is_said():
    """How much there was, and how much there should have been."""
    target = Target("lab", REFERENCE, step_timeout=6.0, cycle_timeout=7.0)
    failed = Step(StepName.BUILD, Outcome.FAILED, 5.0, Failure(Reason.BUILD, "why"))

    assert why_short(target, [failed], 1.7) == (
        "it had 1.7 s instead of 6.0 s: work on this host took the rest of the cycle's time"
    )
