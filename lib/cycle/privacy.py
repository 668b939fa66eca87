"""Privacy: whether strangers can pull what has to be private.

It is tried right after a cycle that was up: the registry has just proved that it has the image and is well, and
nothing of it is left on the host. So a refusal is one, and a success is one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from lib.command import Stopped
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.steps import upkeep_seconds
from lib.docker import Docker, DockerError
from lib.failure import Reason, Verdict
from lib.result import Cycle
from lib.target import Target

_log = logging.getLogger(__name__)

#: What says that strangers are kept out. An image that the registry gave to us a moment ago, and does not find now, is
#: hidden from them.
_REFUSALS = frozenset({Reason.UNAUTHORIZED, Reason.DENIED, Reason.NOT_FOUND})

_ADVICE = (
    "Make this repository private, or take the right to pull from anonymous users; until then, take what is in it for"
    " published. If it is meant to be public, remove `expect-private`."
)


class Privacy:
    """Tries now and then whether strangers can pull one target's test image."""

    def __init__(
        self,
        target: Target,
        stranger: Docker,
        housekeeping: Housekeeping,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Given the target, the CLI without any login, the target's local images and a clock in seconds."""
        self._target = target
        self._stranger = stranger
        self._housekeeping = housekeeping
        self._monotonic = monotonic
        self._tried: float | None = None

    def check(self, cycle: Cycle) -> bool | None:
        """Given the cycle that has just ended, try, where it is time to.

        Return whether strangers can pull the image; None where it was not tried or could not be found out. Raise
        Stopped where the monitor is being stopped meanwhile.
        """
        if not self._target.expect_private or cycle.verdict is not Verdict.UP or cycle.pushed_digest is None:
            return None
        now = self._monotonic()
        if self._tried is not None and now - self._tried < self._target.expect_private_every:
            return None
        self._tried = now
        # By its digest: no name that an image of the host may have is touched.
        name = self._target.reference.at(cycle.pushed_digest)
        try:
            exposed = self._is_pulled(name)
        except DockerError as error:
            self._log_unknown(error.failure.detail)
            return None
        if exposed:
            _log.error(
                "strangers can pull the test image: anybody can read this repository",
                extra={"target": self._target.name, "repository": self._target.reference.repository, "advice": _ADVICE},
            )
        return exposed

    def _is_pulled(self, name: str) -> bool | None:
        """Given the image's name by digest, pull it, and return whether that worked. Raise DockerError."""
        if self._stranger.find((name,), upkeep_seconds(self._target)):
            self._log_unknown("the image is still on this host")
            return None
        # Whatever way the pull ends, something of it may be there.
        self._housekeeping.expect_leftovers()
        try:
            self._stranger.pull(name, min(self._target.step_timeout, self._target.cycle_timeout))
        except DockerError as error:
            if error.failure.reason in _REFUSALS:
                return False
            raise
        except Stopped:
            # There will be no next cycle before which what came of it would be removed.
            self._housekeeping.expect_leftovers(late=True)
            self._housekeeping.restore(self._stranger.for_cleanup(), is_last=True)
            raise
        self._housekeeping.take_away(self._stranger.for_cleanup(), name)
        return True

    def _log_unknown(self, detail: str) -> None:
        _log.warning(
            "could not find out whether strangers can pull the test image",
            extra={"target": self._target.name, "detail": detail},
        )
