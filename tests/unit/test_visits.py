"""Visits: when a registry's API is asked for what, the findings, and that nobody waits and nothing is logged twice."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from itertools import pairwise

import pytest

from lib.failure import Reason, Verdict
from lib.history import History
from lib.metrics.sparse import SPARSE
from lib.registry_api import RegistryApi
from lib.registry_api.connection import RefusedError
from lib.registry_api.found import Certificate, Deletion, RateLimit, Role
from lib.result import Push
from lib.secret import PasswordFile, Secret
from lib.target import Credentials
from lib.watch import Watch
from lib.watch.superseded import Superseded
from lib.watch.visits import Visits
from tests.unit.examples import NOON, HandClock, a_failed_cycle, a_target, an_up_cycle, eventually
from tests.unit.fake_api import FakeApi, Says

HOUR = 3600.0
UP = an_up_cycle()
DOWN = a_failed_cycle()
CERTIFICATES = tuple(Certificate(f"{role}.example", role, 1.8e9) for role in Role)


def digest(mark):
    return f"sha256:{64 * mark}"


def push(mark):
    return Push(digest(mark), "sha256:id", f"token {mark}", "me", NOON)


class Api:
    """A registry's API with prepared answers; an exception is raised instead."""

    host = "quay.io"

    def __init__(self):
        self.asked = []
        self.limit = None
        self.registry_end, self.store_end = CERTIFICATES[:2], CERTIFICATES[2:]
        self.deleting = {}
        self.secrets = []

    def certificates(self):
        self.asked.append("certificates")
        yield from self._said(self.registry_end)

    def store_certificate(self):
        self.asked.append("store")
        yield from self._said(self.store_end)

    def rate_limit(self):
        self.asked.append("rate limit")
        return self._said(self.limit)

    def delete(self, digest):
        self.asked.append(digest)
        self._said(self.deleting.get(digest))

    def _said(self, what):
        if isinstance(what, Exception):
            raise what
        return what


class World:
    """The visits of one target, by a clock that is moved by hand."""

    def __init__(self, **options):
        self.clock = HandClock()
        self.api = Api()
        self.logins = []
        self.kept, self.within = frozenset(), 0.0
        self.superseded = Superseded((), self.clock.monotonic)
        self.visits = Visits(
            a_target(**options), self.superseded, lambda: self.kept, lambda: self.within,
            patience=30.0, api_for=self._open, monotonic=self.clock.monotonic,
        )  # fmt: skip

    def _open(self, _, login):
        self.logins.append(login)
        self.api.secrets = [login.password] if login else []
        return self.api

    def after(self, cycle, passed=120.0):
        """Move the clock, let a cycle end, and return what was asked for that."""
        self.clock.advance(passed)
        self.api.asked.clear()
        self.visits.after(cycle)
        return tuple(self.api.asked)

    def push(self, *marks):
        """Push one after the other."""
        for before, now in pairwise(marks):
            self.superseded.replaced(push(before), push(now))

    @property
    def deletions(self):
        return dict(self.visits.found.deletions)


# --- certificates ---


def test_certificates_are_read_at_the_start_and_hourly():
    world = World()
    assert world.after(UP) == ("certificates", "store", "rate limit")
    assert world.visits.found.certificates == CERTIFICATES
    assert world.after(UP) == ()
    assert world.after(UP, HOUR) == ("certificates", "store", "rate limit")


def test_without_watch_certificates_none_is_read():
    assert World(watch_certificates=False).after(UP) == ("rate limit",)


def test_those_that_can_be_read_are_there_and_the_rest_is_told_once(caplog):
    caplog.set_level(logging.INFO)
    world = World()
    world.api.store_end = TimeoutError("timed out")
    for _ in range(3):
        world.after(UP, HOUR)
    assert world.visits.found.certificates == CERTIFICATES[:2]
    world.api.registry_end = OSError("unreachable")
    world.after(UP, HOUR)
    assert world.visits.found.certificates == ()
    assert [record.message for record in caplog.records] == ["registry API: certificates can't be read"]
    assert caplog.records[0].levelno == logging.INFO
    assert caplog.records[0].detail == "TimeoutError: timed out"
    world.api.registry_end = world.api.store_end = ()
    world.after(UP, HOUR)
    world.after(UP, HOUR)
    assert [record.message for record in caplog.records[1:]] == ["registry API: resolved: certificates can't be read"]


