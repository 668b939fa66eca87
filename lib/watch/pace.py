"""Pace: how long after the start of a target's last cycle the next one begins.

A cycle that was not up is followed sooner, to see the end of a fault early. A refused one is not: wrong logins lock
accounts, and asking only goes further beyond a limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

from lib.failure import Reason, Verdict
from lib.result import Cycle
from lib.target import Target

#: Reasons that trying again soon does not help, and may make worse.
REFUSALS = frozenset({Reason.UNAUTHORIZED, Reason.DENIED, Reason.RATE_LIMITED, Reason.QUOTA, Reason.REJECTED})

#: After this many refusals the pace is still the usual one; from the next one on, the interval doubles each time.
_PATIENCE = 2

#: The longest that the interval grows to, unless it is longer from the beginning.
_MOST_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The interval in force.

    Attributes:
        seconds: from the start of the last cycle to the start of the next.
        is_held_back: whether that is so because the registry refused the last one.
    """

    seconds: float
    is_held_back: bool = False

    def fresh_seconds(self, target: Target) -> float:
        """Given the target, return for how long at most its last verdict stands."""
        return self.seconds + target.cycle_timeout


def since_up(cycles: Iterable[Cycle]) -> Iterable[Cycle]:
    """Given cycles, latest first, return those after the last one that was up, in the same order."""
    return takewhile(lambda cycle: cycle.verdict is not Verdict.UP, cycles)


def pace_after(target: Target, cycles: Iterable[Cycle]) -> Pace:
    """Given a target and its finished cycles, latest first, return how soon the next one follows.

    Refusals count back to the last cycle that was up: other failures in between do not show that the registry would
    accept this target now.
    """
    reasons = [cycle.failed and cycle.failed.reason for cycle in since_up(cycles)]
    if not reasons:
        return Pace(target.run_every)
    if reasons[0] not in REFUSALS:
        return Pace(min(target.run_every, target.retry_every))
    refusals = sum(reason in REFUSALS for reason in reasons)
    grown = target.run_every * 2.0 ** max(0, refusals - _PATIENCE)
    return Pace(max(target.run_every, min(grown, _MOST_SECONDS)), is_held_back=True)
