"""Proxy: stands between docker and a registry, and misbehaves by rule.

    with Proxy(network.listen, upstream, tls(certificate)) as proxy:
        with proxy.rule(answer(503), method="PUT", path="/manifests/"):
            ...  # docker push fails

A *door* is what becomes of a connection before its first request: `tls`, `plain`, `reset_at_door`, `silence_at_door`.
An *action* is what becomes of a request: `forward`, `answer`, `reset`, `silence`, `uploading`, `downloading`, `late`.
A *change* is what becomes of a body on its way: `slowed`, `stalled`, `torn`, `cut`, `flipped`.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 4096
_UPSTREAM_SECONDS = 60.0
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})

#: Closing a socket with this option sends RST in place of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Body = Iterator[bytes]
Headers = dict[str, str]
Door = Callable[[socket.socket], socket.socket]
Change = Callable[["Exchange", Body], Body]
Action = Callable[["Exchange"], None]


class _Broken(Exception):  # noqa: N818  it was broken on purpose
    """The connection is to be closed now, without another byte."""


class Proxy:
    """A server that forwards to a registry, or does what it is told in place of that. A context manager.

    Attributes:
        address: where it listens.
        door: what becomes of new connections.
    """

    def __init__(self, listen: Callable[[int], socket.socket], upstream: tuple[str, int], door: Door) -> None:
        """Given what makes a listening socket of a port (0: any), the registry's address, and the door: start it."""
        self.upstream = upstream
        self.door = door
        self._listen = listen
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

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._connections)

    @contextmanager
    def rule(self, action: Action, method: str = "", path: str = "", nth: int | None = None) -> Iterator[None]:
        """Have an action for a while.

        Given the action, regular expressions that the method's beginning and any part of the path have to match, and
        which of the matching requests it is for (the first is 1; None for all). Later rules go before earlier ones.
        """
        rule = _Rule(action, re.compile(method), re.compile(path), nth)
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
        """Given a door, have new connections meet it for a while."""
        before, self.door = self.door, door
        try:
            yield
        finally:
            self.door = before
            self.hang_up()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections for a while, and break those that are open."""
        self._stop_accepting()
        self.hang_up()
        try:
            yield
        finally:
            self._listener = self._listen(self.address[1])
            self._accepting = self._start_accepting()

    def hang_up(self) -> None:
        """End every open connection: whoever hangs in one goes on."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop."""
        self._stop_accepting()
        self.hang_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def action_for(self, method: str, path: str) -> Action:
        """Given a request's method and path, return what is to become of it."""
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
        self._listener.close()

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
            Exchange(connection, self)
        except (_Broken, OSError, HTTPException):
            pass  # docker gave up, or was made to
        finally:
            with self._lock:
                self._connections -= {accepted, connection}
            connection.close()
            accepted.close()


@dataclass
class _Rule:
    action: Action
    method: re.Pattern[str]
    path: re.Pattern[str]
    nth: int | None
    _met: int = field(default=0, init=False)

    def is_for(self, method: str, path: str) -> bool:
        if not (self.method.match(method) and self.path.search(path)):
            return False
        self._met += 1
        return self.nth in (None, self._met)


class Exchange(BaseHTTPRequestHandler):
    """One connection's requests and answers, one after the other.

    Attributes:
        body: the body of the request under way.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, proxy: Proxy) -> None:
        """Given a connection that passed the door, and its proxy, serve it to its end."""
        self.proxy = proxy
        super().__init__(connection, connection.getpeername(), None)  # type: ignore[arg-type]  # no server stands behind it

    def _act(self) -> None:
        self.body: Body = _read_body(self)
        self.proxy.action_for(self.command, self.path)(self)
        for _ in self.body:  # what an action left unread is no next request
            pass

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _act  # noqa: N815  http.server's names

    def log_message(self, *_: object) -> None:
        """Nothing: the registry's own log tells what came through."""

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

    def await_client_gone(self) -> None:
        """Do nothing until docker, or the proxy, ends the connection."""
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLRDHUP)
        poll.poll()

    def break_off(self) -> None:
        """Reset the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise _Broken

    def close_now(self) -> None:
        """Close the connection, whatever was promised."""
        raise _Broken


def _read_body(exchange: Exchange) -> Body:
    if exchange.headers.get("Transfer-Encoding", "").lower() == "chunked":
        while size := int(_read_line(exchange).split(b";")[0], 16):
            yield from _read_pieces(exchange, size)
            _read_line(exchange)
        while _read_line(exchange).strip():  # trailers
            pass
    else:
        yield from _read_pieces(exchange, int(exchange.headers.get("Content-Length", "0")))


def _read_line(exchange: Exchange) -> bytes:
    line = exchange.rfile.readline()
    if not line:
        raise _Broken
    return line


def _read_pieces(exchange: Exchange, size: int) -> Body:
    while size:
        piece = exchange.rfile.read1(min(size, _CHUNK_BYTES))
        if not piece:
            raise _Broken
        size -= len(piece)
        yield piece


# Doors.


def plain(connection: socket.socket) -> socket.socket:
    """HTTP without TLS."""
    return connection


def tls(certificate: Path) -> Door:
    """Given a file with a certificate and its key, return the door of a server that shows it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def shake_hands(connection: socket.socket) -> socket.socket:
        return context.wrap_socket(connection, server_side=True)

    return shake_hands


