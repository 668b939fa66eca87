"""Kept: things that are made once for all who ask for the same at about the same time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

_T = TypeVar("_T")


class _Making(Generic[_T]):
    """One making.

    Attributes:
        begun: when it began, by the clock; never, while it waits for its turn.
        made: its result.
    """

    def __init__(self) -> None:
        self.begun = math.inf
        self.made = Future[_T]()


class Kept(Generic[_T]):
    """Makes one at a time, and gives it to all who asked for the same before it was begun, or soon after."""

    def __init__(self, seconds: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        """Given for how many seconds after it was begun it is given to whoever asks, and a clock.

        With 0, nobody gets anything older than the request, and nothing is kept.
        """
        self._seconds = seconds
        self._clock = clock
        self._makings: dict[Hashable, _Making[_T]] = {}
        self._looking = Lock()
        self._turn = Lock()

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Given what is asked for, and what makes that, return it. Raise whatever that raises."""
        mine = _Making[_T]()
        with self._looking:
            oldest = self._clock() - self._seconds
            self._makings = {key: one for key, one in self._makings.items() if one.begun >= oldest}
            making = self._makings.setdefault(key, mine)
        if making is mine:
            with self._turn:
                self._begin(key, mine)
                try:
                    mine.made.set_result(make())
                except BaseException as error:  # noqa: BLE001  it is raised for all who wait
                    mine.made.set_exception(error)
        return making.made.result()

    def _begin(self, key: Hashable, making: _Making[_T]) -> None:
        with self._looking:
            making.begun = self._clock()
            if not self._seconds:
                del self._makings[key]
