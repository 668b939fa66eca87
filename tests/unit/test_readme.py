"""README.md lists what the program has: its options, reasons, scopes and metrics, no more and no fewer."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest

from lib.failure import ADVICE, Reason, Scope, Verdict
from lib.metrics import Metrics
from lib.options.table import GROUPS
from tests.unit.examples import a_target

_ROOT = Path(__file__).resolve().parents[2]
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_SUFFIXES = {"counter": "_total", "info": "_info"}
_UNTYPED = {"unknown": "untyped"}


def _tables(header):
    """Given the heading of a table's first two columns, return the rows of all tables with it, as lists of cells."""
    lines = _README.splitlines()
    rows = []
    for number, line in enumerate(lines):
        if line.startswith(header):
            rows += takewhile(lambda line: line.startswith("|"), lines[number + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_options_stand_in_their_order_with_defaults_and_meanings():
    expected = []
    for group in GROUPS:
        expected.append([f"**{group.title}**", "", ""])
        for option in group.options:
            default = "" if option.default is None else f"`{option.default}`"
            expected.append([f"`{option.name}`", default, option.help])
    assert _tables("| option | default |") == expected


def test_each_reason_has_its_scope_what_to_do_and_a_paragraph_of_its_own():
    expected = [[f"[`{reason}`](docs/reasons.md#{reason})", str(reason.scope), ADVICE[reason]] for reason in Reason]
    assert _tables("| reason | scope |") == expected


def test_each_scope_is_told_with_its_verdict():
    (paragraph,) = re.findall(r"^A failure's scope is .*?\n\n", _README, re.MULTILINE | re.DOTALL)
    told = {}
    scopes = []
    for word in re.findall(r"`(\w+)`", paragraph):
        if word in list(Verdict):
            told |= dict.fromkeys(scopes, word)
            scopes = []
        else:
            scopes.append(word)
    assert told == {scope: scope.verdict for scope in Scope}


def test_each_metric_has_its_type():
    metrics = Metrics("0", lambda: True)
    metrics.replace([a_target("lab")])
    expected = {
        (f"`{family.name}{_SUFFIXES.get(family.type, '')}`", _UNTYPED.get(family.type, family.type))
        for family in metrics.registry.collect()
        if not family.name.startswith("process_")
    }
    rows = _tables("| name | type |")
    assert {(name, kind) for name, kind, *_ in rows} == expected
    assert len(rows) == len(expected)


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/decisions"])
def test_what_the_documents_link_to_exists(document):
    path = _ROOT / document
    files = sorted(path.glob("*.md")) if path.is_dir() else [path]
    links = [
        (file, link)
        for file in files
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", file.read_text(encoding="utf-8"))
    ]
    assert [f"{file.name}: {link}" for file, link in links if not (file.parent / link).exists()] == []
