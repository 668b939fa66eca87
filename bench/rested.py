"""Rested images: what seven of them a target cost beside its cycles, in lag, memory and on the disk.

    python -m bench.rested fake     50 targets, against a fake docker
    python -m bench.rested real     6 targets, on a real engine and registry

The monitor itself pushes all images first. Then the same targets are watched in turn, round by round: without rested
images, with them, and at the moment at which each target has one to check, as it comes once in `cold-every` if all
were begun together. It prints its figures, and fails only if an image is lost, or not checked.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from bench.many_targets import figures_of, write_config
from bench.report import lines
from bench.resources import resident_bytes
from bench.result import Figure, Result
from bench.spread import Spread, median, percentile
from lab.daemon import LabError, await_true
from lab.engine import Engine
from lab.monitor import Monitor, Surroundings
from lab.registry import Registry
from lab.session import Lab
from lab.small_world import DOCKER, SmallWorld
from lib.history import History
from lib.history.hours import Bounds
from lib.history.store import Store
from lib.options import parse_options

METHOD = """The monitor, as a program, watches {targets} targets, each due every {every:g} s, on {what}.
They have no rested images; or {images} each with `cold-every=24h`, none of which is due; or {images}, one of which is
due for a check at the first cycle: the three take turns. The lag is how long after it was due a cycle began, of every
cycle in that time. Memory is resident memory (RSS) at the end of a turn. The state-dir's size is its database's,
without free pages."""

IMAGES = 7
_ROUNDS, _CYCLES = 2, 2
_PATIENCE_SECONDS = 900.0
_CLOSE_SECONDS = 60.0
_MB, _KB = 1e6, 1e3

#: What takes turns, in words.
_TURNS = {
    "without": "without rested images",
    "with": "with them",
    "due": "with one to check for each target at once",
}


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the targets are watched.

    Attributes:
        what: the docker and registry, in words.
        folder: for all that is written, there already.
        surroundings: what the monitor needs around it.
        host: the registry.
        targets: how many.
        every: their interval, in seconds.
        options: what else the monitor is given.
    """

    what: str
    folder: Path
    surroundings: Surroundings
    host: str
    targets: int
    every: float
    options: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    """The measurements of one of those that take turns.

    Attributes:
        lags: of all cycles, in seconds.
        memory: at the end of each turn, in bytes.
    """

    lags: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


