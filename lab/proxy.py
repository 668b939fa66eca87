"""Proxy: stands between docker and a registry, and misbehaves by rule (`lab.misbehaviour`).

with Proxy(network.listen, upstream, tls(certificate)) as proxy:
with proxy.rule(answer(503), method="PUT", path="/manifests/"):
...  # docker push fails
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException

from lab.closing import Closing
from lab.exchange import Action, Broken, Exchange, forward
from lab.misbehaviour import Door


class Proxy(Closing):
    """A server that forwards to a registry, or misbehaves as its rules say. A context manager.

    Attributes:
        address: where it listens.
        door: what happens to new connections.
    """

    def __init__(self, listen: Callable[[int], socket.socket], upstream: tuple[str, int], door: Door) -> None:
        """Given what makes a listening socket of a port (0: any), the registry's address, and the door: start it."""
        self.upstream = upstream
        self.door = door
        self._listener = listen(0)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._rules: list[_Rule] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accepting = self._start_accepting()

    @property
    def host(self) -> str:
        """Its address, as the host of an image's name."""
        return f"{self.address[0]}:{self.address[1]}"

    @contextmanager
    def rule(self, action: Action, method: str = "", path: str = "") -> Iterator[None]:
        """Apply an action for a while.

        Given the action, and regular expressions that the method's beginning and any part of the path have to match.
        Later rules precede earlier ones.
        """
        rule = _Rule(action, re.compile(method), re.compile(path))
        with self._lock:
            self._rules.insert(0, rule)
        try:
            yield
        finally:
            with self._lock:
                self._rules.remove(rule)
            self.hang_up()

    @contextmanager
    def behind(self, door: Door) -> Iterator[None]:
        """Given a door, use it for new connections for a while."""
        before, self.door = self.door, door
        try:
            yield
        finally:
            self.door = before
            self.hang_up()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections for a while, and break open ones. The port stays reserved meanwhile."""
        self._stop_accepting()
        self.hang_up()
        try:
            yield
        finally:
            self._listener.listen()
            self._accepting = self._start_accepting()

    def hang_up(self) -> None:
        """End every open connection, so that whoever hangs in one goes on."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop."""
        self._stop_accepting()
        self._listener.close()
        self.hang_up()

    def _action_for(self, method: str, path: str) -> Action:
        with self._lock:
            return next((rule.action for rule in self._rules if rule.is_for(method, path)), forward)

    def _start_accepting(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()
        return thread

    def _stop_accepting(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._accepting.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with self._lock:
            self._connections.add(accepted)
        connection = accepted
        try:
            connection = self.door(accepted)
            with self._lock:
                self._connections.discard(accepted)
                self._connections.add(connection)
            Exchange(connection, self.upstream, self._action_for)
        except (Broken, OSError, HTTPException):
            pass  # docker gave up, or was made to
        finally:
            with self._lock:
                self._connections -= {accepted, connection}
            connection.close()
            accepted.close()


@dataclass(frozen=True, slots=True)
class _Rule:
    action: Action
    method: re.Pattern[str]
    path: re.Pattern[str]

    def is_for(self, method: str, path: str) -> bool:
        return self.method.match(method) is not None and self.path.search(path) is not None
