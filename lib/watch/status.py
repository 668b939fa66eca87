"""Status: what is shown of each target, in words and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lib.failure import Verdict
from lib.quantity import format_duration
from lib.rested import Cold
from lib.result import rfc3339
from lib.target import StrangersMay, Target
from lib.watch.record import WINDOWS, Availability, Standing, Window
from lib.watch.watched import Watched, is_stale

#: Shown in place of an age that nobody knows.
NO_AGE = "the last cycle ended in the future by this host's clock"


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """What is shown of one target.

    Attributes:
        target: the target.
        standing: its state, None before its first verdict. cold: the state of its rested images, None if it is to have
            none.
        staying: why images of its cycles stay on this host, in docker's words.
        next_cycle: when its next cycle is due, or the one under way was; None if that is not known.
        availability: given a window in seconds and its end, returns what is known about it; None if there is no record.
    """

    target: Target
    standing: Standing | None
    cold: Cold | None = None
    staying: tuple[str, ...] = ()
    next_cycle: datetime | None = None
    availability: Callable[[float, datetime], Availability] | None = None

    @property
    def ok(self) -> bool:
        """Whether its last finished cycle is up, and not stale."""
        return self.standing is not None and self.standing.cycle.verdict is Verdict.UP and not self.stale

    @property
    def stale(self) -> bool:
        """Whether its last finished cycle is too old to say anything about the registry as it is now."""
        return self.standing is not None and is_stale(self.target, self.standing)

    @property
    def is_held_back(self) -> bool:
        """Whether its next cycle comes later than after other failures, since its registry refused the last one."""
        return self.standing is not None and self.standing.pace.is_held_back

    @property
    def strangers(self) -> StrangersMay:
        """What those without a login could do when that was last tried."""
        return self.standing.strangers if self.standing else StrangersMay()

    @property
    def unwanted(self) -> StrangersMay:
        """The part of that that is not as it should be."""
        return self.strangers.against(self.target.strangers_may)

    @property
    def replication_lag(self) -> float | None:
        """How many seconds ago what it showed last was replaced at its source; None if unknown, or not a replica."""
        return self.standing.cycle.replication_lag if self.standing and self.target.replica_of else None

    @property
    def remarks(self) -> list[str]:
        """What else to report about it, whatever its verdict, in words; nothing if all is as it should be."""
        said, unwanted = [], self.unwanted
        if self.replication_lag:
            said.append(f"{_whole(self.replication_lag)} behind {self.target.replica_of}")
        if unwanted.pull is not None:
            said.append(f"strangers {'can' if unwanted.pull else 'cannot'} pull its test image")
        if unwanted.push:
            said.append("strangers can push to its repository")
        if self.cold and (lost := len(self.cold.lost)):
            pushed = len(self.cold.pushed)
            said.append(f"{lost} of its {pushed} rested images {'is' if lost == 1 else 'are'} lost")
        said += [f"a test image stays on this host until what uses it is removed: {detail}" for detail in self.staying]
        return said

    def to_dict(self, now: datetime) -> dict[str, Any]:
        """Given the time, return its JSON shape: with `exposed`, if the target should be private (null until that is
        known).
        """
        standing, lag = self.standing, self.replication_lag
        shape = {
            "target": self.target.name,
            "ok": self.ok,
            "verdict": standing and str(standing.cycle.verdict),
            "since": standing and rfc3339(standing.since),
            "age_seconds": round(standing.age_seconds, 3) if standing and standing.age_seconds is not None else None,
            "stale": self.stale,
            "consecutive_failures": standing.downs if standing else 0,
            "next_cycle": self.next_cycle and rfc3339(self.next_cycle),
            "availability": {window.key: self._share(window, now) for window in WINDOWS},
            "last_cycle": standing and standing.cycle.to_dict(),
            "anonymous": asdict(self.strangers) if self.target.anonymous else None,
            "replication_lag_seconds": None if lag is None else round(lag, 3),
            "cold": self.cold and self.cold.to_dict(),
            "staying": list(self.staying),
        }
        if self.target.expect_private:
            shape["exposed"] = self.strangers.pull
        return shape

    def _share(self, window: Window, now: datetime) -> float | None:
        share = self.availability(window.seconds, now).share if self.availability else None
        return None if share is None else round(share, 9)

    def to_line(self, now: datetime) -> str:
        """Given the time, return it as one line for people."""
        if self.standing is None:
            return "; ".join((f"{self.target.name}: no verdict yet", *self._next))
        cycle = self.standing.cycle
        line = f"{self.target.name}: {cycle.verdict} for {_whole((now - self.standing.since).total_seconds())}"
        if self.stale:
            age = self.standing.age_seconds
            line += f", stale: the last cycle ended {_whole(age)} ago" if age is not None else f", stale: {NO_AGE}"
        if (failed := cycle.failed) is not None:
            line += f", {failed.name}: {failed.reason} ({failed.scope}): {failed.detail}"
        return "; ".join((line, *self.remarks, *self._next))

    @property
    def _next(self) -> list[str]:
        if self.next_cycle is None:
            return []
        held_back = " (held back: the registry refused the last one)" if self.is_held_back else ""
        return [f"next cycle at {rfc3339(self.next_cycle)}{held_back}"]


def status_of(targets: Iterable[Watched]) -> tuple[TargetStatus, ...]:
    """Given targets, return their statuses."""
    return tuple(
        TargetStatus(
            watched.target,
            watched.record.standing(),
            watched.rested.cold,
            watched.staying,
            watched.progress.next_cycle,
            watched.record.availability,
        )
        for watched in targets
    )


def all_ok(statuses: Sequence[TargetStatus]) -> bool:
    """Given the statuses of targets, return whether all is well: not if there are none."""
    return bool(statuses) and all(status.ok for status in statuses)


def _whole(seconds: float) -> str:
    return format_duration(max(0, round(seconds)))
