"""Exchange: one connection's requests, each passed on to a registry or answered in another way."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler

_CHUNK_BYTES = 4096
_UPSTREAM_SECONDS = 60.0
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})

#: Closing a socket with this option sends RST in place of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Body = Iterator[bytes]
Headers = dict[str, str]
Action = Callable[["Exchange"], None]


class Broken(Exception):  # noqa: N818  it was broken on purpose
    """The connection is to be closed now, without another byte."""


def break_off(connection: socket.socket) -> None:
    """Given a connection, have it reset when it is closed, which is now. Raise Broken."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    raise Broken


def await_gone(connection: socket.socket) -> None:
    """Given a connection, do nothing until docker, or the proxy, ends it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    poll.poll()


class Exchange(BaseHTTPRequestHandler):
    """One connection's requests and answers, one after the other.

    Attributes:
        body: the body of the request under way.
    """

    protocol_version = "HTTP/1.1"

    def __init__(
        self, connection: socket.socket, upstream: tuple[str, int], action_for: Callable[[str, str], Action]
    ) -> None:
        """Given a connection, the registry's address, and what becomes of a method and path, serve it to its end."""
        self.upstream = upstream
        self._action_for = action_for
        super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]  # there is no server behind it

    def _act(self) -> None:
        self.body: Body = _read_body(self)
        self._action_for(self.command, self.path)(self)
        for _ in self.body:  # what an action left unread is not the next request
            pass

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = _act  # noqa: N815  http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing: the registry's own log shows what came through."""

    def send(self, status: int, headers: Mapping[str, str], body: Iterable[bytes]) -> None:
        """Given an answer, send it as it is."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "content-length" not in {name.lower() for name in headers}:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            for chunk in body:
                self.wfile.write(chunk)


def _read_body(exchange: Exchange) -> Body:
    if exchange.headers.get("Transfer-Encoding", "").lower() == "chunked":
        while size := _read_size(exchange):
            yield from _read_pieces(exchange, size)
            _read_line(exchange)
        while _read_line(exchange).strip():  # trailers
            pass
    else:
        yield from _read_pieces(exchange, int(exchange.headers.get("Content-Length", "0")))


def _read_size(exchange: Exchange) -> int:
    try:
        return int(_read_line(exchange).split(b";")[0], 16)
    except ValueError:  # docker gave up in the middle of a chunk
        raise Broken from None


def _read_line(exchange: Exchange) -> bytes:
    line = exchange.rfile.readline()
    if not line:
        raise Broken
    return line


def _read_pieces(exchange: Exchange, size: int) -> Body:
    while size:
        piece = exchange.rfile.read1(min(size, _CHUNK_BYTES))
        if not piece:
            raise Broken
        size -= len(piece)
        yield piece


def forward(exchange: Exchange) -> None:
    """Pass the request on, and the answer back."""
    pass_on(exchange, exchange.body, lambda body: body)


def pass_on(
    exchange: Exchange, body: Body, change: Callable[[Body], Body], rewritten: Callable[[Headers], Headers] = dict
) -> None:
    """Given a request's body as it is to be passed on, and what changes the answer's body and headers, do it all."""
    upstream = HTTPConnection(*exchange.upstream, timeout=_UPSTREAM_SECONDS)
    try:
        _send_upstream(exchange, upstream, body)
        response = upstream.getresponse()
        own = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        exchange.send(response.status, rewritten(own), change(_pieces(response)))
    finally:
        upstream.close()


def _send_upstream(exchange: Exchange, upstream: HTTPConnection, body: Body) -> None:
    upstream.putrequest(exchange.command, exchange.path, skip_host=True, skip_accept_encoding=True)
    for name, value in exchange.headers.items():
        if name.lower() not in _HOP_BY_HOP:
            upstream.putheader(name, value)
    if isinstance(exchange.connection, ssl.SSLSocket):
        upstream.putheader("X-Forwarded-Proto", "https")  # what the registry builds its Location from
    chunked = "Content-Length" not in exchange.headers and "Transfer-Encoding" in exchange.headers
    if chunked:
        upstream.putheader("Transfer-Encoding", "chunked")
    upstream.endheaders(body, encode_chunked=chunked)


def _pieces(response: HTTPResponse) -> Body:
    while piece := response.read1(_CHUNK_BYTES):
        yield piece
