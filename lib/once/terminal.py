"""Shows people at a terminal the cycles of `once`: steps as they run, then a table, then each failure.

Finished cycles scroll up; below them are those under way, as many as the screen has room for. No text is passed to rich
as a string: rich would read markup in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from threading import Lock
from types import TracebackType
from typing import Self, TextIO

from rich import box
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from lib.failure import Verdict
from lib.once import Reporter, last_lines, legible, rested_in_words, tries
from lib.once.live import LiveDisplay
from lib.progress import CycleUnderWay
from lib.rested import RestedImage
from lib.result import Cycle, Outcome, Step
from lib.target import Target
from lib.watch.status import TargetStatus
from lib.watch.watched import Watched

_BAR_WIDTH = 20
#: With fewer columns there is no bar, and the table leaves out what the lines around it show anyway.
_WIDE = 72
#: Lines below the cycles under way: how many more there are, how many have finished (up to two lines), the cursor.
_LINES_BELOW = 4

_MARKS: Mapping[Verdict | Outcome, tuple[str, str]] = {
    Verdict.UP: ("✓", "green"),
    Verdict.DOWN: ("✗", "bold red"),
    Verdict.UNKNOWN: ("?", "yellow"),
    Outcome.OK: ("✓", "green"),
    Outcome.FAILED: ("✗", "bold red"),
    Outcome.SKIPPED: ("-", "dim"),
}
_SPINS_PER_SECOND = 10
_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
#: The same for a terminal that is not UTF-8.
_ASCII_MARKS = str.maketrans({"✓": "+", "✗": "x"})
_ASCII_SPINNER = "|/-\\"


def console_on(stream: TextIO) -> Console:
    """Given a stream that is a terminal, return rich's console there, which respects NO_COLOR, COLUMNS and LINES."""
    return Console(file=stream, force_terminal=True, markup=False, emoji=False, highlight=False)


