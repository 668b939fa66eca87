"""Connections: how many there may be at a time, and how long each may last.

One client too many takes the place of the one that has kept us waiting longest, so that whoever asks gets an answer,
however many don't ask. A client that has asked and waits for us keeps its place: then the next one waits to be
accepted.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from threading import Condition

from lib.web.access import Rules
from lib.web.allowance import Allowance

#: How long a client may take for its handshake and its request, and then to take its answer.
REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 30.0

#: Connections at the same time, and the time that each has at least before it makes room for another.
MOST_CONNECTIONS = 256
GRACE_SECONDS = 0.05

#: How long the next one waits while that many were dropped and are not gone yet, or while all wait for us.
_DROPPED_SECONDS = 1.0

#: How long, all together, new clients wait for others to end by themselves, and how much of that is refilled each
#: second: enough for a crowd that asks and takes its answers. Clients that only hold connections use it up, and are
#: then dropped at once.
PATIENCE_SECONDS = 2.0
_PATIENCE_A_SECOND = 0.1

#: Bytes of answers in memory that were not taken yet. One of 1,000 targets' metrics is 27 MB.
MOST_ANSWER_BYTES = 128 * 1024 * 1024

#: How much of a request's body is read and thrown away, and for how long: a client that still sends would not see the
#: answer.
_MOST_LEFT_BYTES = 4 * 1024 * 1024
_LEFT_SECONDS = 1.0


class Connection:
    """A client, from when it is accepted until it is gone.

    Attributes:
        socket: its socket, plain until its handshake.
        rules: its rules, once they are known.
        begun, deadline: when it was accepted, and when it is given up, by the clock.
        answer: what is being sent to it; None before that is known. Many may share one.
        cpu_begun: the processor time of its thread, from which on it counts as the answers'.
        is_dropped: whether it was given up.
        is_over: whether everything was sent.
    """

    def __init__(self, accepted: socket.socket, now: float) -> None:
        """Given a socket, and the time by the clock."""
        self.socket = accepted
        self.rules = Rules()
        self.begun = now
        self.deadline = now + REQUEST_SECONDS
        self.answer: bytes | None = None
        self.cpu_begun = 0.0
        self.is_dropped = False
        self.is_over = False

    def is_silent(self) -> bool:
        """Return whether it has sent nothing that we still have to read."""
        return not self._is_ready(select.POLLIN)

    def takes_nothing(self) -> bool:
        """Return whether it could take more of its answer and does not, or has all of it and stays."""
        return self.answer is not None and (self.is_over or not self._is_ready(select.POLLOUT))

    def _is_ready(self, event: int) -> bool:
        if self.socket.fileno() < 0:  # its handshake failed as it began
            return False
        looking = select.poll()
        looking.register(self.socket, event)
        return any(events & event for _, events in looking.poll(0))

    def drop(self) -> None:
        """Give it up: nobody waits for it any more."""
        self.is_dropped = True
        with suppress(OSError):
            # SSLSocket's own is for the thread that reads and writes.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def say_goodbye(self) -> None:
        """Say that nothing more will come, and let the client read what was sent: a mere close could discard that."""
        self.is_over = True
        with suppress(OSError, ValueError):
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.settimeout(0)
                self.socket.unwrap()
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            ends = time.monotonic() + _LEFT_SECONDS
            left = _MOST_LEFT_BYTES
            while left > 0:
                self.socket.settimeout(max(0.0, ends - time.monotonic()))
                chunk = socket.socket.recv(self.socket, 65536)
                if not chunk:
                    return
                left -= len(chunk)


class Connections:
    """All open connections. Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Given a clock, in seconds."""
        self._clock = clock
        # Each in the order of deadlines: those that have not asked yet, and those being answered.
        self._waiting: dict[Connection, None] = {}
        self._answered: dict[Connection, None] = {}
        self._dropped: set[Connection] = set()
        self._patience = Allowance(PATIENCE_SECONDS, _PATIENCE_A_SECOND, clock)
        self._changed = Condition()

    def __len__(self) -> int:
        """Return how many there are, including dropped ones whose threads have not noticed yet."""
        return len(self._waiting) + len(self._answered) + len(self._dropped)

    def add(self, accepted: socket.socket) -> Connection:
        """Given a socket, return its connection. If there are too many, the oldest is dropped for it."""
        accepted.settimeout(REQUEST_SECONDS)
        with self._changed:
            # A busy thread, for example with a login, does not notice at once: such threads are limited, too.
            self._changed.wait_for(lambda: len(self._dropped) < MOST_CONNECTIONS, _DROPPED_SECONDS)
            if not self._has_room():
                # A client that has only just come may be about to ask.
                oldest, begun = self._oldest(), self._clock()
                grace = oldest.begun + GRACE_SECONDS - begun if oldest else _DROPPED_SECONDS
                if not self._changed.wait_for(self._has_room, max(0.0, grace, self._patience.left())):
                    self._patience.take(self._clock() - begun)
                    self._drop_oldest()
            connection = Connection(accepted, self._clock())
            self._waiting[connection] = None
            return connection

    def secure(self, connection: Connection, context: ssl.SSLContext) -> None:
        """Given a connection and a TLS context, do the handshake. Raise OSError."""
        connection.socket.getpeername()  # fails if the client is gone; wrap_socket() would leave its own object open
        with self._changed:
            # The file descriptor moves from one object to the other, and is to be found by drop() in either.
            secured = context.wrap_socket(connection.socket, server_side=True, do_handshake_on_connect=False)
            connection.socket = secured
        secured.do_handshake()

    def answer(self, connection: Connection) -> None:
        """Given a connection whose request has been read, give it the time to take the answer."""
        with self._changed:
            if connection in self._waiting:
                del self._waiting[connection]
                self._answered[connection] = None
                connection.deadline = self._clock() + ANSWER_SECONDS
        connection.socket.settimeout(ANSWER_SECONDS)

    def send(self, connection: Connection, answer: bytes) -> None:
        """Given a connection, and its answer, drop the oldest others while all answers together are too large."""
        with self._changed:
            connection.answer = answer
            for other in list(self._answered):
                held = {id(one.answer): len(one.answer) for one in self._answered if one.answer}
                if sum(held.values()) <= MOST_ANSWER_BYTES:
                    return
                if other.answer and other.answer is not answer:
                    self._drop(other)

    def drop_oldest(self) -> None:
        """Drop the connection that has kept us waiting longest, if there is one."""
        with self._changed:
            self._drop_oldest()

    def drop_overdue(self) -> None:
        """Drop what is past its deadline."""
        with self._changed:
            now = self._clock()
            for connections in (self._waiting, self._answered):
                while (first := next(iter(connections), None)) and first.deadline < now:
                    self._drop(first)

    def remove(self, connection: Connection) -> None:
        """Given a connection, close it."""
        with self._changed:
            self._forget(connection)
            self._dropped.discard(connection)
            connection.socket.close()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return len(self._waiting) + len(self._answered) < MOST_CONNECTIONS

    def _oldest(self) -> Connection | None:
        """Return the one that has kept us waiting longest; one that has asked only if there is none that hasn't."""
        silent = (connection for connection in self._waiting if connection.is_silent())
        slow = (connection for connection in self._answered if connection.takes_nothing())
        return next(chain(silent, slow), None)

    def _drop_oldest(self) -> None:
        if oldest := self._oldest():
            self._drop(oldest)

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        self._dropped.add(connection)
        connection.drop()

    def _forget(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)
        self._answered.pop(connection, None)
