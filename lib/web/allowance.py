"""Allowance: an amount that may be taken at once, and that refills over time."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class Allowance:
    """What may be taken: full at first, and refilled up to that. Any thread may call."""

    def __init__(self, whole: float, a_second: float, clock: Callable[[], float]) -> None:
        """Given how much that is, how much is refilled each second, and a clock in seconds."""
        self._whole = whole
        self._a_second = a_second
        self._clock = clock
        self._seen = clock()
        self._left = whole
        self._lock = Lock()

    def left(self) -> float:
        """Return how much may be taken now: less than 0 if too much was taken."""
        return self.take(0.0)

    def take(self, amount: float) -> float:
        """Given how much is taken or, if below 0, given back, return how much is left."""
        with self._lock:
            now = self._clock()
            grown = min(self._whole, self._left + (now - self._seen) * self._a_second)
            self._left = min(self._whole, grown - amount)
            self._seen = now
            return self._left

    def pause(self) -> float:
        """Return in how many seconds something is left."""
        return max(0.0, -self.left()) / self._a_second
