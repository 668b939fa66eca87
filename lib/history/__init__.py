"""History: what outlives a cycle and, with a store, this process. Kept by repository and tag, whatever a target's name.

Without a store nothing is found here, and nothing is kept except what each target holds in memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from lib.history.database import Finished
from lib.history.hours import Bounds
from lib.history.rows import Kept
from lib.history.store import Store
from lib.rested import RestedImage
from lib.result import Push


class History:
    """What this monitor knows about its past. Any thread may use it."""

    def __init__(self, instance: str, store: Store | None = None) -> None:
        """Given this process's instance, and the store that outlives this process (None: there is none)."""
        self._instance = instance
        self._store = store

    def kept(self, references: Iterable[str], bounds: Bounds) -> dict[str, Kept]:
        """Given repositories with tags, and at most how many cycles to return, return what is kept of each."""
        return self._store.kept(references, bounds) if self._store else {}

    def is_ours(self, instance: str) -> bool:
        """Given an instance from an image's label, return whether it is this monitor, now or, with a store, before."""
        return instance == self._instance or (self._store is not None and instance in self._store.instances)

    def keep_push(self, reference: str, push: Push | None) -> None:
        """Given repository and tag, and the last acknowledged push (None: forget it), keep it; it is on the disk on
        return.
        """
        if self._store is not None:
            self._store.keep_push(reference, push)

    def keep_rested(self, reference: str, image: RestedImage) -> None:
        """Given repository and tag of a target, and one of its rested images as it is now, keep it; it is on the disk
        on return.
        """
        if self._store is not None:
            self._store.keep_rested(reference, image)

    def keep_finished(self, finished: Finished) -> None:
        """Given a finished cycle, keep it, without waiting for a disk."""
        if self._store is not None:
            self._store.keep_finished(finished)
