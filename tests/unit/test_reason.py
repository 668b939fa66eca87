"""Each reason is wherever somebody looks for it: a place that lacks one fails with a sentence that names it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.faults.rows import ROWS, WITHOUT_ROW
from lib.failure import Reason

_ROOT = Path(__file__).resolve().parents[2]
_REASONS = (_ROOT / "docs/reasons.md").read_text(encoding="utf-8")
_STRIKES = (_ROOT / "bench/strikes.py").read_text(encoding="utf-8")
_CHARACTERS_OF_A_PARAGRAPH = 100


def _in_table() -> set[str]:
    """Return the reasons that are in the row of their scope and its verdict, and everything that is not a reason."""
    found = {
        (name, scope, verdict)
        for scope, verdict, cell in re.findall(r"^\| (\w+) \| (\w+) \| (\[.*) \|$", _REASONS, re.MULTILINE)
        for name, link in re.findall(r"\[(\w+)\]\(#(\w+)\)", cell)
        if name == link
    }
    placed = {str(reason) for reason in Reason if (reason, reason.scope, reason.scope.verdict) in found}
    return placed | ({name for name, _, _ in found} - set(Reason))


def _in_paragraphs() -> set[str]:
    """Return the reasons with a paragraph under a heading of their verdict, and everything that is not a reason."""
    found = {
        (name, verdict)
        for verdict, section in re.findall(r"^## [^\n]*: (\w+)\n(.*?)(?=^## |\Z)", _REASONS, re.MULTILINE | re.DOTALL)
        for name, text in re.findall(r"^### (\w+)\n(.*?)(?=^### |\Z)", section, re.MULTILINE | re.DOTALL)
        if len(text) > _CHARACTERS_OF_A_PARAGRAPH
    }
    placed = {str(reason) for reason in Reason if (reason, reason.scope.verdict) in found}
    return placed | ({name for name, _ in found} - set(Reason))


#: Each place, what it has to have of a reason, and the reasons of which it has that.
PLACES = [
    ("docs/reasons.md", "the link in the table's row of its scope", _in_table()),
    ("docs/reasons.md", "the paragraph, under a heading of its verdict", _in_paragraphs()),
    (
        "lab/faults/rows.py",
        "the row in ROWS, or why there is none in WITHOUT_ROW",
        {*(row.expected.split()[-1] for row in ROWS), *WITHOUT_ROW} - {"up"},
    ),
    (
        "bench/strikes.py",
        "the Strike",
        {Reason[name] for name in re.findall(r"Strike\(Reason\.(\w+)", _STRIKES)}
        | {Reason.REFERENCE},  # refused before anything runs
    ),
]


@pytest.mark.parametrize(
    ("place", "what", "found"), PLACES, ids=[f"{Path(place).name}: {what}" for place, what, _ in PLACES]
)
def test_each_reason_stands_there(place, what, found):
    lacking = [str(reason) for reason in Reason if reason not in found]
    assert not lacking, f"{place} lacks {what}, of: {', '.join(lacking)}"
    unknown = sorted(map(str, found - set(Reason)))
    assert not unknown, f"{place} has {what}, of what is not a reason: {', '.join(unknown)}"
