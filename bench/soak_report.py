"""The result of a soak: judged, as a document, and as a plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pygal  # type: ignore[import-untyped]  # it has no types

from bench.counts import Counts
from bench.footprint import FIGURES, Sample
from lab.engine import Engine
from lib.failure.reason import Verdict

#: Points of a line of the plot.
_MOST_POINTS = 200

_HEAD = """# The soak

What {cycles} cycles, with failures of every kind among them, leave on a host: the latest result, written by `python -m
bench.soak --cycles {asked} --document docs/soak.md` (`tox -e soak`). It took {minutes:.0f} minutes.

{machine}

One monitor, a program of its own, watches {targets} targets, each with a registry of its own that it reaches over TLS,
through a proxy that misbehaves on demand. One target is left alone. Each of the others is struck by the faults of its
list, one after the other: a fault stays until the monitor has counted a failure for the expected reason, and the next
one comes when the target is up again. Now and then the whole engine is stopped, or hangs, or its disk is full. A soak
ends early if a fault does not show, or a target does not recover. The history is full from the start, with
{past:,} earlier cycles a target, of which every second one failed.

## What it takes from its host

{rests} times, spread evenly over the cycles, the faults pause, all targets recover, and a reload makes the monitor test
them only hourly. Once it has come to rest, it is measured. The first half is the warm-up: by then, each kind of failure
has occurred. Growth is the Theil-Sen slope over the {settled} rests of the second half, by the number of cycles: the
median over all pairs, which a peak does not move. The maximum is that of {samples} samples while it was at work.

| | at rest after the warm-up | at rest at the end | maximum | growth in 1,000 cycles | bound | why this bound | |
| --- | ---: | ---: | ---: | ---: | ---: | --- | --- |
"""

_END = """
![memory, threads, open files and disk by the number of cycles]({plot})

## What was left

After SIGTERM it ended in {stop_seconds:.1f} s with exit code {exit_code}. The images, containers, volumes, networks
and build cache of its engine were compared with what was there before, and its folder for temporary files and its
processes were checked: {left}.

## What occurred

| target | up | down | unknown |
| --- | ---: | ---: | ---: |
"""


@dataclass(frozen=True, slots=True)
class Soak:
    """The result of a soak.

    Attributes:
        asked: how many cycles were asked for.
        past: how many cycles of each target the history held before.
        samples: taken all the time.
        rests: taken when it was at rest, the last one at the end.
        counts: what the monitor had counted at the end.
        reasons: those that were brought about.
        left: what the monitor left behind; nothing, if all is well.
        seconds: how long it ran.
        exit_code: the monitor's, after SIGTERM.
        stop_seconds: how long it took to end.
        log: what it logged.
    """

    asked: int
    past: int
    samples: tuple[Sample, ...]
    rests: tuple[Sample, ...]
    counts: Counts
    reasons: tuple[str, ...]
    left: tuple[str, ...]
    seconds: float
    exit_code: int | None
    stop_seconds: float
    log: str

    @property
    def settled(self) -> tuple[Sample, ...]:
        """The rests after the warm-up."""
        half = self.rests[-1].cycles / 2
        return tuple(rest for rest in self.rests if rest.cycles >= half)

    def faults(self) -> list[str]:
        """Return what is not as it should be in a whole soak."""
        faults = [f"grows: {figure.title}" for figure in FIGURES if not figure.is_flat(self.settled)]
        faults += [f"left behind: {left}" for left in self.left]
        if self.exit_code != 0:
            faults.append(f"ended with exit code {self.exit_code}")
        if "Traceback" in self.log:
            faults.append("logged a traceback")
        return faults


def report(soak: Soak, machine: str, plot_name: str) -> str:
    """Given the result of a soak, what it ran on, and the name of the plot beside it, return the document."""
    counts = soak.counts
    targets = sorted({target for target, _ in counts.cycles})
    head = _HEAD.format(
        cycles=f"{counts.finished:,}",
        asked=soak.asked,
        past=soak.past,
        minutes=soak.seconds / 60,
        machine=machine,
        targets=len(targets),
        samples=len(soak.samples),
        rests=len(soak.rests),
        settled=len(soak.settled),
    )
    end = _END.format(
        plot=plot_name,
        stop_seconds=soak.stop_seconds,
        exit_code=soak.exit_code,
        left="; ".join(soak.left) or "nothing was left, and nothing was changed",
    )
    verdicts = [_row(target, *(f"{counts.cycles[target, verdict]:,}" for verdict in Verdict)) for target in targets]
    reasons = [_row(reason, f"{counts.of_reason(reason):,}") for reason in soak.reasons]
    return "".join(
        (
            head,
            *_figures(soak),
            end,
            *verdicts,
            "\n| reason | failed steps |\n| --- | ---: |\n",
            *reasons,
        )
    )


def plot(samples: Sequence[Sample], file: Path) -> None:
    """Given samples, draw some of their figures by the number of cycles, and write that to an SVG file."""
    chart = pygal.XY(
        js=(),  # no script of a stranger's in a document
        title="What the monitor takes from its host",
        x_title="cycles",
        show_dots=False,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        height=480,
        include_x_axis=True,
    )
    some = list(islice(samples, 0, None, max(1, len(samples) // _MOST_POINTS)))
    for title, name, unit in (
        ("memory, MiB", "memory_kib", 1024),
        ("threads", "threads", 1),
        ("open files", "open_files", 1),
        ("temporary files", "temporary_files", 1),
        ("images", "images", 1),
        ("folders of layers", "layers", 1),
        ("engine's disk, MiB", "engine_kib", 1024),
        ("state-dir, MiB", "state_kib", 1024),
    ):
        chart.add(title, [(sample.cycles, round(getattr(sample.footprint, name) / unit, 2)) for sample in some])
    chart.render_to_file(str(file))


def describe_machine(engine: Engine) -> str:
    """Given an engine, return in two sentences what it and everything else ran on."""
    client, server = engine.docker("version", "--format={{.Client.Version}} {{.Server.Version}}").stdout.split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return (
        f"Docker CLI {client}, engine {server}, Python {platform.python_version()}. The machine has {os.cpu_count()} "
        f"cores and {memory:.0f} GiB of memory, and runs {platform.system()} {platform.release()}."
    )


def _figures(soak: Soak) -> list[str]:
    settled = soak.settled
    rows = []
    for figure in FIGURES:
        most = max(figure.of(sample) for sample in (*soak.samples, *soak.rests))
        measured = (figure.of(settled[0]), figure.of(settled[-1]), most)
        growth = f"{figure.growth(settled):,.2f}"
        flat = "" if figure.is_flat(settled) else "**grows**"
        rows.append(
            _row(
                figure.title,
                *(f"{number:,.0f}" for number in measured),
                growth,
                f"{figure.bound:,}",
                figure.because,
                flat,
            )
        )
    return rows


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
