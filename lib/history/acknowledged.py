"""Acknowledged: the last pushes that a registry acknowledged, and when each came: the measure of replicas' lag."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime

from lib.result import Push

#: More than are made while a replica's cycle waits for its turn. For an image that was replaced earlier, the time when
#: it was made has to do, which is one interval earlier.
_MOST = 20


class Acknowledged:
    """Pushes, oldest first. If the registry lost one, that changes nothing here. Any thread may use it."""

    def __init__(
        self,
        last: Push | None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Given the last push of an earlier process (None: there is none), a clock in seconds that never jumps, and one
        in seconds since 1970.
        """
        self._monotonic = monotonic
        self._wall = wall
        self._pushes: deque[tuple[float, Push]] = deque(maxlen=_MOST)
        self._lock = threading.Lock()
        if last is not None:
            self._pushes.append((monotonic() - self._age(last.created), last))

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._pushes)

    def add(self, push: Push) -> None:
        """Given a push that was acknowledged just now, keep it."""
        with self._lock:
            self._pushes.append((self._monotonic(), push))

    def find(self, token_or_digest: str) -> Push | None:
        """Given the token or the digest of an image, return its push, None if it is not among them."""
        with self._lock:
            return next((push for _, push in self._pushes if token_or_digest in (push.token, push.digest)), None)

    def lag(self, token: str, created: datetime) -> float:
        """Given an image's token, and when it was made, return how many seconds ago a push replaced it: 0 if none did.

        Raise LookupError if there is no push at all.
        """
        with self._lock:
            pushes = tuple(self._pushes)
        place = next((place for place, (_, push) in enumerate(pushes) if push.token == token), None)
        if place is None:
            if created < pushes[0][1].created:
                return self._age(created)  # the push right after it is no longer known
            place = max(place for place, (_, push) in enumerate(pushes) if push.created <= created)
        later = pushes[place + 1 :]
        return max(0.0, self._monotonic() - later[0][0]) if later else 0.0

    def _age(self, created: datetime) -> float:
        return max(0.0, self._wall() - created.timestamp())
