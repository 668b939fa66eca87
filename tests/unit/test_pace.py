"""Pace: a registry that refuses is asked no sooner than usual, then more and more rarely; what is fixed is tried."""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.failure import Reason, Verdict
from lib.history import History
from lib.secret import PasswordFile
from lib.target import Credentials
from lib.watch import Watch
from lib.watch.logins import Logins
from lib.watch.pace import REFUSALS, pace_after
from lib.watch.schedule import Schedule
from tests.unit.examples import HandClock, a_failed_cycle, a_target, an_up_cycle, eventually

UP = None
REFUSED, DENIED, LIMITED = Reason.UNAUTHORIZED, Reason.DENIED, Reason.RATE_LIMITED
AWAY, BUSY, NOBODY = Reason.SERVER_ERROR, Reason.TIMEOUT, Reason.DAEMON
HOUR = 3600.0


def interval(*reasons, **options):
    """Return the interval after cycles that failed for these reasons, oldest first."""
    cycles = [an_up_cycle() if reason is UP else a_failed_cycle(reason) for reason in reversed(reasons)]
    pace = pace_after(a_target(**({"run_every": 120.0, "retry_every": 30.0} | options)), cycles)
    assert pace.is_held_back == bool(reasons and reasons[-1] in REFUSALS)
    return pace.seconds


# The interval.


def test_what_does_not_refuse_is_as_it_was():
    assert interval() == interval(UP) == interval(DENIED, DENIED, DENIED, UP) == 120.0
    for reason in set(Reason) - REFUSALS:
        assert interval(reason) == interval(reason, reason, reason, reason) == 30.0
        assert interval(reason, retry_every=500.0) == 120.0


@pytest.mark.parametrize("reason", sorted(REFUSALS))
def test_a_refusal_is_never_followed_by_retry_every_and_from_the_third_on_doubles(reason):
    rows = [interval(*[reason] * number) for number in range(1, 10)]
    assert rows == [120.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0]


@pytest.mark.parametrize("every", [3600.0, 7200.0, 24 * 3600.0])
def test_an_interval_that_is_long_from_the_beginning_stays(every):
    assert [interval(*[DENIED] * number, run_every=every) for number in (1, 3, 50)] == [every] * 3


def test_one_refusal_after_another_counts_whatever_its_reason():
    assert interval(REFUSED, DENIED, LIMITED, Reason.QUOTA, Reason.REJECTED) == 960.0


def test_only_a_cycle_that_is_up_ends_a_row():
    """A registry that was away, or a host that could not judge, did not let this account in."""
    assert interval(REFUSED, REFUSED, AWAY, NOBODY, BUSY, REFUSED) == 240.0
    assert interval(REFUSED, REFUSED, REFUSED, BUSY) == 30.0
    assert interval(REFUSED, REFUSED, UP, REFUSED) == 120.0


@given(st.lists(st.sampled_from([UP, *Reason]), max_size=300), st.floats(0.1, 86400.0), st.floats(0.1, 86400.0))
def test_whatever_comes_the_interval_keeps_its_bounds(reasons, run_every, retry_every):
    seconds = interval(*reasons, run_every=run_every, retry_every=retry_every)
    if reasons and reasons[-1] in REFUSALS:
        assert run_every <= seconds <= max(run_every, HOUR)
    else:
        assert seconds in (run_every, retry_every)


# A day in fast motion.


