"""The rooms of this house: who imports whom."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_ROOMS = ("lib", "lab", "bench", "tests")
#: What each room may import besides itself.
_BELOW = {"lib": {"lib"}, "lab": {"lib", "lab"}, "bench": {"lib", "lab", "bench"}}


def _modules():
    """Return the modules by their names, packages by their folder's."""
    files = [file for room in _ROOMS for file in (_ROOT / room).rglob("*.py")]
    named = {file: ".".join(file.relative_to(_ROOT).with_suffix("").parts) for file in files}
    return {name.removesuffix(".__init__"): file for file, name in named.items()}


_MODULES = _modules()


def _imported(name):
    """Return the modules of ours that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(_MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in _MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in _MODULES or node.module in _MODULES:
                    yield full if full in _MODULES else node.module


_IMPORTS = {name: set(_imported(name)) for name in _MODULES}


@pytest.mark.parametrize("room", _BELOW)
def test_a_room_imports_only_what_is_below_it(room):
    """What runs users' targets knows nothing of the lab, and nothing builds on tests."""
    up = {
        f"{name} imports {other}"
        for name, others in _IMPORTS.items()
        if name.partition(".")[0] == room
        for other in others
        if other.partition(".")[0] not in _BELOW[room]
    }
    assert up == set()


def test_no_test_module_is_imported():
    """What tests share has a place of its own."""
    shared = {other for others in _IMPORTS.values() for other in others}
    assert {name for name in shared if name.rpartition(".")[2].startswith("test_")} == set()


def test_only_tests_of_benchmarks_import_those():
    """All others would run without."""
    users = {name for name, others in _IMPORTS.items() if any(other.startswith("bench.") for other in others)}
    assert {name for name in users if not name.startswith(("bench.", "tests.bench."))} == set()


def test_no_module_imports_itself_by_a_detour():
    """A circle is found, and reported, by the sorting."""
    list(TopologicalSorter(_IMPORTS).static_order())
