"""The report: the results of measurements, as a document with its plots, or as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench.drawing import draw
from bench.reasons import reason_for
from bench.result import Figure, Result
from bench.spread import Spread

_HEAD = """# Benchmarks

What the monitor costs, and how close it comes to a plain script of the same docker commands: the latest result of
`python -m bench` (`tox -e bench`), which writes this page and its plots. {date}, {minutes:.0f} minutes.

{machine}

Values that are compared were measured in turn, in one session, on one engine and one registry. A measured value is a
median, and its spread the quartiles; for ratios and percentiles the spread is the 95 % interval (bootstrap).

## Goals

| | goal | measured | spread | number | |
| --- | ---: | ---: | ---: | ---: | --- |
"""
_MISSED = "\n### Missed\n\n"
_TABLE = "| | goal | measured | spread | number |\n| --- | ---: | ---: | ---: | ---: |\n"


def write_document(file: Path, machine: str, seconds: float, results: Mapping[str, Result]) -> None:
    """Given the file to write, what everything ran on, how long it took, and results by name, write it and its plots.

    The plots go into a folder of the document's name, which holds nothing else.
    """
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {draw(plot, folder).name for result in results.values() for plot in result.plots}
    for old in folder.glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    file.write_text(document(machine, seconds, results, folder.name), encoding="utf-8")


def document(machine: str, seconds: float, results: Mapping[str, Result], plots: str) -> str:
    """Given what everything ran on, how long it took, results by name, and the plots' folder, return the document."""
    judged = [figure for result in results.values() for figure in result.figures if figure.goal is not None]
    missed = [figure for figure in judged if figure.is_missed]
    parts = [_HEAD.format(date=f"{datetime.now(UTC):%-d %B %Y}", minutes=seconds / 60, machine=machine)]
    parts += [_row(*_cells(figure), "**missed**" if figure.is_missed else "met") for figure in judged]
    if missed:
        parts.append(_MISSED)
        parts += [f"- {'; '.join(titles)}: {reason}\n" for reason, titles in _by_reason(missed).items()]
    for result in results.values():
        parts += [f"\n## {result.title}\n\n{result.method}\n\n{_TABLE}"]
        parts += [_row(*_cells(figure)) for figure in result.figures]
        parts += [f"\n![{plot.title}]({plots}/{plot.name}.svg)\n" for plot in result.plots]
    return "".join(parts)


def lines(figures: Iterable[Figure]) -> str:
    """Given figures, return them as lines for a terminal."""
    shown = []
    for figure in figures:
        title, goal, measured, spread, count = _cells(figure)
        judged = f"  goal {goal}{', MISSED' if figure.is_missed else ''}" if goal else ""
        shown.append(f"  {title}: {measured}  [{spread}] of {count}{judged}\n")
    return "".join(shown)


def _by_reason(missed: Iterable[Figure]) -> dict[str, list[str]]:
    """Given figures that miss their goals, return their titles by the reason why they do."""
    titles: dict[str, list[str]] = {}
    for figure in missed:
        titles.setdefault(reason_for(figure) or "nobody knows why yet.", []).append(figure.title)
    return titles


def _cells(figure: Figure) -> tuple[str, str, str, str, str]:
    spread, unit = figure.spread, f" {figure.unit}" if figure.unit else ""
    goal = f"{figure.goal}{unit}" if figure.goal is not None else ""
    return figure.title, goal, f"{_number(spread.value)}{unit}", _range(spread), f"{spread.count:,}"


def _range(spread: Spread) -> str:
    return f"{_number(spread.low)} to {_number(spread.high)}" if spread.count > 1 else ""


def _number(number: float) -> str:
    """Given a number, return it with three significant digits, or whole."""
    magnitude = abs(number)
    decimals = next((digits for limit, digits in ((1, 3), (10, 2), (100, 1)) if magnitude < limit), 0)
    return f"{number:,.{decimals}f}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