def test_they_are_read_of_a_registry_that_is_down_and_again_once_it_is_up():
    world = World()
    world.api.registry_end = OSError("unreachable")
    assert world.after(DOWN) == ("certificates", "rate limit")
    assert world.after(DOWN) == ()
    assert world.after(UP) == ("certificates", "rate limit")
    assert world.after(UP) == ()


def test_no_login_is_shown_again_after_one_that_was_refused():
    """It could be locked; once it is let in, all is asked."""
    world = World()
    assert world.after(a_failed_cycle(Reason.UNAUTHORIZED)) == ("certificates",)
    assert world.after(a_failed_cycle(Reason.DENIED)) == ()
    assert world.after(UP) == ("certificates", "store", "rate limit")


# --- the rate limit ---


def test_the_rate_limit_is_asked_for_after_each_cycle_once_the_registry_told_one():
    world = World(watch_certificates=False)
    world.api.limit = RateLimit(100, 90)
    assert [world.after(cycle) for cycle in (UP, DOWN, UP)] == [("rate limit",)] * 3
    assert world.visits.found.rate_limit == RateLimit(100, 90)
    world.api.limit = None
    world.after(UP)
    assert world.visits.found.rate_limit is None
    assert world.after(UP) == ()


def test_docker_hub_is_asked_after_each_cycle():
    world = World(watch_certificates=False, reference="docker.io/acme/canary")
    assert [world.after(UP) for _ in range(3)] == [("rate limit",)] * 3


def test_a_limit_that_can_not_be_read_any_more_is_absent_and_asked_for_in_an_hour():
    world = World(watch_certificates=False)
    world.api.limit = RateLimit(100, 90)
    world.after(UP)
    world.api.limit = TimeoutError()
    world.after(UP)
    assert world.visits.found.rate_limit is None
    assert world.after(UP) == ()
    assert world.after(UP, HOUR) == ("rate limit",)


# --- superseded images ---


@pytest.fixture
def deleting():
    return World(watch_certificates=False, delete_superseded=True)


def test_what_a_push_replaced_is_deleted_after_a_cycle_that_was_up(deleting):
    deleting.after(UP)
    assert deleting.deletions == {Deletion.OK: 0, Deletion.FAILED: 0}
    deleting.push("a", "b", "c")
    assert deleting.after(DOWN) == ()
    assert deleting.after(UP) == (digest("a"), digest("b"))
    assert deleting.after(UP) == ()
    assert deleting.deletions == {Deletion.OK: 2, Deletion.FAILED: 0}


def test_without_the_option_nothing_is_deleted_or_counted():
    world = World(watch_certificates=False)
    world.push("a", "b")
    world.after(UP)
    assert world.after(UP) == ()
    assert world.deletions == {}


def test_nothing_is_deleted_that_was_not_replaced(deleting):
    """Not after a first push, not after one that was lost, and not of a cycle that pushed nothing."""
    for before, now in ((None, push("a")), (push("a"), None), (push("a"), push("a")), (None, None)):
        deleting.superseded.replaced(before, now)
    assert deleting.superseded.waiting == ()


def test_what_a_replica_may_still_show_waits(deleting):
    deleting.after(UP)
    deleting.within = 600.0
    deleting.push("a", "b")
    assert deleting.after(UP, 599.0) == ()
    assert deleting.after(UP, 1.0) == (digest("a"),)


