"""Capacity: cycles a minute that the monitor sustains, compared with `xargs -P` and the plain script."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Sequence
from itertools import cycle, islice, pairwise

from bench.finished import LOG_OPTIONS, await_cycles
from bench.many_targets import write_config
from bench.result import Figure, Limit, Lines, Result
from bench.site import PLAIN_SCRIPT, Payload, Site, plain_arguments
from bench.spread import estimate, ratio
from lab.daemon import LabError
from lab.monitor import Monitor

METHOD = """The monitor, as a program, has 50 targets that are always due, with a payload of 64 KiB. `xargs -P` runs as
many plain scripts side by side, half of its cycles before the monitor's and half after, on the same engine and
registry. The rate is derived from the times between the ends of cycles: for the monitor after each target's first
cycle, for the script while no slot was idle."""

TARGETS, CYCLES, CONCURRENCIES = 50, 40, (1, 2, 4, 8, 16)
SHORT_TARGETS, SHORT_CYCLES, SHORT_CONCURRENCIES = 3, 16, (2,)

#: The more cycles are under way, the more of them end at once, and the more it takes to measure their rate.
_TURNS = 5
#: What `many_targets.write_config` gives each target.
_PAYLOAD = Payload(64 * 1024)
_PATIENCE_SECONDS = 600.0


def measure(site: Site, *, short: bool = False) -> Result:
    """Given a site, and whether a few targets and cycles will do, return the result."""
    targets, cycles, concurrencies = (
        (SHORT_TARGETS, SHORT_CYCLES, SHORT_CONCURRENCIES) if short else (TARGETS, CYCLES, CONCURRENCIES)
    )
    script = _Xargs(site, 2 * max(concurrencies))
    figures: list[Figure] = []
    monitors, scripts = [], []
    for concurrency in concurrencies:
        count = max(cycles, _TURNS * concurrency)
        before = script.run(concurrency, count // 2)
        own = _monitored(site, targets, concurrency, count)
        plain = [*before, *script.run(concurrency, count - count // 2)]
        figures += (
            Figure(
                f"capacity.ratio_{concurrency}",
                f"concurrency {concurrency}: cycles a minute, relative to `xargs -P {concurrency}`",
                "",
                # The more time between two ends, the fewer cycles.
                ratio(plain, own, statistics.fmean),
                Limit(0.95, at_least=True),
                Limit(0.5, at_least=True),
            ),
            Figure(
                f"capacity.rate_{concurrency}",
                f"concurrency {concurrency}: cycles a minute",
                "",
                estimate(own, _a_minute),
            ),
        )
        monitors.append(_a_minute(own))
        scripts.append(_a_minute(plain))
    steps = [str(concurrency) for concurrency in concurrencies]
    plot = Lines(
        "capacity",
        "Sustained cycles a minute",
        "a minute",
        "concurrency",
        steps,
        {"monitor": monitors, "xargs -P with the plain script": scripts},
    )
    return Result("Capacity", METHOD, tuple(figures), (plot,))


def _monitored(site: Site, targets: int, concurrency: int, cycles: int) -> list[float]:
    """Given what the monitor has to do, return the seconds between the ends of so many cycles."""
    folder = site.new_folder()
    config = write_config(folder, site.registry.host, targets, "100ms")
    with Monitor(folder, site.engine, f"-config={config}", f"-concurrency={concurrency}", *LOG_OPTIONS) as monitor:
        finished = await_cycles(monitor, targets + concurrency + cycles, _PATIENCE_SECONDS)
    return _between([one.ended for one in finished][-cycles - 1 :])


class _Xargs:
    """Runs the plain script, many times side by side."""

    def __init__(self, site: Site, images: int) -> None:
        """Given a site, and how many images there are to be, which is more than run at the same time."""
        self._env = site.engine.env
        self._errors = site.new_folder() / "errors"
        self._arguments = [plain_arguments(site.new_repository(), _PAYLOAD, site.new_folder()) for _ in range(images)]
        self._ends(self._arguments, min(4, images))  # the very first cycles are shorter

    def run(self, concurrency: int, cycles: int) -> list[float]:
        """Given how many run side by side, return the seconds between the ends of so many cycles with no slot idle."""
        ends = self._ends(list(islice(cycle(self._arguments), cycles + 2 * concurrency)), concurrency)
        return _between(ends[concurrency - 1 :][: cycles + 1])

    def _ends(self, arguments: Sequence[tuple[str, ...]], concurrency: int) -> list[float]:
        argv = ["xargs", f"-P{concurrency}", f"-n{len(arguments[0])}", "sh", str(PLAIN_SCRIPT)]
        pipe = subprocess.PIPE
        with (
            self._errors.open("ab") as errors,
            subprocess.Popen(argv, env=self._env, stdin=pipe, stdout=pipe, stderr=errors, text=True) as xargs,
        ):
            if xargs.stdin is None or xargs.stdout is None:
                raise AssertionError("both were asked for")
            xargs.stdin.write("\n".join(" ".join(some) for some in arguments))
            xargs.stdin.close()
            ends = [time.monotonic() for _ in xargs.stdout]
        if xargs.returncode:
            raise LabError(f"the plain script failed: {self._errors.read_text(encoding='utf-8')}")
        return ends


def _between(moments: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


def _a_minute(between: Sequence[float]) -> float:
    return 60 / statistics.fmean(between)
