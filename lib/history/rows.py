"""Rows: the contents of the history's file, read with suspicion. An invalid row is dropped, and that is logged.

SQLite allows anything in any column, and a wrong clock, another program or a restored file may have put it there.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from lib.rested import RestedImage
from lib.result import Cycle, Outcome, Push, read_moment, read_number, read_text

_log = logging.getLogger(__name__)

#: The exceptions of reading an invalid row: the last one comes of JSON that is nested too deep.
_MISFITS = (ValueError, TypeError, LookupError, OverflowError, RecursionError)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for one repository and tag.

    Attributes:
        push: the last acknowledged push, None if there is none.
        since, ended: those of the last `Finished`; meaningless without cycles.
        cycles, failures: the last cycles, and those that were not up; oldest first.
        hours: the numbers of its hours, as `lib.history.hours.Hours` takes them.
        rested: its rested images, by their numbers.
    """

    push: Push | None = None
    since: datetime | None = None
    ended: float = 0.0
    cycles: tuple[Cycle, ...] = ()
    failures: tuple[Cycle, ...] = ()
    hours: tuple[int, ...] = field(default=(), repr=False)
    rested: tuple[RestedImage, ...] = ()


class Sieve:
    """Reads rows, and counts invalid ones."""

    def __init__(self) -> None:
        self._dropped: Counter[str] = Counter()

    def read(self, table: str, row: Callable[..., _T], rows: Iterable[tuple[Any, ...]]) -> list[_T]:
        """Given a table's name, what reads one of its rows, and some of them, return what was read."""
        read = []
        for values in rows:
            try:
                read.append(row(*values))
            except _MISFITS:
                self._dropped[table] += 1
        return read

    def report(self, reference: str) -> None:
        """Given repository and tag, log which of its rows were dropped."""
        if self._dropped:
            dropped = ", ".join(f"{table}: {number}" for table, number in sorted(self._dropped.items()))
            _log.warning(
                "part of the history can't be read, and is left out",
                extra={"repository": reference, "rows": dropped},
            )


def push(digest: object, image_id: object, token: object, instance: object, created: object) -> Push:
    """Given a row of `pushes`, return it. Raise one of the misfits, as all methods here do."""
    return Push(read_text(digest), read_text(image_id), read_text(token), read_text(instance), read_moment(created))


def standing(since: object, ended: object) -> tuple[datetime, float]:
    """Given a row of `standings`, return it."""
    return read_moment(since), read_number(ended)


def cycle(shape: Any, output: Any) -> Cycle:
    """Given a row of `cycles`, return it."""
    read = Cycle.from_dict(json.loads(shape))
    printed = tuple(map(read_text, json.loads(output)))
    steps = (replace(step, output=printed) if step.outcome is Outcome.FAILED else step for step in read.steps)
    return replace(read, steps=tuple(steps))


def failure(shape: Any, output: Any) -> Cycle:
    """Given a row of `cycles` that was not up, return it."""
    read = cycle(shape, output)
    if read.failed is None:
        raise ValueError("a failure in which nothing failed")
    return read


def hour(*numbers: object) -> tuple[int, ...]:
    """Given a row of `verdict_hours`, return it."""
    if not all(isinstance(number, int) for number in numbers):
        raise ValueError("not whole numbers")
    return tuple(int(read_number(number)) for number in numbers)


def rested(number: Any, image: Any) -> RestedImage:
    """Given a row of `rested`, return it."""
    if not isinstance(number, int) or number < 1:
        raise ValueError("not the number of an image")
    return RestedImage.from_row(number, json.loads(image))
