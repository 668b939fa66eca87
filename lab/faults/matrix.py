"""Running the fault matrix: many rows side by side, and the result of each."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lab.faults.ground import SICK_ENGINES, Ground, Lane
from lab.faults.rig import Fault, Rig, reference_of
from lab.faults.rows import Row
from lib.result import Cycle, StepName

#: A row that waits for a deadline, or for docker's own retries, costs nothing.
ROWS_AT_A_TIME = 48
#: A cycle costs half a second of a core; with too many at once, healthy steps would pass their deadlines.
CYCLES_AT_A_TIME = 3

#: How much later than its deadline a step may end: it has a second to end by itself, and the machine is busy.
LATE_SECONDS = 5.0


@dataclass(frozen=True)
class Result:
    """The result of a row.

    Attributes:
        row: the row.
        first: the cycle before the fault, if the fault needs an image that was pushed.
        struck: the cycle with the fault.
        after: the cycle after it.
        left: what was left on the host then.
    """

    row: Row
    first: Cycle | None
    struck: Cycle
    after: Cycle
    left: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """What the struck cycle said, in the words of `Row.expected`."""
        failed = self.struck.failed
        return " ".join(
            str(word) for word in (self.struck.verdict, failed and failed.scope, failed and failed.reason) if word
        )

    @property
    def seconds(self) -> float:
        """How long the struck step took; 0 if the cycle did not get that far."""
        return next((step.seconds for step in self.struck.steps if step.name is self.row.step), 0.0)

    def faults(self) -> list[str]:
        """Return what is not as it should be."""
        return [text for text, is_wrong in self._questions() if is_wrong]

    def _questions(self) -> Iterator[tuple[str, bool]]:
        row, setting, failed = self.row, self.row.setting, self.struck.failed
        yield (
            f"before the fault: {self.first and _told(self.first)}",
            self.first is not None and self.first.verdict != "up",
        )
        yield f"expected {row.expected!r}, was {_told(self.struck)}", self.verdict != row.expected
        yield f"failed at {failed and failed.name}", failed is not None and failed.name is not row.step
        yield (
            f"took {self.seconds:.1f} s, deadline {setting.deadline} s",
            self.seconds > setting.deadline + LATE_SECONDS,
        )
        yield f"took {self.seconds:.1f} s, can't be less than {setting.at_least} s", self.seconds < setting.at_least
        yield f"after the fault: {_told(self.after)}", self.after.verdict != "up"
        yield f"left behind: {', '.join(self.left)}", bool(self.left)


@contextmanager
def running(ground: Ground, rows: Iterable[Row]) -> Iterator[dict[str, Future[Result]]]:
    """Given the ground, run rows on it, and give their results, by their names.

    Rows that have not begun at the context's end never do.
    """
    busy = threading.Semaphore(CYCLES_AT_A_TIME)
    calm, sick = ThreadPoolExecutor(ROWS_AT_A_TIME), ThreadPoolExecutor(SICK_ENGINES)
    # The longest first, so that there is nothing left to wait for at the end.
    ordered = sorted(rows, key=lambda row: -row.setting.deadline)
    try:
        yield {str(row): (sick if row.setting.sick else calm).submit(_run, ground, row, busy) for row in ordered}
    finally:
        sick.shutdown(wait=False, cancel_futures=True)
        calm.shutdown(cancel_futures=True)
        sick.shutdown()


def _run(ground: Ground, row: Row, busy: threading.Semaphore) -> Result:
    setting = row.setting
    with ExitStack() as stack:
        engine = stack.enter_context(ground.sick_engine()) if setting.sick else ground.calm
        stack.enter_context(busy)
        lane = stack.enter_context(Lane(ground, engine, setting.registry, setting.base, named=setting.named))
        rig = stack.enter_context(
            Rig(
                lane,
                step_timeout=setting.deadline,
                payload_bytes=setting.payload_bytes,
                base_image=reference_of(lane.base) if lane.base else None,
            )
        )
        first = rig.cycle() if row.step is StepName.PULL or setting.early else None
        struck = rig.cycle(_waiting(row.fault, busy), None if setting.early else row.step)
        after = rig.cycle()
        return Result(row, first, struck, after, tuple(rig.leftovers()))


def _waiting(fault: Fault, busy: threading.Semaphore) -> Fault:
    """Given a fault, return it as one that lets others work while it lasts."""

    @contextmanager
    def strike(rig: Rig) -> Iterator[None]:
        busy.release()
        try:
            with fault(rig):
                yield
        finally:
            busy.acquire()

    return strike


def _told(cycle: Cycle) -> str:
    failed = cycle.failed
    return (
        str(cycle.verdict)
        if failed is None
        else f"{cycle.verdict} {failed.scope} {failed.reason} at {failed.name}: {failed.detail}"
    )
