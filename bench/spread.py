"""Spread: many measured numbers as one with its spread, and running things in turn, so that they can be compared."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")

QUARTILES, INTERVAL = "quartiles", "95 % interval"
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Spread:
    """What many measured numbers come to.

    Attributes:
        value: the number that stands for all.
        low, high: its spread.
        count: how many were measured.
        kind: what kind of spread it is.
    """

    value: float
    low: float
    high: float
    count: int
    kind: str = QUARTILES

    def scaled(self, factor: float) -> Spread:
        """Given a factor, return the same in another unit."""
        return Spread(self.value * factor, self.low * factor, self.high * factor, self.count, self.kind)


def median(numbers: Sequence[float]) -> Spread:
    """Given numbers, return their median with the quartiles."""
    if len(numbers) == 1:
        return Spread(numbers[0], numbers[0], numbers[0], 1)
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return Spread(middle, low, high, len(numbers))


def percentile(numbers: Sequence[float], percent: int) -> Spread:
    """Given numbers, and which percentile of them is asked for, return that with its 95 % interval."""
    return estimate(numbers, lambda some: statistics.quantiles(some, n=100, method="inclusive")[percent - 1])


def ratio(
    numbers: Sequence[float], over: Sequence[float], of: Callable[[Sequence[float]], float] = statistics.median
) -> Spread:
    """Given as many numbers on either side, measured in pairs, and what to take of each side (the median), return the
    ratio with its 95 % interval.
    """

    def divide(pairs: Sequence[tuple[float, float]]) -> float:
        return of([one for one, _ in pairs]) / of([other for _, other in pairs])

    return estimate(list(zip(numbers, over, strict=True)), divide)


def estimate(samples: Sequence[_T], statistic: Callable[[Sequence[_T]], float]) -> Spread:
    """Given samples, and what to work out from them, return that with its 95 % interval (by the bootstrap)."""
    chance = random.Random(0)  # the same samples give the same interval
    worked_out = [statistic(chance.choices(samples, k=len(samples))) for _ in range(_RESAMPLES)]
    low, *_, high = statistics.quantiles(worked_out, n=40, method="inclusive")
    return Spread(statistic(samples), low, high, len(samples), INTERVAL)


def in_turn(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Given actions by name, and how often each is to be run, run them in turn. Return the seconds that each took.

    Every other round goes backwards, so that none always comes after the same one. A first round is not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name in list(actions) if number % 2 else reversed(list(actions)):
            began = time.monotonic()
            actions[name]()
            if number:
                seconds[name].append(time.monotonic() - began)
    return seconds
