"""Transfers: who may hold the engine's slots, of which it has three for pulls and five for pushes, for all its clients.

A push that a registry never acknowledges holds its slot long after its client is gone. After five of these no push to
any other registry begins. Only this process's own transfers are known, not those of others on this host.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from lib.docker import Docker, DockerError
from lib.docker.answers import CONTAINERD_STORE
from lib.result import StepName

#: Which steps take which slots.
_SLOTS = {StepName.PULL: "downloads", StepName.PULL_BACK: "downloads", StepName.PUSH: "uploads"}

_K = TypeVar("_K")


class Transfers:
    """The transfers of all targets on one engine: those under way, and the pushes that were given up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = Counter[tuple[str, str]]()
        self._given_up = Counter[str]()

    @contextmanager
    def noted(self, step: StepName, registry: str) -> Iterator[None]:
        """Given a step that runs meanwhile, and its registry, note whether it holds a slot."""
        transfer = _SLOTS.get(step, ""), registry
        self._count(self._under_way, transfer, 1)
        try:
            yield
        except DockerError as error:
            if step is StepName.PUSH and error.deadline_passed and not error.only_waited:
                self._count(self._given_up, registry, 1)
            raise
        else:
            if step is StepName.PUSH:
                self._count(self._given_up, registry, -self._given_up[registry])
        finally:
            self._count(self._under_way, transfer, -1)

    def why_waited(
        self, step: StepName, registry: str, error: DockerError, docker: Docker, seconds: float
    ) -> str | None:
        """Return why a step that passed its deadline says nothing about its registry, if others kept it from beginning.

        Given the step, its registry, how it failed, and the CLI, to ask within so many seconds which engine that is.
        """
        kind = _SLOTS.get(step, "")
        if not error.only_waited or self._given_up[registry]:
            return None
        with self._lock:
            holders = {host for held, host in +self._under_way if held == kind}
            if step is StepName.PUSH:
                holders |= set(+self._given_up)
        holders.discard(registry)
        if not holders or not _has_slots(docker, seconds):
            return None
        return (
            f"it only waited for the engine, whose transfers with {', '.join(sorted(holders))}, under way or given up,"
            f" took all of its max-concurrent-{kind}"
        )

    def _count(self, counter: Counter[_K], key: _K, number: int) -> None:
        with self._lock:
            counter[key] += number


def _has_slots(docker: Docker, seconds: float) -> bool:
    # An engine with containerd's image store has no slots, and calls a layer "Waiting" whatever holds it up.
    try:
        return not docker.store(seconds).startswith(CONTAINERD_STORE)
    except DockerError:
        return False
