"""The soak: many real cycles with failures of every kind among them, and whether anything grows with their number.

    python -m bench.soak --cycles 4000 --document docs/soak.md

The first half is the warm-up. Until then memory grows a little, though nothing is kept that was not kept before:
malloc's free space is in more and more pieces. In the second half all has to be flat. Now and then the monitor rests,
by a reload of its configuration, and is measured: then nothing is under way.

It needs root. It writes the document and, beside it, the plot (.svg), and ends with 1 if anything is not as it
should be.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import fields, replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.counts import Counts, Watch
from bench.footprint import Footprint, Sample, await_calm, take_footprint
from bench.past import write_past
from bench.soak_report import Soak, describe_machine, plot, report
from bench.strikes import Field, Strike, Victim
from bench.surroundings import Surroundings
from lab.daemon import await_true
from lab.faults.ground import Ground
from lab.folder import processes
from lab.monitor import Monitor
from lab.past_cycle import Fault
from lab.session import Lab
from lab.snapshot import Snapshot, take_snapshot
from lib.failure.reason import Reason, Verdict
from lib.options import parse_options
from lib.result import StepName

_SAMPLE_SECONDS = 2.0
_MINUTE = 60.0
_PATIENCE_SECONDS = 120.0
#: Between two strikes: long enough for a thread that waits for peace to get its turn.
_BREATH_SECONDS = 0.1
_RELOADED = "the configuration was reloaded"
#: All targets can have a cycle under way: one of them waits for docker most of the time.
_COMMON = {
    "concurrency": 8,
    "run-test-every": "100ms",
    "retry-every": "100ms",
    "step-timeout": "4s",
    "cycle-timeout": "30s",
    "payload-size": "64KiB",
}
_RESTING = {"run-test-every": "1h", "retry-every": "1h"}
#: Cycles that each target had before, every second of which failed: as many failures as are kept.
PAST_CYCLES = 2000
#: How they failed: with as many lines of docker's as are kept of a step.
_PAST_FAULT = Fault(
    StepName.PUSH,
    Reason.SERVER_ERROR,
    0.05,
    (
        "The push refers to repository [{repository}]",
        "3c7cb0c68a17: Preparing",
        *(f"3c7cb0c68a17: Retrying in {seconds} seconds" for seconds in range(10, 1, -1)),
        "received unexpected HTTP status: 503 Service Unavailable",
    ),
    retries=9,
)


def soak(
    ground: Ground,
    cycles: int,
    *,
    each: int,
    outages: int,
    rests: int,
    retrying: bool,
    tell: Callable[[Sample], None] | None = None,
) -> Soak:
    """Run a monitor while its targets are struck again and again, and return the result.

    Given a ground, how many cycles there have to be at least, of all targets, and failures for each reason, how often
    the engine is struck meanwhile, how often the monitor rests, whether one target is struck by what docker takes a
    minute to report, and what takes each sample. Raise LabError if a strike does not show as it should, or the target
    is not up after it.
    """
    with ExitStack() as stack:
        engine = stack.enter_context(ground.sick_engine())
        field = Field(ground, engine, stack, retrying=retrying)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="soak-", dir=ground.folder)))
        temporary, state = folder / "temporary", folder / "state"
        temporary.mkdir()
        before = take_snapshot(engine)
        surroundings = Surroundings.with_temporary_folder(engine, temporary)
        configuration = _Configuration(folder / "config.yml", field.victims)
        write_past(state, parse_options([configuration.option], {}).targets, PAST_CYCLES, _PAST_FAULT)
        options = (configuration.option, f"-docker={field.cli}", f"-state-dir={state}")
        begun = time.monotonic()
        with Monitor(folder, surroundings, *options) as monitor:
            watch = Watch(monitor)
            samples: list[Sample] = []
            at_rest: list[Sample] = []

            def taken(done: int, footprint: Footprint) -> Sample:
                return Sample(done, time.monotonic() - begun, footprint)

            def look() -> Footprint:
                return take_footprint(monitor.pid, temporary, state, engine)

            with _struck(field, watch) as is_well:

                def rest() -> Counts:
                    with _peace(field, watch), configuration.resting(monitor, temporary) as calm:
                        is_well()
                        counts = watch.counts()
                        at_rest.append(taken(counts.finished, replace(look(), **calm)))
                    return counts

                for done in _until(cycles, each, watch, field, outages):
                    is_well()
                    samples.append(taken(done, look()))
                    if tell is not None:
                        tell(samples[-1])
                    if done >= cycles * (len(at_rest) + 1) / rests:
                        rest()
                counts = rest()
            seconds = time.monotonic() - begun
            asked = time.monotonic()
            exit_code = monitor.stop()
            stop_seconds = time.monotonic() - asked
        left = [f"process {pid}" for pid in processes(temporary)]
        left += [f"file {path.relative_to(folder)}" for path in temporary.rglob("*")]
        left += _differences(before, take_snapshot(engine))
        log = monitor.log.read_text(encoding="utf-8")
    return Soak(
        asked=cycles,
        past=PAST_CYCLES,
        samples=tuple(samples),
        rests=tuple(at_rest),
        counts=counts,
        reasons=field.reasons,
        left=tuple(left),
        seconds=seconds,
        exit_code=exit_code,
        stop_seconds=stop_seconds,
        log=log,
    )


class _Configuration:
    """The configuration of a monitor."""

    def __init__(self, file: Path, victims: Sequence[Victim]) -> None:
        """Given where to write it, and the targets, do so."""
        self._file = file
        self._targets = [victim.configuration() for victim in victims]
        self._write(_COMMON)

    @property
    def option(self) -> str:
        """The monitor's option."""
        return f"-config={self._file}"

    @contextmanager
    def resting(self, monitor: Monitor, temporary: Path) -> Iterator[dict[str, float]]:
        """Given the monitor, and its folder for temporary files, make it test its targets hourly, and none just now.

        Give what it has then, as `await_calm()` does. Raise LabError if it does not come to rest.
        """
        self._reload(monitor, _COMMON | _RESTING)
        yield await_calm(monitor.pid, temporary, _PATIENCE_SECONDS)
        self._reload(monitor, _COMMON)

    def _reload(self, monitor: Monitor, common: dict[str, Any]) -> None:
        said = _reloads(monitor)
        self._write(common)
        os.kill(monitor.pid, signal.SIGHUP)
        await_true(lambda: _reloads(monitor) > said, _PATIENCE_SECONDS, "the configuration to be reloaded")

    def _write(self, common: dict[str, Any]) -> None:
        self._file.write_text(json.dumps(common | {"targets": self._targets}), encoding="utf-8")  # JSON is YAML


