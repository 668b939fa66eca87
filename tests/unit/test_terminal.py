"""`once` on a terminal, seen on a screen that refuses every control except the few that drawing takes."""

from __future__ import annotations

import io
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from types import SimpleNamespace

import pytest

from lab.screen import Screen
from lib.failure import Reason
from lib.log import setup_logging
from lib.once.terminal import Terminal, console_on
from lib.progress import Progress
from lib.rested import Cold
from lib.result import Outcome, Step, StepName
from lib.watch.status import TargetStatus
from tests.unit.examples import NOON, HandClock, a_cycle, a_failed_cycle, a_lost_image, a_target, an_up_cycle

NAMES = tuple(f"target-{number:02}" for number in range(60))


class Play:
    """A terminal of some size, and cycles played on it by hand.

    Attributes:
        terminal: what is tested.
        clock: its clock.
    """

    def __init__(self, *names, columns=80, height=24, stream=None):
        self.stream = io.StringIO() if stream is None else stream
        console = console_on(self.stream)
        console.size = (columns, height)
        self.size = (columns, height)
        self.clock = HandClock()
        self.targets = {
            name: SimpleNamespace(target=target_called(name), progress=Progress(self.clock.monotonic)) for name in names
        }
        self.terminal = Terminal(console, list(self.targets.values()), self.clock.monotonic)

    def start(self, name, *steps, running=None):
        """Play a cycle's finished steps and the one that runs."""
        progress = self.targets[name].progress
        for step in steps:
            progress.step_started(step.name)
            progress.step_finished(step)
        if running:
            progress.step_started(running)

    def finish(self, cycle):
        self.start(cycle.target, *cycle.steps)
        self.targets[cycle.target].progress.cycle_finished()
        self.terminal.cycle_finished(cycle)

    def all(self, *cycles):
        """Play whole cycles, and return what is left on the screen."""
        with self.terminal:
            for cycle in cycles:
                self.finish(cycle)
            self.terminal.all_finished(cycles, ())
        return str(self.screen())

    def draw(self):
        self.terminal._live.refresh()

    def screen(self, columns=None):
        """Draw once more, and return the screen as it is now."""
        self.draw()
        screen = Screen(columns or self.size[0], self.size[1])
        screen.feed(self.stream.getvalue())
        return screen


def target_called(name):
    return a_target(name, reference="quay.io/acme/canary")


def failed_cycle(detail, *output, target="quay"):
    cycle = a_failed_cycle(target=target)
    *before, failed = cycle.steps
    return replace(
        cycle, steps=(*before, replace(failed, failure=replace(failed.failure, detail=detail), output=output))
    )


# While cycles run.


def test_a_cycle_under_way_shows_its_steps_with_their_times_and_the_one_that_runs():
    play = Play("quay")
    pull = Step(StepName.PULL, Outcome.OK, 0.456, retries=2)
    login = Step(StepName.LOGIN, Outcome.SKIPPED, 0.1)
    with play.terminal:
        play.start("quay", login, pull, running=StepName.PUSH)
        play.clock.advance(1.24)

        screen = play.screen()
        head, steps = str(screen).splitlines()
        spinner = head[0]
        assert head == f"{spinner} quay  1.2 s"
        assert steps == f"  - login skipped  ✓ pull 0.46 s (3 tries)  {spinner} push 1.2 s"
        assert not screen.shows_cursor

        play.clock.advance(0.1)
        assert str(play.screen())[0] != spinner


@pytest.mark.parametrize(("columns", "told"), [(80, "pull 0.40 s (unpack 0.25 s)"), (60, "pull 0.40 s")])
def test_a_step_says_what_it_took_longest_for(columns, told):
    """If there is room for that."""
    pull = Step(StepName.PULL, Outcome.OK, 0.4, spent=(0.1, 0.05, 0.25))
    assert f"✓ {told}\n" in Play("quay", columns=columns).all(a_cycle((pull,), "quay", NOON, 0.5))


def test_a_finished_cycle_stands_above_those_under_way_and_is_counted():
    play = Play("quay", "hub", "ghcr")
    with play.terminal:
        play.start("hub", running=StepName.LOGIN)
        play.finish(an_up_cycle("quay"))

        lines = str(play.screen()).splitlines()
        assert lines[0] == "✓ quay  up after 2.00 s"
        assert lines[1].startswith("  ✓ pull 0.25 s  ✓ build 0.25 s")
        assert "hub" in lines[2]
        assert lines[4].endswith(" 1 of 3 finished: 1 up")
        assert len(lines) == 5


def test_more_cycles_than_fit_the_screen_never_leave_it():
    """With sixty under way and finishing one by one, nothing of a drawing is left where it can't be erased."""
    play = Play(*NAMES)
    with play.terminal:
        for name in NAMES:
            play.start(name, running=StepName.PULL)
        screen = play.screen()
        assert len(screen.lines) < 24
        assert "  and 50 more under way" in screen.lines
        for name in NAMES:
            play.finish(an_up_cycle(name))
        assert [line for line in str(play.screen()).splitlines() if "target" in line] == [
            f"✓ {name}  up after 2.00 s" for name in NAMES
        ]


