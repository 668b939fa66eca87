"""Tail: the last part of what a process prints, which has the error, and when each line came."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: How much is kept of each output stream: enough for the description of an image with a hundred layers.
TAIL_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Arrivals:
    """When each line that a process printed came. The output is split only if somebody asks.

    Attributes:
        printed: everything that it printed.
        ends: for each piece as it came, how much there was then.
        moments: when that was, in seconds since the process began.
    """

    printed: bytes = b""
    ends: array[int] = field(default_factory=lambda: array("q"))
    moments: array[float] = field(default_factory=lambda: array("d"))

    def lines(self) -> Iterator[tuple[float, str]]:
        """Return each line that has an end, and when its end came."""
        start = 0
        while (end := self.printed.find(b"\n", start)) >= 0:
            yield self.moments[bisect_right(self.ends, end)], self.printed[start:end].decode(errors="replace")
            start = end + 1


class Tail:
    """The last part of what a process prints: a file to `sh`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Given a clock in seconds that never jumps."""
        self._clock = clock
        self._kept, self._is_whole = bytearray(), True
        self._ends, self._moments = array("q"), array("d")

    def write(self, chunk: bytes) -> None:
        """Given what it has just printed, keep the last part of all."""
        moment = self._clock()
        self._kept += chunk
        if len(self._kept) < TAIL_BYTES and self._is_whole:
            self._ends.append(len(self._kept))
            self._moments.append(moment)
            return
        self._is_whole = False
        if len(self._kept) >= 2 * TAIL_BYTES:
            del self._kept[:-TAIL_BYTES]

    def __str__(self) -> str:
        kept = bytes(self._kept)
        if not self._is_whole:  # the first line has lost its beginning, and could begin within a secret
            kept = max(kept[-TAIL_BYTES:].partition(b"\n")[2], kept[-TAIL_BYTES // 2 :], key=len)
        return kept.decode(errors="replace")

    def arrivals(self, since: float) -> Arrivals:
        """Given when the process began, return when its lines came: none, if it printed more than is kept."""
        if not self._is_whole:
            return Arrivals()
        return Arrivals(bytes(self._kept), self._ends, array("d", (moment - since for moment in self._moments)))
