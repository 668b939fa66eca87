"""Propagation: a registry may publish a push late. Until then the tag shows the previous image, or nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from lib.docker import DockerError
from lib.docker.answers import Pulled

_log = logging.getLogger(__name__)

#: How often the registry is asked again.
POLL_SECONDS = 0.5


def pull_until_shown(
    pull: Callable[[float], Pulled],
    remove: Callable[[], None],
    digest: str,
    patience: float,
    deadline: float,
    waited: Callable[[float], None] = lambda _: None,
) -> Pulled:
    """Pull until the registry gives what was pushed.

    Given what pulls within a deadline, what removes a previous image again, the pushed digest, for how many seconds the
    registry may show something else, and the deadline for all of it, return the last pull: the right one, or the one
    after which the time was over. Given also a callback that gets the seconds waited so far, before each pull. Raise
    DockerError.
    """
    begun = time.monotonic()
    while True:
        asked = time.monotonic() - begun
        waited(asked)
        try:
            pulled = pull(deadline - asked)
        except DockerError as error:
            if not error.failure.not_there or asked >= patience:
                raise
        else:
            if pulled.digest == digest and patience:
                _log.debug("the registry shows what was pushed", extra={"after_seconds": round(asked, 3)})
            if pulled.digest == digest or asked >= patience:
                return pulled
            remove()
        time.sleep(min(POLL_SECONDS, max(0.0, patience - (time.monotonic() - begun))))
