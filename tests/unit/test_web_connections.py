"""Connections: who has to go when there are too many of them, or too late, or with too much in memory."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from lib.web import connections as web_connections
from lib.web.connections import Connections


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Let nobody wait longer than the least time."""
    monkeypatch.setattr(web_connections, "PATIENCE_SECONDS", 0.0)


@pytest.fixture
def idle():
    """Keep sockets open until the test is over."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


def connected_pair(idle):
    """Return both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = idle(socket.create_connection(server.getsockname()))
        return client, idle(server.accept()[0])


def test_whoever_waits_goes_before_whoever_is_answered(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 2)
    connections = Connections()
    reading = connections.add(idle(socket.socket()))
    connections.answer(reading)
    waiting = connections.add(idle(socket.socket()))
    connections.add(idle(socket.socket()))
    assert (reading.is_dropped, waiting.is_dropped) == (False, True)


def test_among_those_who_are_answered_the_oldest_goes_that_takes_nothing_of_it(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 3)
    connections = Connections()
    answered = []
    for takes in (True, False, False):
        _, accepted = connected_pair(idle)
        connection = connections.add(accepted)
        connections.answer(connection)
        connections.send(connection, b"metrics")
        accepted.settimeout(0.01)
        with contextlib.suppress(TimeoutError):
            accepted.sendall(b"metrics" if takes else bytes(10_000_000))
        answered.append(connection)
    connections.add(idle(socket.socket()))
    assert [connection.is_dropped for connection in answered] == [False, True, False]


def test_one_too_many_waits_a_moment_for_another_to_end_by_itself(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(web_connections, "GRACE_SECONDS", 10.0)
    connections = Connections()
    first, second = (connections.add(idle(socket.socket())) for _ in range(2))
    ending = threading.Timer(0.05, connections.remove, [second])
    ending.start()
    connections.add(idle(socket.socket()))
    ending.join()
    assert not first.is_dropped


def test_answers_that_nobody_takes_are_bounded_in_memory(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_ANSWER_BYTES", 100)
    connections = Connections()
    first, second, third, fourth = (connections.add(idle(socket.socket())) for _ in range(4))
    for connection in (first, second, third, fourth):
        connections.answer(connection)
    for connection, size in ((first, 40), (second, 40), (third, 0), (fourth, 60)):
        connections.send(connection, bytes(size))
    assert [one.is_dropped for one in (first, second, third, fourth)] == [True, False, False, False]
    connections.send(third, bytes(1000))
    assert [one.is_dropped for one in (second, third, fourth)] == [True, False, True]


def test_an_answer_that_many_share_is_in_memory_once(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_ANSWER_BYTES", 100)
    connections = Connections()
    answer = bytes(90)
    sharing = [connections.add(idle(socket.socket())) for _ in range(3)]
    for connection in sharing:
        connections.answer(connection)
        connections.send(connection, answer)
    assert not any(one.is_dropped for one in sharing)


@pytest.mark.parametrize("has_been_read", [False, "and parsed"])
def test_whoever_has_asked_and_waits_for_us_keeps_his_place(idle, monkeypatch, has_been_read):
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(web_connections, "_DROPPED_SECONDS", 0.01)
    connections = Connections(lambda: 0.0)
    client, accepted = connected_pair(idle)
    client.sendall(b"GET / HTTP/1.0")
    asking = connections.add(accepted)
    if has_been_read:
        accepted.recv(100)
    if has_been_read == "and parsed":
        connections.answer(asking)
    connections.add(idle(socket.socket()))
    assert not asking.is_dropped


def test_one_whose_socket_is_gone_already_is_the_first_to_go(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 1)
    connections = Connections()
    gone = connections.add(socket.socket())
    gone.socket.close()
    connections.add(idle(socket.socket()))
    assert gone.is_dropped


def test_patience_comes_to_an_end_and_back(idle, monkeypatch):
    """A crowd gets all of it; whoever only holds connections uses it up."""
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(web_connections, "PATIENCE_SECONDS", 0.1)
    now = [0.0]

    def clock():
        now[0] += 0.06
        return now[0]

    connections = Connections(clock)
    first = connections.add(idle(socket.socket()))
    second = connections.add(idle(socket.socket()))
    assert first.is_dropped
    assert connections._patience.left() < 0.1
    connections.remove(second)
    now[0] += 100
    assert connections._patience.left() == pytest.approx(0.1)


def test_who_was_dropped_and_is_not_gone_yet_counts_too(idle, monkeypatch):
    """A thread that is busy notices late; without a bound, clients that come fast enough would bring any number."""
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(web_connections, "_DROPPED_SECONDS", 10.0)
    connections = Connections()
    first, _ = (connections.add(idle(socket.socket())) for _ in range(2))
    assert (first.is_dropped, len(connections)) == (True, 2)
    gone = threading.Timer(0.05, connections.remove, [first])
    gone.start()
    connections.add(idle(socket.socket()))
    gone.join()
    assert len(connections) == 2


def test_the_late_are_dropped_and_nobody_else(idle):
    now = [0.0]
    connections = Connections(lambda: now[0])
    late, answered = (connections.add(idle(socket.socket())) for _ in range(2))
    connections.answer(answered)
    now[0] = web_connections.REQUEST_SECONDS + 1
    connections.drop_overdue()
    assert (late.is_dropped, answered.is_dropped) == (True, False)
