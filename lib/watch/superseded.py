"""Superseded: the manifests that this monitor pushed to one tag and then replaced, until they are deleted.

Only those that this process saw being replaced: if it is killed, those that waited here stay in the registry.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lib.result import Push

#: How many wait at most: enough for a replica that may be an hour behind, at one cycle in 3 s. The oldest stay for
#: good.
_MOST = 1200


@dataclass(frozen=True, slots=True)
class Waiting:
    """A manifest that waits.

    Attributes:
        digest: its digest.
        since: when it was replaced, by a clock that never jumps.
    """

    digest: str
    since: float


class Superseded:
    """The manifests of one target that wait to be deleted. Any thread may use it."""

    def __init__(self, waiting: Iterable[Waiting] = (), monotonic: Callable[[], float] = time.monotonic) -> None:
        """Given those that wait already, and a clock that never jumps."""
        self._monotonic = monotonic
        self._waiting = deque(waiting, _MOST)

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """Those that wait, oldest first."""
        return tuple(self._waiting)

    def replaced(self, before: Push | None, now: Push | None) -> None:
        """Given the last push before a cycle, and the last after it, keep the former if the latter replaced it."""
        if before is not None and now is not None and before.digest != now.digest:
            self._waiting.append(Waiting(before.digest, self._monotonic()))

    def due(self, seconds: float, kept: frozenset[str]) -> tuple[str, ...]:
        """Given for how long one must have been replaced, and digests that must stay, return those to delete."""
        latest = self._monotonic() - seconds
        return tuple(one.digest for one in self.waiting if one.since <= latest and one.digest not in kept)

    def done(self, digest: str) -> None:
        """Given the digest of one that need not be tried again, forget it."""
        for one in self.waiting:
            if one.digest == digest:
                self._waiting.remove(one)
