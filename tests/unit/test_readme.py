"""README.md lists what the program has: its options, reasons, scopes and metrics, no more and no fewer."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import pytest

from lib.failure import Scope, Verdict
from lib.options.table import GROUPS
from tests.unit.examples import a_target
from tests.unit.watching import metrics_of

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
    metrics = metrics_of(a_target("lab"))
    exported = {
        (f"`{family.name}{_SUFFIXES.get(family.type, '')}`", _UNTYPED.get(family.type, family.type))
        for family in metrics.registry.collect()
        if not family.name.startswith("process_")
    }
    rows = [(name, kind) for name, kind, *_ in _tables("| name | type |")]
    lacking = exported - set(rows)
    assert not lacking, f"README.md's tables of metrics lack name and type of: {sorted(lacking)}"
    assert sorted(rows) == sorted(exported), "README.md's tables have a metric twice, or one that is not exported"


def test_each_metric_that_the_program_names_is_exported():
    named = {
        name
        for file in (_ROOT / "lib/metrics").glob("*.py")
        for name in re.findall(r'"(registry_monitor_\w+)"', file.read_text(encoding="utf-8"))
    }
    metrics = metrics_of(a_target("lab"))
    lacking = named - {family.name for family in metrics.registry.collect()}
    assert named
    assert not lacking, f"lib/metrics names what /metrics does not have: {sorted(lacking)}"


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
