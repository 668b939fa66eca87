"""Status: what is said of each target, in words and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lib.failure import Verdict
from lib.history import Standing
from lib.quantity import format_duration
from lib.result import rfc3339
from lib.target import Target


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """What is said of one target.

    Attributes:
        target: the target.
        standing: how it stands, None before its first verdict.
    """

    target: Target
    standing: Standing | None

    @property
    def ok(self) -> bool:
        """Whether its last finished cycle is up, and not stale."""
        return self.standing is not None and self.standing.cycle.verdict is Verdict.UP and not self.stale

    @property
    def stale(self) -> bool:
        """Whether its last finished cycle is older than its interval plus cycle-timeout, counted from that cycle's end.

        Counted from its end, no monitor that works is ever stale: the next cycle begins within the interval, and ends
        within cycle-timeout.
        """
        return (
            self.standing is not None and self.standing.age_seconds > self.target.run_every + self.target.cycle_timeout
        )

    def to_dict(self) -> dict[str, Any]:
        """Return its JSON shape: with `exposed`, where the target has to be private (null until that is known)."""
        standing = self.standing
        shape = {
            "target": self.target.name,
            "ok": self.ok,
            "verdict": standing and str(standing.cycle.verdict),
            "since": standing and rfc3339(standing.since),
            "age_seconds": standing and round(standing.age_seconds, 3),
            "stale": self.stale,
            "last_cycle": standing and standing.cycle.to_dict(),
        }
        if self.target.expect_private:
            shape["exposed"] = standing and standing.exposed
        return shape

    def to_line(self, now: datetime) -> str:
        """Given the time, return it as one line for people."""
        if self.standing is None:
            return f"{self.target.name}: no verdict yet"
        cycle = self.standing.cycle
        line = f"{self.target.name}: {cycle.verdict} for {_whole((now - self.standing.since).total_seconds())}"
        if self.stale:
            line += f", stale: the last cycle ended {_whole(self.standing.age_seconds)} ago"
        if (failed := cycle.failed) is not None:
            line += f", {failed.name}: {failed.reason} ({failed.scope}): {failed.detail}"
        if self.target.expect_private and self.standing.exposed:
            line += ", and strangers can pull its test image"
        return line


def status_of(targets: Iterable[Target], standing: Callable[[str], Standing | None]) -> tuple[TargetStatus, ...]:
    """Given targets, and what tells how one stands by its name, return what is said of them."""
    return tuple(TargetStatus(target, standing(target.name)) for target in targets)


def all_ok(statuses: Sequence[TargetStatus]) -> bool:
    """Given what is said of the targets, return whether all is well; of none, nothing is known to be."""
    return bool(statuses) and all(status.ok for status in statuses)


def _whole(seconds: float) -> str:
    """Given seconds, return them as a duration without fractions."""
    return format_duration(max(0, round(seconds)))
