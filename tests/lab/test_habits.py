"""Registries' habits: what they do by design, and how the monitor judges it."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial

import pytest

from lab.habits import RateLimit, created_first, immutable, publishing_late
from lab.misbehaviour import answer, calling, plain
from lab.monitor import once
from lab.object_store import ObjectStore
from lab.port import on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lab.target import PASSWORD, USER, login, path_of
from lib.failure import Reason

MANIFEST_PUT = ("PUT", "/manifests/latest$")


def failed(cycle):
    """Return the step, reason and scope of a cycle's failure."""
    return cycle["step"], cycle["reason"], cycle["scope"]


def advice(cycle):
    """Return the advice for a cycle's failure."""
    return Reason(cycle["reason"]).advice


@pytest.fixture
def proxy(registry):
    """A proxy in front of the registry that can give it habits."""
    host, port = registry.host.split(":")
    with Proxy(on_loopback, (host, int(port)), plain) as proxy:
        yield proxy


@pytest.fixture
def target(proxy, repository, tmp_path):
    """The options of a target behind the proxy, of a monitor that remembers."""
    return (*login(f"{proxy.host}/{path_of(repository)}"), f"-state-dir={tmp_path / 'state'}", "-payload-size=64KiB")


# --- answers that take their time ---

#: How long each takes.
SLOW_SECONDS = 0.3


def slow_cycle(engine, target, proxy, *requests):
    """Given requests that the registry is slow to answer, return the phases of a cycle's steps, which was up."""
    with ExitStack() as stack:
        for method, path in requests:
            stack.enter_context(proxy.rule(calling(partial(time.sleep, SLOW_SECONDS)), method, path))
        code, (cycle,), errors = once(engine, *target)
    assert (code, cycle["verdict"]) == (0, "up"), errors
    phases = {step["step"]: step["phases"] for step in cycle["steps"] if step["phases"]}
    for step in cycle["steps"]:
        assert sum(phases.get(step["step"], {"all": step["seconds"]}).values()) == pytest.approx(step["seconds"])
    return phases


def test_a_slow_registry_grows_the_phases_that_wait_for_it(engine, proxy, target):
    """Blobs those in which layers are moved, manifests those around them; the phases add up to the steps."""
    of_blobs = slow_cycle(engine, target, proxy, ("GET|PATCH", "/blobs/"))
    of_manifests = slow_cycle(engine, target, proxy, ("GET|HEAD|PUT", "/manifests/"))

    assert of_blobs["push"]["transfer"] > SLOW_SECONDS
    assert of_blobs["pull_back"]["transfer"] > SLOW_SECONDS
    assert of_manifests["pull"]["resolve"] > SLOW_SECONDS
    assert of_manifests["push"]["commit"] > SLOW_SECONDS
    assert of_manifests["pull_back"]["resolve"] > SLOW_SECONDS


# --- blobs that another host gives ---


@pytest.fixture
def stored(tmp_path):
    """An object store, and the registry that redirects docker to it."""
    storage = tmp_path / "storage"
    with (
        ObjectStore(storage) as store,
        Registry(tmp_path / "registry", users={USER: PASSWORD}, storage=storage, settings=store.settings) as registry,
    ):
        yield store, registry


def test_layers_that_an_object_store_gives_are_pulled_back_from_there(engine, stored):
    """Redirects of blobs to another host are followed; the registry itself gives none."""
    _, registry = stored

    code, (cycle,), _ = once(engine, *login(f"{registry.host}/tests/redirected"))

    assert (code, cycle["verdict"]) == (0, "up")
    assert registry.manifests_put("tests/redirected") == ["latest"]
    assert registry.blobs_got("tests/redirected") == []


def test_an_object_store_that_is_down_is_told_from_the_registry(engine, stored):
    """The detail names the store's address if that is refused, and the registry's if that is."""
    store, registry = stored
    options = login(f"{registry.host}/tests/redirected")
    assert once(engine, *options)[0] == 0

    with store.door.refusing():
        _, (without_store,), _ = once(engine, *options)
    registry.stop()
    _, (without_registry,), _ = once(engine, *options)

    assert failed(without_store) == ("pull", "refused", "network")
    assert store.door.host in without_store["detail"]
    assert registry.host not in without_store["detail"]
    assert "store that it sends docker to" in advice(without_store)
    assert failed(without_registry) == ("login", "refused", "network")
    assert registry.host in without_registry["detail"]


