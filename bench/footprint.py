"""Footprint: what a monitor takes from its host at a moment, and whether that stays the same over many cycles."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeVar

from lab.daemon import LabError
from lab.engine import Engine
from lab.snapshot import take_snapshot

_KIB = 1024
_TRIES = 10
#: Longer than any pause between two commands of a cycle, or two cycles.
_CALM_SECONDS = 3.0
_LOOK_SECONDS = 0.05

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a monitor takes at a moment.

    Attributes:
        memory_kib, threads, open_files, children: of its process.
        temporary_files: files and folders in its folder for temporary files.
        state_kib: of its state-dir.
        images, containers, volumes, build_records: that its engine shows.
        layers: folders of the engine's layer store.
        engine_files, engine_kib: everything that the engine keeps.
    """

    memory_kib: float
    threads: float
    open_files: float
    children: float
    temporary_files: float
    state_kib: float
    images: float
    containers: float
    volumes: float
    build_records: float
    layers: float
    engine_files: float
    engine_kib: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A footprint, and when it was taken.

    Attributes:
        cycles: finished by then, of all targets.
        seconds: since the beginning.
        footprint: what it was.
    """

    cycles: float
    seconds: float
    footprint: Footprint


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a footprint, and how far it may grow.

    Attributes:
        name: the attribute.
        title: what it is called.
        bound: how much it may grow in 1,000 cycles. because: why that much, and not more.
    """

    name: str
    title: str
    bound: float
    because: str

    def of(self, sample: Sample) -> float:
        """Given a sample, return what it was there."""
        value: float = getattr(sample.footprint, self.name)
        return value

    def growth(self, samples: Sequence[Sample]) -> float:
        """Given samples in their order, return by how much it grew in 1,000 cycles.

        That is Theil and Sen's slope, the median over all pairs: no peak moves it.
        """
        points = [(sample.cycles, self.of(sample)) for sample in samples]
        slopes = [
            (last - first) / (end - start) for (start, first), (end, last) in combinations(points, 2) if end > start
        ]
        return 1000 * statistics.median(slopes)

    def is_flat(self, samples: Sequence[Sample]) -> bool:
        """Given samples, return whether it grew no more than it may."""
        return self.growth(samples) <= self.bound


_WHOLE = "less than one in 2,000 cycles: even one that stays shows as a slope"

#: Of the 20.10 with its classic store. A layer that stays is five files and more.
_RECORDS = "the engine keeps two records of each layer that it ever moved, a block each, and never removes them"

#: Every number, the most interesting first.
FIGURES = (
    Figure("memory_kib", "memory (RSS), KiB", 1000, "1 KiB a cycle: less than a failed one takes in the history"),
    Figure("threads", "threads", 0.5, _WHOLE),
    Figure("open_files", "open files", 0.5, _WHOLE),
    Figure("children", "child processes", 0.5, _WHOLE),
    Figure("temporary_files", "temporary files and folders", 0.5, _WHOLE),
    Figure(
        "state_kib",
        "state-dir, KiB",
        3000,
        "3 KiB a failed cycle; 1,000 a target are kept, and there were that many from the start",
    ),
    Figure("images", "images", 0.5, _WHOLE),
    Figure("containers", "containers", 0.5, _WHOLE),
    Figure("volumes", "volumes", 0.5, _WHOLE),
    Figure("build_records", "records of the build cache", 0.5, _WHOLE),
    Figure("layers", "folders of layers", 0.5, _WHOLE),
    Figure("engine_files", "the engine's files", 2200, _RECORDS),
    Figure("engine_kib", "the engine's disk, KiB", 2200 * 4, _RECORDS),
)


def take_footprint(pid: int, temporary: Path, state: Path, engine: Engine) -> Footprint:
    """Given a monitor's process, its folders, and its engine, which has to answer, return its footprint now.

    Raise OSError if the process is gone, LabError if the engine does not answer.
    """
    process = Path(f"/proc/{pid}")
    quick = _patiently(lambda: _quick_counts(pid, temporary))
    memory = re.search(r"^VmRSS:\s+(\d+) kB$", (process / "status").read_text(encoding="ascii"), re.MULTILINE)
    snapshot = _patiently(lambda: take_snapshot(engine))
    return Footprint(
        memory_kib=float(memory[1]) if memory else 0.0,
        **quick,
        state_kib=sum(file.stat().st_size for file in state.iterdir()) / _KIB,
        images=len(snapshot.images),
        containers=len(snapshot.containers),
        volumes=len(snapshot.volumes),
        build_records=len(snapshot.build_cache),
        layers=_count(engine.data / "overlay2"),
        engine_files=snapshot.data_files,
        engine_kib=snapshot.data_bytes / _KIB,
    )


def await_calm(pid: int, temporary: Path, seconds: float) -> dict[str, float]:
    """Given a monitor's process that should rest, and its folder for temporary files, wait until it does.

    Return what of a footprint was the same all the time then: the next moment, its look after docker's health may be
    under way. Raise OSError if the process is gone, LabError if it takes longer than so many seconds.
    """
    deadline = time.monotonic() + seconds
    last: dict[str, float] = {}
    since = time.monotonic()
    while time.monotonic() < since + _CALM_SECONDS:
        seen = _patiently(lambda: _quick_counts(pid, temporary))
        if seen != last or seen["children"]:
            last, since = seen, time.monotonic()
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s for the monitor to rest; it has {last}")
        time.sleep(_LOOK_SECONDS)
    return last


def _quick_counts(pid: int, temporary: Path) -> dict[str, float]:
    """Given a monitor's process and its folder for temporary files, return what is counted in a millisecond."""
    process = Path(f"/proc/{pid}")
    return {
        "threads": _count(process / "task"),
        "open_files": _count(process / "fd"),
        "children": sum(_children(task) for task in (process / "task").iterdir()),
        "temporary_files": sum(1 for _ in temporary.rglob("*")),
    }


def _patiently(ask: Callable[[], _T]) -> _T:
    """Given a question to an engine or a monitor at work, ask until it is answered: what it counts may go meanwhile.

    Raise LabError or OSError if that does not come about.
    """
    for _ in range(_TRIES - 1):
        with suppress(LabError, OSError):
            return ask()
    return ask()


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _children(task: Path) -> int:
    with suppress(OSError):  # the thread has just ended
        return len((task / "children").read_text(encoding="ascii").split())
    return 0
