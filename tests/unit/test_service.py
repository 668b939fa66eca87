"""Service: systemd gets true reports in time, and is left to kill a monitor that a restart would help."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from types import SimpleNamespace

import pytest

from lib.failure import Reason
from lib.service import Service, Systemd, sentence
from lib.watch.status import TargetStatus
from tests.unit.examples import a_failed_cycle, a_standing, a_target, an_up_cycle, eventually

STUCK = "worker of quay: stuck, no sign of it for 400 s"


@pytest.fixture
def manager(tmp_path):
    """The service manager's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        yield manager


@pytest.fixture
def world():
    """The state, until a test says otherwise."""
    return SimpleNamespace(sentence="quay is up", stuck=())


@pytest.fixture
def serve(manager, world):
    """Given what else is in the environment, return a service of that manager. It is stopped at the end."""
    served = []

    def serve(**env):
        systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname(), **env})
        service = Service(systemd, lambda: world.sentence, lambda: world.stuck)
        served.append((service, systemd))
        return service

    yield serve
    for service, systemd in served:
        service.stopping()
        systemd.close()


def heard(manager):
    """Return the next message, as a mapping."""
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))


def all_heard(manager):
    """Return all messages that wait."""
    manager.setblocking(False)
    messages = []
    try:
        while True:
            messages.append(heard(manager))
    except BlockingIOError:
        return messages


# The socket.


def test_without_a_manager_nobody_is_told_and_nothing_runs():
    threads = threading.active_count()
    service = Service(Systemd({}), lambda: "quay is up", tuple)
    service.ready()
    service.reloading()
    service.reloaded()
    service.beat()
    assert threading.active_count() == threads
    service.stopping()


def test_a_socket_may_have_an_abstract_name():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0registry-monitor-test-{os.getpid()}")
        manager.settimeout(10)
        systemd = Systemd({"NOTIFY_SOCKET": f"@registry-monitor-test-{os.getpid()}"})
        systemd.tell(READY=1, STATUS="größe \udcff")
        systemd.close()
        assert heard(manager) == {"READY": "1", "STATUS": "größe ?"}


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234", "@nobody-listens", "/" + "x" * 200])
def test_a_message_that_can_not_be_delivered_is_lost(address):
    systemd = Systemd({"NOTIFY_SOCKET": address})
    systemd.tell(READY=1)
    systemd.close()


def test_a_manager_that_takes_no_more_does_not_hang_us(manager, monkeypatch):
    monkeypatch.setattr("lib.service._SEND_SECONDS", 0.01)
    systemd = Systemd({"NOTIFY_SOCKET": manager.getsockname()})
    started = time.monotonic()
    for _ in range(100):
        systemd.tell(STATUS="busy")
    assert time.monotonic() - started < 10
    assert 0 < len(all_heard(manager)) < 100
    systemd.close()


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_ours_only_where_systemd_says_so(env, seconds):
    systemd = Systemd({"NOTIFY_SOCKET": "/nowhere", **env})
    assert systemd.watchdog_seconds == seconds
    systemd.close()


# What is reported.


def test_a_life_is_told_in_order(manager, serve, world):
    service = serve()
    service.ready()
    assert heard(manager) == {"READY": "1", "STATUS": "quay is up"}
    assert heard(manager) == {"WATCHDOG": "1"}
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    service.reloading()
    told = heard(manager)
    assert told.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert before <= int(told["MONOTONIC_USEC"]) / 1e6 + 1e-6 <= time.clock_gettime(time.CLOCK_MONOTONIC) + 1e-6
    service.reloaded()
    assert heard(manager) == {"READY": "1", "STATUS": "quay is up"}
    service.stopping()
    assert heard(manager)["STOPPING"] == "1"


def test_a_refused_configuration_is_told_until_one_is_accepted(manager, serve):
    service = serve()
    service.reloaded(["bogus: unknown option"])
    service.reloaded()
    assert [told["STATUS"] for told in all_heard(manager)] == [
        "quay is up; the last reload of the configuration was refused, see the log",
        "quay is up",
    ]


