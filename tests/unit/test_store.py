"""Store: what outlives the process; what can't be read is set aside, what can't be written is logged and waits."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import stat
import time
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from lib.failure import Verdict
from lib.history import History
from lib.history import store as store_module
from lib.history.database import SCHEMA_VERSION, Database, Finished
from lib.history.hours import Bounds, Hour
from lib.history.store import StateInUse, Store
from lib.metrics.families import Families
from lib.metrics.series import ABSENT
from lib.rested import Kind, RestedImage
from lib.result import Push
from lib.watch.status import status_of
from tests.unit.examples import NOON, a_failed_cycle, a_target, an_up_cycle, eventually
from tests.unit.watching import MadeUp

QUAY = "quay.io/acme/quay:canary"
PUSH = Push("sha256:1", "sha256:2", "token", "instance", NOON)
BOUNDS = Bounds(200, 100)
NOW = NOON.timestamp()
HOUR = 3600.0
#: Some hours before NOON, counted since 1970.
HOURS_BEFORE = int(NOW // HOUR) - 5


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def new_store(folder):
    """Begin a process that has the folder; the one before it has ended."""
    begun = []

    def new(instance="instance"):
        for before in begun:
            before.close(10)
        begun.append(Store(folder, instance, lambda: NOW))
        return begun[-1]

    yield new
    for one in begun:
        one.close(10)


@pytest.fixture
def restart(new_store):
    """Begin a process, which remembers what was before it. Given its targets and its lateness, return them watched."""

    def restart(*targets, instance="instance", later=0.0):
        history = History(instance, new_store(instance))
        return MadeUp(*(targets or [a_target()]), history=history, wall=lambda: NOW + later)

    return restart


def database_of(folder):
    return folder / "history.sqlite3"


def finished(number, verdict=Verdict.UP, reference=QUAY):
    started = NOON + timedelta(minutes=number)
    cycle = an_up_cycle(started=started) if verdict is Verdict.UP else a_failed_cycle(started=started)
    return Finished(reference, cycle, NOON, started.timestamp(), (Hour(1, number, 0, 0),))


# What outlives the process.


def test_a_push_outlives_the_process_until_it_is_forgotten(restart):
    restart()["quay"].pushes.pushed(PUSH)
    after = restart()
    assert after["quay"].pushes.last == PUSH
    after["quay"].pushes.forget()
    assert restart()["quay"].pushes.last is None


def test_a_push_is_on_the_disk_before_the_cycle_goes_on(restart, folder, tmp_path):
    restart()["quay"].pushes.pushed(PUSH)
    copy = tmp_path / "as-after-kill-9"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with closing(Database(database_of(copy))) as database:
        assert database.kept(QUAY, BOUNDS).push == PUSH


def test_the_instances_before_a_restart_are_ours(restart):
    restart(instance="first")
    second = restart(instance="second")
    assert second["quay"].pushes.is_ours("first")
    assert second["quay"].pushes.is_ours("second")
    assert not second["quay"].pushes.is_ours("somebody")


def test_a_verdict_stands_after_a_restart_and_ages_by_the_wall_clock(restart):
    before = restart()
    before.finish(an_up_cycle(started=NOON))
    before.finish(an_up_cycle(started=NOON + timedelta(minutes=2)))
    standing = restart(later=77.0)["quay"].record.standing()
    assert standing.cycle == replace_outputs(an_up_cycle(started=NOON + timedelta(minutes=2)))
    assert standing.since == NOON
    assert standing.age_seconds == pytest.approx(77.0)


def replace_outputs(cycle):
    return replace(cycle, steps=tuple(replace(step, output=()) for step in cycle.steps))


def test_a_verdict_from_a_time_yet_to_come_is_of_an_unknown_age_and_stale(restart):
    """The clock was ahead then, or is behind now: nobody knows for how long it has stood."""
    restart().finish(an_up_cycle())
    world = restart(later=-9999.0)
    (status,) = status_of(world.watch.targets)
    assert status.standing.age_seconds is None
    assert (status.ok, status.stale) == (False, True)
    assert status.to_dict(NOON)["age_seconds"] is None
    assert "in the future by this" in status.to_line(NOON)
    assert shown(world, Families.UP) == ABSENT
    world.finish(an_up_cycle())
    (status,) = status_of(world.watch.targets)
    assert (status.ok, status.standing.age_seconds) == (True, 0.0)


def shown(world, family, *labels):
    """Return a number of /metrics."""
    row = world["quay"].series.row()
    return row.numbers[row.layout.place(family, labels)]


def test_the_state_is_in_the_metrics_right_after_a_restart_and_nothing_is_counted(restart):
    before = restart()
    before.finish(an_up_cycle(), a_failed_cycle(), a_failed_cycle())
    after = restart()
    for family, *labels in (
        (Families.UP,),
        (Families.VERDICT, "down"),
        (Families.CONSECUTIVE_FAILURES,),
        (Families.LAST_CYCLE,),
        (Families.LAST_SUCCESS,),
    ):
        assert shown(after, family, *labels) == shown(before, family, *labels) != ABSENT
    assert after["quay"].series.failing == before["quay"].series.failing == ("push", "server_error", "registry")
    assert shown(after, Families.CONSECUTIVE_FAILURES) == 2
    assert shown(after, Families.CYCLES, "down") == 0


def test_a_run_of_one_verdict_goes_on_over_a_restart(restart):
    restart().finish(a_failed_cycle(started=NOON))
    after = restart()
    after.finish(a_failed_cycle(started=NOON + timedelta(minutes=1)))
    assert after["quay"].record.standing().since == NOON


def test_cycles_and_failures_outlive_the_process_with_what_docker_said(restart):
    before = restart()
    before.finish(a_failed_cycle(started=NOON - timedelta(hours=9)))
    for minute in range(300):
        before.finish(an_up_cycle(started=NOON + timedelta(minutes=minute)))
    after = restart()
    assert after["quay"].record.recent(1000) == before["quay"].record.recent(1000)
    assert after["quay"].record.last_failure().failed.output == a_failed_cycle().failed.output


def test_availability_and_the_time_not_measured_outlive_the_process(restart):
    before = restart()
    for cycle in (an_up_cycle(), an_up_cycle(), a_failed_cycle(), an_up_cycle()):
        before.finish(cycle)
        before.clock.advance(30.0)
    # Of the hour without a monitor, only the time counts for which a verdict stands.
    after = restart(later=HOUR)
    end = NOON + timedelta(hours=1)
    for _ in range(2):
        said = after["quay"].record.availability(24 * HOUR, end)
        assert (said.up, said.down) == (60.0 + 120.0 + 300.0, 30.0)
        after.finish(an_up_cycle(started=end))


def test_a_rested_image_is_on_the_disk_before_the_turn_goes_on(restart, folder, tmp_path):
    history = restart()
    image = RestedImage(1, "latest-cold-1", Kind.SINGLE, NOON, digest="sha256:d", created=NOON)
    history["quay"].rested._keep(image)
    shutil.copytree(folder, tmp_path / "at-that-moment")
    with closing(Database(database_of(tmp_path / "at-that-moment"))) as database:
        assert database.kept(QUAY, Bounds(1, 1)).rested == (image,)
    assert restart()["quay"].rested.images == (image,)


def test_a_history_of_the_first_version_is_read_and_goes_on(restart, new_store, folder, caplog):
    history = restart()
    history["quay"].pushes.pushed(PUSH)
    history.finish(an_up_cycle())
    new_store().close(10)
    with closing(sqlite3.connect(database_of(folder), isolation_level=None)) as connection:
        connection.execute("DROP TABLE rested")
        _make_counting(connection, (QUAY, HOURS_BEFORE, 75, 25, 100, 1_000_000))
    _set_version(database_of(folder), 1)
    caplog.set_level(logging.INFO)

    history = restart()
    assert history["quay"].pushes.last == PUSH
    (told,) = caplog.records
    assert (told.levelname, told.schema_before, told.schema) == ("INFO", 1, SCHEMA_VERSION)
    said = history["quay"].record.availability(24 * HOUR, NOON)
    assert (said.share, said.up, said.down, said.unknown) == (0.75, 375.0, 125.0, 500.0)
    assert history["quay"].record.standing().cycle.verdict is Verdict.UP
    image = RestedImage(1, "latest-cold-1", Kind.SINGLE, NOON)
    history["quay"].rested._keep(image)
    assert restart()["quay"].rested.images == (image,)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "row",
    [
        (QUAY, HOURS_BEFORE, 0, 0, 0, 5),
        (QUAY, HOURS_BEFORE, "up", 1, b"down", 5),
        (QUAY, HOURS_BEFORE, 2**62, 2**62, 2**62, 2**62),
        (QUAY, HOURS_BEFORE, -1, 0, 0, 5),
        (QUAY, "noon", 1, 0, 0, 5),
        (QUAY, HOURS_BEFORE, 1e308, 1e308, 0, 1e308),
        (b"quay", HOURS_BEFORE, 1, 0, 0, 5),
    ],
)
def test_what_does_not_fit_in_an_older_history_costs_nothing_else(restart, new_store, folder, caplog, row):
    restart()["quay"].pushes.pushed(PUSH)
    new_store().close(10)
    with closing(sqlite3.connect(database_of(folder), isolation_level=None)) as connection:
        _make_counting(connection, (QUAY, HOURS_BEFORE - 1, 1, 1, 0, 20_000), row)
    _set_version(database_of(folder), 2)
    history = restart()
    assert history["quay"].pushes.last == PUSH
    assert history["quay"].record.availability(24 * HOUR, NOON).down >= 10.0
    assert "set aside" not in caplog.text


def _make_counting(connection, *rows):
    """Give a history the hours of the versions before the third, which counted cycles."""
    connection.execute("DROP TABLE verdict_hours")
    connection.execute(
        "CREATE TABLE hours (reference TEXT NOT NULL, hour INTEGER NOT NULL, up INTEGER NOT NULL,"
        " down INTEGER NOT NULL, unknown INTEGER NOT NULL, covered_ms INTEGER NOT NULL,"
        " PRIMARY KEY (reference, hour)) WITHOUT ROWID"
    )
    connection.executemany("INSERT INTO hours VALUES (?, ?, ?, ?, ?, ?)", rows)


def test_a_renamed_target_is_the_same_repository(restart):
    before = restart()
    before["quay"].pushes.pushed(PUSH)
    before.finish(an_up_cycle())
    before.watch.replace([a_target("renamed", reference=QUAY)])
    assert before["renamed"].record.standing().cycle.target == "renamed"
    after = restart(a_target("again", reference=QUAY))
    assert after["again"].pushes.last == PUSH
    assert after["again"].record.standing().cycle.target == "again"


def test_a_push_of_a_target_that_has_just_gone_is_kept_for_its_return(restart):
    history = restart()
    gone = history["quay"]
    history.watch.replace([])
    gone.pushes.pushed(PUSH)
    history.watch.replace([a_target()])
    assert history["quay"].pushes.last == PUSH


def test_two_doors_of_one_repository_are_one_after_a_restart_too(restart, caplog):
    inner = "internal.acme/quay:canary"
    targets = (a_target(), a_target("inner", reference=inner))
    before = restart(*targets)
    before["quay"].pushes.pushed(PUSH)
    assert before["inner"].pushes.recognise(PUSH.token) == "quay"
    caplog.clear()
    before["inner"].pushes.pushed(replace(PUSH, token="another"))
    after = restart(*targets)
    assert set(after["inner"].pushes.doors) == {QUAY, inner}
    assert after["quay"].pushes.doors is after["inner"].pushes.doors
    assert after["quay"].takes_turns_with(after["inner"])
    assert after["quay"].pushes.last.token == "another"
    assert len(caplog.records) == 1
    after.watch.replace([replace(targets[0], run_every=7.0), targets[1]])
    assert after["inner"].takes_turns_with(after["quay"])
    assert len(caplog.records) == 1
    after["inner"].pushes.forget()
    assert not after["quay"].takes_turns_with(after["inner"])
    assert not restart(*targets)["quay"].takes_turns_with(after["inner"])


def test_after_a_restart_a_replica_is_compared_with_the_last_push(restart):
    targets = (a_target(), a_target("mirror", read_only=True, replica_of="quay"))
    restart(*targets)["quay"].pushes.pushed(PUSH)
    after = restart(*targets)
    acknowledged = after["mirror"].pushes.of_target("quay").acknowledged
    assert acknowledged.find(PUSH.token) == PUSH
    assert acknowledged.lag(PUSH.token, PUSH.created) == 0.0


# The folder.


def test_the_folder_is_made_and_private(new_store, folder):
    new_store()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_second_monitor_is_told_whose_folder_it_is(new_store, folder):
    new_store()
    with pytest.raises(StateInUse, match=f"state-dir {folder} belongs to another monitor"):
        Store(folder, "second")


def test_a_folder_is_free_after_its_monitor(new_store):
    new_store("first")
    assert new_store("second").instances == {"first", "second"}


# What can't be read.


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(
            lambda path: path.write_bytes(b"no database at all, but a long text" * 99), "damaged", id="not a database"
        ),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:5000]), "damaged", id="cut off"),
        pytest.param(
            lambda path: _set_version(path, SCHEMA_VERSION + 1), "a newer version of this program made it", id="newer"
        ),
        pytest.param(lambda path: _set_version(path, 0), "another program made it", id="somebody else's"),
    ],
)
def test_what_cant_be_used_is_set_aside_and_a_new_one_begun(restart, new_store, folder, caplog, damage, words):
    restart()["quay"].pushes.pushed(PUSH)
    new_store().close(10)
    damage(database_of(folder))
    damaged = database_of(folder).read_bytes()
    history = restart()
    history["quay"].pushes.pushed(PUSH)
    (aside,) = folder.glob("history-set-aside-*.sqlite3")
    assert aside.read_bytes() == damaged
    (told,) = [record for record in caplog.records if "set aside" in record.message]
    assert told.kept_as == str(aside)
    assert words in told.detail
    assert restart()["quay"].pushes.last == PUSH


def _set_version(path, version):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


# What can't be written.


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(store_module, "_RETRY_SECONDS", 0.02)


@pytest.mark.usefixtures("_impatient")
def test_without_a_usable_folder_it_goes_on_in_memory_and_recovers(restart, folder, caplog):
    caplog.set_level(logging.INFO)
    folder.write_text("a file is in its way")
    history = restart()
    started = time.monotonic()
    history["quay"].pushes.pushed(PUSH)
    history.finish(an_up_cycle())
    assert time.monotonic() - started < store_module._PUSH_SECONDS
    assert history["quay"].pushes.last == PUSH
    time.sleep(0.1)
    folder.unlink()
    eventually(lambda: "the history can be written again" in caplog.messages)
    assert [message for message in caplog.messages if "can't be written" in message] == [
        "the history can't be written; the monitor continues without it, and tries again"
    ]
    after = restart()
    assert after["quay"].pushes.last == PUSH
    assert after["quay"].record.standing().cycle.verdict is Verdict.UP


@pytest.mark.usefixtures("_impatient")
def test_a_folder_that_can_only_be_read_is_read_and_kept_in_memory_until_it_can_be_written(restart, folder, caplog):
    caplog.set_level(logging.INFO)
    before = restart(instance="before")
    before["quay"].pushes.pushed(PUSH)
    before.finish(a_failed_cycle())
    lock = folder / "lock"
    lock.unlink()
    lock.mkdir()  # root writes wherever there is a file
    history = restart()
    assert "the history can't be written; the monitor continues without it, and tries again" in caplog.messages
    assert history["quay"].pushes.last == PUSH
    assert history["quay"].record.standing().cycle.verdict is Verdict.DOWN
    assert history["quay"].pushes.is_ours("before")
    history.finish(an_up_cycle())
    lock.rmdir()
    eventually(lambda: "the history can be written again" in caplog.messages)
    kept = restart()["quay"].record
    assert [cycle.verdict for cycle in kept.recent(9)] == [Verdict.UP, Verdict.DOWN]


@pytest.mark.usefixtures("_impatient")
def test_a_folder_that_vanishes_is_made_anew(restart, folder):
    history = restart()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    history["quay"].pushes.pushed(PUSH)
    assert restart(instance="after")["quay"].pushes.last == PUSH


def test_a_disk_that_hangs_is_waited_for_once(restart, new_store, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "_PUSH_SECONDS", 1.0)
    store = new_store()
    history = MadeUp(a_target(), history=History("instance", store))
    with store._disk:
        started = time.monotonic()
        for _ in range(5):
            history["quay"].pushes.pushed(PUSH)
            assert history["quay"].record.standing() is None
        assert time.monotonic() - started < 4.0  # each of them would have waited for one
    assert caplog.messages == ["the history's disk is slow; nothing waits for it now"]
    assert restart()["quay"].pushes.last == PUSH


# Bounds.


@pytest.fixture
def database(tmp_path):
    with closing(Database(tmp_path / "history.sqlite3")) as database:
        yield database


def write(database, *several):
    with database.transaction():
        for one in several:
            database.write_finished(one)


def test_each_target_keeps_its_last_cycles_and_more_failures(database):
    write(database, *(finished(number, Verdict.DOWN) for number in range(250)))
    write(database, *(finished(number) for number in range(250, 600)))
    kept = database.kept(QUAY, Bounds(9999, 9999))
    assert (len(kept.cycles), len(kept.failures)) == (450, 250)


def test_failures_are_kept_longer_than_successes(database):
    write(database, finished(0, Verdict.DOWN), finished(1))
    for days, cycles, failures in ((29, 2, 1), (31, 1, 1), (91, 0, 0)):
        with database.transaction():
            database.prune(NOW + days * 86400)
        kept = database.kept(QUAY, BOUNDS)
        assert (len(kept.cycles), len(kept.failures)) == (cycles, failures)


def test_too_large_a_file_loses_successes_before_failures_and_never_the_last_cycle(database):
    write(database, *(finished(number, Verdict.DOWN) for number in range(100)))
    write(database, *(finished(number) for number in range(100, 250)))
    write(database, finished(0, reference="quay.io/acme/rare:canary"))
    with database.transaction():
        database.shrink(database._bytes() - 100_000)
    assert len(database.kept(QUAY, BOUNDS).failures) == 100
    with database.transaction():
        database.shrink(1)
    assert len(database.kept(QUAY, BOUNDS).cycles) == 1
    assert len(database.kept("quay.io/acme/rare:canary", BOUNDS).cycles) == 1


def test_a_clock_that_is_years_ahead_for_a_while_makes_nothing_too_old(folder, monkeypatch):
    """A clock that stays there was corrected; what was kept under the previous one is then as old as it says."""
    monkeypatch.setattr(store_module, "_PRUNE_SECONDS", 0.0)
    clock = SimpleNamespace(now=NOW)
    with closing(SimpleNamespace(close=lambda: store.close(10))):
        store = Store(folder, "instance", lambda: clock.now)
        for number, now in enumerate((NOW, NOW + 4 * 365 * 86400, NOW)):
            clock.now = now
            store.keep_finished(finished(number))
            assert len(store.kept([QUAY], BOUNDS)[QUAY].cycles) == number + 1
        clock.now += 4 * 365 * 86400
        for number in range(3, 6):
            store.keep_finished(finished(number))
            left = len(store.kept([QUAY], BOUNDS)[QUAY].cycles)
        assert left == 0


def test_what_fails_within_a_transaction_leaves_nothing_of_it(database):
    with suppress(OSError), database.transaction():
        database.write_push(QUAY, PUSH)
        raise OSError
    assert database.kept(QUAY, BOUNDS).push is None
