"""Crowd: memory, CPU, start and answers by the number of targets, against a fake docker that takes hardly any time."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.finished import LOG_OPTIONS, await_cycles, finished_cycles
from bench.past import write_past
from bench.resources import cpu_seconds, peak_bytes, resident_bytes
from bench.result import Figure, Limit, Lines, Result
from bench.site import Site
from bench.spread import Spread, estimate, median
from lab.monitor import Monitor
from lab.small_world import DOCKER, SmallWorld
from lib.options import parse_options

METHOD = """The monitor, as a program, with a docker that is a shell script and takes some milliseconds a command
(`lab/small_world.sh`). However many targets there are, eight cycles are due each second; the history begins with 10,000
cycles, of which the monitor keeps up to 200 a target. Memory is resident memory (RSS) after some seconds of cycles and
the answers to `/metrics` and `/`; the peak is the highest value. Growth is the slope of a line fitted to the resident
memory by the number of cycles, with 10 targets whose history is full. CPU is all the CPU time of the monitor's own
threads, divided by the cycles in that time."""

CROWDS, SHORT_CROWDS = (1, 10, 50, 200, 1000), (1, 10)
_PAST_CYCLES, _MOST_KEPT = 10_000, 200
_CYCLES_A_SECOND = 8
_WINDOW_SECONDS = 12.0
_ANSWERS, _ANSWERING_SECONDS = 40, 6.0
_GROWING_TARGETS, _GROWING_CYCLES, _SAMPLES = 10, 1500, 60
_PATIENCE_SECONDS = 300.0

_MB = 1e6


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What so many targets took.

    Attributes:
        targets: how many.
        ready_seconds: until it listened and knew them all.
        memory_bytes, peak_bytes: resident.
        cycle_cpu_seconds: of the monitor itself, a cycle.
        metrics_seconds, page_seconds: of its answers.
    """

    targets: int
    ready_seconds: float
    memory_bytes: float
    peak_bytes: float
    cycle_cpu_seconds: float
    metrics_seconds: list[float]
    page_seconds: list[float]


def measure(site: Site, *, short: bool = False) -> Result:
    """Given a site, and whether a few targets will do, return the result."""
    crowds = [_crowd(site.new_folder(), targets) for targets in (SHORT_CROWDS if short else CROWDS)]
    memory_goals = {1: Limit(40), 200: Limit(70)}
    figures = [
        Figure(
            f"crowd.memory_{crowd.targets}",
            f"memory with {crowd.targets:,} target{'s' * (crowd.targets > 1)}",
            "MB",
            _one(crowd.memory_bytes / _MB),
            memory_goals.get(crowd.targets),
        )
        for crowd in crowds
    ]
    growth = _growth(site.new_folder(), _GROWING_CYCLES // 10 if short else _GROWING_CYCLES)
    figures.append(Figure("crowd.growth", "growth of memory in 1,000 cycles", "MB", growth, Limit(1)))
    steps = [f"{crowd.targets:,}" for crowd in crowds]

    def lines(name: str, title: str, unit: str, lines: dict[str, list[float]]) -> Lines:
        return Lines(name, title, unit, "targets", steps, lines)

    plots = (
        lines(
            "memory",
            "Resident memory",
            "MB",
            {
                "after some time": [crowd.memory_bytes / _MB for crowd in crowds],
                "at most": [crowd.peak_bytes / _MB for crowd in crowds],
            },
        ),
        lines(
            "answers",
            "Answers, median",
            "ms",
            {
                "/metrics": [statistics.median(crowd.metrics_seconds) * 1000 for crowd in crowds],
                "/": [statistics.median(crowd.page_seconds) * 1000 for crowd in crowds],
            },
        ),
        lines("ready", "From the start to all targets known", "s", {"": [crowd.ready_seconds for crowd in crowds]}),
        lines(
            "crowd-cpu",
            "The monitor's own CPU a cycle, everything included",
            "ms",
            {"": [crowd.cycle_cpu_seconds * 1000 for crowd in crowds]},
        ),
    )
    return Result("Memory, and growth with the number of targets", METHOD, tuple(figures), plots)


def _crowd(folder: Path, targets: int) -> _Crowd:
    interval = max(0.1, targets / _CYCLES_A_SECOND)
    options = _prepared(folder, targets, f"{round(interval * 1000)}ms", min(_MOST_KEPT, _PAST_CYCLES // targets))
    began = time.monotonic()
    with Monitor(folder, SmallWorld(folder / "world"), *options) as monitor:
        while f"registry_monitor_targets {targets}.0" not in monitor.get("/metrics?name[]=registry_monitor_targets")[1]:
            time.sleep(0.01)
        ready = time.monotonic() - began
        await_cycles(monitor, 1, _PATIENCE_SECONDS)
        used, done = cpu_seconds(monitor.pid), len(finished_cycles(monitor))
        time.sleep(_WINDOW_SECONDS)
        used, done = cpu_seconds(monitor.pid) - used, len(finished_cycles(monitor)) - done
        metrics, page = _answers(monitor, "/metrics"), _answers(monitor, "/")
        memory, peak = resident_bytes(monitor.pid), peak_bytes(monitor.pid)
    return _Crowd(targets, ready, memory, peak, used / done, metrics, page)


def _growth(folder: Path, cycles: int) -> Spread:
    """Given a folder, and for how many cycles to watch it, return by how many MB a full monitor grows in 1,000."""
    options = _prepared(folder, _GROWING_TARGETS, "100ms", _MOST_KEPT)
    samples = []
    with Monitor(folder, SmallWorld(folder / "world"), *options) as monitor:
        warm = cycles // 3
        for number in range(_SAMPLES):
            await_cycles(monitor, warm + (cycles - warm) * number // _SAMPLES, _PATIENCE_SECONDS)
            samples.append((float(len(finished_cycles(monitor))), resident_bytes(monitor.pid) / _MB))
    return estimate(samples, _slope).scaled(1000)


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    return statistics.linear_regression(*zip(*samples, strict=True)).slope


def _prepared(folder: Path, targets: int, every: str, cycles: int) -> tuple[str, ...]:
    """Given a folder, how many targets are due how often, and how many past cycles of each there are, write all that.

    Return the monitor's options.
    """
    config = folder / "config.yml"
    listed = [{"name": f"t{number}", "repository": f"registry.example/crowd/t{number}"} for number in range(targets)]
    text = json.dumps({"run-test-every": every, "payload-size": "64KiB", "targets": listed})
    config.write_text(text, encoding="utf-8")  # JSON is YAML
    state = folder / "state"
    write_past(state, parse_options([f"-config={config}"], {}).targets, cycles)
    return f"-config={config}", f"-docker={DOCKER}", f"-state-dir={state}", *LOG_OPTIONS


def _answers(monitor: Monitor, path: str) -> list[float]:
    """Given a monitor and a path, return what each of some answers took, in seconds."""
    seconds: list[float] = []
    while len(seconds) < _ANSWERS and sum(seconds) < _ANSWERING_SECONDS:
        began = time.monotonic()
        monitor.get(path)
        seconds.append(time.monotonic() - began)
        time.sleep(0.02)
    return seconds


def _one(number: float) -> Spread:
    return median([number])
