"""The suites: what is counted, and what is said at their end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.suite import EVERYTHING, QUICK, Count, Outcome, Part, count, report

_ROOT = Path(__file__).resolve().parents[2]
_TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert False
@pytest.fixture
def broken(): raise OSError
def test_without_its_fixture(broken): pass
@pytest.mark.skip
def test_skipped(): pass
"""


def _counted(tmp_path, text, *options):
    """Run pytest over a test module, and return its counts."""
    (tmp_path / "test_it.py").write_text(text)
    argv = [sys.executable, "-m", "pytest", f"--junit-xml={tmp_path / 'report.xml'}", *options, tmp_path]
    code = subprocess.run(argv, cwd=tmp_path, capture_output=True, check=False).returncode
    return count(tmp_path / "report.xml", code)


@pytest.mark.parametrize("options", [(), ("--numprocesses=2",)], ids=["one process", "two workers"])
def test_tests_are_counted_by_what_they_came_to(tmp_path, options):
    assert _counted(tmp_path, _TESTS, *options) == Count(passed=1, failed=2, skipped=1)


@pytest.mark.parametrize("text", ["import nowhere\n", "", "def test_good(): raise SystemExit('of pytest')\n"])
def test_what_goes_wrong_outside_of_tests_is_a_failure(tmp_path, text):
    """A module that can't be imported, no test at all, a run that ends before its time."""
    assert _counted(tmp_path, text).failed > 0


def test_a_part_without_tests_counts_only_where_it_fails(tmp_path):
    assert count(tmp_path / "none.xml", 0) == Count()
    assert count(tmp_path / "none.xml", 1) == Count(failed=1)


def test_the_last_line_is_the_sum():
    outcomes = [
        Outcome(Part("lint", "lint"), 0, 1.0, Count()),
        Outcome(Part("unit", "tests"), 0, 61.0, Count(passed=10)),
        Outcome(Part("lab", "lab"), 1, 400.0, Count(passed=5, failed=1, skipped=2)),
    ]
    *parts, last = report(outcomes).splitlines()

    assert last == "15 passed, 1 failed, 2 skipped"
    assert [re.split(r"\s\s+", line)[0] for line in parts] == ["lint", "unit", "lab"]
    assert report(outcomes[:2]).splitlines()[-1] == "10 passed, 0 failed"


def test_everything_has_every_test_and_every_environment():
    """What the quick suite leaves out is left out by a mark, and is in the other, which goes by folders."""
    quick, everything = ([part for stage in stages for part in stage] for stages in (QUICK, EVERYTHING))
    assert {part.environment for part in quick} == {part.environment for part in everything}
    run = [_ROOT / word for part in everything for word in part.arguments if word.startswith("tests/")]
    tests = list((_ROOT / "tests").rglob("test_*.py"))
    assert [test for test in tests if not any(test.is_relative_to(one) for one in run)] == []
