"""Outages that really happened to registries, each replayed here if possible, and what the monitor has to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab.faults.ground import Ground
from lab.faults.rows import Row

#: Given the ground, bring an outage about, and return what the monitor says, in the words of `Outage.says`.
Replay = Callable[[Ground], str]


@dataclass(frozen=True)
class Outage:
    """One outage, and what the monitor has to say when it happens again.

    Attributes:
        number: its place in the list.
        name: who had it, and when.
        happened: what happened, as its victims reported it.
        says: what the monitor has to say; about a cycle, in the words of `Row.expected`.
        row: the fault that brings it about in a cycle, None if there is none.
        replay: what brings it about otherwise, None if a row does, or if it can't be.
        watched: how it has to be watched, empty if a target with the defaults sees it.
        within: when somebody is alerted, empty if that follows from the row's seconds.
        note: what is not seen, and why; or what else to know.
    """

    number: int
    name: str
    happened: str
    says: str = ""
    row: Row | None = None
    replay: Replay | None = None
    watched: str = ""
    within: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    @property
    def is_seen(self) -> bool:
        """Whether the monitor sees it at all."""
        return self.row is not None or self.replay is not None
