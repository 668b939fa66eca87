"""One repository, reached by two names: two targets of one monitor are recognised as one, and never down for that."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from lab.daemon import await_true
from lab.monitor import QUICK, Monitor

#: For how long cycles are waited for.
SECONDS = 240.0
RECOGNISED = "two targets turn out to reach one repository and tag"


def cycles_of(state):
    """Return each cycle that is kept in a state-dir, oldest first."""
    with closing(sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True)) as connection:
        return [json.loads(shape) for (shape,) in connection.execute("SELECT cycle FROM cycles ORDER BY id")]


def start_of(cycle):
    return datetime.fromisoformat(cycle["started"])


def end_of(cycle):
    return start_of(cycle) + timedelta(seconds=cycle["seconds"])


@pytest.mark.parametrize(("before", "after"), [(6, 3), pytest.param(24, 10, marks=pytest.mark.everything)])
def test_two_names_of_one_repository_are_never_down(engine, repository, tmp_path, before, after):
    """At a pace at which they would always meet: only the first cycles, which nobody knew to be one, can be unknown."""
    inner = repository.replace("127.0.0.1", "localhost")
    config = tmp_path / "monitor.yml"
    config.write_text(
        "username: monitor\npassword: secret\n"
        f"targets:\n  - name: outer\n    repository: {repository}\n  - name: inner\n    repository: {inner}\n"
    )
    state = tmp_path / "state"
    options = (*QUICK, f"-config={config}", f"-state-dir={state}", "-run-test-every=100ms", "-retry-every=100ms")
    for awaited in (before, after):
        with Monitor(tmp_path, engine, *options) as monitor:
            await_true(lambda: monitor.successes() >= awaited, SECONDS, "cycles to be up")  # noqa: B023  at once
            assert monitor.stop() == 0
    cycles = cycles_of(state)
    assert len(cycles) >= before + after
    assert {cycle["target"] for cycle in cycles} == {"outer", "inner"}
    not_up = [cycle for cycle in cycles if cycle["verdict"] != "up"]
    reasons = {(cycle["verdict"], cycle["reason"]) for cycle in not_up}
    assert reasons <= {("unknown", "foreign"), ("unknown", "warm")}, json.dumps(not_up)
    # Each had begun before the first of them ended and showed that they are one.
    told = min((end_of(cycle) for cycle in not_up), default=None)
    assert all(start_of(cycle) < told for cycle in not_up), not_up
    # Once in each process: the second knows it from the state-dir.
    assert monitor.log.read_text().count(RECOGNISED) == 2
