"""Strangers: what a registry lets them do is reported loudly, on a real engine and real registries."""

from __future__ import annotations

import json

import pytest

from lab.daemon import await_true
from lab.monitor import SOON, Monitor
from lab.registry import Registry
from lab.target import PASSWORD, USER, login
from lab.token_server import TokenServer
from lib.cycle.payload import INSTANCE_LABEL

OFTEN = ("-run-test-every=300ms", "-payload-size=64KiB", "-anonymous-every=100ms")
REFUSED = ("-anonymous=refused", *OFTEN)
EVERY = ("-run-test-every=300ms", "-payload-size=64KiB", "-expect-private", "-expect-private-every=100ms")


@pytest.fixture
def open_registry(session_lab, tmp_path):
    """A registry that lets anybody do anything."""
    with Registry(tmp_path / "open") as registry:
        yield registry


def exposed(monitor):
    """Return what the metric and the JSON say of the only target: None if the metric is absent."""
    lines = monitor.get("/metrics")[1].splitlines()
    gauges = [float(line.split()[1]) for line in lines if line.startswith("registry_monitor_exposed{")]
    (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
    return (gauges or [None])[0], target["exposed"]


def test_a_registry_that_lets_strangers_in_is_told_and_stays_up(engine, open_registry, tmp_path, snapshot):
    """The gauge is 1, the log says what to do, the JSON says true, the verdict is up; nothing is left of the pull."""
    before = snapshot()
    with Monitor(tmp_path, engine, f"-repository={open_registry.host}/tests/open", *EVERY) as monitor:
        await_true(lambda: monitor.successes() >= 2, SOON, "two cycles")
        await_true(lambda: exposed(monitor) == (1.0, True), SOON, "the exposure to be reported")
        assert monitor.verdict() == (200, "up", None)
        assert monitor.stop() == 0
    told = monitor.log.read_text()

    assert "level=error" in told
    assert "anybody can read this repository" in told
    assert engine.docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout == ""
    assert snapshot() == before


def test_a_registry_that_keeps_others_out_is_private(engine, registry, repository, tmp_path):
    """The gauge is 0, the JSON says false; nothing is said about strangers."""
    with Monitor(tmp_path, engine, *login(repository), *EVERY) as monitor:
        await_true(lambda: exposed(monitor) == (0.0, False), SOON, "the refusal to be reported")
        assert monitor.verdict() == (200, "up", None)

    assert "level=error" not in monitor.log.read_text()


def test_stored_logins_are_no_strangers(engine, registry, repository, tmp_path):
    """With `docker-config`, and with the engine's user logged in, the stranger still has no login."""
    engine.docker("login", "--username=monitor", "--password-stdin", registry.host, stdin=b"secret")
    config = engine.env["DOCKER_CONFIG"]
    try:
        options = (f"-repository={repository}", f"-docker-config={config}")
        with Monitor(tmp_path, engine, *options, *EVERY) as monitor:
            await_true(lambda: exposed(monitor) == (0.0, False), SOON, "the refusal to be reported")
    finally:
        engine.docker("logout", registry.host)


@pytest.mark.everything
def test_without_expect_private_nothing_is_tried_or_told(engine, open_registry, tmp_path):
    """No gauge, no key, and no pull but those of the cycles."""
    options = ("-run-test-every=300ms", "-payload-size=64KiB")
    with Monitor(tmp_path, engine, f"-repository={open_registry.host}/tests/open", *options) as monitor:
        await_true(lambda: monitor.successes() >= 2, SOON, "some cycles")
        assert "registry_monitor_exposed{" not in monitor.get("/metrics")[1]
        assert "registry_monitor_anonymous{" not in monitor.get("/metrics")[1]
        (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
        assert "exposed" not in target
        assert target["anonymous"] is None


def anonymous(monitor):
    """Return what the JSON says of the only target's strangers, which is what the metric says."""
    (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
    lines = monitor.get("/metrics")[1].splitlines()
    gauges = {
        action: bool(float(line.split()[1]))
        for line in lines
        for action in ("pull", "push")
        if line.startswith("registry_monitor_anonymous{") and f'action="{action}"' in line
    }
    found = {action: works for action, works in target["anonymous"].items() if works is not None}
    return found if found == gauges else None


def pushes_of_strangers(registry):
    return registry.manifests_put("tests/open").count("latest-stranger")


@pytest.fixture
def half_open_registry(session_lab, tmp_path):
    """A registry that lets anybody pull, and its user push."""
    with TokenServer(tmp_path / "tokens", USER, PASSWORD, strangers_may=("pull",)) as tokens:
        auth = tokens.auth(f"http://{tokens.address[0]}:{tokens.address[1]}/token")
        with Registry(tmp_path / "half-open", token=auth) as registry:
            yield registry


def test_a_registry_that_lets_strangers_push_is_told_with_what_was_pushed(engine, open_registry, tmp_path, snapshot):
    """The verdict is up; the tag that was pushed stays, and nothing is left on the host."""
    before = snapshot()
    repository = f"{open_registry.host}/tests/open"
    with Monitor(tmp_path, engine, f"-repository={repository}", *REFUSED) as monitor:
        await_true(lambda: anonymous(monitor) == {"pull": True, "push": True}, SOON, "both to be reported")
        await_true(lambda: pushes_of_strangers(open_registry) >= 2, SOON, "another push")
        assert monitor.verdict() == (200, "up", None)
        assert "Strangers can push." in monitor.get("/")[1]
        assert monitor.stop() == 0
    told = monitor.log.read_text()

    assert told.count("strangers can push") == 1
    assert f"pushed={repository}:latest-stranger digest=sha256:" in told
    assert snapshot() == before


def test_a_registry_that_keeps_strangers_out_is_as_it_has_to_be(engine, registry, repository, tmp_path, snapshot):
    before = snapshot()
    with Monitor(tmp_path, engine, *login(repository), *REFUSED, "-log-format=json") as monitor:
        await_true(lambda: anonymous(monitor) == {"pull": False, "push": False}, SOON, "the refusals to be reported")
        assert monitor.verdict() == (200, "up", None)
        assert monitor.stop() == 0

    assert monitor.troubles() == []
    assert snapshot() == before


@pytest.mark.everything
def test_a_registry_that_lets_strangers_pull_alone(engine, half_open_registry, tmp_path):
    """It is as a public repository should be. If they have to be refused, the pull is reported, and no push."""
    options = login(f"{half_open_registry.host}/tests/public")
    with Monitor(tmp_path, engine, *options, "-anonymous=pull", *OFTEN) as monitor:
        await_true(lambda: anonymous(monitor) == {"pull": True}, SOON, "the pull to be reported")
    assert "level=error" not in monitor.log.read_text()

    with Monitor(tmp_path, engine, *options, *REFUSED) as monitor:
        await_true(lambda: anonymous(monitor) == {"pull": True, "push": False}, SOON, "both to be reported")
    assert "latest-stranger" not in half_open_registry.manifests_put("tests/public")


def test_nothing_is_pushed_over_somebodys_image(engine, open_registry, tmp_path, snapshot):
    """It is there as it was after some tries, here and in the registry."""
    theirs = f"{open_registry.host}/tests/open:latest-stranger"
    engine.docker("import", "-", theirs, stdin=bytes(10240))
    engine.docker("push", theirs)
    before = snapshot()
    with Monitor(tmp_path, engine, f"-repository={open_registry.host}/tests/open", *REFUSED) as monitor:
        await_true(lambda: monitor.log.read_text().count("could not find out") >= 2, SOON, "two tries")
        assert anonymous(monitor) == {"pull": True}
        assert monitor.stop() == 0

    assert f"{theirs} holds an image that no monitor made" in monitor.log.read_text()
    assert pushes_of_strangers(open_registry) == 1
    assert snapshot() == before
    engine.docker("rmi", theirs)
