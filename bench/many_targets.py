"""Many targets: how the monitor does with 60 real ones, and with 1,000 against a fake docker.

    python -m bench.many_targets real     60 targets a minute on one real registry, beside one target alone
    python -m bench.many_targets fake     1,000 targets: start, memory, /metrics, and whether each gets its turn

Both print their figures, and fail nothing: the reader decides what is too much.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.engine import Engine
from lab.monitor import Monitor
from lab.registry import Registry
from lab.session import Lab
from lab.small_world import DOCKER, SmallWorld

_SERIES = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run showed.

    Attributes:
        lags: seconds by which each target's last cycle began late.
        cycles: cycles that each target finished.
        failures: cycles of all targets that were not up.
        steps: mean seconds by step, over all cycles.
    """

    lags: tuple[float, ...]
    cycles: tuple[float, ...]
    failures: float
    steps: Mapping[str, float]


def main() -> None:
    """Run what is asked for, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("real", "fake"))
    parser.add_argument("--targets", type=int)
    parser.add_argument("--minutes", type=float, default=3.0)
    asked = parser.parse_args()
    with Lab() as lab:
        if asked.which == "real":
            measure_real(lab, asked.targets or 60, asked.minutes)
        else:
            measure_fake(lab, asked.targets or 1000, asked.minutes)


def measure_real(lab: Lab, targets: int, minutes: float) -> None:
    """Compare so many targets on a real engine and registry with one alone."""
    engine = lab.enter(Engine(lab.folder / "engine"))
    registry = lab.enter(Registry(lab.folder / "registry"))
    alone, many = (run(lab.folder / f"of-{count}", engine, registry.host, count, minutes) for count in (1, targets))
    print(f"{'step':<10} {'1 target':>10} {f'{targets} targets':>12}")
    for step in many.steps:
        print(f"{step:<10} {alone.steps.get(step, 0.0):>8.3f} s {many.steps[step]:>10.3f} s")
    print_turns(many)


def run(folder: Path, engine: Engine, host: str, targets: int, minutes: float) -> Figures:
    """Given a new folder, an engine, a registry, and how many targets there for how long, return what it showed."""
    folder.mkdir()
    config = write_config(folder, host, targets, "1m" if targets > 1 else "1s")
    with Monitor(folder, engine, f"-config={config}") as monitor:
        time.sleep(minutes * 60)
        return figures_of(monitor.get("/metrics")[1])


def measure_fake(lab: Lab, targets: int, minutes: float) -> None:
    """Show what so many targets take from the host, and whether each gets its turn."""
    folder = lab.folder / "small-world"
    world = SmallWorld(folder)
    config = write_config(folder, "registry.example", targets, "2m")
    options = (f"-config={config}", f"-docker={DOCKER}", f"-state-dir={folder / 'state'}", "-loglevel=warn")
    started = time.monotonic()
    with Monitor(folder, world, *options) as monitor:
        answering = time.monotonic() - started
        while f"registry_monitor_targets {targets}.0" not in monitor.get("/metrics?name[]=registry_monitor_targets")[1]:
            time.sleep(0.05)
        print(f"answers after {answering:.2f} s, knows all targets after {time.monotonic() - started:.2f} s")
        time.sleep(minutes * 60)
        scrapes = []
        for _ in range(5):
            asked = time.monotonic()
            text = monitor.get("/metrics")[1]
            scrapes.append(time.monotonic() - asked)
        figures = figures_of(text)
        status = Path(f"/proc/{monitor.pid}/status").read_text(encoding="ascii")
    threads, memory = (re.findall(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[0] for name in ("Threads", "VmHWM"))
    print(f"/metrics: {statistics.median(scrapes) * 1000:.0f} ms for {len(text) / 1e6:.1f} MB")
    print(f"memory at most: {int(memory) / 1024:.0f} MB, threads: {threads}")
    print(
        f"cycles of each target: {min(figures.cycles):.0f} to {max(figures.cycles):.0f}, not up: {figures.failures:.0f}"
    )
    print(f"lag of the last cycles: median {statistics.median(figures.lags):.3f} s, most {max(figures.lags):.3f} s")


def print_turns(figures: Figures) -> None:
    """Given the figures of a run, print whether each target got its turn."""
    fewest, most = min(figures.cycles), max(figures.cycles)
    print(f"cycles of each target: {fewest:.0f} to {most:.0f}, not up: {figures.failures:.0f}")
    print(f"lag of the last cycles: median {statistics.median(figures.lags):.3f} s, most {max(figures.lags):.3f} s")


def write_config(folder: Path, host: str, targets: int, every: str) -> Path:
    """Given a folder, a registry, how many targets there and their interval, write a configuration. Return its path."""
    file = folder / "config.yml"
    listed = "".join(f"  - {{name: t{number}, repository: {host}/bench/t{number}}}\n" for number in range(targets))
    file.write_text(f"run-test-every: {every}\npayload-size: 64KiB\ntargets:\n{listed}", encoding="utf-8")
    return file


def figures_of(text: str) -> Figures:
    """Given /metrics in Prometheus' text format, return what it says."""
    cycles: dict[str, float] = {}
    failures, lags = 0.0, []
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for name, labels_text, number in _SERIES.findall(text):
        labels, value = dict(re.findall(r'(\w+)="([^"]*)"', labels_text)), float(number)
        if name == "registry_monitor_cycles_total":
            cycles[labels["target"]] = cycles.get(labels["target"], 0.0) + value
            failures += value if labels["verdict"] != "up" else 0
        elif name == "registry_monitor_cycle_lag_seconds":
            lags.append(value)
        elif name == "registry_monitor_step_duration_seconds_sum" and labels["outcome"] == "ok":
            sums[labels["step"]] = sums.get(labels["step"], 0.0) + value
        elif name == "registry_monitor_step_duration_seconds_count" and labels["outcome"] == "ok":
            counts[labels["step"]] = counts.get(labels["step"], 0.0) + value
    steps = {step: sums[step] / counts[step] for step in sums if counts[step]}
    return Figures(tuple(lags), tuple(cycles.values()), failures, steps)


if __name__ == "__main__":
    main()
