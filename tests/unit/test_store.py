"""Store: what outlives the process, what can't be read is set aside, and what can't be written is told and waits."""

from __future__ import annotations

import logging
import sqlite3
import stat
import time
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from examples import NOON, HandClock, a_failed_cycle, a_target, an_up_cycle, eventually

from lib.failure import Verdict
from lib.history import History
from lib.history import store as store_module
from lib.history.database import SCHEMA_VERSION, Database, Finished
from lib.history.record import Bounds, Hour
from lib.history.store import StateInUse, Store
from lib.result import Push

QUAY = "quay.io/acme/quay:canary"
PUSH = Push("sha256:1", "sha256:2", "token", "instance", NOON)
BOUNDS = Bounds(200, 100)
NOW = NOON.timestamp()
HOUR = 3600.0


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
    """Begin a process, which remembers what was before it. Given its targets and how late it is, return its history."""

    def restart(*targets, instance="instance", later=0.0):
        history = History(instance, HandClock().monotonic, lambda: NOW + later, new_store(instance))
        history.replace(targets or [a_target()])
        return history

    return restart


def database_of(folder):
    return folder / "history.sqlite3"


def finished(number, verdict=Verdict.UP, reference=QUAY):
    started = NOON + timedelta(minutes=number)
    cycle = an_up_cycle(started=started) if verdict is Verdict.UP else a_failed_cycle(started=started)
    return Finished(reference, cycle, NOON, started.timestamp(), Hour(1, number, 0, 0, 0))


# What outlives the process.


def test_a_push_outlives_the_process_until_it_is_forgotten(restart):
    restart().pushed(QUAY, PUSH)
    after = restart()
    assert after.last_push(QUAY) == PUSH
    after.forget(QUAY)
    assert restart().last_push(QUAY) is None


def test_a_push_is_on_the_disk_before_the_cycle_goes_on(restart, folder, tmp_path):
    restart().pushed(QUAY, PUSH)
    copy = tmp_path / "as-after-kill-9"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with closing(Database(database_of(copy))) as database:
        assert database.kept(QUAY, BOUNDS).push == PUSH


def test_the_instances_before_a_restart_are_ours(restart):
    restart(instance="first")
    second = restart(instance="second")
    assert second.is_ours("first")
    assert second.is_ours("second")
    assert not second.is_ours("somebody")


def test_a_verdict_stands_after_a_restart_and_ages_by_the_wall_clock(restart):
    before = restart()
    before.record(an_up_cycle(started=NOON))
    before.record(an_up_cycle(started=NOON + timedelta(minutes=2)))
    standing = restart(later=77.0).standing("quay")
    assert standing.cycle == replace_outputs(an_up_cycle(started=NOON + timedelta(minutes=2)))
    assert standing.since == NOON
    assert standing.age_seconds == pytest.approx(77.0)


def replace_outputs(cycle):
    return replace(cycle, steps=tuple(replace(step, output=()) for step in cycle.steps))


def test_a_wall_clock_that_was_set_back_makes_no_negative_age(restart):
    restart().record(an_up_cycle())
    assert restart(later=-9999.0).standing("quay").age_seconds == 0.0


def test_a_run_of_one_verdict_goes_on_over_a_restart(restart):
    restart().record(a_failed_cycle(started=NOON))
    after = restart()
    after.record(a_failed_cycle(started=NOON + timedelta(minutes=1)))
    assert after.standing("quay").since == NOON


def test_cycles_and_failures_outlive_the_process_with_what_docker_said(restart):
    before = restart()
    before.record(a_failed_cycle(started=NOON - timedelta(hours=9)))
    for minute in range(300):
        before.record(an_up_cycle(started=NOON + timedelta(minutes=minute)))
    after = restart()
    assert after.recent("quay", 1000) == before.recent("quay", 1000)
    assert after.last_failure("quay").failed.output == a_failed_cycle().failed.output


