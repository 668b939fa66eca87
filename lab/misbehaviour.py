"""Misbehaviour: what a proxy can do to docker instead of what a registry would do.

A *door* is what happens to a connection before its first request: `tls`, `plain`, `reset_at_door`, `silence_at_door`.
An *action* is what happens to a request: `answer`, `reset`, `silence`, `late`, `uploading`, `downloading`, `shortened`.
A *change* is what happens to a body on its way up or down: `slowed`, `stalled`, `torn`, `cut`, `flipped`.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lab.exchange import Action, Body, Broken, Exchange, Headers, await_gone, break_off, forward, pass_on

Door = Callable[[socket.socket], socket.socket]
Change = Callable[[Exchange, Body], Body]

#: What TLS begins with: a record of its handshake.
_GREETING = b"\x16"


def plain(connection: socket.socket) -> socket.socket:
    """HTTP without TLS, which it says to a client that tries TLS first, as containerd does on loopback."""
    if connection.recv(1, socket.MSG_PEEK) == _GREETING:
        connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        raise Broken
    return connection


def tls(certificate: Path, clients: Path | None = None) -> Door:
    """Return the door of a server that speaks TLS.

    Given a file with the certificate that it shows, and its key, and, if clients have to show one too, a file with the
    certificate of the authority that issues theirs.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)

    def shake_hands(connection: socket.socket) -> socket.socket:
        return context.wrap_socket(connection, server_side=True)

    return shake_hands


def reset_at_door(connection: socket.socket) -> socket.socket:
    """Take the connection, and reset it."""
    break_off(connection)
    return connection


def silence_at_door(connection: socket.socket) -> socket.socket:
    """Take the connection, and say nothing."""
    await_gone(connection)
    raise Broken


def answer(
    status: int, body: bytes = b"", content_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Action:
    """Given an answer, return what gives it instead of the registry's."""

    def act(exchange: Exchange) -> None:
        own = {"Content-Type": content_type, "Content-Length": str(len(body))}
        exchange.send(status, own | dict(headers or {}), [body])
        exchange.close_connection = True  # as a server does that does not read on

    return act


def reset(exchange: Exchange) -> None:
    """Reset the connection instead of an answer."""
    break_off(exchange.connection)


def silence(exchange: Exchange) -> None:
    """Read the request, and never answer."""
    for _ in exchange.body:
        pass
    await_gone(exchange.connection)


def late(published: threading.Event) -> Action:
    """Hold a request back until docker has given up, then pass it on all the same; set the event when that is done."""

    def act(exchange: Exchange) -> None:
        body = list(exchange.body)
        await_gone(exchange.connection)
        with suppress(OSError):
            pass_on(exchange, iter(body), lambda answered: answered)
        published.set()

    return act


def calling(told: Callable[[], None], then: Action = forward) -> Action:
    """Given what to notify of a request, return what notifies it and then does another action."""

    def act(exchange: Exchange) -> None:
        told()
        then(exchange)

    return act


def uploading(change: Change) -> Action:
    """Given a change, return what makes it to the bodies of requests."""

    def act(exchange: Exchange) -> None:
        pass_on(exchange, change(exchange, exchange.body), lambda body: body)

    return act


def downloading(change: Change, rewritten: Callable[[Headers], Headers] = dict) -> Action:
    """Given a change, and what makes other headers of an answer's, return what does that to answers."""

    def act(exchange: Exchange) -> None:
        pass_on(exchange, exchange.body, lambda body: change(exchange, body), rewritten)

    return act


def shortened(to: int) -> Action:
    """Given how many bytes, return what cuts longer answers there, as if that were all of them."""

    def rewritten(headers: Headers) -> Headers:
        return {
            name: str(min(int(value), to)) if name == "Content-Length" else value for name, value in headers.items()
        }

    return downloading(cut(to), rewritten)


def slowed(bytes_per_second: int) -> Change:
    """Given how fast, return what lets a body through no faster."""

    def change(_: Exchange, body: Body) -> Body:
        for chunk in body:
            time.sleep(len(chunk) / bytes_per_second)
            yield chunk

    return change


def stalled(after: int) -> Change:
    """Given how many bytes, return what lets only those through and then nothing more."""
    return _ended(after, await_gone)


def torn(after: int) -> Change:
    """Given how many bytes, return what resets the connection after those."""
    return _ended(after, break_off)


def cut(after: int) -> Change:
    """Given how many bytes, return what closes the connection after those."""
    return _ended(after, _close)


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


def _close(_: socket.socket) -> None:
    """The end of a change closes the connection in any case."""


def _ended(after: int, end: Callable[[socket.socket], None]) -> Change:
    def change(exchange: Exchange, body: Body) -> Body:
        left = after
        for chunk in body:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                exchange.wfile.flush()
                end(exchange.connection)
                raise Broken

    return change
