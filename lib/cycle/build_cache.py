"""The build cache: what BuildKit keeps of a build beside its image. Those records are found and removed, no others.

As long as they are there, `docker rmi` leaves the layers on the host, and the pull after it moves nothing. BuildKit
does not say whose a record is. A layer of the payload is known by its description, which holds a path that this cycle
alone used. BuildKit of Docker 20.10 describes all copies alike; there, a layer is known by when it was made, by its
size, and by no image having it any more, and this process's targets take turns (`Turn`). What was sent to the daemon
for the build (Dockerfile, .dockerignore, payload) is known by the time and the size; Dockerfile and .dockerignore are
given a size by chance.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lib.cycle.payload import PAYLOAD_ROOT, Context, instance_in
from lib.docker import Docker
from lib.docker.answers import CacheRecord

#: The most bytes that are added by chance to what is sent for a build.
_PADDING_BYTES = 200_000

#: Moments are told by whole seconds, and the daemon's clock may be a little off ours.
_SLACK = timedelta(seconds=1)

#: Sizes are told by three digits, and by the blocks of the disk: one more for the folder, and one for each file.
_ROUNDED = 0.006
_BLOCK_BYTES = 4096

_ANY_COPY = "fileop target"
_SOURCE = "local source for "


@dataclass(frozen=True, slots=True)
class Traces:
    """What a build left in BuildKit's cache.

    Attributes:
        context: what it was built from.
        began, ended: when it ran.
    """

    context: Context
    began: datetime
    ended: datetime

    def among(self, records: Iterable[CacheRecord]) -> list[CacheRecord]:
        """Given records, return those of this build: the layers of its payload first."""
        recent = [record for record in records if self.began - _SLACK <= record.created <= self.ended + _SLACK]
        layers = [record for record in recent if self.context.folder in record.description] or self._copies(recent)
        dockerfile = self._sources(recent, "dockerfile", self.context.dockerfile_bytes)
        ignored = self._sources(recent, "context", self.context.ignore_bytes)
        sent = self._sources(recent, "context", sum(self.context.layer_bytes), len(self.context.layer_bytes))
        payload = [record for record in sent if record not in ignored]
        if dockerfile and layers:
            first, last = dockerfile[0].created, min(record.created for record in layers)
            payload = [record for record in payload if first <= record.created <= last]
        # Its size is not by chance. Where somebody sent as much in the same moment, nobody can tell which is whose, and
        # both stay. Ours is used again by the next build.
        return layers + dockerfile + ignored + (payload if len(payload) == 1 else [])

    def _copies(self, records: Iterable[CacheRecord]) -> list[CacheRecord]:
        """Given records, return what can only be the layers of the payload; none where there are others like them."""
        copies = [
            record
            for record in records
            if record.description == _ANY_COPY
            and not record.is_shared
            and any(_is_about(record.size_bytes, size) for size in self.context.layer_bytes)
        ]
        return copies if len(copies) <= len(self.context.layer_bytes) else []

    @staticmethod
    def _sources(records: Iterable[CacheRecord], name: str, size_bytes: int, files: int = 1) -> list[CacheRecord]:
        """Given records, return those of so many bytes, in so many files, that were sent under a name."""
        return [
            record
            for record in records
            if record.description == f"{_SOURCE}{name}" and _is_about(record.size_bytes, size_bytes, files + 1)
        ]


def new_padding() -> int:
    """Return by how many bytes the Dockerfile of a build with BuildKit is to be longer than it need be."""
    return secrets.randbelow(_PADDING_BYTES)


@dataclass(slots=True)
class Turn:
    """The right to change what is in the build cache, of one target at a time, as far as that is needed.

    It is not where BuildKit names what it copied, as the first removal shows.
    """

    is_needed: bool = True
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def taken(self, seconds: float) -> Iterator[None]:
        """Have it, after a wait; given how long that may last, after which it is done without."""
        is_ours = self.is_needed and self._lock.acquire(timeout=seconds)
        try:
            yield
        finally:
            if is_ours:
                self._lock.release()

    def learn(self, layers: Sequence[CacheRecord]) -> None:
        """Given layers that were removed, see whether they had names."""
        if layers:
            self.is_needed = all(layer.description == _ANY_COPY for layer in layers)


def remove_traces(docker: Docker, traces: Traces, deadline: float) -> list[CacheRecord]:
    """Given what a build left, remove it, and return what of that were layers. Raise DockerError."""
    records = traces.among(docker.cache_records_since(traces.began - _SLACK, deadline))
    if records:
        docker.prune(records, deadline)
    return [record for record in records if not record.description.startswith(_SOURCE)]


def remove_layers_of_dead(docker: Docker, is_dead: Callable[[str], bool], deadline: float) -> None:
    """Given what tells an instance that ended, remove the layers that such ones left. Raise DockerError."""
    named = docker.cache_records_with(PAYLOAD_ROOT, deadline)
    records = [record for record in named if (instance := instance_in(record.description)) and is_dead(instance)]
    if records:
        docker.prune(records, deadline)


def _is_about(told_bytes: int, size_bytes: int, blocks: int = 0) -> bool:
    """Given a size as docker tells it, a true one, and how many blocks may come to that, return whether they agree."""
    least, most = size_bytes * (1 - _ROUNDED), size_bytes * (1 + _ROUNDED) + blocks * _BLOCK_BYTES
    return least <= told_bytes <= most
