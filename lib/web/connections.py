"""Connections: how many there may be at a time, and how long each may last.

One client too many takes the place of the one that has kept us waiting longest, so that there is an answer for whoever
asks, however many don't.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Condition

from lib.web.access import Rules

#: How long a client may take for its handshake and its request, and then to take its answer.
REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 30.0

#: Connections at the same time, and the least time that each has before it makes room for another.
MOST_CONNECTIONS = 256
GRACE_SECONDS = 0.05

#: How long the next one waits while as many were dropped and are not gone yet.
_DROPPED_SECONDS = 1.0

#: Answers that are not yet taken, in memory at the same time. One of 1,000 targets' metrics is 27 MB.
MOST_ANSWER_BYTES = 128 * 1024 * 1024

#: What is read of a request's body, to be thrown away, and for how long: who still sends would not see the answer.
_MOST_LEFT_BYTES = 4 * 1024 * 1024
_LEFT_SECONDS = 1.0


class Connection:
    """A client, from when it is accepted until it is gone.

    Attributes:
        socket: its socket, plain until its handshake.
        rules: what holds for it, once it is known.
        begun, deadline: when it was accepted, and when it is given up, as the clock tells.
        answer_bytes: what its answer takes in memory.
        is_dropped: whether it was given up.
    """

    def __init__(self, accepted: socket.socket, now: float) -> None:
        """Given a socket, and what the clock tells."""
        self.socket = accepted
        self.rules = Rules()
        self.begun = now
        self.deadline = now + REQUEST_SECONDS
        self.answer_bytes = 0
        self.is_dropped = False

    def drop(self) -> None:
        """Give it up: whoever waits for it, waits no more."""
        self.is_dropped = True
        with suppress(OSError):
            # SSLSocket's own is for the thread that reads and writes.
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def say_goodbye(self) -> None:
        """Say that nothing more will come, and let the client read what did: a mere close could take it away."""
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
    """All connections there are. Any thread may call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Given a clock, in seconds."""
        self._clock = clock
        # Each in the order of their deadlines: who has yet to ask, and who is being answered.
        self._waiting: dict[Connection, None] = {}
        self._answered: dict[Connection, None] = {}
        self._dropped: set[Connection] = set()
        self._changed = Condition()

    def __len__(self) -> int:
        """Return how many there are, those included that were dropped and whose threads have not noticed yet."""
        return len(self._waiting) + len(self._answered) + len(self._dropped)

    def add(self, accepted: socket.socket) -> Connection:
        """Given a socket, return its connection. Where there are the most already, the oldest is dropped for it."""
        accepted.settimeout(REQUEST_SECONDS)
        with self._changed:
            # A thread that is busy, with a login for one, does not notice at once: such threads are bounded, too.
            self._changed.wait_for(lambda: len(self._dropped) < MOST_CONNECTIONS, _DROPPED_SECONDS)
            if not self._has_room() and (oldest := self._oldest()):
                # Who has only just come may be about to ask.
                patience = oldest.begun + GRACE_SECONDS - self._clock()
                if not self._changed.wait_for(self._has_room, max(0.0, patience)):
                    self._drop_oldest()
            connection = Connection(accepted, self._clock())
            self._waiting[connection] = None
            return connection

    def secure(self, connection: Connection, context: ssl.SSLContext) -> None:
        """Given a connection, and what speaks TLS, do the handshake. Raise OSError."""
        connection.socket.getpeername()  # fails where the client is gone; wrap_socket() would leave its own object open
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

    def count_bytes(self, connection: Connection, size: int) -> None:
        """Given a connection, and the bytes of its answer, drop the oldest others while all are too much."""
        with self._changed:
            connection.answer_bytes = size
            total = sum(one.answer_bytes for one in self._answered)
            for other in list(self._answered):
                if total <= MOST_ANSWER_BYTES:
                    return
                if other.answer_bytes and other is not connection:
                    self._drop(other)
                    total -= other.answer_bytes

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
        # Of those who have asked, only if there is nobody who hasn't.
        return next(iter(self._waiting), None) or next(iter(self._answered), None)

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
