"""Requests that somebody in front of the engine refuses and no cycle needs: we do without them, and log that once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from lib.docker import DockerError

_log = logging.getLogger(__name__)


class Refusals:
    """Those that were logged, for all targets of a host."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    @contextmanager
    def excused(self, without: str) -> Iterator[None]:
        """Run docker commands that no cycle needs. Given, in words, what is missing if they are refused.

        Raise DockerError if one fails for any other reason.
        """
        try:
            yield
        except DockerError as error:
            if error.failure.refused is None:
                raise
            if without not in self._logged:
                self._logged.add(without)
                _log.warning(without, extra={"detail": error.failure.detail})
