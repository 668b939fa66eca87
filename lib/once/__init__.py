"""`once`: one cycle of every target, its steps shown as they happen, then the results.

Shown in plain lines or as JSON from here; on a terminal, by `lib.once.terminal`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from lib.failure import Verdict
from lib.progress import Listener
from lib.rested import RestedImage
from lib.result import Cycle, Step
from lib.streams import as_long_as_it_is_read
from lib.target import Target
from lib.watch.status import TargetStatus
from lib.watch.watched import Watched

_ALL_UP, _SOME_DOWN, _SOME_UNKNOWN = 0, 1, 3

#: Values of TERM that mean that the cursor can't be moved.
_NO_CURSOR = frozenset({"", "dumb", "unknown"})


class Reporter(Listener, AbstractContextManager["Reporter"]):
    """Shows the progress of the cycles, between its entry and its exit; this one shows nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing."""

    def all_finished(self, cycles: Sequence[Cycle], statuses: Sequence[TargetStatus]) -> None:
        """All cycles have ended: given are they, in the order of their targets, and the targets' statuses now."""


class LineReporter(Reporter):
    """Shows each step as it ends, in plain lines."""

    def __init__(self, stream: TextIO, targets: Sequence[Target]) -> None:
        """Given where to write, and all targets."""
        self._stream = stream
        self._width = max(len(target.name) for target in targets)
        self._lock = threading.Lock()

    def step_finished(self, target: Target, step: Step) -> None:
        """Show how a step ended, and how long it took."""
        retried = f"  ({tries(step)})" if step.retries else ""
        reason = f"  {step.reason} ({step.scope})" if step.reason else ""
        phases = ", ".join(f"{phase} {seconds:.3f}" for phase, seconds in (step.phases or {}).items())
        spent = f"  ({phases})" if phases else ""
        self._line(target.name, f"{step.name:<9} {step.outcome:<7} {step.seconds:8.3f} s{reason}{spent}{retried}")

    def cycle_finished(self, cycle: Cycle) -> None:
        """Show a cycle's verdict and, if it failed, what happened and what to do."""
        self._line(cycle.target, f"{cycle.verdict.upper()} after {cycle.seconds:.3f} s")
        failed = cycle.failed
        if failed is None or failed.reason is None:
            return
        detail = legible(failed.detail or "")
        self._line(cycle.target, f"  {failed.name} failed, {failed.reason} ({failed.scope}): {detail}")
        for line in last_lines(failed):
            self._line(cycle.target, f"  | {line}")
        self._line(cycle.target, f"  What to do: {failed.advice}")

    def rested_finished(self, target: Target, image: RestedImage) -> None:
        """Show the push or check of a rested image."""
        self._line(target.name, f"{image.tag}: {rested_in_words(image)}")

    def all_finished(self, cycles: Sequence[Cycle], statuses: Sequence[TargetStatus]) -> None:  # noqa: ARG002  each was shown as it ended
        """Show what else there is to report about the targets."""
        for status in statuses:
            for remark in status.remarks:
                self._line(status.target.name, remark)

    def _line(self, target: str, text: str) -> None:
        with self._lock, as_long_as_it_is_read(self._stream):
            self._stream.write(f"{target:<{self._width}}  {text}\n")
            self._stream.flush()


class JsonReporter(Reporter):
    """Shows nothing but the result, as JSON."""

    def __init__(self, stream: TextIO) -> None:
        """Given where to write."""
        self._stream = stream

    def all_finished(self, cycles: Sequence[Cycle], statuses: Sequence[TargetStatus]) -> None:
        """Write all cycles, and the statuses of their targets."""
        now = datetime.now(UTC)
        shape = {
            "cycles": [cycle.to_dict() for cycle in cycles],
            "targets": [status.to_dict(now) for status in statuses],
        }
        with as_long_as_it_is_read(self._stream):
            json.dump(shape, self._stream, indent=2)
            self._stream.write("\n")
            self._stream.flush()


def run_cycles(targets: Sequence[Watched], concurrency: int) -> tuple[Cycle, ...]:
    """Run one cycle of each target.

    Given the targets, and how many cycles at a time, return the cycles in the order of the targets. Those that take
    turns have theirs one after the other. Raise what a cycle raises: Stopped, if the monitor is being stopped.
    """
    groups: dict[frozenset[str], list[Watched]] = {}
    # Sources first: a replica is compared with what they push.
    for watched in sorted(targets, key=lambda one: one.target.replica_of is not None):
        shares, group = watched.shares, [watched]
        for other in [other for other in groups if not shares.isdisjoint(other)]:
            shares, group = shares | other, groups.pop(other) + group
        groups[shares] = group
    cycles: dict[Watched, Cycle] = {}

    def run(group: list[Watched]) -> None:
        for watched in group:
            cycles[watched] = watched.take_turn(lag=0.0)

    with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="cycle") as pool:
        list(pool.map(run, groups.values()))
    return tuple(cycles[watched] for watched in targets)


def exit_code(cycles: Sequence[Cycle]) -> int:
    """Given finished cycles, return 0 if all are up, 1 if some are down, else 3."""
    verdicts = {cycle.verdict for cycle in cycles}
    if Verdict.DOWN in verdicts:
        return _SOME_DOWN
    return _SOME_UNKNOWN if Verdict.UNKNOWN in verdicts else _ALL_UP


def can_be_drawn_on(stream: TextIO, term: str) -> bool:
    """Given a stream and the value of TERM, return whether it is a terminal on which the cursor can be moved."""
    return stream.isatty() and term not in _NO_CURSOR


def rested_in_words(image: RestedImage) -> str:
    """Given a rested image that was just pushed or checked, return the result, in one line."""
    failure = image.failure
    if failure is None:
        return f"rested image, {'intact' if image.checked else 'pushed'}"
    if image.digest is None:
        what = "could not be pushed"
    else:
        what = "lost" if image.verdict is Verdict.DOWN else "the check was inconclusive"
    return legible(f"rested image, {what}: {failure.reason} ({failure.scope}): {failure.detail}")


def tries(step: Step) -> str:
    """Given a step that docker itself retried, return how often it tried, in words."""
    return f"docker tried {step.retries + 1} times"


def last_lines(failed: Step) -> list[str]:
    """Given a failed step, return docker's own last lines as they may be shown, without the one that is its detail."""
    return [legible(line) for line in failed.output if line != failed.detail]


def legible(text: str) -> str:
    r"""Given any text, return it fit for one line of a terminal.

    Characters that could move its cursor, colour it, or hide or reverse other text are written as in Python: `\x1b`.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text.expandtabs(4)
    )
