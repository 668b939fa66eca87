"""Detection: what the real service says about a failure, and how soon."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager

from lab.daemon import await_true
from lab.faults.ground import PASSWORD, REPOSITORY, USERNAME, Lane
from lab.misbehaviour import stalled, uploading
from lab.monitor import Monitor

STEP_TIMEOUT = 3.0
EVERY = 2.0
PATIENCE = 30.0

_PUSH_STARTED = re.compile(
    r'^registry_monitor_step_started_timestamp_seconds\{[^}]*step="push"[^}]*\} (\S+)$', re.MULTILINE
)


@contextmanager
def serving(lane):
    """Given a lane, run the service on it, and wait until it is up."""
    password = lane.folder / "password"
    password.write_text(PASSWORD)
    options = (
        f"-repository={lane.host}/{REPOSITORY}",
        f"-username={USERNAME}",
        f"-password-file={password}",
        f"-step-timeout={STEP_TIMEOUT:g}s",
        "-cycle-timeout=10s",
        f"-run-test-every={EVERY:g}s",
        "-retry-every=1s",
        "-payload-size=64KiB",
    )
    with Monitor(lane.folder, lane.engine, *options) as monitor:
        await_true(lambda: monitor.get("/status")[0] == 200, PATIENCE, "the first good cycle")
        yield monitor


def seconds_of_a_command(lane):
    """Return how long a docker command takes on this machine now: 0.1 s if it has nothing else to do."""
    began = time.monotonic()
    lane.engine.docker("version")
    return time.monotonic() - began


def push_started(monitor):
    """Return when the push under way began, 0.0 if there is none."""
    return float(_PUSH_STARTED.search(monitor.get("/metrics")[1])[1])


def test_a_registry_cut_off_in_the_middle_of_a_push_is_told_in_time(lane):
    """`/status` is 503 no later than step-timeout + 2 s after the step began; the metrics show the hang meanwhile.

    The verdict is there when everything is cleaned up, ten commands later: a busy machine gets that much more time.
    """
    with serving(lane) as monitor:
        busy_seconds = 10 * max(0.0, seconds_of_a_command(lane) - 0.1)
        with lane.proxy.rule(uploading(stalled(20_000)), "PATCH"):
            await_true(lambda: push_started(monitor) > 0, PATIENCE, "a push")
            began = push_started(monitor)
            assert abs(time.time() - began) < EVERY
            assert monitor.get("/status")[0] == 200  # the last verdict stands while a cycle runs
            time.sleep(max(0.0, began + STEP_TIMEOUT / 2 - time.time()))
            assert push_started(monitor) == began
            await_true(lambda: monitor.get("/status")[0] == 503, PATIENCE, "/status to say so")
            assert time.time() - began <= STEP_TIMEOUT + 2.0 + busy_seconds
            assert monitor.verdict() == (503, "down", "timeout")
            assert monitor.get("/health")[0] == 200
        await_true(lambda: monitor.get("/status")[0] == 200, PATIENCE, "the next good cycle")


def test_a_registry_that_refuses_is_told_within_the_next_cycle(lane):
    """`/status` is 503 as soon as the next cycle has begun; `/health` does not change."""
    with serving(lane) as monitor:
        with lane.proxy.refusing():
            refused = time.monotonic()
            await_true(lambda: monitor.get("/status")[0] == 503, PATIENCE, "/status to say so")
            assert time.monotonic() - refused <= EVERY + STEP_TIMEOUT
            # A cycle that was under way as it began may have lost a connection; the next is refused.
            await_true(lambda: monitor.verdict()[1:] == ("down", "refused"), PATIENCE, "a refused login")
            assert monitor.get("/health")[0] == 200
        await_true(lambda: monitor.get("/status")[0] == 200, PATIENCE, "the next good cycle")


def test_a_daemon_that_was_gone_is_told_and_recovered_from(ground):
    """/health is 503 and recovers by itself; /status is not 200 between the first failed and the next good cycle."""
    with ground.sick_engine() as engine, Lane(ground, engine) as lane, serving(lane) as monitor:
        engine.stop()
        await_true(lambda: monitor.get("/health")[0] == 503, PATIENCE, "/health to say so")
        await_true(lambda: monitor.get("/status")[0] == 503, PATIENCE, "/status to say so")
        assert monitor.verdict()[1:] == ("unknown", "daemon")
        with watching(monitor) as seen:
            time.sleep(2 * EVERY)
            assert {code for code, _ in seen} == {503}
            engine.start()
            await_true(lambda: monitor.get("/status")[0] == 200, PATIENCE, "the next good cycle")
        assert {verdict for code, verdict in seen if code == 200} <= {"up"}
        await_true(lambda: monitor.get("/health")[0] == 200, PATIENCE, "/health to recover")


@contextmanager
def watching(monitor):
    """Given a service, note what /status says, again and again: its status and the verdict in its body."""
    seen, done = [], threading.Event()

    def watch():
        while not done.wait(0.05):
            seen.append(monitor.verdict()[:2])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
