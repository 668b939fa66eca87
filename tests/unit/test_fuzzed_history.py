"""Whatever is in a history that is a good SQLite file: the start, /status, the page and the metrics work.

Only rows that fit are shown, what was dropped is logged, and no other target loses anything of its own.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lib.health import Health
from lib.history import History
from lib.history.database import Database
from lib.history.hours import Bounds
from lib.history.store import Store
from lib.metrics import Metrics
from lib.result import Push
from lib.web.pages import Pages, Query
from tests.unit.examples import NOON, a_failed_cycle, a_lost_image, a_target, an_up_cycle
from tests.unit.watching import MadeUp

TARGETS = (a_target("quay", cold_images=3), a_target("well", cold_images=3))
QUAY, WELL = (target.reference.familiar for target in TARGETS)
PUSH = Push("sha256:1", "sha256:2", "token", "instance", NOON)
TABLES = {
    "instances": ("name", "started"),
    "pushes": ("digest", "image_id", "token", "instance", "created"),
    "standings": ("since", "ended"),
    "cycles": ("ended", "failed", "cycle", "output"),
    "verdict_hours": ("hour", "up_ms", "down_ms", "unknown_ms"),
    "rested": ("number", "image"),
}
SHAPE = a_failed_cycle().to_dict()
RESTED = a_lost_image().to_row()
LOCATIONS = [(name,) for name in SHAPE] + [("steps", 2, name) for name in SHAPE["steps"][2]]

numbers = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.sampled_from([2**31, 2**53, 2**62, 1e300, -1])
moments = st.datetimes(timezones=st.none() | st.just(UTC)).map(datetime.isoformat)
texts = st.text(max_size=12) | st.sampled_from(["", "\0", "null", "[]", "{}", "[" * 9999, "9" * 5000, "NaN", "1e999"])
cells = numbers | moments | texts.map(lambda text: text.encode(errors="replace")) | texts | st.binary(max_size=8)
shapes = st.recursive(
    st.none() | st.booleans() | numbers | moments | st.text(max_size=8) | st.sampled_from(["\ud800", 2**70, "x" * 999]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def columns(table):
    return st.tuples(st.just(table), st.sampled_from(TABLES[table]), cells)


def with_value(location, value):
    """Return the JSON of a cycle with something else at one place."""
    shape = json.loads(json.dumps(SHAPE))
    inner = shape
    for key in location[:-1]:
        inner = inner[key]
    inner[location[-1]] = value
    return "cycles", "cycle", json.dumps(shape)


def with_rested(key, value):
    """Return the JSON of a rested image with something else at one place."""
    return "rested", "image", json.dumps(RESTED | {key: value})


changes = st.lists(
    st.one_of(*map(columns, TABLES))
    | st.builds(with_value, st.sampled_from(LOCATIONS), shapes)
    | st.builds(with_rested, st.sampled_from(list(RESTED)), shapes),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A history of two targets."""
    folder = tmp_path_factory.mktemp("good")
    store = Store(folder, "before", NOON.timestamp)
    world = MadeUp(*TARGETS, history=History("before", store), wall=NOON.timestamp)
    for name in ("quay", "well"):
        world[name].pushes.pushed(PUSH if name == "quay" else Push("sha256:3", "sha256:4", "other", "instance", NOON))
        world[name].rested._keep(a_lost_image())
        for cycle in (an_up_cycle(name), a_failed_cycle(target=name), an_up_cycle(name)):
            world.finish(cycle)
            world.clock.advance(30.0)
    store.close(10)
    return folder


def shown(store):
    """Start with a history, and return what is asked for most; as after it, a cycle ends well."""
    world = MadeUp(*TARGETS, history=History("after", store), wall=NOON.timestamp)
    health = Health(lambda: None, tuple, world.clock.monotonic)
    health.ask()
    metrics = Metrics("1", world.watch.series, world.totals, health.can_judge, lambda: ("", ""))
    pages = Pages(world.watch, health, metrics)
    for name in ("quay", "well"):
        query = Query({"target": [name]}, "", "")
        answers = [
            pages.show_status(query),
            pages.show_status(Query({"target": [name], "format": ["json"]}, "", "")),
            pages.show_page(query),
            pages.show_page(Query({}, "", "")),
            pages.show_metrics(query),
        ]
        json.loads(answers[1].body, parse_constant=pytest.fail)
        world.finish(an_up_cycle(name))
        assert world[name].record.standing().cycle.verdict == "up"
    return world


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(changes)
@example([("verdict_hours", "up_ms", 2**62), ("standings", "ended", 1e308)])
@example([("standings", "since", "0001-01-01T00:00:00+23:59")])
@example([("cycles", "cycle", "[" * 99999), ("cycles", "output", "{}")])
@example([("pushes", "created", "2026-11-24T12:00:00")])
@example([("rested", "image", json.dumps(RESTED | {"created": "9998-12-31T23:59:59+00:00"}))])
def test_no_content_of_a_good_file_makes_anything_fail(good, tmp_path, changes):
    folder = tmp_path / "state"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    with closing(sqlite3.connect(folder / "history.sqlite3")) as connection, connection:
        for table, column, value in changes:
            where = "" if table == "instances" else f" WHERE reference = '{QUAY}'"
            connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?{where}", (value,))
    store = Store(folder, "after", NOON.timestamp)
    try:
        world = shown(store)
        assert world["well"].pushes.last.token == "other"
        assert len(world["well"].record.recent(9)) == 4
        assert world["well"].rested.images == (a_lost_image(),)
        assert list(world["quay"].rested.take_turn(None, a_failed_cycle())) == []
    finally:
        store.close(10)
    with closing(Database(folder / "history.sqlite3")) as database:
        assert len(database.kept(WELL, Bounds(9, 9)).cycles) == 4


def test_what_is_dropped_is_logged_and_the_rest_stays(good, tmp_path, caplog):
    folder = tmp_path / "state"
    shutil.copytree(good, folder)
    with closing(sqlite3.connect(folder / "history.sqlite3")) as connection, connection:
        connection.execute("UPDATE cycles SET cycle = 'null' WHERE id = 1")
        connection.execute(f"UPDATE verdict_hours SET up_ms = -1 WHERE reference = '{QUAY}'")
    store = Store(folder, "after", NOON.timestamp)
    world = MadeUp(*TARGETS, history=History("after", store), wall=NOON.timestamp)
    store.close(10)
    assert len(world["quay"].record.recent(9)) == 2
    assert world["quay"].pushes.last == PUSH
    assert [(record.repository, record.rows) for record in caplog.records] == [(QUAY, "cycles: 1, hours: 1")]
