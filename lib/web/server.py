"""The server: prometheus_client's, made to withstand slow, idle, broken and very many clients.

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
from http import HTTPStatus
from threading import Event
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.types import WSGIApplication

from prometheus_client.exposition import ThreadingWSGIServer

from lib.web.access import Access, Rules
from lib.web.allowance import Allowance
from lib.web.connections import Connection, Connections

_log = logging.getLogger(__name__)

#: Where the app finds its connection.
CONNECTION = "registry_monitor.connection"

SERVER = "registry-monitor"

#: Addresses of all interfaces: no client can name those.
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  it only knows them

_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_ROOM_SECONDS = 0.1

#: How much of a core all connections may take on average, and how many seconds of one at once after a quiet time, so
#: that no crowd takes it from the cycles.
_SHARE, _BURST_SECONDS = 0.2, 1.0

#: How often it checks for other work while the next one waits to be accepted.
_LOOK_UP_SECONDS = 0.2

_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE)


class Server(ThreadingWSGIServer):
    """Accepts connections, and answers each in a thread of its own.

    What socketserver calls a request is a Connection here.

    Attributes:
        access: says which rules a connection has. connections: all open ones.
    """

    #: Connections that may wait to be accepted.
    request_queue_size = 1024

    access: Access
    connections: Connections

    def __init__(self, *arguments: Any) -> None:
        """Given what socketserver needs, listen. Clients that connect wait until it is opened. Raise OSError."""
        self._is_open = Event()
        self._is_closing = Event()
        self._accepting = 0.0  # the processor time that the accepting thread had used before its last connection
        self._processor = Allowance(_BURST_SECONDS, _SHARE, time.monotonic)
        super().__init__(*arguments)

    def open(self, app: WSGIApplication, access: Access, connections: Connections) -> None:
        """Given the app, and the attributes of this server, accept connections from now on."""
        self.set_app(app)
        self.access, self.connections = access, connections
        self._is_open.set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self.server_port

    @property
    def url(self) -> str:
        """The URL at which somebody on this host can open it."""
        host = str(self.server_address[0])
        if host in _EVERYWHERE:
            host = "localhost"
        scheme = "https" if self.access.rules().context else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def close(self) -> None:
        """Stop listening."""
        self._is_closing.set()
        self.shutdown()
        self.server_close()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Accept connections, once it is open, until `shutdown()`."""
        self._is_open.wait()
        super().serve_forever(poll_interval)

    def get_request(self) -> tuple[Any, Any]:
        """Return the next connection and its address, but not before the answers are within their share of a core.

        Raise OSError.
        """
        while (pause := self._processor.pause()) and not self._is_closing.wait(min(pause, _LOOK_UP_SECONDS)):
            self.connections.drop_overdue()
        self._accepting = time.thread_time()
        try:
            accepted, address = self.socket.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                # The client is still there to be accepted: without a pause this would be tried over and over.
                self.connections.drop_oldest()
                time.sleep(_NO_ROOM_SECONDS)
            raise
        return self.connections.add(accepted), address

    def service_actions(self) -> None:
        """Drop clients that are late: called several times a second."""
        self.connections.drop_overdue()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Given a connection and its address, start to answer it in a thread of its own."""
        super().process_request(request, client_address)
        self._processor.take(time.thread_time() - self._accepting)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Given a connection and its address, answer it."""
        connection: Connection = request
        connection.cpu_begun = time.thread_time()
        try:
            connection.rules = self.access.rules()
            self._answer(connection, client_address)
        except Exception as error:  # noqa: BLE001  a client may break whatever it likes
            _log.debug("a connection broke or timed out", extra={"error": type(error).__name__})
        finally:
            connection.say_goodbye()
            self.connections.remove(connection)
            self._processor.take(time.thread_time() - connection.cpu_begun)

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
        self.connections.remove(request)

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
            # The form in which proxies are asked, which every server has to understand (RFC 9112, 3.2.2).
            self.path = "/" + self.path[absolute.end() :].removeprefix("/")
        self.server.connections.answer(self._client)
        return True

    def get_environ(self) -> dict[str, Any]:
        """Return the environment for the app."""
        return super().get_environ() | {CONNECTION: self._client}

    def send_error(self, code: int, *_: Any) -> None:
        """Given a status, answer with it, also for requests that are not HTTP."""
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
        """Return the stream for the traceback of a connection that broke."""
        return io.StringIO()


def common_headers(rules: Rules, size: int, caching: str = "no-store") -> list[tuple[str, str]]:
    """Given the rules, the size of a body, and how it may be kept, return the headers that all answers have."""
    headers = {"Cache-Control": caching, "X-Content-Type-Options": "nosniff"} | dict(rules.config.headers)
    return [("Content-Length", str(size)), *headers.items()]
