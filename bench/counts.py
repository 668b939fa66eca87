"""Counts: what a monitor has counted so far, by its /metrics, and waiting for more of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from lab.daemon import LabError
from lab.monitor import Monitor

_CYCLES, _FAILURES = "registry_monitor_cycles_total", "registry_monitor_failures_total"
#: Many may wait at the same time: they share what was read so short a time ago.
_FRESH_SECONDS = 0.5
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted.

    Attributes:
        cycles: finished ones, by target and verdict.
        failures: failed steps, by target and reason.
    """

    cycles: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def finished(self) -> int:
        """How many cycles of all targets have ended."""
        return self.cycles.total()

    def of_verdict(self, verdict: str) -> int:
        """Given a verdict, return how many cycles of all targets had it."""
        return sum(count for (_, of), count in self.cycles.items() if of == verdict)

    def of_reason(self, reason: str) -> int:
        """Given a reason, return how many times a step of any target failed for it."""
        return sum(count for (_, of), count in self.failures.items() if of == reason)


class Watch:
    """Reads the counts of a running monitor, over all reloads of its configuration. Any thread may ask.

    Attributes:
        over: set, it ends all waiting.
    """

    def __init__(self, monitor: Monitor) -> None:
        """Given the monitor, watch it."""
        self.over = threading.Event()
        self._monitor = monitor
        self._lock = threading.Lock()
        self._counts = self._shown = Counts()
        self._read = 0.0

    def counts(self) -> Counts:
        """Return what was counted up to about now. Raise OSError."""
        with self._lock:
            if time.monotonic() > self._read + _FRESH_SECONDS:
                before, self._shown = self._shown, read_counts(self._monitor.get("/metrics")[1])
                self._counts = Counts(
                    self._counts.cycles + _more(before.cycles, self._shown.cycles),
                    self._counts.failures + _more(before.failures, self._shown.failures),
                )
                self._read = time.monotonic()
            return self._counts

    def await_more(self, count: Callable[[Counts], int], seconds: float, what: str) -> None:
        """Given a count, wait until it is more than now, or all is over.

        Raise LabError, naming `what`, if that takes longer than so many seconds.
        """
        before = count(self.counts())
        deadline = time.monotonic() + seconds
        while count(self.counts()) <= before and not self.over.wait(_PAUSE_SECONDS):
            if time.monotonic() > deadline:
                raise LabError(f"waited {seconds:g} s for {what}; /status is:\n{self._monitor.get('/status')[1]}")


def _more(before: Counter[tuple[str, str]], now: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Given two readings of counters, return by how much they went up: one that is lower now was reset in between."""
    return Counter({key: count - before[key] if count >= before[key] else count for key, count in now.items()})


def read_counts(text: str) -> Counts:
    """Given /metrics in Prometheus' text format, return its counts."""
    counts = Counts()
    wanted = (line for line in text.splitlines() if line.startswith((f"{_CYCLES}{{", f"{_FAILURES}{{")))
    for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
        for name, labels, number, *_ in family.samples:
            if name == _CYCLES:
                counts.cycles[labels["target"], labels["verdict"]] += int(number)
            else:
                counts.failures[labels["target"], labels["reason"]] += int(number)
    return counts
