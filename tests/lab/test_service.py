"""The real service: what it answers while cycles run, and how it ends, on a real engine and registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from lab.daemon import await_true
from lab.heartbeats import Heartbeats
from lab.monitor import PROGRAM, SOON, Monitor
from lab.registry import Registry
from lab.target import PASSWORD, USER, login
from lib.cycle.payload import INSTANCE_LABEL

QUICK = ("-run-test-every=500ms", "-retry-every=500ms", "-payload-size=64KiB")


@pytest.fixture
def own_registry(session_lab, request):
    """A registry that a test may stop."""
    with Registry(session_lab.folder / f"registry-{os.urandom(4).hex()}", users={USER: PASSWORD}) as registry:
        yield registry


@pytest.fixture
def monitor(engine, own_registry, tmp_path):
    """A running monitor of that registry."""
    with Monitor(tmp_path, engine, *login(f"{own_registry.host}/tests/service"), *QUICK) as running:
        yield running


def ours(engine):
    """Return the IDs of the images that a monitor made."""
    return engine.docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout.split()


def failures(monitor):
    """Return the lines of /metrics that count failures."""
    lines = monitor.get("/metrics")[1].splitlines()
    return "\n".join(line for line in lines if line.startswith("registry_monitor_failures_total{"))


def await_status(monitor, code):
    await_true(lambda: monitor.get("/status")[0] == code, SOON, f"/status to be {code}")


def test_status_is_never_well_before_a_cycle_has_succeeded(engine, own_registry, tmp_path):
    """From the first moment on /status is 503, until a cycle is up; /health soon is 200 whatever the registry does."""
    own_registry.stop()
    with Monitor(tmp_path, engine, *login(f"{own_registry.host}/tests/service"), *QUICK) as monitor:
        codes = []
        await_true(lambda: codes.append(monitor.get("/status")[0]) or len(codes) > 50, SOON, "fifty answers")
        await_true(lambda: monitor.get("/health")[0] == 200, SOON, "/health to be 200")
        await_true(lambda: monitor.verdict() == (503, "down", "refused"), SOON, "a verdict")
        own_registry.start()
        monitor.await_status(200)
        up = monitor.verdict()

    assert set(codes) == {503}
    assert up == (200, "up", None)


def test_a_verdict_stands_while_a_cycle_runs_and_the_log_is_quiet(engine, own_registry, tmp_path):
    """With cycles one after another, /status never wavers; they are not all logged, but that they are too many is."""
    options = (*login(f"{own_registry.host}/tests/service"), "-run-test-every=100ms", "-payload-size=64KiB")
    with Monitor(tmp_path, engine, *options) as monitor:
        monitor.await_status(200)
        ended = time.monotonic() + 3
        while time.monotonic() < ended:
            assert monitor.get("/status")[0] == 200
        await_true(lambda: "a target can't keep up" in monitor.log.read_text(), SOON, "the lag to be logged")
        first, *_ = lines = monitor.log.read_text().splitlines()
        assert monitor.successes() >= 3

    repository = f"{own_registry.host}/tests/service"
    assert f'msg="watching 1 target ({repository}): open {monitor.url}/"' in first
    assert sum("cycle finished" in line for line in lines) == 1
    assert sum("can't keep up" in line for line in lines) == 1


def test_a_failure_is_told_alike_everywhere(engine, own_registry, monitor):
    """/status in text and JSON, the metrics and the log name the same step, reason and scope."""
    monitor.await_status(200)
    own_registry.stop()
    # The cycle that was under way then can fail at any step, and docker tries a push again for more than a minute; the
    # one after it fails at its first.
    refused = 'reason="refused",scope="network",step="login"'
    await_true(lambda: refused in failures(monitor), SOON + 120, "a login that is refused")

    (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
    text = monitor.get("/status")[1]
    metrics = monitor.get("/metrics")[1]
    cycle = target["last_cycle"]
    assert (cycle["step"], cycle["reason"], cycle["scope"]) == ("login", "refused", "network")
    assert text.startswith("false\n")
    assert "login: refused (network)" in text
    assert f'registry_monitor_up{{target="{target["target"]}"}} 0.0' in metrics
    assert 'registry_monitor_failures_total{reason="refused",scope="network",step="login"' in metrics
    assert "reason=refused" in monitor.log.read_text()
    assert monitor.get("/health")[0] == 200


def test_a_wrong_password_is_tried_once_and_its_correction_at_once(engine, own_registry, tmp_path):
    """A registry that refuses is not asked again after `retry-every`, but at a reload and at a new password.

    Neither an answer nor the log has either password, whether all is well or not. The heartbeat service gets both
    verdicts, and its URL is shown nowhere.
    """
    metrics = tmp_path / "registry-monitor.prom"
    file = tmp_path / "password"
    file.write_text(wrong := PASSWORD[::-1])
    repository = f"{own_registry.host}/tests/wrong"
    options = (f"-repository={repository}", f"-username={USER}", f"-password-file={file}", "-payload-size=64KiB")
    options += ("-run-test-every=1h", "-retry-every=100ms", f"-metrics-file={metrics}")
    with (
        Heartbeats() as service,
        Monitor(tmp_path, engine, *options, f"-heartbeat-url={service.url}/planted") as monitor,
    ):
        told = []

        def refused():
            """Return how many cycles in a row failed, and when the next one is due; note all that is said."""
            told.extend(monitor.get(path)[1] for path in ("/", "/status", "/health", "/metrics"))
            told.append(monitor.get("/status?format=json")[1])
            (target,) = json.loads(told[-1])["targets"]
            return target["consecutive_failures"], datetime.fromisoformat(target["next_cycle"])

        await_true(lambda: refused()[0] == 1, SOON, "a login that is refused")
        assert monitor.verdict() == (503, "down", "unauthorized")
        tries = refusals(own_registry)
        await_true(lambda: refused()[1] - datetime.now(UTC) > timedelta(minutes=55), SOON, "the next to be far away")
        assert "(held back: the registry refused the last one)" in monitor.get("/status")[1]
        os.kill(monitor.pid, signal.SIGHUP)
        await_true(lambda: refused()[0] == 2, SOON, "the next try")
        assert refusals(own_registry) == 2 * tries
        file.write_text(PASSWORD)
        monitor.await_status(200)
        assert refused()[0] == 0
        (target,) = json.loads(told[-1])["targets"]
        assert 0.0 <= target["availability"]["24h"] < 1.0
        assert "next_try=" in monitor.log.read_text()
        await_true(lambda: service.paths == ["/planted/fail", "/planted/fail", "/planted"], SOON, "three heartbeats")
        up = f'registry_monitor_up{{target="{repository}"}} 1.0'
        await_true(lambda: up in metrics.read_text(), SOON, "the file to say so, too")
        told.append(metrics.read_text())

    secret = (PASSWORD, wrong, "planted")
    assert not [text for text in (*told, monitor.log.read_text()) if any(word in text for word in secret)]


def refusals(registry):
    """Return how many requests of docker's the registry has refused so far."""
    return sum(access.status == 401 and access.user_agent.startswith("docker/") for access in registry.accesses())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("after_seconds", [0.05, 0.3, 0.6, 0.9])
