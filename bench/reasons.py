"""Reasons: why a figure misses its goal, as far as that is known. They are told only of those that do."""

from __future__ import annotations

from collections.abc import Iterable

from bench.result import Figure

_SH = (
    "`sh` forks in Python: the kernel copies the page tables, and each page that parent or child then write to. The "
    "figures without `sh` show what the same cycle takes with `subprocess`, which uses vfork; but `sh` is asked for."
)

#: By the figure's key, or by what its key begins with.
REASONS = {
    "cycle.ratio": _SH,
    "cycle.cpu": _SH,
    "capacity.ratio": f"The cores are busy here, so that each cycle's own CPU time is lost to the others. {_SH}",
}


def reason_for(figure: Figure) -> str | None:
    """Given a figure that misses its goal, return why it does, None where nobody knows."""
    return next((reason for beginning, reason in REASONS.items() if figure.key.startswith(beginning)), None)


def unexplained(figures: Iterable[Figure]) -> list[Figure]:
    """Given figures, return those that miss their goals and nobody knows why."""
    return [figure for figure in figures if figure.is_missed and reason_for(figure) is None]
