"""Logins: whether targets' logins have changed. A target that is held back and has a new login is tried at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from lib.watch.watched import Watched

#: How often it looks.
_LOOK_SECONDS = 1.0


class Logins:
    """Looks at the files of targets that are held back, in a thread of its own: a disk that hangs stops no schedule."""

    def __init__(self, targets: Callable[[], Iterable[Watched]], hurry: Callable[[Iterable[Watched]], None]) -> None:
        """Given what returns the targets, and what makes the next turns of some of them due now."""
        self._targets = targets
        self._hurry = hurry
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look_again_and_again, name="logins", daemon=True)

    def start(self) -> None:
        """Look now and then in the background. Raise RuntimeError if no thread can be started."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def look(self) -> None:
        """Look once."""
        changed = [watched for watched in self._targets() if watched.is_held_back and watched.has_new_login()]
        if changed:
            self._hurry(changed)

    def _look_again_and_again(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            self.look()
