"""The benchmarks: what the monitor costs, compared with a plain script of the same docker commands, on a real engine.

    python -m bench                  everything; writes docs/benchmarks.md and its plots
    python -m bench cycle truth      some of it, on the terminal only
    python -m bench --short          a few rounds of what is a ratio; ends with 1 if one is grossly missed

It needs root and what `sh lab/setup.sh` installs. Figures are worth something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from bench import capacity, crowd, cycle, payload, scrape, start, truth
from bench.machine import describe
from bench.reasons import unexplained
from bench.report import lines, write_document
from bench.result import Result
from bench.site import Site
from lab.session import Lab

_DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


class Measurement(Protocol):
    """One kind of measurement."""

    def __call__(self, site: Site, *, short: bool = False) -> Result:
        """Given a site, and whether little of it will do, return the result. Raise LabError."""


#: All of them, in the order of the document: first those that run cycles in this process, while it is small.
MEASUREMENTS: dict[str, Measurement] = {
    "cycle": cycle.measure,
    "truth": truth.measure,
    "payload": payload.measure,
    "capacity": capacity.measure,
    "start": start.measure,
    "scrape": scrape.measure,
    "crowd": crowd.measure,
}
#: Those whose goals are ratios.
SHORT = ("cycle", "truth", "capacity")


def main(arguments: Sequence[str]) -> int:
    """Given the command line, measure. Return the exit code: 1 if a goal is missed, and nobody knows why."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--short", action="store_true", help="little of it, judged by gross ratios alone")
    parser.add_argument("--document", type=Path, help="where to write the document; its plots go beside it")
    asked = parser.parse_args(arguments)
    if strangers := set(asked.names) - set(MEASUREMENTS):
        parser.error(f"there is no {', '.join(sorted(strangers))}; there are {', '.join(MEASUREMENTS)}")
    names = asked.names or (SHORT if asked.short else tuple(MEASUREMENTS))
    to_write = asked.document or (None if asked.names or asked.short else _DOCUMENT)
    logging.disable()  # of the monitor in this process
    began = time.monotonic()
    with Lab() as lab:
        site = Site(lab)
        machine = describe(site.engine)
        print(machine, flush=True)
        results: dict[str, Result] = {}
        for name, result in measure(site, names, short=asked.short):
            results[name] = result
            if to_write is not None:  # after each: of a run that ends early, what it measured is there
                write_document(to_write, machine, time.monotonic() - began, results)
    figures = [figure for result in results.values() for figure in result.figures]
    failed = [figure for figure in figures if figure.is_grossly_missed] if asked.short else unexplained(figures)
    sys.stderr.writelines(f"missed: {figure.title}: {figure.spread.value:.3g}\n" for figure in failed)
    return int(bool(failed))


def measure(site: Site, names: Sequence[str], *, short: bool) -> Iterator[tuple[str, Result]]:
    """Given a site, what to measure by name, and whether little of it will do, print and give each name and result."""
    for name in names:
        began = time.monotonic()
        result = MEASUREMENTS[name](site, short=short)
        print(
            f"\n{result.title} ({name}, {time.monotonic() - began:.0f} s)\n{lines(result.figures)}", end="", flush=True
        )
        yield name, result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