def test_availability_and_the_time_not_measured_outlive_the_process(restart):
    before = restart()
    for cycle in (an_up_cycle(), an_up_cycle(), a_failed_cycle()):
        before.record(cycle)
    after = restart(later=HOUR)
    said = after.availability("quay", 24 * HOUR, NOON)
    assert said == before.availability("quay", 24 * HOUR, NOON)
    assert (said.up, said.down) == (2, 1)
    # Of the hour without a monitor, no more counts as measured than a verdict stands.
    target = a_target()
    after.record(an_up_cycle(started=NOON + timedelta(hours=1)))
    covered = (after.availability("quay", 24 * HOUR, NOON).measured - said.measured) * 24 * HOUR
    assert covered == pytest.approx(target.run_every + target.cycle_timeout, rel=0.05)


def test_a_renamed_target_is_the_same_repository(restart):
    before = restart()
    before.pushed(QUAY, PUSH)
    before.record(an_up_cycle())
    before.replace([a_target("renamed", reference=QUAY)])
    assert before.standing("renamed").cycle.target == "renamed"
    after = restart(a_target("again", reference=QUAY))
    assert after.last_push(QUAY) == PUSH
    assert after.standing("again").cycle.target == "again"


def test_a_push_of_a_target_that_has_just_gone_is_kept_for_its_return(restart):
    history = restart()
    history.replace([])
    history.pushed(QUAY, PUSH)
    history.replace([a_target()])
    assert history.last_push(QUAY) == PUSH


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
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"no database at all, but a long text" * 99), id="not a database"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:5000]), id="cut off"),
        pytest.param(lambda path: _set_version(path, SCHEMA_VERSION + 1), id="newer"),
        pytest.param(lambda path: _set_version(path, 0), id="somebody else's"),
    ],
)
def test_what_cant_be_used_is_set_aside_and_a_new_one_begun(restart, new_store, folder, caplog, damage):
    restart().pushed(QUAY, PUSH)
    new_store().close(10)
    damage(database_of(folder))
    damaged = database_of(folder).read_bytes()
    history = restart()
    history.pushed(QUAY, PUSH)
    (aside,) = folder.glob("history-set-aside-*.sqlite3")
    assert aside.read_bytes() == damaged
    (told,) = [record for record in caplog.records if "set aside" in record.message]
    assert told.kept_as == str(aside)
    assert restart().last_push(QUAY) == PUSH


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
    history.pushed(QUAY, PUSH)
    history.record(an_up_cycle())
    assert time.monotonic() - started < store_module._PUSH_SECONDS
    assert history.last_push(QUAY) == PUSH
    time.sleep(0.1)
    folder.unlink()
    eventually(lambda: "the history can be written again" in caplog.messages)
    assert [message for message in caplog.messages if "can't be written" in message] == [
        "the history can't be written; the monitor goes on without it, and tries again"
    ]
    after = restart()
    assert after.last_push(QUAY) == PUSH
    assert after.standing("quay").cycle.verdict is Verdict.UP


@pytest.mark.usefixtures("_impatient")
def test_a_folder_that_vanishes_is_made_anew(restart, folder):
    history = restart()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    history.pushed(QUAY, PUSH)
    assert restart(instance="after").last_push(QUAY) == PUSH


def test_a_disk_that_hangs_is_waited_for_once(restart, new_store, monkeypatch, caplog):
    monkeypatch.setattr(store_module, "_PUSH_SECONDS", 1.0)
    history = restart()
    with history._store._disk:
        started = time.monotonic()
        for _ in range(5):
            history.pushed(QUAY, PUSH)
            assert history.standing("quay") is None
        assert time.monotonic() - started < 4.0  # each of them would have waited for one
    assert caplog.messages == ["the history's disk is slow; nothing waits for it now"]
    assert restart().last_push(QUAY) == PUSH


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
        database.prune(NOW, database._bytes() - 100_000)
    assert len(database.kept(QUAY, BOUNDS).failures) == 100
    with database.transaction():
        database.prune(NOW, 1)
    assert len(database.kept(QUAY, BOUNDS).cycles) == 1
    assert len(database.kept("quay.io/acme/rare:canary", BOUNDS).cycles) == 1


def test_what_fails_within_a_transaction_leaves_nothing_of_it(database):
    with suppress(OSError), database.transaction():
        database.write_push(QUAY, PUSH)
        raise OSError
    assert database.kept(QUAY, BOUNDS).push is None