class Registry:
    """A registry of a day, by the second of it: when it refuses or is away, and for what reason."""

    def __init__(self, clock, trouble):
        self.clock = clock
        self.trouble = trouble
        self.tries = []

    def runner(self, target, *_):
        return Runner(self, target)

    def try_it(self, target):
        second = self.clock.now - 1000.0
        self.tries.append(second)
        started = datetime.fromtimestamp(second, UTC)
        reason = self.trouble(second)
        cycle = an_up_cycle if reason is UP else lambda *_: a_failed_cycle(reason, target.name)
        return replace(cycle(target.name), started=started, seconds=0.0)

    def by_hour(self, first=0, last=24):
        """Return the tries in each hour from the first to the last."""
        counted = Counter(int(second // HOUR) for second in self.tries)
        return [counted[hour] for hour in range(first, last)]


class Runner:
    """Runs cycles of that registry."""

    def __init__(self, registry, target):
        self.registry, self.target = registry, target
        self.anonymous = self.housekeeping = None
        self.staying = ()

    def __call__(self):
        return self.registry.try_it(self.target)

    def close(self):
        """Nothing was shared."""


class Day:
    """A monitor whose clock is moved from one cycle to the next; all its targets run one after the other."""

    def __init__(self, trouble, *targets, history=None, clock=None):
        self.clock = clock or HandClock()
        self.registry = Registry(self.clock, trouble)
        self.watch = Watch(
            self.registry.runner,
            history or History("me"),
            monotonic=self.clock.monotonic,
            wall=lambda: self.clock.now - 1000.0,
        )
        self.schedule = Schedule(1, self.clock.monotonic, self.clock.wait)
        self.logins = Logins(lambda: self.watch.targets, self.schedule.hurry)
        self.reload(targets or (a_target(run_every=120.0, retry_every=30.0),))
        self.schedule.start()
        self.settle()

    def reload(self, targets):
        self.schedule.replace(self.watch.replace(targets))

    def settle(self):
        """Wait until every worker sleeps; return when the first of them wakes."""
        wakes = []

        def asleep():
            wakes[:] = [state.wakes for state in self.schedule.workers()]
            return all(wake is not None and wake > self.clock.now for wake in wakes)

        eventually(asleep)
        return min(wakes)

    def run(self, hours):
        """Let so many hours pass."""
        end = self.clock.now + hours * HOUR
        while (wakes := self.settle()) < end:
            self.clock.now = wakes
        self.clock.now = end
        self.settle()
        return self.registry.by_hour()

    def close(self):
        assert self.schedule.stop(10.0)

    @property
    def next_cycle(self):
        """In how many seconds the next cycle of the first target is due."""
        due = self.watch.targets[0].progress.next_cycle.timestamp()
        return round(due - (self.clock.now - 1000.0), 3)


@pytest.fixture
def day():
    days = []

    def begin(trouble, *targets, **options):
        days.append(Day(trouble, *targets, **options))
        return days[-1]

    yield begin
    for one in days:
        one.close()


def between(first, last, reason):
    """Return what fails for a reason from one hour to another, and is up before and after."""
    return lambda second: reason if first * HOUR <= second < last * HOUR else UP


def test_a_day_with_an_expired_password(day):
    """One target tried 120 logins an hour; now the hours after the first have at most two."""
    tries = day(between(1, 25, REFUSED)).run(24)
    assert tries[0] == 30
    assert tries[1] == 6
    assert max(tries[2:]) <= 2
    assert sum(tries[1:]) <= 30


def test_a_day_with_six_targets_of_one_expired_password(day):
    targets = [a_target(f"t{number}", run_every=60.0, retry_every=30.0) for number in range(6)]
    tries = day(between(0, 25, REFUSED), *targets).run(24)
    assert tries[0] <= 6 * 7
    assert max(tries[2:]) <= 6 * 2


def test_a_day_with_a_limit_of_an_hour(day):
    """While the limit lasts it is asked no more often than an image would be allowed; then it is up again by itself."""
    tries = day(between(8, 9, LIMITED)).run(24)
    assert tries[8] == 6
    assert tries[:8] == [30] * 8
    assert tries[11:] == [30] * 13
    assert tries[9] >= 1


def test_a_day_with_an_outage_of_an_hour_is_followed_as_closely_as_ever(day):
    tries = day(between(8, 9, AWAY)).run(24)
    assert tries[8] == 120
    assert tries[:8] == [30] * 8
    assert tries[9:] == [30] * 15


def test_a_password_that_was_changed_is_tried_at_once(day, tmp_path):
    file = tmp_path / "password"
    file.write_text("expired")
    good = threading.Event()
    target = a_target(run_every=120.0, credentials=Credentials("acme", PasswordFile(file)))
    one = day(lambda _: UP if good.is_set() else REFUSED, target)
    one.run(5)
    before = len(one.registry.tries)
    for _ in range(3):
        one.logins.look()
    one.run(0.01)
    assert len(one.registry.tries) == before
    file.write_text("")
    one.logins.look()
    file.write_text("changed again")
    one.logins.look()
    assert one.next_cycle > 60.0, "it is still being written"
    good.set()
    one.logins.look()
    eventually(lambda: len(one.registry.tries) == before + 1)
    one.settle()
    assert one.watch.targets[0].record.standing().cycle.verdict is Verdict.UP
    assert one.next_cycle == 120.0
    one.logins.look()
    assert len(one.registry.tries) == before + 1


def test_a_docker_config_that_was_changed_or_is_another_file_now_is_tried_at_once(day, tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}")
    one = day(lambda _: REFUSED, a_target(docker_config=tmp_path))
    one.run(3)
    before = len(one.registry.tries)
    other = tmp_path / "new"
    other.write_text("{}")
    os.utime(other, ns=(config.stat().st_atime_ns, config.stat().st_mtime_ns))
    other.rename(config)
    one.logins.look()
    one.logins.look()
    eventually(lambda: len(one.registry.tries) == before + 1)
    assert one.settle() == one.clock.now + HOUR, "it was refused as before"


def test_nobody_looks_at_the_login_of_one_that_is_not_refused(day, tmp_path):
    file = tmp_path / "password"
    file.write_text("good")
    one = day(
        lambda second: UP if second < HOUR else AWAY, a_target(credentials=Credentials("acme", PasswordFile(file)))
    )
    for _ in range(2):
        one.run(0.9)
        before = len(one.registry.tries)
        file.write_text(f"another {before}")
        one.logins.look()
        one.logins.look()
        one.settle()
        assert len(one.registry.tries) == before


def test_the_thread_looks_by_itself_until_it_is_stopped(day, tmp_path, monkeypatch):
    monkeypatch.setattr("lib.watch.logins._LOOK_SECONDS", 0.001)
    file = tmp_path / "password"
    file.write_text("expired")
    one = day(lambda _: REFUSED, a_target(credentials=Credentials("acme", PasswordFile(file))))
    one.run(5)
    before = len(one.registry.tries)
    one.logins.start()
    file.write_text("changed")
    eventually(lambda: len(one.registry.tries) == before + 1)
    one.logins.stop()
    eventually(lambda: not one.logins._thread.is_alive())


@pytest.mark.parametrize("changed", [{}, {"step_timeout": 60.0}])
def test_a_reload_tries_at_once_and_does_not_forget_the_row(day, changed):
    one = day(lambda _: REFUSED)
    one.run(5)
    before = len(one.registry.tries)
    one.reload([replace(one.watch.targets[0].target, **changed)])
    one.schedule.hurry(one.watch.targets)
    eventually(lambda: len(one.registry.tries) == before + 1)
    assert one.settle() == one.clock.now + HOUR


def test_a_reload_hurries_nobody_else(day):
    targets = [a_target("up", run_every=1000.0), a_target("off", run_every=1000.0)]
    one = day(lambda _: AWAY, *targets)
    one.run(0.2)
    before = list(one.registry.tries)
    one.schedule.hurry(one.watch.targets)
    one.settle()
    assert one.registry.tries == before


def test_a_reload_while_a_cycle_is_being_refused_is_followed_by_another(day):
    held, go_on = threading.Event(), threading.Event()
    go_on.set()

    def trouble(_):
        held.set()
        assert go_on.wait(10)
        return REFUSED

    one = day(trouble)
    one.run(5)
    go_on.clear()
    held.clear()
    before = len(one.registry.tries)
    one.clock.now += HOUR
    assert held.wait(10)
    one.schedule.hurry(one.watch.targets)
    go_on.set()
    eventually(lambda: len(one.registry.tries) == before + 2)
    one.settle()
    assert len(one.registry.tries) == before + 2


def test_a_cycle_that_breaks_off_does_not_make_it_forget(day, caplog):
    def trouble(second):
        if second >= 5 * HOUR:
            raise KeyError("layer")
        return REFUSED

    tries = day(trouble).run(24)
    assert max(tries[5:]) <= 2
    assert "broke off" in caplog.text


# Restart.


def test_a_restart_goes_on_with_the_row_and_keeps_whoever_mended_it_waiting_for_one_interval_at_most(day, new_store):
    clock = HandClock()
    targets = (a_target(run_every=120.0), a_target("other", run_every=120.0))

    def restarted(instance, trouble=lambda _: REFUSED):
        return day(trouble, *targets, history=History(instance, new_store(instance)), clock=clock)

    one = restarted("first")
    one.run(5)
    one.close()
    new_store.close()
    clock.now += 30.0
    one = restarted("second")
    assert one.registry.tries == []
    assert one.next_cycle == 120.0
    one.run(1)
    assert len(one.registry.tries) == 2
    assert 0 < one.next_cycle <= HOUR
    one.close()
    new_store.close()
    clock.now += 2 * HOUR
    one = restarted("third", lambda _: UP)
    assert len(one.registry.tries) == 1
    one.run(0.1)
    one.close()
    new_store.close()
    clock.now += 10.0
    assert len(restarted("fourth").registry.tries) == 1, "one that is up is tried at once, as ever"


def test_a_monitor_that_is_restarted_every_ten_seconds_does_not_hammer(day, new_store):
    clock = HandClock()
    tries = 0
    for number in range(25):
        one = day(lambda _: REFUSED, history=History(f"i{number}", new_store(f"i{number}")), clock=clock)
        tries += len(one.registry.tries)
        one.close()
        new_store.close()
        clock.now += 10.0
    assert 1 <= tries <= 3


@pytest.fixture
def new_store(tmp_path):
    from lib.history.store import Store  # noqa: PLC0415  only these need a disk

    class Stores:
        store = None

        def __call__(self, instance):
            self.store = Store(tmp_path / "state", instance, lambda: 0.0)
            return self.store

        def close(self):
            if self.store is not None:
                self.store.close(10)

    stores = Stores()
    yield stores
    stores.close()


# Failures in a row.


def test_cycles_that_were_down_in_a_row_are_counted_beyond_what_is_kept(day):
    one = day(between(0, 10, AWAY))
    one.run(9.99)
    standing = one.watch.targets[0].record.standing()
    assert standing.downs == len(one.registry.tries) > 1000
    one.run(1)
    assert one.watch.targets[0].record.standing().downs == 0


def test_unknown_neither_counts_nor_ends_a_row(day):
    reasons = iter([AWAY, NOBODY, AWAY, REFUSED, NOBODY])
    one = day(lambda _: next(reasons))
    one.clock.now += 30.0
    counted = []
    for _ in range(4):
        counted.append(one.watch.targets[0].record.standing().downs)
        one.clock.now = one.settle()
        one.settle()
    assert counted[0] in (1, 2)
    assert one.watch.targets[0].record.standing().downs == 3


def test_next_cycle_is_when_it_begins(day):
    one = day(between(1, 2, DENIED))
    due = []
    for _ in range(60):
        due.append(one.watch.targets[0].progress.next_cycle)
        one.clock.now = one.settle()
        one.settle()
    begun = [datetime.fromtimestamp(second, UTC) for second in one.registry.tries[1:]]
    assert all(abs(said - at) < timedelta(milliseconds=1) for said, at in zip(due, begun, strict=True))
    assert max(after - before for before, after in pairwise(begun)) > timedelta(minutes=30)