def test_an_object_store_that_fails_is_the_registrys_fault(engine, stored):
    """A store that answers 503 keeps the layers from users as much as the registry itself could."""
    store, registry = stored
    options = login(f"{registry.host}/tests/redirected")
    assert once(engine, *options)[0] == 0

    with store.door.rule(answer(503, b"<Error><Code>SlowDown</Code></Error>", "application/xml")):
        _, (cycle,), _ = once(engine, *options)

    assert failed(cycle) == ("pull", "server_error", "registry")


# --- publishing late ---


def test_a_registry_that_publishes_late_is_stale_without_patience(engine, proxy, target):
    """It acknowledges the push with 202, and then still gives the previous image."""
    assert once(engine, *target)[0] == 0

    with proxy.rule(publishing_late(60.0), *MANIFEST_PUT):
        _, (cycle,), _ = once(engine, *target)

    assert failed(cycle) == ("pull_back", "stale", "registry")
    assert cycle["pulled_digest"] not in (None, cycle["pushed_digest"])


@pytest.mark.parametrize("is_new", [pytest.param(True, marks=pytest.mark.everything), False])
def test_a_registry_that_publishes_late_is_up_within_the_patience(engine, proxy, target, is_new):
    """With no image before, or an older one: the tag is asked until it shows the push, and the time is reported."""
    assert is_new or once(engine, *target)[0] == 0

    with proxy.rule(publishing_late(6.0), *MANIFEST_PUT):
        told_all = ("-log-format=json", "-loglevel=debug")
        code, (cycle,), told = once(engine, *target, "-propagation-timeout=90s", *told_all)

    assert (code, cycle["verdict"]) == (0, "up")
    events = [json.loads(line) for line in told.splitlines()]
    (seconds,) = [event["after_seconds"] for event in events if "after_seconds" in event]
    assert 0 < seconds < 90


# --- tags and repositories with rules ---


IMMUTABLE = {
    "ECR": answer(
        400,
        b'{"errors":[{"code":"TAG_INVALID","message":"The image tag \'latest\' already exists in the \'acme/canary\''
        b' repository and cannot be overwritten because the tag is immutable."}]}',
    ),
    "Harbor": answer(
        412,
        b'{"errors":[{"code":"PRECONDITION","message":"Failed to process request due to \'canary:latest\' configured as'
        b' immutable."}]}',
    ),
    "Quay": answer(
        409, b'{"errors":[{"code":"TAG_IMMUTABLE","message":"tag is immutable and cannot be overwritten"}]}'
    ),
}


@pytest.mark.parametrize("kind", IMMUTABLE)
def test_an_immutable_tag_is_told_at_the_first_push_over_it(engine, proxy, target, kind):
    """The first push makes the tag; the second is refused, and the advice says what to exclude from which rule."""
    with proxy.rule(immutable(IMMUTABLE[kind]), *MANIFEST_PUT):
        first = once(engine, *target)[0]
        _, (cycle,), _ = once(engine, *target)

    assert first == 0
    assert failed(cycle) == ("push", "rejected", "registry")
    assert "immutable" in cycle["detail"]
    assert "Exclude this tag from rules that make tags immutable" in advice(cycle)


def test_a_repository_that_must_be_created_first_is_asked_for(engine, proxy, target, repository):
    """The pull of nothing is skipped, the push says that there is no such repository: create it."""
    created = set()
    with proxy.rule(created_first(created), path="/v2/.+/"):
        _, (missing,), _ = once(engine, *target)
        created.add(path_of(repository))
        code, (cycle,), _ = once(engine, *target)

    assert failed(missing) == ("push", "not_found", "registry")
    assert [step["outcome"] for step in missing["steps"] if step["step"] == "pull"] == ["skipped"]
    assert "Create the repository" in advice(missing)
    assert (code, cycle["verdict"]) == (0, "up")


# --- limits ---


def test_a_rate_limit_matters_only_once_it_is_reached(engine, proxy, target):
    """Headers that count down change nothing; 429 is the limit, reported with its words; then all is well again."""
    limit = RateLimit(left=100)
    with proxy.rule(limit, "GET|HEAD", "/manifests/"):
        within = once(engine, *target)[0]
        asked = 100 - limit.left
        limit.left = 0
        _, (beyond,), _ = once(engine, *target)
        limit.left = 100
        again = once(engine, *target)[0]

    assert (within, again) == (0, 0)
    assert 0 < asked < 10
    assert failed(beyond) == ("pull", "rate_limited", "registry")
    assert "pull rate limit" in beyond["detail"]
    assert "test this target less often" in advice(beyond)