def test_it_ends_at_any_moment_and_leaves_nothing(engine, registry, repository, tmp_path, number, after_seconds):
    """A signal at any moment of a cycle ends it with 0, within 10 s, and nothing of it is left."""
    options = (*login(repository), "-run-test-every=100ms")
    with Monitor(tmp_path, engine, *options) as monitor:
        time.sleep(after_seconds)
        started = time.monotonic()
        code = monitor._end(number)
        seconds = time.monotonic() - started

    assert code == 0
    assert seconds < 10
    assert ours(engine) == []


def test_what_a_killed_monitor_left_is_removed_by_the_next(engine, repository, tmp_path):
    """After kill -9 in the middle of cycles, the next start removes the images and the private folders."""
    options = (*login(repository), "-run-test-every=100ms")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    surroundings = SimpleNamespace(env={**engine.env, "TMPDIR": str(temporary)})
    left = []
    while not left:
        with Monitor(tmp_path, surroundings, *options) as monitor:
            monitor.await_status(200)
            await_true(lambda: ours(engine), SOON, "an image of a cycle under way")
            monitor.kill()
        # The engine can still be at the removal that was under way.
        time.sleep(1)
        left = ours(engine)
    with Monitor(tmp_path, surroundings, *options) as monitor:
        await_true(lambda: len(list(temporary.iterdir())) == 1, SOON, "the dead to be forgotten")
        assert monitor.stop() == 0

    assert ours(engine) == []
    assert list(temporary.iterdir()) == []


def test_two_monitors_on_one_engine_leave_each_other_alone(engine, registry, repository, tmp_path):
    """Two monitors of two repositories on one engine are both up, cycle after cycle."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with (
        Monitor(first, engine, *login(f"{repository}-1"), *QUICK) as one,
        Monitor(second, engine, *login(f"{repository}-2"), *QUICK) as two,
    ):
        for monitor in (one, two):
            monitor.await_status(200)
        time.sleep(5)
        verdicts = [monitor.verdict() for monitor in (one, two)]
        metrics = [monitor.get("/metrics")[1] for monitor in (one, two)]

    assert verdicts == [(200, "up", None)] * 2
    assert not [text for text in metrics if "failures_total{" in text]


def test_a_port_in_use_is_told_in_one_line(engine, monitor, tmp_path):
    """A second monitor on the same port exits with 4, and says which address it could not have."""
    done = subprocess.run(
        [*PROGRAM, f"-listen={monitor.url.removeprefix('http://')}", *login("a.example/b")],
        env=engine.env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 4
    assert "can't listen on" in done.stderr
    assert "Traceback" not in done.stderr