def test_cycles_that_end_while_others_are_drawn_lose_no_line(monkeypatch):
    """The next drawing erases the last one, and not what was printed since."""
    monkeypatch.setattr("lib.once.live._FRAMES_PER_SECOND", 1000)
    play = Play(*NAMES)
    with play.terminal, ThreadPoolExecutor(8) as pool:
        for name in NAMES:
            play.start(name, running=StepName.PULL)
        list(pool.map(lambda name: play.finish(an_up_cycle(name)), NAMES))

    heads = [line for line in str(play.screen()).splitlines() if "target" in line]
    assert sorted(heads) == [f"✓ {name}  up after 2.00 s" for name in NAMES]


@pytest.mark.parametrize(("columns", "height"), [(80, 24), (40, 12), (40, 5)])
def test_of_a_full_screen_nothing_is_left_once_it_is_stopped(columns, height):
    play = Play("a", "b", "c", *NAMES, columns=columns, height=height)
    with play.terminal:
        for cycle in (an_up_cycle("a"), a_failed_cycle(target="b"), a_failed_cycle(Reason.DAEMON, target="c")):
            play.finish(cycle)
        for name in NAMES:
            play.start(name, running=StepName.PULL)
        assert len(play.screen().lines) >= height
        assert "more under" in str(play.screen())

    assert str(play.screen()).splitlines()[-1] == "Stopped with 3 of 63 finished."
    assert "target" not in str(play.screen())


# What is shown at the end.


def test_the_end_is_a_table_then_each_failure_then_the_count():
    text = Play("quay", "hub").all(an_up_cycle("quay"), a_failed_cycle(target="hub"))

    told = text[text.index("\n\n") :].strip("\n").splitlines()
    assert [line.split() for line in told[:4:2]] == [
        ["target", "verdict", "seconds", "slowest", "step", "reason", "(scope)"],
        ["quay", "✓", "up", "2.00", "pull", "0.25", "s"],
    ]
    assert told[3].split() == ["hub", "✗", "down", "2.00", "push", "50.50", "s", "server_error", "(registry)"]
    assert told[5:] == [
        "✗ hub",
        "  step        push, failed after 50.50 s, docker tried 6 times",
        "  reason      server_error",
        "  scope       registry",
        "  detail      received unexpected HTTP status: 503 Service Unavailable",
        "  last lines  Retrying in 1 second",
        "  what to do  Look at the registry's own logs and storage, then at what stands",
        "              in front of it.",
        "",
        "✓ 1 up, ✗ 1 down",
    ]


def test_each_verdict_has_a_mark_and_a_word():
    text = Play("a", "b", "c").all(
        an_up_cycle("a"), a_failed_cycle(Reason.DNS, target="b"), a_failed_cycle(Reason.DAEMON, target="c")
    )

    assert text.endswith("✓ 1 up, ✗ 1 down, ? 1 unknown")
    assert "? c  unknown after 2.00 s: push failed, daemon (host)" in text


@pytest.mark.parametrize("columns", [40, 80, 120, 240])
def test_every_width_is_kept_to_and_nothing_is_cut(columns):
    name = "registry.example.com:5000/some/team/canary"
    play = Play(name, columns=columns)
    play.all(failed_cycle("Z" * 300, "Q" * 300, target=name))

    lines = str(play.screen(columns=1000)).splitlines()
    text = "".join(line.strip() for line in lines)
    assert max(map(len, lines)) <= columns
    assert (text.count("Z"), text.count("Q")) == (300, 300)
    assert text.count(name) >= 2
    assert "push failed, server_error" in " ".join(line.strip() for line in lines)


def test_a_narrow_table_leaves_out_what_the_lines_around_it_tell():
    text = Play("quay", columns=40).all(a_failed_cycle())

    header = next(line for line in text.splitlines() if "verdict" in line)
    assert header.split() == ["target", "verdict", "seconds"]
    assert f"reason      {Reason.SERVER_ERROR}" in text


# What docker printed.


def test_hostile_words_of_docker_reach_the_screen_as_they_are_and_do_nothing():
    """Neither markup nor escapes, line ends or other controls are obeyed: the screen refuses what is not drawing."""
    hostile = "[red]x[/red] [link=http://evil]y[/] :boom: \x1b[31m \x1b]0;title\x07 \r\x9b2J \u202e \udcff"
    text = Play("[bold]", columns=200).all(failed_cycle(hostile, f"last {hostile}", "[/]", target="[bold]"))

    shown = r"[red]x[/red] [link=http://evil]y[/] :boom: \x1b[31m \x1b]0;title\x07 \r\x9b2J \u202e \udcff"
    assert f"  detail      {shown}\n" in text
    assert f"  last lines  last {shown}\n              [/]\n" in text
    assert "✗ [bold]  down after" in text


# What the terminal is.


