"""The build cache: what BuildKit keeps of a build beside its image. Those records are found and removed, no others.

As long as they are there, `docker rmi` leaves the layers on the host, and the pull after it moves nothing. BuildKit
does not say whose a record is. It is recognised by its description, if that has the path of the payload or the name of
the context that the payload came from: each cycle has its own. What was sent first (the Dockerfile with a file of
comments) is recognised by its size, which nobody else's has: any monitor that finds it removes it, since it is of no
use to anybody once its build is over.

Older ones don't say as much. A payload that came without a name is recognised by its time and size. BuildKit of Docker
20.10 describes all copies alike; there, a layer is recognised by when it was made, by its size, and because no image
has it any more, and this process's targets take turns (`BuildLock`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lib.cycle.payload import CONTEXT_ROOT, MARKED_BYTES, PAYLOAD_ROOT, Context, Marks, instance_in
from lib.docker import BuiltBy, Docker
from lib.docker.cache import CacheRecord, prune, records_since, records_with

#: Moments are given in whole seconds, and the daemon's clock may differ a little from ours.
_SLACK = timedelta(seconds=1)

#: Sizes are given in three digits, and in blocks of the disk: one more for the folder, and one for each file.
_ROUNDED = 0.006
_BLOCK_BYTES = 4096

#: How long to wait for records in use: BuildKit releases those of a build a moment after it reported its end.
_IN_USE_SECONDS = 3.0
_PAUSE_SECONDS = 0.1

_ANY_COPY = "fileop target"
_SOURCE = "local source for "
_DOCKERFILE = f"{_SOURCE}dockerfile"
_CONTEXT = f"{_SOURCE}context"


@dataclass(frozen=True, slots=True)
class CacheFootprint:
    """What a build left in BuildKit's cache.

    Attributes:
        context: what it was built from.
        began, ended: when it ran.
    """

    context: Context
    began: datetime
    ended: datetime

    def layers_and_rest(self, records: Iterable[CacheRecord]) -> tuple[list[CacheRecord], list[CacheRecord]]:
        """Given records, return those of this build: the layers of its payload, and the rest."""
        recent = [record for record in records if self.began - _SLACK <= record.created <= self.ended + _SLACK]
        # Another build can have come right before or after. If the clocks agree, they tell the two apart.
        exact = [record for record in recent if self.began <= record.created <= self.ended]
        named = [record for record in recent if self._is_named(record)]
        layers = [record for record in named if not _is_sent(record)] or self._copies(exact) or self._copies(recent)
        sent = [record for record in named if _is_sent(record)]
        first = [record for record in recent if _is_dockerfile(record)]
        if not self.context.name:
            sent = self._sent(exact, first, layers) or self._sent(recent, first, layers)
        return layers, _stood_on(layers, recent) + sent + [record for record in first if not record.is_in_use]

    def _is_named(self, record: CacheRecord) -> bool:
        texts = filter(None, (self.context.folder, self.context.name))
        return any(text in record.description for text in texts)

    def _copies(self, records: Iterable[CacheRecord]) -> list[CacheRecord]:
        """Given records, return what can only be the layers of the payload; none if there are others like them."""
        copies = [
            record
            for record in records
            if record.description == _ANY_COPY
            and not record.is_shared
            and any(_is_about(record.size_bytes, size) for size in (0, *self.context.layer_bytes))  # 0: it was cut off
        ]
        return copies if len(copies) <= len(self.context.layer_bytes) else []

    def _sent(
        self, records: Iterable[CacheRecord], first: Sequence[CacheRecord], layers: Sequence[CacheRecord]
    ) -> list[CacheRecord]:
        """Given records, those that were read first, and the layers, return what was sent without a name."""
        contexts = [record for record in records if record.description == _CONTEXT]
        marked = _only(record for record in contexts if _is_about(record.size_bytes, MARKED_BYTES, 2))
        return self._payload(contexts, first, layers) + marked

    def _payload(
        self, records: Iterable[CacheRecord], first: Sequence[CacheRecord], layers: Sequence[CacheRecord]
    ) -> list[CacheRecord]:
        """Given contexts, those that were read first, and the layers, return what the layers were copied from."""
        size, files = sum(self.context.layer_bytes), len(self.context.layer_bytes)
        sent = [record for record in records if _is_about(record.size_bytes, size, files + 1)]
        if first and layers:
            begun, done = min(one.created for one in first), min(one.created for one in layers)
            sent = [one for one in sent if begun <= one.created <= done]
        return _only(sent)


def marks_for(docker: Docker) -> Marks:
    """Given the CLI, return how to mark what it sends for a build."""
    if docker.builder is not BuiltBy.BUILDKIT:
        return Marks.NONE
    return Marks.NAME if docker.names_contexts else Marks.SIZE


@dataclass(slots=True)
class BuildLock:
    """The right to change the build cache, held by one target at a time, as far as that is needed.

    It is not if BuildKit names what it copied, as the first removal shows.
    """

    is_needed: bool = True
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def taken(self, seconds: float) -> Iterator[None]:
        """Hold it, after a wait; given how long that may last, after which to go on without it."""
        is_ours = self.is_needed and self._lock.acquire(timeout=seconds)
        try:
            yield
        finally:
            if is_ours:
                self._lock.release()

    def learn(self, layers: Sequence[CacheRecord]) -> None:
        """Given layers that were removed, note whether they had names."""
        if layers:
            self.is_needed = all(layer.description == _ANY_COPY for layer in layers)


def remove_footprint(docker: Docker, footprint: CacheFootprint, deadline: float) -> tuple[list[CacheRecord], bool]:
    """Given what a build left, remove it. Return which layers docker says it removed, and whether everything found of
    the build is gone. Wait a while for what is in use. Raise DockerError.
    """
    layers: dict[str, CacheRecord] = {}

    def left() -> list[CacheRecord]:
        found, rest = footprint.layers_and_rest(records_since(docker, footprint.began - _SLACK, deadline))
        layers.update((layer.record_id, layer) for layer in found)
        return found + rest

    removed, is_all = _remove(docker, left, deadline)
    return [record for record in removed if record.record_id in layers], is_all


def remove_abandoned(docker: Docker, is_over_for: Callable[[str, datetime], bool], deadline: float) -> bool:
    """Given a predicate on an instance and a time that says that its cycles no longer need what was made then, remove
    the records that it holds for. Return whether there were any: then more can come. A build that a dead instance began
    may continue: wait a while for what it has in use. Raise DockerError.
    """
    found: list[CacheRecord] = []

    def is_over(record: CacheRecord) -> bool:
        instance = instance_in(record.description)
        return instance is not None and is_over_for(instance, record.created)

    def left() -> list[CacheRecord]:
        listed = records_with(docker, (PAYLOAD_ROOT, CONTEXT_ROOT, _DOCKERFILE), deadline)
        found.extend(over := [record for record in listed if is_over(record)])
        return over + [record for record in listed if _is_dockerfile(record) and not record.is_in_use]

    _remove(docker, left, deadline)
    return bool(found)


def _remove(docker: Docker, left: Callable[[], list[CacheRecord]], deadline: float) -> tuple[list[CacheRecord], bool]:
    """Given what lists the records to remove, remove them. Return what docker says it removed, and whether none is left
    except a Dockerfile, which can be another monitor's.
    """
    removed: dict[str, CacheRecord] = {}
    ends = time.monotonic() + min(deadline, _IN_USE_SECONDS)
    while records := left():
        removed.update((record.record_id, record) for record in prune(docker, records, deadline))
        if all(record.record_id in removed or _is_dockerfile(record) for record in records):
            break
        if time.monotonic() > ends:
            return list(removed.values()), False
        time.sleep(_PAUSE_SECONDS)
    return list(removed.values()), True


def _stood_on(layers: Sequence[CacheRecord], recent: Sequence[CacheRecord]) -> list[CacheRecord]:
    """Given layers, and the records that were made at their time, return those of the base below the layers.

    If somebody else's layers are on them too, they are in use, and can't be removed.
    """
    others = {record.record_id: record for record in recent if record not in layers}
    found: list[CacheRecord] = []
    asked = [parent for layer in layers for parent in layer.parents]
    while asked:
        record = others.pop(asked.pop(), None)
        if record is not None:
            found.append(record)
            asked += record.parents
    return found


def _is_sent(record: CacheRecord) -> bool:
    return record.description.startswith(_SOURCE)


def _is_dockerfile(record: CacheRecord) -> bool:
    """Given a record, return whether it is a monitor's Dockerfile with its comments."""
    # Two files, each filling its last block, and the folder.
    return record.description == _DOCKERFILE and _is_about(record.size_bytes, MARKED_BYTES, 3)


def _only(records: Iterable[CacheRecord]) -> list[CacheRecord]:
    """Given records of a size that others can have too, return the only one; none if there are several.

    If somebody else sent as much at the same moment, nobody can tell which is whose, and both stay. The next build uses
    ours again.
    """
    found = list(records)
    return found if len(found) == 1 else []


def _is_about(told_bytes: int, size_bytes: int, blocks: int = 0) -> bool:
    """Given a size as docker gives it, a true one, and how many blocks may be added, return whether they agree."""
    least, most = size_bytes * (1 - _ROUNDED), size_bytes * (1 + _ROUNDED) + blocks * _BLOCK_BYTES
    return least <= told_bytes <= most
