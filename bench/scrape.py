"""Scrapes: how long `/metrics` and `/` take with 200 targets, and what the requests cost the cycles beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from bench.finished import LOG_OPTIONS, Finished, await_cycles, finished_cycles
from bench.past import write_past
from bench.result import Boxes, Figure, Limit, Result
from bench.site import Site
from bench.spread import Spread, median, percentile, ratio
from lab.daemon import LabError
from lab.monitor import Monitor
from lab.readers import Readers
from lib.options import parse_options

METHOD = """The monitor, as a program, has 200 targets with 50 cycles of each in its history. Four of them are always
due, one cycle at a time, with a payload of 64 KiB, on the real engine. The times are a client's on loopback, from its
request to the last byte. For the cost, stretches of some cycles with a scrape of `/metrics` each second alternate with
stretches without any; a cycle counts if all of it is within its stretch. The same is done with 30 readers of `/`, in a
process of their own on the same two cores, who ask again as soon as they have their answer."""

TARGETS, BUSY = 200, 4
_PAST_CYCLES = 50
_ANSWERS = 200
_PAUSE_SECONDS = 0.05
_STRETCHES, _STRETCH_CYCLES = 12, 8
_PATIENCE_SECONDS = 120.0


def measure(site: Site, *, short: bool = False) -> Result:
    """Given a site, and whether a few answers and stretches will do, return the result."""
    answers, stretches = (20, 2) if short else (_ANSWERS, _STRETCHES)
    folder = site.new_folder()
    config = _write_config(folder, site.registry.host)
    state = folder / "state"
    write_past(state, parse_options([f"-config={config}"], {}).targets, _PAST_CYCLES)
    options = (f"-config={config}", f"-state-dir={state}", "-concurrency=1", *LOG_OPTIONS)
    with Monitor(folder, site.engine, *options) as monitor:
        await_cycles(monitor, 2 * BUSY, _PATIENCE_SECONDS)
        metrics = [_answer_seconds(monitor, "/metrics") * 1000 for _ in range(answers)]
        page = [_answer_seconds(monitor, "/") * 1000 for _ in range(answers)]
        scraped = _beside(monitor, stretches, nullcontext, lambda: monitor.get("/metrics"))
        read = _beside(monitor, stretches, lambda: Readers(monitor.url), lambda: None)
        size = len(monitor.get("/metrics")[1])
    figures = (
        Figure("scrape.metrics_p50", "`/metrics`, median", "ms", median(metrics)),
        Figure("scrape.metrics_p99", "`/metrics`, 99th percentile", "ms", percentile(metrics, 99)),
        Figure("scrape.page_p50", "`/`, median", "ms", median(page)),
        Figure("scrape.page_p99", "`/`, 99th percentile", "ms", percentile(page, 99)),
        Figure("scrape.size", "length of `/metrics`", "MB", median([size / 1e6])),
        Figure(
            "scrape.cost",
            "cycle time with a scrape a second, relative to that without",
            "",
            _ratio(*scraped),
        ),
        Figure(
            "scrape.readers",
            "pace of cycles beside 30 readers who never pause, relative to that without",
            "",
            _ratio(*reversed(read)),
            Limit(0.75, at_least=True),
        ),
    )
    plots = (
        Boxes("scrape", f"Answers with {TARGETS} targets, while cycles run", "ms", {"/metrics": metrics, "/": page}),
        Boxes("scraped", "Cycles", "s", {"with a scrape a second": scraped[0], "without": scraped[1]}),
    )
    return Result("Scrapes", METHOD, figures, plots)


def _write_config(folder: Path, host: str) -> Path:
    """Given a folder and a registry, write a configuration with few targets that are due, and return its path."""
    file = folder / "config.yml"
    targets = [
        {
            "name": f"t{number}",
            "repository": f"{host}/scrape/t{number}",
            "run-test-every": "100ms" if number < BUSY else "24h",
        }
        for number in range(TARGETS)
    ]
    file.write_text(json.dumps({"payload-size": "64KiB", "targets": targets}), encoding="utf-8")  # JSON is YAML
    return file


def _answer_seconds(monitor: Monitor, path: str) -> float:
    """Given a monitor and a path, return what an answer takes, some time after the one before. Raise LabError."""
    time.sleep(_PAUSE_SECONDS)
    began = time.monotonic()
    code, _ = monitor.get(path)
    seconds = time.monotonic() - began
    if code != 200:  # noqa: PLR2004  OK
        raise LabError(f"{path} answered {code}")
    return seconds


@dataclass(slots=True)
class _Stretch:
    """A stretch of a monitor's life.

    Attributes:
        began, ended: when, in seconds since 1970.
    """

    began: float = field(default_factory=time.time)
    ended: float = 0.0

    def holds(self, cycle: Finished) -> bool:
        return self.began <= cycle.ended - cycle.seconds and cycle.ended <= self.ended


def _beside(
    monitor: Monitor,
    count: int,
    readers: Callable[[], AbstractContextManager[object]],
    each_second: Callable[[], object],
) -> tuple[list[float], list[float]]:
    """Given a monitor, how many stretches, and what is beside its cycles in every other one, all the time and each
    second, return the seconds of the cycles that had that beside them, and of those that had not.
    """
    beside: list[_Stretch] = []
    alone: list[_Stretch] = []
    for number in range(count):
        # In pairs, of which every other is the other way round.
        is_beside = number % 4 in (0, 3)
        with readers() if is_beside else nullcontext():
            stretch = _Stretch()
            # The one under way at its beginning is not counted.
            until = len(finished_cycles(monitor)) + 1 + _STRETCH_CYCLES
            while len(finished_cycles(monitor)) < until:
                time.sleep(1.0)
                if is_beside:
                    each_second()
            stretch.ended = time.time()
        (beside if is_beside else alone).append(stretch)
    cycles = finished_cycles(monitor)
    return _seconds_in(beside, cycles), _seconds_in(alone, cycles)


def _ratio(numbers: list[float], over: list[float]) -> Spread:
    count = min(len(numbers), len(over))
    return ratio(numbers[:count], over[:count])


def _seconds_in(stretches: Iterable[_Stretch], cycles: list[Finished]) -> list[float]:
    return [cycle.seconds for stretch in stretches for cycle in cycles if stretch.holds(cycle)]
