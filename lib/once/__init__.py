"""`once`: one cycle of every target, its steps told as they happen, then what came of it all.

Told in plain lines or as JSON from here; on a terminal, by lib.terminal.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import IO, TextIO

from lib.failure import ADVICE, Verdict
from lib.result import Cycle, Step, StepName
from lib.target import Target

_ALL_UP, _SOME_DOWN, _SOME_UNKNOWN = 0, 1, 3

#: Values of TERM that tell of no cursor that can be moved.
_NO_CURSOR = frozenset({"", "dumb", "unknown"})

#: What writing ends with once whoever reads is gone: a pipe, a terminal.
_NOBODY_READS = frozenset({errno.EPIPE, errno.EIO})


class Teller(AbstractContextManager["Teller"]):
    """Tells somebody of cycles, between its entry and its exit; this one, nothing. An observer of cycles."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell no more."""

    def step_started(self, target: Target, step: StepName) -> None:
        """A step's command is about to be run."""

    def step_finished(self, target: Target, step: Step) -> None:
        """A step has come to its end."""

    def cycle_finished(self, cycle: Cycle) -> None:
        """A cycle has come to its end."""

    def all_finished(self, cycles: Sequence[Cycle]) -> None:
        """All cycles have come to their end: here they are, in the order of their targets."""


class Narrator(Teller):
    """Tells each step as it ends, in plain lines."""

    def __init__(self, stream: TextIO, targets: Sequence[Target]) -> None:
        """Given where to write, and all targets that may be told of."""
        self._stream = stream
        self._width = max(len(target.name) for target in targets)
        self._lock = threading.Lock()

    def step_finished(self, target: Target, step: Step) -> None:
        """Tell how a step went, and how long it took."""
        retried = f"  ({tries(step)})" if step.retries else ""
        reason = f"  {step.reason} ({step.scope})" if step.reason else ""
        self._line(target.name, f"{step.name:<9} {step.outcome:<7} {step.seconds:8.3f} s{reason}{retried}")

    def cycle_finished(self, cycle: Cycle) -> None:
        """Tell what a cycle says of its registry, and of a failure what it was and what to do."""
        self._line(cycle.target, f"{cycle.verdict.upper()} after {cycle.seconds:.3f} s")
        failed = cycle.failed
        if failed is None or failed.reason is None:
            return
        detail = legible(failed.detail or "")
        self._line(cycle.target, f"  {failed.name} failed, {failed.reason} ({failed.scope}): {detail}")
        for line in last_lines(failed):
            self._line(cycle.target, f"  | {line}")
        self._line(cycle.target, f"  What to do: {ADVICE[failed.reason]}")

    def _line(self, target: str, text: str) -> None:
        with self._lock, as_long_as_it_is_read(self._stream):
            self._stream.write(f"{target:<{self._width}}  {text}\n")
            self._stream.flush()


class JsonWriter(Teller):
    """Tells nothing but the result, as JSON."""

    def __init__(self, stream: TextIO) -> None:
        """Given where to write."""
        self._stream = stream

    def all_finished(self, cycles: Sequence[Cycle]) -> None:
        """Write all cycles."""
        with as_long_as_it_is_read(self._stream):
            self._stream.write(f"{to_json(cycles)}\n")
            self._stream.flush()


def run_cycles(
    run_cycle: Callable[[Target], Cycle],
    targets: Sequence[Target],
    concurrency: int,
    told: Callable[[Cycle], None],
) -> tuple[Cycle, ...]:
    """Run one cycle of each target.

    Given what runs a cycle, the targets, how many cycles at a time, and who is told of each, return the cycles in the
    order of the targets. Raise what a cycle raises: Stopped, where the monitor is being stopped.
    """

    def run(target: Target) -> Cycle:
        cycle = run_cycle(target)
        told(cycle)
        return cycle

    with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="cycle") as pool:
        return tuple(pool.map(run, targets))


def exit_code(cycles: Sequence[Cycle]) -> int:
    """Given finished cycles, return 0 where all are up, 1 where some are down, else 3."""
    verdicts = {cycle.verdict for cycle in cycles}
    if Verdict.DOWN in verdicts:
        return _SOME_DOWN
    return _SOME_UNKNOWN if Verdict.UNKNOWN in verdicts else _ALL_UP


def to_json(cycles: Sequence[Cycle]) -> str:
    """Given finished cycles, return them as the JSON that `once` prints."""
    return json.dumps({"cycles": [cycle.to_dict() for cycle in cycles]}, indent=2)


def can_be_drawn_on(stream: TextIO, term: str) -> bool:
    """Given a stream and the value of TERM, return whether it is a terminal on which the cursor can be moved."""
    return stream.isatty() and term not in _NO_CURSOR


def tries(step: Step) -> str:
    """Given a step that docker itself tried again, return how often it did, in words."""
    return f"docker tried {step.retries + 1} times"


def last_lines(failed: Step) -> list[str]:
    """Given a failed step, return docker's own last lines as they may be shown, without the one that is its detail."""
    return [legible(line) for line in failed.output if line != failed.detail]


def legible(text: str) -> str:
    r"""Given any text, return it fit for one line of a terminal.

    What could move its cursor, colour it, or hide or turn round what stands beside it, is written as in Python: `\x1b`.
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text.expandtabs(4)
    )


@contextmanager
def as_long_as_it_is_read(stream: IO[str]) -> Iterator[None]:
    """Given a stream to write to, go on where its reader, a pipe or a terminal, is gone: it leads nowhere then.

    The cycles still have their end to come to, and the exit code says what came of them.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NOBODY_READS:
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
