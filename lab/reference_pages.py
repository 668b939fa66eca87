"""Writes the parts of docs/reference that come from the program's tables: options, metrics, reasons, JSON schema.

    python -m lab.reference_pages

A page is prose with blocks in it; each block stands between two comments, of which the first names it. A unit test
compares what is there with what this would write.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from prometheus_client.core import Metric

from lib.failure import Reason, Scope
from lib.metrics import Metrics, Totals
from lib.metrics.families import FAMILIES
from lib.metrics.series import BUCKETS, Family
from lib.metrics.sparse import SPARSE, Sparse
from lib.options.table import BY_NAME, GROUPS, NAME, OPTIONS, SWITCH, TARGET_OPTIONS, Option
from lib.options.values import MOST_LABELS, OneOf, Within
from lib.quantity import DURATION, SIZE, parse_boolean, parse_count, parse_size
from lib.result import StepName

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs/reference"
SCHEMA = REFERENCE / "config.schema.json"

_BLOCK = re.compile(
    r"(?<=<!-- )(\w[\w-]*)(: written by python -m lab\.reference_pages -->\n).*?(?=<!-- end -->)", re.DOTALL
)
_SUFFIXES = {"counter": "_total", "info": "_info"}
#: How many values of a label are listed; if there are more, the name says enough.
_FEW = 4


def written() -> dict[Path, str]:
    """Return the files that this writes, with their content. Raise KeyError for a block that nobody writes."""
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md"))}
    files = {page: _BLOCK.sub(_block, text) for page, text in pages.items()}
    return {**files, SCHEMA: f"{json.dumps(schema(), indent=2, ensure_ascii=False)}\n"}


def _block(found: re.Match[str]) -> str:
    lines = "\n".join(BLOCKS[found[1]]())
    return f"{found[1]}{found[2]}\n{lines}\n\n"


def _table(*rows: tuple[str, ...]) -> Iterator[str]:
    """Given the rows of a table, its heading first, yield its lines."""
    heading, *rest = rows
    for row in (heading, ("---",) * len(heading), *rest):
        yield f"| {' | '.join(row)} |"


# Options.


def _options() -> Iterator[str]:
    for number, group in enumerate(GROUPS):
        yield from ("",) * bool(number)
        yield from (f"## {group.title[:1].upper()}{group.title[1:]}", "")
        rows = (
            (f"`{option.name}`", "" if option.default is None else f"`{option.default}`", option.help)
            for option in group.options
        )
        yield from _table(("option", "default", "meaning"), *rows)


def schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration file."""
    target = {name: _of(option) for name, option in BY_NAME.items() if option in TARGET_OPTIONS}
    top = {name: _of(option) for name, option in BY_NAME.items() if option in OPTIONS and option.in_file}
    listed = {"type": "object", "properties": {NAME.name: _of(NAME), **target}, "additionalProperties": False}
    targets = {"description": "what to test, one entry a target", "type": "array", "minItems": 1, "items": listed}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of registry-monitor",
        "type": "object",
        "properties": {**top, "targets": targets},
        "additionalProperties": False,
    }


def _of(option: Option) -> dict[str, Any]:
    """Given an option, return the schema of its value, without what only the program can judge."""
    default: Any = option.default
    if option.metavar == SWITCH:
        shape: dict[str, Any] = {"type": "boolean"}
        default = parse_boolean(option.default or "false")
    elif isinstance(option.parse, OneOf):
        shape = {"enum": [str(choice) for choice in option.parse.choices]}
    elif isinstance(option.parse, Within):
        shape = _quantity(option.parse)
        if option.parse.parse is parse_count:
            default = int(option.default or 0)
    elif option.parse_entry is not None:
        values = {"type": ["string", "number", "boolean"]}
        shape = {"type": "object", "maxProperties": MOST_LABELS, "additionalProperties": values}
    else:  # `tag: 12` is a number to YAML, and a tag to the program
        shape = {"type": ["string", "number"]}
    described = {"description": option.help, **shape}
    return described if option.default is None else {**described, "default": default}


