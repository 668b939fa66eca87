"""`once`: one cycle of every target, its steps told as they happen, then what came of it all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

from lib.failure import ADVICE, Verdict
from lib.result import Cycle, Step, StepName
from lib.target import Target

_ALL_UP, _SOME_DOWN, _SOME_UNKNOWN = 0, 1, 3


class Narrator:
    """Tells each step as it happens, in plain lines: an observer of cycles."""

    def __init__(self, stream: TextIO, targets: Sequence[Target]) -> None:
        """Given where to write, and all targets that may be told of."""
        self._stream = stream
        self._width = max(len(target.name) for target in targets)
        self._lock = threading.Lock()

    def step_started(self, target: Target, step: StepName) -> None:
        """Nothing yet: a line is told whole."""

    def step_finished(self, target: Target, step: Step) -> None:
        """Tell how a step went, and how long it took."""
        retried = f"  (docker tried {step.retries + 1} times)" if step.retries else ""
        reason = f"  {step.reason} ({step.scope})" if step.reason else ""
        self._line(target.name, f"{step.name:<9} {step.outcome:<7} {step.seconds:8.3f} s{reason}{retried}")

    def cycle_finished(self, cycle: Cycle) -> None:
        """Tell what a cycle says of its registry, and of a failure what it was and what to do."""
        self._line(cycle.target, f"{cycle.verdict.upper()} after {cycle.seconds:.3f} s")
        failed = cycle.failed
        if failed is None or failed.reason is None:
            return
        self._line(cycle.target, f"  {failed.name} failed, {failed.reason} ({failed.scope}): {failed.detail}")
        for line in failed.output:
            if line != failed.detail:
                self._line(cycle.target, f"  | {line}")
        self._line(cycle.target, f"  What to do: {ADVICE[failed.reason]}")

    def _line(self, target: str, text: str) -> None:
        with self._lock:
            self._stream.write(f"{target:<{self._width}}  {text}\n")
            self._stream.flush()


class Silence:
    """Tells nothing: the observer where only the result is wanted."""

    def step_started(self, target: Target, step: StepName) -> None:
        """Tell nothing."""

    def step_finished(self, target: Target, step: Step) -> None:
        """Tell nothing."""

    def cycle_finished(self, cycle: Cycle) -> None:
        """Tell nothing."""


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
