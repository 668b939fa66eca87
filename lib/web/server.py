"""The server: prometheus_client's, made to stand clients that are slow, idle, broken or very many.

A connection is one request and one answer, in a thread of its own.
"""

from __future__ import annotations

import errno
import io
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NoReturn, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

from lib.web.access import Access, Rules
from lib.web.connections import Connection, Connections

_log = logging.getLogger(__name__)

#: Where the app finds its connection.
CONNECTION = "registry_monitor.connection"

SERVER = "registry-monitor"

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_ROOM_SECONDS = 0.1
_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class NothingYet(Collector):
    """What there is to GET from prometheus_client's server until it is ours: nothing, not even an answer.

    Any answer would be wrong, as that server says 200 on every path. wsgiref closes without a word at this error, which
    it takes for a client's that has gone.
    """

    def collect(self) -> NoReturn:
        """Raise ConnectionAbortedError."""
        raise ConnectionAbortedError

    def restricted_registry(self, names: Iterable[str]) -> Collector:  # noqa: ARG002  as prometheus_client calls it
        """Return the same, whatever metrics are asked for."""
        return self


class Server(ThreadingWSGIServer):
    """Accepts connections, and answers each in a thread of its own.

    What socketserver calls a request is a Connection here.

    Attributes:
        access: says what holds for a connection.
        connections: all there are.
    """

    access: Access
    connections: Connections

    @classmethod
    def instead_of(cls, server: WSGIServer, access: Access, connections: Connections) -> Server:
        """Given a server that prometheus_client has started, and the attributes of this one, turn it into this one."""
        ours = cast("Server", server)
        ours.access, ours.connections = access, connections
        ours.__class__ = cls  # prometheus_client lets nobody choose it; whoever is accepted from now on meets this one
        return ours

    def get_request(self) -> tuple[Any, Any]:
        """Return the next connection and its address. Raise OSError."""
        try:
            accepted, address = self.socket.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                # It is still there to be accepted: without a pause this would be tried all the time.
                self.connections.drop_oldest()
                time.sleep(_NO_ROOM_SECONDS)
            raise
        return self.connections.add(accepted), address

    def service_actions(self) -> None:
        """Drop who is late: called several times a second."""
        self.connections.drop_overdue()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Given a connection and its address, answer it."""
        connection = self._connection(request)
        try:
            connection.rules = self.access.rules()
            self._answer(connection, client_address)
        except Exception as error:  # noqa: BLE001  a client may break whatever it likes
            _log.debug("a connection broke or timed out", extra={"error": type(error).__name__})
        finally:
            connection.say_goodbye()
            self.connections.remove(connection)

    def _connection(self, request: Any) -> Connection:
        # Who was accepted in the moment before this server took the other's place is a bare socket.
        return request if isinstance(request, Connection) else self.connections.add(request)

    def _answer(self, connection: Connection, address: Any) -> None:
        rules = connection.rules
        if rules.context is not None and rules.config.tls is not None:
            try:
                self.connections.secure(connection, rules.context)
            except ssl.SSLError as error:
                if error.reason == "HTTP_REQUEST":
                    sorry = b"HTTP/1.0 400 Bad Request\r\n\r\nthis port speaks HTTPS\n"
                    socket.socket.sendall(connection.socket, sorry)
                raise
            if isinstance(connection.socket, ssl.SSLSocket) and not rules.config.tls.admits(connection.socket):
                return
        RequestHandler(connection, address, self)

    def shutdown_request(self, request: Any) -> None:
        """Given a connection for which there is no thread, close it."""
        self.connections.remove(self._connection(request))

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  as socketserver calls it
        """Say that there is no thread for a connection."""
        _log.warning("a connection could not be answered: there are no more threads")


class RequestHandler(WSGIRequestHandler):
    """Answers one connection, and writes nothing to standard error."""

    server: Server
    server_version = SERVER
    sys_version = ""

    def __init__(self, connection: Connection, address: Any, server: Server) -> None:
        """Given a connection, its address and the server, answer it. Raise OSError."""
        self._client = connection
        super().__init__(connection.socket, address, server)

    def parse_request(self) -> bool:
        """Read the request. Return whether there is one that can be answered."""
        if not super().parse_request():
            return False
        if absolute := _ABSOLUTE.match(self.path):
            # As proxies are asked, and every server has to understand (RFC 9112, 3.2.2).
            self.path = "/" + self.path[absolute.end() :].removeprefix("/")
        self.server.connections.answer(self._client)
        return True

    def get_environ(self) -> dict[str, Any]:
        """Return what the app gets to know."""
        return super().get_environ() | {CONNECTION: self._client}

    def send_error(self, code: int, *_: Any) -> None:
        """Given a status, answer with it: what is no HTTP is told so, too."""
        status = HTTPStatus(code)
        body = f"{status.phrase.lower()}\n".encode()
        self.request_version = "HTTP/1.0"
        self.send_response(status)
        for name, value in common_headers(self._client.rules, len(body)):
            self.send_header(name, value)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log no requests."""

    def get_stderr(self) -> io.StringIO:
        """Return what takes the traceback of a connection that broke."""
        return io.StringIO()


def common_headers(rules: Rules, size: int) -> list[tuple[str, str]]:
    """Given what holds, and the bytes of an answer's body, return the headers that all answers have."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} | dict(rules.config.headers)
    return [("Content-Length", str(size)), *headers.items()]
