"""Privacy: a registry that lets strangers in is told loudly, on a real engine and real registries."""

from __future__ import annotations

import json

import pytest

from lab.daemon import await_true
from lab.monitor import Monitor
from lab.registry import Registry
from lib.cycle.payload import INSTANCE_LABEL
from tests.lab.test_cycle import login, successes

EVERY = ("-run-test-every=300ms", "-payload-size=64KiB", "-expect-private", "-expect-private-every=100ms")
SOON = 30


@pytest.fixture
def open_registry(session_lab, tmp_path):
    """A registry that lets anybody do anything."""
    with Registry(tmp_path / "open") as registry:
        yield registry


def exposed(monitor):
    """Return what the metric and the JSON say of the only target: None where the metric is absent."""
    lines = monitor.get("/metrics")[1].splitlines()
    gauges = [float(line.split()[1]) for line in lines if line.startswith("registry_monitor_exposed{")]
    (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
    return (gauges or [None])[0], target["exposed"]


def test_a_registry_that_lets_strangers_in_is_told_and_stays_up(engine, open_registry, tmp_path, snapshot):
    """The gauge is 1, the log says what to do, the JSON says true, the verdict is up; nothing is left of the pull."""
    before = snapshot()
    with Monitor(tmp_path, engine, f"-repository={open_registry.host}/tests/open", *EVERY) as monitor:
        await_true(lambda: successes(monitor) >= 4, SOON, "some cycles")
        await_true(lambda: exposed(monitor) == (1.0, True), SOON, "the exposure to be told")
        assert monitor.verdict() == (200, "up", None)
        assert monitor.stop() == 0
    told = monitor.log.read_text()

    assert "level=error" in told
    assert "anybody can read this repository" in told
    assert engine.docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout == ""
    assert snapshot() == before


def test_a_registry_that_keeps_others_out_is_private(engine, registry, repository, tmp_path):
    """The gauge is 0, the JSON says false; nothing is said of strangers."""
    with Monitor(tmp_path, engine, *login(repository), *EVERY) as monitor:
        await_true(lambda: exposed(monitor) == (0.0, False), SOON, "the refusal to be told")
        assert monitor.verdict() == (200, "up", None)

    assert "level=error" not in monitor.log.read_text()


def test_stored_logins_are_no_strangers(engine, registry, repository, tmp_path):
    """With `docker-config`, and with the engine's user logged in, the stranger still has no login."""
    engine.docker("login", "--username=monitor", "--password-stdin", registry.host, stdin=b"secret")
    config = engine.env["DOCKER_CONFIG"]
    try:
        options = (f"-repository={repository}", f"-docker-config={config}")
        with Monitor(tmp_path, engine, *options, *EVERY) as monitor:
            await_true(lambda: exposed(monitor) == (0.0, False), SOON, "the refusal to be told")
    finally:
        engine.docker("logout", registry.host)


def test_without_expect_private_nothing_is_tried_or_told(engine, open_registry, tmp_path):
    """No gauge, no key, and no pull but those of the cycles."""
    options = ("-run-test-every=300ms", "-payload-size=64KiB")
    with Monitor(tmp_path, engine, f"-repository={open_registry.host}/tests/open", *options) as monitor:
        await_true(lambda: successes(monitor) >= 2, SOON, "some cycles")
        assert "registry_monitor_exposed{" not in monitor.get("/metrics")[1]
        assert "exposed" not in json.loads(monitor.get("/status?format=json")[1])["targets"][0]