def reset_at_door(connection: socket.socket) -> socket.socket:
    """Take the connection, and reset it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    raise _Broken


def silence_at_door(connection: socket.socket) -> socket.socket:
    """Take the connection, and say nothing."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLRDHUP)
    poll.poll()
    raise _Broken


# Actions.


def forward(exchange: Exchange) -> None:
    """Pass the request on, and the answer back."""
    _forward(exchange, exchange.body, lambda body: body)


def answer(
    status: int, body: bytes = b"", content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Action:
    """Given an answer, return what gives it in place of the registry's."""

    def act(exchange: Exchange) -> None:
        own = {"Content-Type": content_type, "Content-Length": str(len(body))}
        exchange.send(status, own | dict(headers or {}), [body])
        exchange.close_connection = True  # as a server does that does not read on

    return act


def reset(exchange: Exchange) -> None:
    """Reset the connection in place of an answer."""
    exchange.break_off()


def silence(exchange: Exchange) -> None:
    """Read the request, and never answer."""
    for _ in exchange.body:
        pass
    exchange.await_client_gone()


def late(published: threading.Event) -> Action:
    """Hold a request back until docker has given up, then pass it on all the same; set the event when that is done."""

    def act(exchange: Exchange) -> None:
        body = list(exchange.body)
        exchange.await_client_gone()
        with suppress(OSError):
            _forward(exchange, iter(body), lambda answered: answered)
        published.set()

    return act


def calling(told: Callable[[], None], then: Action = forward) -> Action:
    """Given whom to tell of a request, return what tells and then does another action."""

    def act(exchange: Exchange) -> None:
        told()
        then(exchange)

    return act


def uploading(change: Change) -> Action:
    """Given a change, return what makes it to the bodies of requests."""

    def act(exchange: Exchange) -> None:
        _forward(exchange, change(exchange, exchange.body), lambda body: body)

    return act


def downloading(change: Change, rewritten: Callable[[Headers], Headers] = dict) -> Action:
    """Given a change, and what makes other headers of an answer's, return what does that to answers."""

    def act(exchange: Exchange) -> None:
        _forward(exchange, exchange.body, lambda body: change(exchange, body), rewritten)

    return act


# Changes.


def unchanged(_: Exchange, body: Body) -> Body:
    """Leave a body as it is."""
    return body


def slowed(bytes_per_second: int) -> Change:
    """Given how fast, return what lets a body through no faster."""

    def change(_: Exchange, body: Body) -> Body:
        for chunk in body:
            time.sleep(len(chunk) / bytes_per_second)
            yield chunk

    return change


def stalled(after: int) -> Change:
    """Given how many bytes, return what lets only those through and then nothing more."""
    return _ended(after, Exchange.await_client_gone)


def torn(after: int) -> Change:
    """Given how many bytes, return what resets the connection after those."""
    return _ended(after, Exchange.break_off)


def cut(after: int) -> Change:
    """Given how many bytes, return what closes the connection after those."""
    return _ended(after, Exchange.close_now)


def shortened(to: int) -> Action:
    """Given how many bytes, return what cuts longer answers there, as if that were all of them."""

    def rewritten(headers: Headers) -> Headers:
        return {
            name: str(min(int(value), to)) if name == "Content-Length" else value for name, value in headers.items()
        }

    return downloading(cut(to), rewritten)


def flipped(at: int) -> Change:
    """Given where, return what changes one bit of the byte there."""

    def change(_: Exchange, body: Body) -> Body:
        start = 0
        for chunk in body:
            bits = bytearray(chunk)
            if start <= at < start + len(bits):
                bits[at - start] ^= 1
            start += len(bits)
            yield bytes(bits)

    return change


def _ended(after: int, end: Callable[[Exchange], None]) -> Change:
    def change(exchange: Exchange, body: Body) -> Body:
        left = after
        for chunk in body:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                exchange.wfile.flush()
                end(exchange)
                raise _Broken

    return change


def _forward(
    exchange: Exchange, body: Body, change: Callable[[Body], Body], rewritten: Callable[[Headers], Headers] = dict
) -> None:
    """Given a request's body as it is to be passed on, and what changes the answer's body and headers, do it all."""
    upstream = HTTPConnection(*exchange.proxy.upstream, timeout=_UPSTREAM_SECONDS)
    try:
        _pass_on(exchange, upstream, body)
        response = upstream.getresponse()
        own = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
        exchange.send(response.status, rewritten(own), change(_pieces(response)))
    finally:
        upstream.close()


def _pass_on(exchange: Exchange, upstream: HTTPConnection, body: Body) -> None:
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
