"""Worker: when a target has its turn, and how that is shown. The schedule has one for each target."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from lib.watch.watched import Watched


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker's progress.

    Attributes:
        watched: whose turns it runs.
        alive: whether there is a thread that runs its turn or will run its next one.
        turn_started: when the turn under way began, by the schedule's clock; None between turns.
        fault: what broke off its last turn, None if nothing did.
        wakes: when its next turn is to begin, by the same clock; None while it is in one or waits for others to end
            theirs.
    """

    watched: Watched
    alive: bool
    turn_started: float | None
    fault: str | None
    wakes: float | None = None


@dataclass(eq=False, slots=True)
class Worker:
    """When a target has its turn.

    Attributes:
        watched: the target.
        slot: the thread that runs its turn, None between turns.
        turn_started, fault: as WorkerState has them.
        is_asleep: whether it is to be woken; not while it is in a turn or waits for others to end theirs.
        is_hurried: whether its next turn shall follow the current one at once, even if its pace would hold it back.
        is_leaving: whether its current turn, if any, is its last.
        has_left: whether there will be no more.
    """

    watched: Watched
    slot: threading.Thread | None = None
    turn_started: float | None = None
    fault: str | None = None
    is_asleep: bool = False
    is_hurried: bool = False
    is_leaving: bool = False
    has_left: bool = False

    @property
    def due(self) -> float:
        """When its next turn is due, or the one under way was. The target's progress has it, for all who show it."""
        due = self.watched.progress.due
        assert due is not None, "it was said when the worker began"  # noqa: S101  for mypy
        return due

    @due.setter
    def due(self, due: float) -> None:
        self.watched.progress.due = due
