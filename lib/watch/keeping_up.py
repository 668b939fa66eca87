"""Keeping up: whether cycles begin when they are due, and what to raise if not. Logged once, and so is its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from lib.progress import Listener
from lib.quantity import format_duration
from lib.target import Target

_log = logging.getLogger(__name__)

#: When a cycle counts as late: after this part of the interval, and after this many seconds.
_LATE_SHARE, _LATE_SECONDS = 0.05, 0.25

#: How many cycles in a row must be late, or no longer late.
_IN_A_ROW = 3


@dataclass(slots=True)
class _Row:
    """The last cycles of one target that were all late for one reason, or all in time.

    Attributes:
        cause: why they were late; None if they were not.
        length: how many.
        told: the cause that was logged for their lateness.
    """

    cause: str | None = None
    length: int = 0
    told: str | None = None


class KeepingUp(Listener):
    """Whether the schedule keeps up: a listener to all targets.

    A target whose cycles take longer than its interval is named. If cycles wait for others to end, that concerns all
    targets, and is said once.
    """

    _OWN, _WAITS = "own", "waits"

    def __init__(self, names: Callable[[], Collection[str]]) -> None:
        """Given what returns the names of all targets."""
        self._names = names
        self._rows: dict[str, _Row] = {}
        self._lock = threading.Lock()

    def cycle_begins(self, target: Target, lag: float, *, overran: bool) -> None:
        """Note how late a cycle begins, and log what that changes."""
        is_late = lag >= max(_LATE_SHARE * target.run_every, _LATE_SECONDS)
        cause = (self._OWN if overran else self._WAITS) if is_late else None
        with self._lock:
            row = self._rows.setdefault(target.name, _Row())
            row.length = row.length + 1 if row.cause == cause else 1
            row.cause = cause
            if row.length < _IN_A_ROW or row.told == cause:
                return
            before, row.told = row.told, cause
            others = self._waiting() - {target.name}
        if before == self._OWN:
            _log.info("cycles begin when they are due again", extra={"target": target.name})
        if before == self._WAITS and not others:
            _log.info("cycles no longer have to wait for others")
        if cause == self._OWN:
            _log.warning(
                "a target can't keep up: its cycles take longer than run-test-every",
                extra={
                    "target": target.name,
                    "cycle_takes": _shown(target.run_every + lag),
                    "run_test_every": format_duration(target.run_every),
                    "advice": "raise its `run-test-every`; or find out which of its steps became slow",
                },
            )
        if cause == self._WAITS and not others:
            _log.warning(
                "the schedule can't keep up: cycles wait for others to end",
                extra={
                    "target": target.name,
                    "late_by": _shown(lag),
                    "advice": (
                        "raise `concurrency`, or `run-test-every`; targets that share a repository run one after the"
                        " other anyway"
                    ),
                },
            )

    def _waiting(self) -> set[str]:
        """Forget targets that are gone, and return those that were said to wait for others. With the lock held."""
        names = self._names()
        self._rows = {name: row for name, row in self._rows.items() if name in names}
        return {name for name, row in self._rows.items() if row.told == self._WAITS}


def _shown(seconds: float) -> str:
    return format_duration(round(seconds, 1) if seconds < 10 else float(round(seconds)))  # noqa: PLR2004