def _quantity(within: Within) -> dict[str, Any]:
    """Given what parses a quantity, return its schema. Without a unit a size is in bytes, and only 0 is a duration."""
    if within.parse is parse_count:
        return {"type": "integer", "minimum": within.least, "maximum": within.most}
    if within.parse is parse_size:
        bounds = {"minimum": within.least, "maximum": within.most}
        return {"type": ["string", "integer"], "pattern": f"^{SIZE.pattern}$", **bounds}
    duration = {"type": "string", "pattern": f"^{DURATION.pattern}$"}
    return duration if within.least else {**duration, "type": ["string", "integer"], "maximum": 0}


# Reasons.


def _scopes() -> Iterator[str]:
    yield from _table(
        ("scope", "verdict", "meaning"), *((f"`{scope}`", f"`{scope.verdict}`", scope.words) for scope in Scope)
    )


def _reasons() -> Iterator[str]:
    yield from _table(
        ("reason", "scope", "what happened", "what to do first"),
        *((f"[`{one}`](../reasons.md#{one})", one.scope, one.words, one.advice) for one in Reason),
    )


# Metrics.


#: Metrics of single targets, by name, and what else a name begins with.
_OF_TARGETS: dict[str, Family | Sparse] = {**{one.name: one for one in FAMILIES}, **{one.name: one for one in SPARSE}}
_BEGINNINGS = {"process_": "process", "registry_monitor_": "own", "monitor_": "original"}


def _metrics(whose: str) -> Callable[[], Iterator[str]]:
    """Given whose metrics, return what writes their table."""

    def write() -> Iterator[str]:
        everything = Metrics("", lambda: (), Totals(), lambda: True, lambda: ("", "")).registry.collect()
        metrics = [metric for metric in everything if _whose(metric) == whose]
        rows = [(_exposed_name(metric), _type(metric), _labels(metric), metric.documentation) for metric in metrics]
        yield from _table(("name", "type", "further labels" if whose == "target" else "labels", "meaning"), *rows)

    return write


def _whose(metric: Metric) -> str:
    if metric.name in _OF_TARGETS:
        return "target"
    return next(whose for beginning, whose in _BEGINNINGS.items() if metric.name.startswith(beginning))


def _exposed_name(metric: Metric) -> str:
    return f"`{metric.name}{_SUFFIXES.get(metric.type, '')}`"


def _type(metric: Metric) -> str:
    return "untyped" if metric.type == "unknown" else metric.type


def _labels(metric: Metric) -> str:
    row = _OF_TARGETS.get(metric.name)
    if isinstance(row, Sparse):
        return _names(dict.fromkeys(row.labels, ()))
    if row is None:
        return _names(dict.fromkeys(metric.samples[0].labels, ()))
    choices = list(row.labels(tuple(StepName)))
    return _names({name: tuple(dict.fromkeys(choice[name] for choice in choices)) for name in choices[0]})


def _names(labels: Mapping[str, tuple[str, ...]]) -> str:
    """Given labels and their known values, return them as a cell of a table."""
    return ", ".join(
        f"`{name}` ({', '.join(values)})" if 0 < len(values) <= _FEW else f"`{name}`" for name, values in labels.items()
    )


def _buckets() -> Iterator[str]:
    yield "Upper bounds of the histograms' buckets, in seconds: " + ", ".join(f"{bound:g}" for bound in BUCKETS) + "."


BLOCKS: Mapping[str, Callable[[], Iterator[str]]] = {
    "options": _options,
    "scopes": _scopes,
    "reasons": _reasons,
    "metrics-original": _metrics("original"),
    "metrics-target": _metrics("target"),
    "metrics-own": _metrics("own"),
    "buckets": _buckets,
}


def main() -> int:
    """Write all files, and return the exit code."""
    for file, text in written().items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
