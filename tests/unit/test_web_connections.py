"""Connections: who has to go when there are too many of them, or too late, or with too much in memory."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from lib.web import connections as web_connections
from lib.web.connections import Connections


@pytest.fixture
def idle():
    """Keep sockets open until the test is over."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


def test_whoever_waits_goes_before_whoever_is_answered(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 2)
    connections = Connections()
    reading = connections.add(idle(socket.socket()))
    connections.answer(reading)
    waiting = connections.add(idle(socket.socket()))
    connections.add(idle(socket.socket()))
    assert (reading.is_dropped, waiting.is_dropped) == (False, True)


def test_among_those_who_are_answered_the_oldest_goes(idle, monkeypatch):
    monkeypatch.setattr(web_connections, "MOST_CONNECTIONS", 2)
    connections = Connections()
    answered = [connections.add(idle(socket.socket())) for _ in range(2)]
    for connection in answered:
        connections.answer(connection)
    connections.add(idle(socket.socket()))
    assert [connection.is_dropped for connection in answered] == [True, False]


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
        connections.count_bytes(connection, size)
    assert [one.is_dropped for one in (first, second, third, fourth)] == [True, False, False, False]
    connections.count_bytes(third, 1000)
    assert [one.is_dropped for one in (second, third, fourth)] == [True, False, True]


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
