"""Hours: how long each verdict of a target stood, hour by hour, and how much of its past is kept."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

from lib.failure import Verdict

#: The longest window of availability, in hours.
MOST_HOURS = 30 * 24
HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept for one target.

    Attributes:
        cycles: last cycles.
        failures: last cycles that were not up.
    """

    cycles: int
    failures: int


@dataclass(frozen=True, slots=True)
class Hour:
    """How long each verdict stood in one hour.

    Attributes:
        hour: which, counted since 1970.
        up_ms, down_ms, unknown_ms: milliseconds. For the rest of the hour, nothing was known.
    """

    hour: int
    up_ms: int
    down_ms: int
    unknown_ms: int


class Hours:
    """All hours of a target, packed: a month of them takes 23 kB."""

    #: The columns of a row: the attributes of an Hour.
    _COLUMNS = 4
    _VERDICTS = (Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN)

    def __init__(self, rows: Iterable[int] = ()) -> None:
        """Given the numbers of earlier hours, oldest first, in the order of Hour's attributes, continue with them."""
        self._rows = array("q", rows)

    def add(self, verdict: Verdict, began: float, ended: float) -> tuple[Hour, ...]:
        """Given a verdict, and from when until when it stood, in seconds since 1970, return the hours that changed."""
        changed = []
        while began < ended:
            hour = int(began // HOUR_SECONDS)
            until = min(ended, float((hour + 1) * HOUR_SECONDS))
            # It need not be the last one: a clock can have been ahead, or be set back now.
            start = self._start_of(hour)
            if start == len(self._rows) or self._rows[start] != hour:
                self._rows[start:start] = array("q", (hour, 0, 0, 0))
            self._rows[start + 1 + self._VERDICTS.index(verdict)] += round((until - began) * 1000)
            changed.append(Hour(*self._rows[start : start + self._COLUMNS]))
            began = until
        del self._rows[: -(MOST_HOURS + 2) * self._COLUMNS]
        return tuple(changed)

    @property
    def numbers(self) -> tuple[int, ...]:
        """All of them, in the form that the constructor takes."""
        return tuple(self._rows)

    def total(self, first: int, last: int) -> dict[Verdict, float]:
        """Given the first and the last hour, return how many seconds each verdict stood from one to the other.

        An hour in the future was counted by a clock that was ahead.
        """
        rows = self._rows[self._start_of(first) : self._start_of(last + 1)]
        columns = enumerate(self._VERDICTS, 1)
        return {verdict: sum(rows[column :: self._COLUMNS]) / 1000 for column, verdict in columns}

    def _start_of(self, hour: int) -> int:
        """Given an hour, return where its row is, or would be."""
        starts = range(0, len(self._rows), self._COLUMNS)
        return bisect_left(starts, hour, key=self._rows.__getitem__) * self._COLUMNS
