"""Reasons: why a figure misses its goal, as far as that is known. They are shown only for those that do."""

from __future__ import annotations

from collections.abc import Iterable

from bench.result import Figure

_SH = (
    "`sh` forks in Python: the kernel copies the page tables, and each page that parent or child then writes to. The "
    "figures without `sh` show what the same cycle takes with `subprocess`, which uses vfork; but `sh` is required."
)

_BUSY = (
    "the time that `sh` takes (see the cycle time) is a larger share of cycles as short as these; and when the cores "
    "are busy, other cycles lose its CPU time."
)

_MEMORY = (
    "9 MB of this is Python itself, 11 MB is what `sh` loads (asyncio, ssl, importlib.metadata), 14 MB the other "
    "libraries and the program, and the rest comes with the first cycles and the first look at the page."
)

_IMPORTS = (
    "nearly all of this is Python's imports: a quarter of it `sh`, the rest the HTTP server, SQLite, YAML and the "
    "program. It is processor time, so it is longer on a slow machine."
)

_FEW_IMPORTS = (
    "Python's imports, here without `sh`: a third is dataclasses and what it loads (inspect, ast), another third is "
    "ConfigArgParse and argparse."
)

#: By the figure's key, or by what its key begins with.
REASONS = {
    "cycle.ratio": _SH,
    "cycle.cpu": _SH,
    "crowd.memory_1": _MEMORY,
    "start.listening": _IMPORTS,
    "start.version": _FEW_IMPORTS,
    "capacity.ratio": _BUSY,
}


def reason_for(figure: Figure) -> str | None:
    """Given a figure that misses its goal, return why it does, None if nobody knows."""
    return next((reason for beginning, reason in REASONS.items() if figure.key.startswith(beginning)), None)


def unexplained(figures: Iterable[Figure]) -> list[Figure]:
    """Given figures, return those that miss their goals and nobody knows why."""
    return [figure for figure in figures if figure.is_missed and reason_for(figure) is None]