def _reloads(monitor: Monitor) -> int:
    return monitor.log.read_text(encoding="utf-8").count(_RELOADED)


@contextmanager
def _struck(field: Field, watch: Watch) -> Iterator[Callable[[], None]]:
    """Strike each target again and again, all side by side. Give what raises LabError if one is not well."""
    with ThreadPoolExecutor(len(field.victims)) as pool:
        strikers = [pool.submit(_strike_in_turn, victim, field, watch) for victim in field.victims]

        def is_well() -> None:
            for striker in strikers:
                if striker.done():
                    striker.result()

        try:
            yield is_well
        finally:
            watch.over.set()
    is_well()


def _strike_in_turn(victim: Victim, field: Field, watch: Watch) -> None:
    """Let each strike show, and the target recover, one after the other, until all is over."""

    def await_recovery() -> None:
        watch.await_more(_ups(victim), victim.patience_seconds, f"{victim.name} to be up")

    await_recovery()
    for strike in cycle(victim.strikes):
        if watch.over.wait(_BREATH_SECONDS):
            return
        with victim.peace, field.engine_lock if strike.alone else nullcontext():
            with strike.fault(victim.rig):
                watch.await_more(_failures(strike, victim), victim.patience_seconds, f"{victim.name}: {strike.reason}")
            await_recovery()


