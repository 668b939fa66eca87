"""`once`: every target's cycle is run and shown, in text or JSON, whatever docker printed and whoever reads it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.command import Stopped
from lib.ending import NotNow
from lib.failure import Failure, Reason, Verdict
from lib.once import JsonReporter, LineReporter, can_be_drawn_on, exit_code, legible, run_cycles
from lib.rested import Cold
from lib.result import Outcome, Step, StepName
from lib.target import Anonymous, StrangersMay
from lib.watch.status import TargetStatus
from tests.unit.examples import NOON, a_failed_cycle, a_lost_image, a_standing, a_target, an_up_cycle

#: A target of which there is more to say than its verdict.
STRANGE = TargetStatus(
    a_target(anonymous=Anonymous.REFUSED, cold_images=1),
    a_standing(an_up_cycle(), strangers=StrangersMay(pull=False, push=True)),
    Cold((a_lost_image(),)),
)
PROGRAM = Path(__file__).resolve().parents[2] / "monitor.py"
SECONDS = 60


def failed_step(*output, detail="503 Service Unavailable"):
    failure = Failure(Reason.SERVER_ERROR, detail)
    return Step(StepName.PUSH, Outcome.FAILED, 50.5, failure, retries=5, output=output)


def test_what_becomes_of_a_rested_image_is_one_line():
    written = io.StringIO()
    reporter = LineReporter(written, [a_target()])
    lost = a_lost_image()
    reporter.rested_finished(a_target(), lost)
    reporter.rested_finished(a_target(), replace(lost, checked=None, verdict=None, failure=None))
    reporter.rested_finished(a_target(), replace(lost, verdict=Verdict.UP, failure=None))
    reporter.rested_finished(a_target(), replace(lost, digest=None))
    warm = Failure(Reason.WARM, "it was here")
    reporter.rested_finished(a_target(), replace(lost, verdict=Verdict.UNKNOWN, failure=warm))
    assert written.getvalue().splitlines() == [
        "quay  canary-cold-2: rested image, lost: not_found (registry): manifest unknown",
        "quay  canary-cold-2: rested image, pushed",
        "quay  canary-cold-2: rested image, intact",
        "quay  canary-cold-2: rested image, could not be pushed: not_found (registry): manifest unknown",
        "quay  canary-cold-2: rested image, the check was inconclusive: warm (host): it was here",
    ]


# What runs.


class Turns:
    """A target whose turns are run here."""

    def __init__(self, name, run, partner=None, **options):
        self.name = name
        self.run = run
        self.target = a_target(name, **options)
        self.shares = frozenset({name, partner or name})

    def take_turn(self, lag):
        assert lag == 0.0
        self.run(self.name)
        return an_up_cycle(self.name)


def test_those_that_take_turns_never_run_at_the_same_time():
    under_way, overlaps = set(), []

    def run(name):
        overlaps.extend((name, other) for other in under_way)
        under_way.add(name)
        threading.Event().wait(0.02)
        under_way.remove(name)

    names = ["a", "b", "c", "d"]
    cycles = run_cycles([Turns(name, run, partner="b" if name == "d" else "a") for name in names], 4)
    assert [cycle.target for cycle in cycles] == names
    assert overlaps == []


def test_sources_come_before_their_replicas_and_those_that_meet_in_a_third_take_turns():
    ran = []
    replicas = [Turns(name, ran.append, "source", replica_of="source", read_only=True) for name in ("r1", "r2")]
    targets = [*replicas, Turns("source", ran.append)]
    assert [cycle.target for cycle in run_cycles(targets, 4)] == ["r1", "r2", "source"]
    assert ran == ["source", "r1", "r2"]


def test_cycles_come_back_in_the_order_of_their_targets():
    first_may_end = threading.Event()

    def run(name):
        if name == "slow":
            assert first_may_end.wait(SECONDS)
        else:
            first_may_end.set()

    targets = [Turns(name, run) for name in ("slow", "fast")]
    assert [cycle.target for cycle in run_cycles(targets, 2)] == ["slow", "fast"]


def test_no_more_cycles_run_at_a_time_than_are_allowed():
    together = threading.Barrier(3)
    lock, at_work, most = threading.Lock(), set(), []

    def run(name):
        with lock:
            at_work.add(name)
            most.append(len(at_work))
        together.wait(SECONDS)
        with lock:
            at_work.remove(name)

    run_cycles([Turns(f"t{number}", run) for number in range(9)], 3)

    assert max(most) == 3


def test_a_cycle_that_is_stopped_stops_all():
    def run(_):
        raise Stopped

    with pytest.raises(Stopped):
        run_cycles([Turns("quay", run)], 1)


@pytest.mark.parametrize(
    ("cycles", "code"),
    [
        ([an_up_cycle(), an_up_cycle()], 0),
        ([an_up_cycle(), a_failed_cycle(Reason.DAEMON)], 3),
        ([a_failed_cycle(Reason.DAEMON), a_failed_cycle(Reason.DNS), an_up_cycle()], 1),
    ],
)
def test_the_exit_code_is_the_worst_verdicts(cycles, code):
    assert exit_code(cycles) == code


# What is shown.


def test_plain_lines_begin_with_the_target_and_tell_what_is_known():
    stream = io.StringIO()
    reporter = LineReporter(stream, [a_target("quay"), a_target("hub")])
    failed = a_failed_cycle(target="hub")

    with reporter:
        reporter.step_started(a_target("hub"), StepName.PULL)
        for step in failed.steps:
            reporter.step_finished(a_target("hub"), step)
        reporter.cycle_finished(failed)
        reporter.cycle_finished(an_up_cycle("quay"))
        reporter.all_finished([failed], ())

    assert stream.getvalue().splitlines() == [
        "hub   pull      skipped    0.100 s",
        "hub   build     ok         0.200 s",
        "hub   push      failed    50.500 s  server_error (registry)  (docker tried 6 times)",
        "hub   DOWN after 2.000 s",
        "hub     push failed, server_error (registry): received unexpected HTTP status: 503 Service Unavailable",
        "hub     | Retrying in 1 second",
        f"hub     What to do: {Reason.SERVER_ERROR.advice}",
        "quay  UP after 2.000 s",
    ]


def test_json_is_one_object_and_nothing_else():
    stream = io.StringIO()
    reporter = JsonReporter(stream)
    cycles = [an_up_cycle(), a_failed_cycle()]

    with reporter:
        reporter.step_started(a_target(), StepName.PULL)
        reporter.step_finished(a_target(), cycles[0].steps[0])
        reporter.cycle_finished(cycles[0])
        assert stream.getvalue() == ""
        reporter.all_finished(cycles, [STRANGE])

    assert json.loads(stream.getvalue()) == {
        "cycles": [cycle.to_dict() for cycle in cycles],
        "targets": [STRANGE.to_dict(NOON)],
    }


def test_what_the_cycles_do_not_say_is_said_at_the_end():
    stream = io.StringIO()
    LineReporter(stream, [a_target()]).all_finished([an_up_cycle()], [STRANGE])
    assert stream.getvalue().splitlines() == [f"quay  {remark}" for remark in STRANGE.remarks]
    assert len(STRANGE.remarks) == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("two\r\nlines\x9b", r"two\r\nlines\x9b"),
        ("a\tb", "a   b"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
        ("\udcff", r"\udcff"),
        ("Käse [red] 🧀", "Käse [red] 🧀"),
    ],
)
def test_what_could_fool_a_terminal_is_written_out(text, shown):
    assert legible(text) == shown


@given(st.text())
def test_any_text_is_made_legible(text):
    shown = legible(text)

    assert shown.isprintable()
    assert not text.isprintable() or shown == text


def test_no_control_of_dockers_reaches_the_plain_lines():
    stream = io.StringIO()
    hostile = "\x1b[31mred\r\x07"
    step = failed_step(f"{hostile} before", hostile, detail=hostile)
    cycle = a_failed_cycle()
    object.__setattr__(cycle, "steps", (step,))

    LineReporter(stream, [a_target()]).cycle_finished(cycle)

    assert stream.getvalue().replace("\n", "").isprintable()
    assert r"(registry): \x1b[31mred\r\x07" in stream.getvalue()
    assert r"| \x1b[31mred\r\x07 before" in stream.getvalue()


def test_a_line_has_the_phases_of_its_step():
    stream = io.StringIO()

    step = Step(StepName.PULL, Outcome.OK, 0.371, retries=1, spent=(0.05, 0.211, 0.11))
    LineReporter(stream, [a_target()]).step_finished(a_target(), step)

    phases = "(resolve 0.050, transfer 0.211, unpack 0.110)"
    assert stream.getvalue() == f"quay  pull      ok         0.371 s  {phases}  (docker tried 2 times)\n"


# Who reads.


@pytest.mark.parametrize("term", ["", "dumb", "unknown", "xterm-256color"])
def test_only_a_terminal_with_a_cursor_is_drawn_on(term):
    master, slave = os.openpty()
    with os.fdopen(master), os.fdopen(slave, "w") as terminal:
        assert can_be_drawn_on(terminal, term) is (term == "xterm-256color")
        assert not can_be_drawn_on(io.StringIO(), term)


def test_it_goes_on_where_nobody_reads_any_more():
    reader, reporter = os.pipe()
    os.close(reader)
    with os.fdopen(reporter, "w") as stream:
        reporter = LineReporter(stream, [a_target()])
        reporter.cycle_finished(an_up_cycle())
        reporter.cycle_finished(a_failed_cycle())
        JsonReporter(stream).all_finished([an_up_cycle()], ())


def test_what_could_not_be_written_for_another_reason_is_told():
    stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115, PTH123  it is closed below
    with pytest.raises(NotNow, match="the output can't be written: No space left"):
        JsonReporter(stream).all_finished([an_up_cycle()], ())
    stream.close()  # what is left of it leads nowhere


@pytest.mark.parametrize("option", ["-version", "-help", "-check-config"])
def test_what_only_prints_ends_without_a_word_when_its_reader_has(option):
    reader, reporter = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [sys.executable, PROGRAM, option, "-repository=quay.io/acme/canary"],
        stdout=reporter,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(reporter)

    assert run.stderr == b""


def test_a_sign_that_an_output_does_not_have_is_written_as_a_number(tmp_path):
    config = tmp_path / "monitor.yml"
    config.write_text("targets: [{name: Käse, repository: quay.io/acme/canary}]", encoding="utf-8")
    run = subprocess.run(
        [sys.executable, PROGRAM, "-check-config", f"-config={config}"],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )

    assert b"target K\\xe4se\n" in run.stdout


def test_only_a_terminal_takes_rich():
    program = "import sys, monitor, lib.monitor; monitor.main(['-version'], {}); print('rich' in sys.modules)"

    run = subprocess.run(
        [sys.executable, "-c", program], cwd=PROGRAM.parent, capture_output=True, check=True, text=True
    )

    assert run.stdout.splitlines()[1:] == ["False"]