def main() -> None:
    """Measure what is asked for, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("fake", "real"))
    parser.add_argument("--targets", type=int)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    asked = parser.parse_args()
    with Lab() as lab:
        scene = fake_scene(lab.folder) if asked.which == "fake" else _real_scene(lab)
        result = measure(replace(scene, targets=asked.targets or scene.targets), asked.rounds)
    print(f"{result.title}\n\n{result.method}\n\n{lines(result.figures)}", end="")


def fake_scene(folder: Path) -> Scene:
    """Given a folder, return 50 targets on a fake docker that takes hardly any time."""
    world = SmallWorld(folder / "world")
    what = "a docker that is a shell script and takes some milliseconds a command"
    return Scene(what, folder, world, "registry.example", 50, 60, (f"-docker={DOCKER}",))


def _real_scene(lab: Lab) -> Scene:
    engine = lab.enter(Engine(lab.folder / "engine"))
    registry = lab.enter(Registry(lab.folder / "registry"))
    return Scene("a real engine and registry", lab.folder, engine, registry.host, 6, 20)


def measure(scene: Scene, rounds: int, cycles: int = _CYCLES) -> Result:
    """Given where, and how many rounds of how many cycles a target, return the measurements.

    Raise LabError if an image is lost, or one that is due is not checked.
    """
    kept = _fill(scene)
    seen = {turn: _Seen() for turn in _TURNS}
    for number in range(rounds):
        for turn in list(seen) if number % 2 else reversed(list(seen)):
            _take_turn(scene, kept, turn, cycles, seen[turn])
    method = METHOD.format(targets=scene.targets, every=scene.every, what=scene.what, images=IMAGES)
    return Result("Rested images", method, (*_figures(seen), *_state_figures(kept)))


def _figures(seen: Mapping[str, _Seen]) -> list[Figure]:
    def lag(key: str, of: str, spread: Callable[[Sequence[float]], Spread]) -> list[Figure]:
        return [
            Figure(f"rested.lag_{key}_{turn}", f"lag, {of}, {_TURNS[turn]}", "ms", spread(one.lags).scaled(1000))
            for turn, one in seen.items()
        ]

    memory = [
        Figure(f"rested.memory_{turn}", f"memory, {_TURNS[turn]}", "MB", median(one.memory).scaled(1 / _MB))
        for turn, one in seen.items()
    ]
    return [
        *lag("p50", "median", median),
        *lag("p99", "99th percentile", lambda lags: percentile(lags, 99)),
        *lag("most", "most", lambda lags: median([max(lags)])),
        *memory,
    ]


def _state_figures(kept: Path) -> list[Figure]:
    """Given a state-dir, return its size, and what it is without rested images."""
    copy = shutil.copytree(kept, kept.with_name("sized"))
    with closing(sqlite3.connect(copy / "history.sqlite3")) as database:
        sizes = []
        for statement in ("SELECT 1", "DELETE FROM rested"):
            database.execute(statement)
            database.commit()
            database.execute("VACUUM")
            ((size,),) = database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            sizes.append(size / _KB)
    whole, less = sizes
    return [
        Figure("rested.state", "state-dir with rested images", "kB", median([whole])),
        Figure("rested.state_without", "state-dir without", "kB", median([less])),
    ]


def _options(scene: Scene, state: Path, images: int, cold_every: str, every: float) -> tuple[str, ...]:
    config = write_config(scene.folder, scene.host, scene.targets, f"{every:g}s")
    rested = (f"-cold-images={images}", f"-cold-every={cold_every}")
    return f"-config={config}", f"-state-dir={state}", *rested, "-loglevel=warn", *scene.options


def _fill(scene: Scene) -> Path:
    """Given where, let the monitor push all rested images. Return the state-dir that it leaves."""
    state = scene.folder / "filled"
    with _monitor(scene, "filling", _options(scene, state, IMAGES, "100ms", 0.5)) as monitor:
        await_true(
            lambda: _total(monitor, "registry_monitor_cold_images") >= IMAGES * scene.targets,
            _PATIENCE_SECONDS,
            "all rested images to be pushed",
        )
        monitor.stop()
    return state


def _take_turn(scene: Scene, kept: Path, turn: str, cycles: int, seen: _Seen) -> None:
    """Given where, a state-dir, what is watched and for how many cycles of each, note what is seen of it."""
    state = shutil.copytree(kept, scene.folder / "state")
    options = _options(scene, state, 0 if turn == "without" else IMAGES, "24h", scene.every)
    _age(options, state, timedelta(hours=25 if turn == "due" else 0))
    with _monitor(scene, f"{turn}-{len(seen.memory)}", options) as monitor:
        for _ in range(cycles):
            time.sleep(scene.every)
            seen.lags += figures_of(monitor.get("/metrics")[1]).lags
        seen.memory.append(resident_bytes(monitor.pid))
        wanted = scene.targets if turn == "due" else 0
        checked, whole = (_total(monitor, f"registry_monitor_cold_{name}") for name in ("checks_total", "up"))
        if (checked, whole) != (wanted, wanted):
            raise LabError(f"{checked:.0f} of {wanted} images were checked; {whole:.0f} targets have lost none")
        monitor.stop()
    shutil.rmtree(state)


def _age(options: tuple[str, ...], state: Path, ago: timedelta) -> None:
    """Given the monitor's options, its state-dir and a time, date the last push back by that, and let no image be
    checked yet.
    """
    store = Store(state, uuid4().hex)
    history, last = History("", store), datetime.now(UTC) - ago
    for target in parse_options(options, {}).targets:
        name = target.reference.familiar
        images = history.kept((name,), Bounds(0, 0))[name].rested
        by = max(image.acted for image in images) - last
        for image in images:
            unchecked = replace(image, acted=image.acted - by, checked=None, succeeded=None, verdict=None, is_lost=None)
            history.keep_rested(name, unchecked)
    store.close(_CLOSE_SECONDS)


def _monitor(scene: Scene, name: str, options: tuple[str, ...]) -> Monitor:
    folder = scene.folder / name
    folder.mkdir()
    return Monitor(folder, scene.surroundings, *options)


def _total(monitor: Monitor, name: str) -> float:
    """Given a monitor and the name of a metric, return the sum over all its series."""
    numbers = re.findall(rf"^{name}\{{.*\}} (\S+)$", monitor.get("/metrics")[1], re.MULTILINE)
    return sum(map(float, numbers))


if __name__ == "__main__":
    main()