def test_what_has_to_stay_and_what_the_tag_shows_is_never_deleted(deleting):
    """Rested images, the base; and what this very cycle pushed or got back, whatever the order."""
    deleting.after(UP)
    deleting.kept = frozenset({digest("a")})
    deleting.push("a", "b", "c", "d")
    shown = replace(UP, pushed_digest=digest("b"), pulled_digest=digest("c"))
    assert deleting.after(shown) == ()
    assert deleting.after(UP) == (digest("b"), digest("c"))


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "right"), (403, "right"), (405, "REGISTRY_STORAGE_DELETE_ENABLED"), (500, None)]
)
def test_a_refusal_is_counted_and_told_once_and_tried_again_in_an_hour(deleting, caplog, status, advice):
    deleting.api.deleting = {digest("a"): RefusedError("quay.io", status, "to delete a manifest")}
    deleting.push("a", "b", "c")
    assert deleting.after(UP)[1:] == (digest("a"),)
    assert deleting.after(UP) == ()
    assert deleting.after(UP, HOUR)[1:] == (digest("a"),)
    assert deleting.deletions == {Deletion.OK: 0, Deletion.FAILED: 2}
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.WARNING, "registry API: superseded images can't be deleted")
    assert record.detail == f"quay.io answered {status} when asked to delete a manifest"
    assert advice in record.advice if advice else not hasattr(record, "advice")
    deleting.api.deleting = {}
    assert deleting.after(UP, HOUR)[1:] == (digest("a"), digest("b"))


def test_what_is_not_there_is_counted_and_not_tried_again(deleting, caplog):
    deleting.api.deleting = {digest("a"): RefusedError("quay.io", 404, "to delete a manifest")}
    deleting.push("a", "b")
    deleting.after(UP)
    assert deleting.deletions == {Deletion.OK: 0, Deletion.FAILED: 1}
    assert deleting.superseded.waiting == ()
    assert "Quay" in caplog.records[0].advice


def test_an_outage_of_the_api_is_caught_up_with_a_few_at_a_time(deleting):
    deleting.after(UP)
    deleting.push(*"0123456789abcef")
    assert [len(deleting.after(UP)) for _ in range(3)] == [10, 4, 0]


def test_what_waits_is_bounded():
    superseded = Superseded()
    for number in range(5000):
        superseded.replaced(push(str(number)), push("other"))
    assert len(superseded.waiting) == 1200


# --- the login ---


def test_the_login_is_read_anew_at_each_visit(tmp_path):
    password = tmp_path / "password"
    world = World(credentials=Credentials("monitor", PasswordFile(password)))
    for text in ("old", "new"):
        password.write_text(text)
        world.after(UP, HOUR)
    assert [(login.username, login.password.reveal()) for login in world.logins] == [
        ("monitor", "old"), ("monitor", "new")
    ]  # fmt: skip


def test_of_a_docker_configuration_only_what_stands_there_in_plain_is_used(tmp_path):
    world = World(docker_config=tmp_path)
    world.after(UP)
    (tmp_path / "config.json").write_text('{"auths": {"quay.io": {"auth": "dTpw"}}}')
    world.after(UP, HOUR)
    assert [login and (login.username, login.password.reveal()) for login in world.logins] == [None, ("u", "p")]