def _until(cycles: int, each: int, watch: Watch, field: Field, outages: int) -> Iterator[int]:
    """Give the number of finished cycles now and then, until there are enough; strike the engine in between."""

    def is_enough(counts: Counts) -> bool:
        return counts.finished >= cycles and all(counts.of_reason(reason) >= each for reason in field.reasons)

    interval = cycles / (outages + 1)
    next_due = interval
    strikes = cycle(field.engine_strikes)
    while not is_enough(counts := watch.counts()):
        yield counts.finished
        if counts.finished >= next_due:
            next_due += interval
            strike = next(strikes)
            with field.engine_lock, strike.fault(field.victims[0].rig):
                watch.await_more(_failures(strike), _PATIENCE_SECONDS, f"{strike.reason} after a strike at the engine")
        watch.over.wait(_SAMPLE_SECONDS)


@contextmanager
def _peace(field: Field, watch: Watch) -> Iterator[None]:
    """Let nothing strike any target, and wait until each has recovered, also from strikes at the engine.

    The slowest come first: the others go on so long. Raise LabError if a target is not up.
    """
    with ExitStack() as stack:
        for victim in sorted(field.victims, key=lambda victim: victim.patience_seconds, reverse=True):
            stack.enter_context(victim.peace)
        for victim in field.victims:
            watch.await_more(_ups(victim), victim.patience_seconds, f"{victim.name} to be up before a rest")
        yield


def _ups(victim: Victim) -> Callable[[Counts], int]:
    return lambda counts: counts.cycles[victim.name, Verdict.UP]


def _failures(strike: Strike, victim: Victim | None = None) -> Callable[[Counts], int]:
    """Given a strike, and at whom (None: at all), return what counts the failures that it brings about."""
    if victim is None:
        return lambda counts: counts.of_reason(strike.reason)
    return lambda counts: counts.failures[victim.name, strike.reason]


class _Progress:
    """A line a minute, for whoever waits."""

    def __init__(self) -> None:
        self._due = _MINUTE

    def __call__(self, sample: Sample) -> None:
        if sample.seconds >= self._due:
            self._due = sample.seconds + _MINUTE
            minutes, memory = sample.seconds / _MINUTE, sample.footprint.memory_kib
            print(f"{minutes:.0f} min: {sample.cycles:,} cycles, memory {memory:,} KiB", flush=True)


def _differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Given what an engine held, and holds, return what has changed."""
    names = [attribute.name for attribute in fields(Snapshot) if attribute.compare]
    return [f"{name}: {item}" for name in names for item in sorted(getattr(before, name) ^ getattr(after, name))]


def main(arguments: Sequence[str]) -> int:
    """Given the command line, run a soak, write the result, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=4000)
    parser.add_argument("--each", type=int, default=5, help="failures for each reason, at least")
    parser.add_argument("--outages", type=int, default=48, help="how often the engine is struck")
    parser.add_argument("--rests", type=int, default=16, help="how often the monitor rests, and is measured")
    parser.add_argument(
        "--document", type=Path, required=True, help="where to write the report; the plot goes beside it"
    )
    asked = parser.parse_args(arguments)
    logging.disable()  # the lab's own words about what it breaks
    with Lab() as lab:
        ground = Ground(lab)
        came = soak(
            ground,
            asked.cycles,
            each=asked.each,
            outages=asked.outages,
            rests=asked.rests,
            retrying=True,
            tell=_Progress(),
        )
        machine = describe_machine(ground.calm)
    picture = asked.document.with_suffix(".svg")
    asked.document.write_text(report(came, machine, picture.name), encoding="utf-8")
    plot(came.samples, picture)
    faults = came.faults()
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