class Terminal(Reporter):
    """Draws the progress of the cycles under way; shows each finished one for good, and all of them at the end."""

    def __init__(
        self, console: Console, targets: Sequence[Watched], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Given the console to draw on, all targets, and the clock of their progress."""
        self._console = console
        self._targets = targets
        self._expected = len(targets)
        self._clock = clock
        self._verdicts: Counter[Verdict] = Counter()
        self._lock = Lock()
        self._live = LiveDisplay(self, console)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was, below everything that was shown."""
        self._live.stop()
        finished = self._verdicts.total()
        if finished < self._expected:
            self._live.print(Text(f"Stopped with {finished} of {self._expected} finished."))

    def cycle_finished(self, cycle: Cycle) -> None:
        """Show a cycle's result for good, above those under way."""
        with self._lock:
            self._verdicts[cycle.verdict] += 1
        failed = cycle.failed
        why = f": {failed.name} failed, {failed.reason} ({failed.scope})" if failed else ""
        head = self._head(
            self._mark(cycle.verdict), cycle.target, f"{cycle.verdict} after {_seconds(cycle.seconds)}{why}"
        )
        self._live.print(_block(head, [self._step(step) for step in cycle.steps]))

    def rested_finished(self, target: Target, image: RestedImage) -> None:
        """Show the push or check of a rested image for good."""
        mark = self._mark(image.verdict or Outcome.OK)
        self._live.print(self._head(mark, target.name, f"{image.tag}: {rested_in_words(image)}"))

    def all_finished(self, cycles: Sequence[Cycle], statuses: Sequence[TargetStatus]) -> None:
        """Show the result: a table, each failure and what to do, other findings, then how many are up."""
        self._live.stop()
        self._live.print(self._table(cycles))
        for cycle in cycles:
            if cycle.failed is not None:
                head = self._head(self._mark(cycle.verdict), cycle.target)
                self._live.print(head, self._failure(cycle.failed), Text())
        for status in statuses:
            for remark in status.remarks:
                self._live.print(self._head(Text("!", "yellow"), status.target.name, remark))
        verdicts = [
            self._mark(verdict).append(f" {self._verdicts[verdict]} {verdict}")
            for verdict in Verdict
            if self._verdicts[verdict]
        ]
        self._live.print(Text(", ").join(verdicts))

    # What is drawn while cycles run.

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as many cycles under way as there is room for, and the progress of all."""
        with self._lock:
            verdicts = self._verdicts.copy()
        cycles = ((watched.target.name, watched.progress.cycle) for watched in self._targets)
        under_way = sorted(((name, cycle) for name, cycle in cycles if cycle), key=lambda one: one[1].since)
        room = options.size.height - _LINES_BELOW
        for number, (name, cycle) in enumerate(under_way):
            lines = console.render_lines(self._running(name, cycle), options, pad=False)
            room -= len(lines)
            if room < 0:
                yield Text(f"  and {len(under_way) - number} more under way", style="dim")
                break
            for line in lines:
                yield from (*line, Segment.line())
        if self._expected > 1:
            yield self._progress(verdicts)

    def _running(self, target: str, cycle: CycleUnderWay) -> RenderableType:
        now = self._clock()
        steps = [self._step(step) for step in cycle.done]
        if cycle.step is not None:
            running = f" {cycle.step.name} {now - cycle.step.since:.1f} s"
            steps.append(self._spinner().append(running, style="bold"))
        return _block(self._head(self._spinner(), target, f"{now - cycle.since:.1f} s"), steps)

    def _progress(self, verdicts: Counter[Verdict]) -> RenderableType:
        told = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in Verdict if verdicts[verdict])
        finished = f"{verdicts.total()} of {self._expected} finished"
        text = Text(f"{finished}: {told}" if told else finished)
        if not self._is_wide:
            return text
        return _row(ProgressBar(self._expected, verdicts.total(), width=_BAR_WIDTH), text)

    # What is shown for good.

    def _table(self, cycles: Sequence[Cycle]) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("target", overflow="fold")
        table.add_column("verdict", no_wrap=True)
        table.add_column("seconds", no_wrap=True, justify="right")
        if self._is_wide:
            table.add_column("slowest step", no_wrap=True)
            table.add_column("reason (scope)", overflow="fold")
        for cycle in cycles:
            slowest = max(cycle.steps, key=lambda step: step.seconds, default=None)
            failed = cycle.failed
            row = (
                Text(cycle.target),
                self._mark(cycle.verdict).append(f" {cycle.verdict}"),
                Text(f"{cycle.seconds:.2f}"),
                Text(f"{slowest.name} {_seconds(slowest.seconds)}" if slowest else ""),
                Text(f"{failed.reason} ({failed.scope})" if failed else ""),
            )
            table.add_row(*row[: len(table.columns)])
        return table

    @staticmethod
    def _failure(failed: Step) -> RenderableType:
        retried = f", {tries(failed)}" if failed.retries else ""
        told = [
            ("step", f"{failed.name}, failed after {_seconds(failed.seconds)}{retried}"),
            ("reason", failed.reason),
            ("scope", failed.scope),
            ("detail", legible(failed.detail or "")),
            ("last lines", "\n".join(last_lines(failed))),
            ("what to do", failed.advice),
        ]
        rows = Table.grid(padding=(0, 2))
        rows.add_column(no_wrap=True, style="dim")
        rows.add_column(overflow="fold")
        for name, text in told:
            if text:
                rows.add_row(Text(name), Text(text))
        return Padding(rows, (0, 0, 0, 2))

    # Their parts.

    @staticmethod
    def _head(mark: Text, target: str, told: str = "") -> RenderableType:
        return _row(mark, Text.assemble((target, "bold"), f"  {told}" if told else "", overflow="fold"))

    def _step(self, step: Step) -> Text:
        told = "skipped" if step.outcome is Outcome.SKIPPED else _seconds(step.seconds)
        retried = f" ({step.retries + 1} tries)" if step.retries else ""
        if step.phases and self._is_wide:
            phase, seconds = max(step.phases.items(), key=itemgetter(1))
            told = f"{told} ({phase} {_seconds(seconds)})"
        return self._mark(step.outcome).append(f" {step.name} {told}{retried}", style="default")

    def _mark(self, result: Verdict | Outcome) -> Text:
        mark, style = _MARKS[result]
        return Text.assemble((mark.translate(_ASCII_MARKS) if self._is_ascii else mark, style))

    def _spinner(self) -> Text:
        signs = _ASCII_SPINNER if self._is_ascii else _SPINNER
        return Text.assemble((signs[int(self._clock() * _SPINS_PER_SECOND) % len(signs)], "cyan"))

    @property
    def _is_wide(self) -> bool:
        return self._console.width >= _WIDE

    @property
    def _is_ascii(self) -> bool:
        return self._console.options.ascii_only


def _row(*cells: RenderableType) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    row.add_row(*cells)
    return row


def _block(head: RenderableType, steps: Sequence[Text]) -> RenderableType:
    return Group(head, Padding(Columns(steps, padding=(0, 2)), (0, 0, 0, 2)))


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"