def test_the_status_is_told_again_once_it_has_changed(manager, serve, world):
    service = serve()
    for world.sentence in ("quay is up", "quay is up", "quay: push failed, quota (registry)"):
        service.beat()
    assert [told["STATUS"] for told in all_heard(manager) if "STATUS" in told] == [
        "quay is up",
        "quay: push failed, quota (registry)",
    ]


@pytest.mark.parametrize("text", ["quay is down\nMAINPID=1", "a\r\nREADY=1", "x " * 5000, "\N{PILE OF POO} " * 3000])
def test_a_status_is_one_line_that_systemd_takes(manager, serve, world, text):
    world.sentence = text
    serve().reloaded()
    message = manager.recv(65536)
    assert len(message) <= 4096
    assert message.count(b"\n") == 1
    assert message.startswith(b"READY=1\nSTATUS=")


# The watchdog.


def test_it_is_fed_while_no_worker_is_stuck_and_again_once_none_is(manager, serve, world, caplog):
    service = serve(WATCHDOG_USEC="30000000")
    for world.stuck in ((), (STUCK,), (STUCK,), ()):
        service.beat()
    assert sum("WATCHDOG" in told for told in all_heard(manager)) == 2
    (record,) = caplog.records
    assert (record.levelno, record.detail) == (logging.ERROR, STUCK)


def test_it_is_fed_more_often_than_it_bites(manager, serve):
    serve(WATCHDOG_USEC="90000").ready()
    told = []
    eventually(lambda: told.append(heard(manager)) or len(told) > 20)
    assert [fed for fed in told if "WATCHDOG" in fed] == told[1:]


def test_without_a_watchdog_nobody_waits_for_its_bite(serve, world, caplog):
    service = serve()
    world.stuck = (STUCK,)
    service.beat()
    assert caplog.records == []


# The sentence.


def standing(cycle, age_seconds=1.0):
    return a_standing(cycle, age_seconds, cycle.started)


def status(name, cycle=None, age_seconds=1.0):
    return TargetStatus(a_target(name), cycle and standing(cycle, age_seconds))


UP = status("hub", an_up_cycle())
FAILED = status("quay", a_failed_cycle())
FULL = status("ghcr", a_failed_cycle(Reason.DISK_FULL))
NEW = status("acr")
STALE = status("ecr", an_up_cycle(), age_seconds=100_000.0)


@pytest.mark.parametrize(
    ("statuses", "faults", "said"),
    [
        ([UP], (), "hub is up"),
        ([NEW], (), "acr: no verdict yet"),
        ([FAILED], (), "quay: push failed, server_error (registry)"),
        ([UP, UP, UP], (), "3 of 3 targets are up"),
        ([UP, FAILED], (), "1 of 2 targets is up; quay: push failed, server_error (registry)"),
        ([UP, UP, FULL], (), "2 of 3 targets are up; ghcr: push failed, disk_full (host)"),
        ([UP, STALE], (), "1 of 2 targets is up; ecr: up, stale"),
        ([], (), "0 of 0 targets are up"),
        (
            [NEW] * 5,
            (),
            "0 of 5 targets are up; acr: no verdict yet; acr: no verdict yet; acr: no verdict yet; and 2 more",
        ),
        ([UP], ("docker can't be used (daemon): gone",), "hub is up; docker can't be used (daemon): gone"),
    ],
)
def test_the_sentence_says_how_many_are_up_and_what_is_wrong_with_the_others(statuses, faults, said):
    assert sentence(statuses, faults) == said


def test_whoever_asked_for_a_reload_is_answered(serve, tmp_path):
    """`reload.sh` waits for the file, which is complete once it is there: empty, or with what is wrong."""
    service, answer = serve(RUNTIME_DIRECTORY=f"{tmp_path}:/other"), tmp_path / "reload"
    service.ready()
    assert not answer.exists()
    service.reloaded(["bogus: unknown option", "tag: no tag"])
    assert answer.read_text() == "bogus: unknown option\ntag: no tag\n"
    service.reloaded()
    assert answer.read_text() == ""
    assert list(tmp_path.glob("*.new")) == []


def test_a_folder_that_takes_no_answer_is_no_reason_to_end(serve):
    serve(RUNTIME_DIRECTORY="/nowhere").reloaded()
