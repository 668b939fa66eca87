"""`once`: every target's cycle is run and told, in text or JSON, whatever docker printed and whoever reads it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.command import Stopped
from lib.failure import ADVICE, Reason
from lib.once import JsonWriter, Narrator, can_be_drawn_on, exit_code, legible, run_cycles
from lib.result import Outcome, Step, StepName
from tests.unit.examples import a_failed_cycle, a_target, an_up_cycle

PROGRAM = Path(__file__).resolve().parents[2] / "monitor.py"
SECONDS = 60


def failed_step(*output, detail="503 Service Unavailable"):
    reason = Reason.SERVER_ERROR
    return Step(StepName.PUSH, Outcome.FAILED, 50.5, reason, reason.scope, detail, retries=5, output=output)


# What runs.


def test_cycles_come_back_in_the_order_of_their_targets_and_are_told_as_they_end():
    first_may_end = threading.Event()
    targets = [a_target("slow"), a_target("fast")]
    told = []

    def run(target):
        if target.name == "slow":
            assert first_may_end.wait(SECONDS)
        return an_up_cycle(target.name)

    def tell(cycle):
        told.append(cycle.target)
        first_may_end.set()

    assert [cycle.target for cycle in run_cycles(run, targets, 2, tell)] == ["slow", "fast"]
    assert told == ["fast", "slow"]


def test_no_more_cycles_run_at_a_time_than_are_allowed():
    together = threading.Barrier(3)
    lock, at_work, most = threading.Lock(), set(), []

    def run(target):
        with lock:
            at_work.add(target)
            most.append(len(at_work))
        together.wait(SECONDS)
        with lock:
            at_work.remove(target)
        return an_up_cycle(target.name)

    run_cycles(run, [a_target(f"t{number}") for number in range(9)], 3, lambda _: None)

    assert max(most) == 3


def test_a_cycle_that_is_stopped_stops_all():
    def run(_):
        raise Stopped

    with pytest.raises(Stopped):
        run_cycles(run, [a_target()], 1, lambda _: None)


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


# What is told.


def test_plain_lines_begin_with_the_target_and_tell_what_is_known():
    stream = io.StringIO()
    narrator = Narrator(stream, [a_target("quay"), a_target("hub")])
    failed = a_failed_cycle(target="hub")

    with narrator:
        narrator.step_started(a_target("hub"), StepName.PULL)
        for step in failed.steps:
            narrator.step_finished(a_target("hub"), step)
        narrator.cycle_finished(failed)
        narrator.cycle_finished(an_up_cycle("quay"))
        narrator.all_finished([failed])

    assert stream.getvalue().splitlines() == [
        "hub   pull      skipped    0.100 s",
        "hub   build     ok         0.200 s",
        "hub   push      failed    50.500 s  server_error (registry)  (docker tried 6 times)",
        "hub   DOWN after 2.000 s",
        "hub     push failed, server_error (registry): received unexpected HTTP status: 503 Service Unavailable",
        "hub     | Retrying in 1 second",
        f"hub     What to do: {ADVICE[Reason.SERVER_ERROR]}",
        "quay  UP after 2.000 s",
    ]


def test_json_is_one_object_and_nothing_else():
    stream = io.StringIO()
    writer = JsonWriter(stream)
    cycles = [an_up_cycle(), a_failed_cycle()]

    with writer:
        writer.step_started(a_target(), StepName.PULL)
        writer.step_finished(a_target(), cycles[0].steps[0])
        writer.cycle_finished(cycles[0])
        assert stream.getvalue() == ""
        writer.all_finished(cycles)

    assert json.loads(stream.getvalue()) == {"cycles": [cycle.to_dict() for cycle in cycles]}


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

    Narrator(stream, [a_target()]).cycle_finished(cycle)

    assert stream.getvalue().replace("\n", "").isprintable()
    assert r"(registry): \x1b[31mred\r\x07" in stream.getvalue()
    assert r"| \x1b[31mred\r\x07 before" in stream.getvalue()


# Who reads.


@pytest.mark.parametrize("term", ["", "dumb", "unknown", "xterm-256color"])
def test_only_a_terminal_with_a_cursor_is_drawn_on(term):
    master, slave = os.openpty()
    with os.fdopen(master), os.fdopen(slave, "w") as terminal:
        assert can_be_drawn_on(terminal, term) is (term == "xterm-256color")
        assert not can_be_drawn_on(io.StringIO(), term)


def test_it_goes_on_where_nobody_reads_any_more():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        narrator = Narrator(stream, [a_target()])
        narrator.cycle_finished(an_up_cycle())
        narrator.cycle_finished(a_failed_cycle())
        JsonWriter(stream).all_finished([an_up_cycle()])


def test_what_could_not_be_written_for_another_reason_is_told():
    stream = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115, PTH123  it can't be closed in order
    with pytest.raises(OSError, match="No space left"):
        JsonWriter(stream).all_finished([an_up_cycle()])
    with pytest.raises(OSError, match="No space left"):
        stream.close()


@pytest.mark.parametrize("option", ["-version", "-help", "-check-config"])
def test_what_only_prints_ends_without_a_word_when_its_reader_has(option):
    reader, writer = os.pipe()
    os.close(reader)
    run = subprocess.run(
        [sys.executable, PROGRAM, option, "-repository=quay.io/acme/canary"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)

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