def test_without_colour_it_is_drawn_all_the_same(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = Play("quay")
    coloured.all(a_failed_cycle())
    monkeypatch.setenv("NO_COLOR", "1")
    play = Play("quay")
    play.all(a_failed_cycle())

    assert {"32", "1;31"} <= coloured.screen().colours
    assert play.screen().colours <= {"0", "1", "2"}
    assert str(play.screen()) == str(coloured.screen())
    assert "\x1b[?25l" in play.stream.getvalue(), "it was not drawn on"


def test_a_terminal_that_knows_no_unicode_gets_none():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    play = Play("quay", "hub", stream=stream)
    with play.terminal:
        play.start("quay", running=StepName.PULL)
        play.draw()
        play.finish(a_failed_cycle())
        play.finish(an_up_cycle("hub"))
        play.terminal.all_finished([a_failed_cycle(), an_up_cycle("hub")], ())

    text = raw.getvalue().decode("ascii")
    screen = Screen(80, 24)
    screen.feed(text)
    assert str(screen).startswith("x quay  down after 2.00 s")
    assert str(screen).endswith("+ 1 up, x 1 down")


def test_one_that_is_stopped_leaves_a_cursor_and_says_how_far_it_came():
    play = Play("quay", "hub", "ghcr")
    with play.terminal:
        play.finish(an_up_cycle("quay"))
        play.start("hub", running=StepName.PULL)
        assert not play.screen().shows_cursor

    screen = play.screen()
    assert screen.shows_cursor
    assert str(screen).splitlines()[2:] == ["Stopped with 1 of 3 finished."]


# A terminal that standard error is, too.


class PseudoTerminal:
    """A terminal that somebody reads. A context manager.

    Attributes:
        stream: the program's end.
        text: at the end, all that was written to it.
    """

    def __enter__(self):
        self._people, program = os.openpty()
        self.stream = os.fdopen(program, "w", encoding="utf-8")
        self._reader = Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_):
        self.stream.close()
        self._reader.join()
        os.close(self._people)

    def _read(self):
        written = b""
        with suppress(OSError):  # the program's end is closed
            while True:
                written += os.read(self._people, 4096)
        self.text = written.decode()


@pytest.fixture
def logging_to():
    """Given a stream, log there until the test ends."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    yield lambda stream: setup_logging("info", "text", stream)
    root.handlers = before
    root.setLevel(level)


def test_what_is_logged_to_the_same_terminal_stands_above_what_is_drawn(logging_to):
    with PseudoTerminal() as terminal, os.fdopen(os.dup(terminal.stream.fileno()), "w", encoding="utf-8") as errors:
        logging_to(errors)
        play = Play("quay", "hub", stream=terminal.stream)
        with play.terminal:
            play.start("quay", running=StepName.PULL)
            play.draw()
            logging.getLogger("test").warning("one [red] event", extra={"target": "quay"})
            play.finish(an_up_cycle("quay"))
            play.finish(an_up_cycle("hub"))
        logging.getLogger("test").warning("after all")

    screen = Screen(80, 24)
    screen.feed(terminal.text)
    event, head, *_, after = str(screen).splitlines()
    assert event.endswith('level=warn msg="one [red] event" target=quay')
    assert head == "✓ quay  up after 2.00 s"
    assert after.endswith('level=warn msg="after all"')


def test_what_is_logged_elsewhere_stays_there(logging_to):
    log = io.StringIO()
    logging_to(log)
    with PseudoTerminal() as terminal:
        play = Play("quay", stream=terminal.stream)
        with play.terminal:
            logging.getLogger("test").warning("an event")
            play.finish(an_up_cycle("quay"))

    assert "an event" in log.getvalue()
    assert "quay" in terminal.text
    assert "an event" not in terminal.text


def test_a_terminal_that_is_closed_is_no_reason_to_end(monkeypatch):
    people, program = os.openpty()
    unraised = []
    monkeypatch.setattr("threading.excepthook", unraised.append)
    with os.fdopen(program, "w", encoding="utf-8") as stream:
        play = Play("quay", stream=stream)
        with play.terminal:
            play.start("quay", running=StepName.PULL)
            os.close(people)
            play.draw()
            play.finish(an_up_cycle("quay"))
            play.terminal.all_finished([an_up_cycle("quay")], ())
    assert unraised == []


def test_what_becomes_of_a_rested_image_stands_above_what_is_drawn():
    play = Play("quay", columns=100)
    with play.terminal:
        play.terminal.rested_finished(target_called("quay"), a_lost_image())
        play.finish(an_up_cycle("quay"))
    assert "quay  canary-cold-2: rested image, lost: not_found (registry): manifest unknown" in str(play.screen())


def test_what_the_cycles_do_not_say_stands_between_the_failures_and_the_count():
    play, lost = Play("quay", columns=100), TargetStatus(target_called("quay"), None, Cold((a_lost_image(),)))
    with play.terminal:
        play.finish(an_up_cycle("quay"))
        play.terminal.all_finished([an_up_cycle("quay")], [lost])
    assert str(play.screen()).splitlines()[-2:] == ["! quay  1 of its 1 rested images is lost", "✓ 1 up"]