def test_a_password_that_can_not_be_read_is_told_and_no_secret_is(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    world = World(credentials=Credentials("monitor", PasswordFile(tmp_path / "missing")))
    world.after(UP)
    assert [record.message for record in caplog.records] == [
        "registry API: certificates can't be read", "registry API: the rate limit can't be read"
    ]  # fmt: skip
    caplog.clear()
    world = World(credentials=Credentials("monitor", Secret("hunter2")))
    world.api.registry_end = ValueError("hunter2 at https://store.example/?X-Amz-Signature=planted")
    world.after(UP)
    assert caplog.records[0].detail == "ValueError: <secret> at https://store.example/?<secret>"


# --- the thread ---


def test_a_fault_of_ours_is_told_as_one_and_costs_no_cycle(caplog):
    world = World()
    world.api.registry_end = RuntimeError("a bug")
    assert world.after(UP) == ("certificates", "rate limit")
    assert caplog.records[0].levelno == logging.ERROR
    assert "a fault in the monitor itself: RuntimeError: a bug" in caplog.records[0].detail


def test_no_cycle_waits_for_a_visit_and_no_second_one_begins_meanwhile():
    """One that takes too long is given up."""
    world, ends = World(), threading.Event()
    world.visits.patience = 0.0
    world.api.rate_limit = lambda: ends.wait(30) and None
    world.api.abandon = ends.set
    assert world.after(UP)[:1] in ((), ("certificates",))
    assert world.after(UP, 30.0) == ()
    assert not ends.is_set()
    world.after(UP, HOUR)
    assert ends.is_set()
    eventually(lambda: not any(thread.name == "registry API" for thread in threading.enumerate()))


def no_more(_):
    raise RuntimeError("can't start new thread")


def test_a_host_that_has_no_more_threads_loses_nothing_but_the_visit(monkeypatch):
    world = World()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        assert world.after(UP) == ()
    assert world.after(UP) == ("certificates", "store", "rate limit")


def test_a_few_visits_at_a_time_are_enough(monkeypatch):
    monkeypatch.setattr("lib.watch.visits._permits", threading.BoundedSemaphore(1))
    one, other, ends = World(), World(), threading.Event()
    one.visits.patience = 0.0
    one.api.rate_limit = lambda: ends.wait(30) and None
    one.after(UP)
    assert other.after(UP) == ()
    ends.set()
    eventually(lambda: other.after(UP))


# --- a watched target ---


class Pushing:
    """What runs cycles that push, all up."""

    def __init__(self, target, pushes, _):
        self.target, self.pushes, self.number = target, pushes, 0

    def __call__(self):
        self.number += 1
        self.pushes.pushed(push(f"{self.number:x}"))
        return replace(an_up_cycle(self.target.name), pushed_digest=digest(f"{self.number:x}"))

    def close(self):
        pass


def watched_by(registry, *targets):
    watch = Watch(
        Pushing, History("me"),
        visits_for=lambda *of: Visits(*of, patience=30.0, api_for=RegistryApi),
    )  # fmt: skip
    watch.replace(targets)
    return watch


def says(asked):
    headers = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "50;w=21600"}
    return Says(202) if asked.method == "DELETE" else Says(404, headers)


def test_a_watched_target_has_all_of_it_in_its_metrics_and_deletes_what_it_replaced():
    with FakeApi(says) as fake:
        target = a_target(reference=f"{fake.host}/acme/canary", delete_superseded=True)
        watch = watched_by(fake, target)
        (watched,) = watch.targets
        for _ in range(3):
            assert watched.take_turn(0.0).verdict is Verdict.UP
        # What waits outlives a reload that changes the target, and so does what the tag shows.
        watched.visits.superseded.replaced(push("e"), push("f"))
        (again,) = watch.replace([replace(target, run_every=5.0)])
        again.take_turn(0.0)
    deleted = [asked.path.rpartition("/")[2] for asked in fake.asked if asked.method == "DELETE"]
    assert deleted == [digest("1"), digest("2"), digest("e"), digest("3")]
    read = {
        sparse.name.removeprefix("registry_monitor_"): {
            labels: number for labels, number, *_ in watched.series.read(sparse.values)
        }
        for sparse in SPARSE
    }
    assert read["superseded_deletions"] == {("ok",): 2, ("failed",): 0}
    assert (read["rate_limit_limit"], read["rate_limit_remaining"]) == ({(): 100}, {(): 50})
    assert read["certificate_expiry_timestamp_seconds"] == {}


def test_what_replicas_show_waits_for_as_long_as_each_of_them_may():
    with FakeApi(says) as fake:
        source = a_target("source", reference=f"{fake.host}/acme/canary", delete_superseded=True)
        replicas = [
            a_target(f"r{within}", read_only=True, replica_of=of, replica_within=within)
            for of, within in (("source", 5.0), ("source", 7.0), ("other", 9.0))
        ]
        watch = watched_by(fake, source, a_target("other"), *replicas)
        watched = watch.targets[0]
        assert watched.visits.replicas_within() == 7.0
        for _ in range(3):
            watched.take_turn(0.0)
        assert not any(asked.method == "DELETE" for asked in fake.asked)
        assert len(watched.visits.superseded.waiting) == 2
        watch.replace([source])
        assert watched.visits.replicas_within() == 0.0
