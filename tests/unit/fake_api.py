"""A registry's HTTP API in this process, over plain HTTP or TLS, and a proxy that leads to it under any name."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.local_server import LocalServer, Quiet

#: What a client begins TLS with.
_HELLO = b"\x16"


@dataclass(frozen=True)
class Asked:
    """A request: its method, its path with the query, and its headers."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")


@dataclass(frozen=True)
class Says:
    """An answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class FakeApi(LocalServer):
    """Gives prepared answers. A context manager.

    Attributes:
        answers: from a request to its answer; may be changed.
        asked: all requests, in their order.
    """

    def __init__(self, answers: Callable[[Asked], Says], certificate: Path | None = None) -> None:
        """Given how to answer, and a certificate with its key beside it for TLS, listen."""
        self.answers = answers
        self.asked: list[Asked] = []
        super().__init__()
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            # The handshake in the request's own thread: a client that gives up holds nobody else up.
            self._server.socket = context.wrap_socket(self._server.socket, True, do_handshake_on_connect=False)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.address[1]}"

    def lines(self) -> list[str]:
        """Return what was asked, in short."""
        return [f"{one.method} {one.path}" for one in self.asked]

    def handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def handle(self) -> None:
                speaks_tls = not isinstance(self.connection, ssl.SSLSocket) and self.connection.recv(1, socket.MSG_PEEK)
                if speaks_tls == _HELLO:  # as a real one would: it does not wait for the end of a line
                    return
                with suppress(OSError):  # a client that does not like the certificate is gone
                    super().handle()

            def _answer(self) -> None:
                asked = Asked(self.command, self.path, dict(self.headers))
                fake.asked.append(asked)
                says = fake.answers(asked)
                self.send_response(says.status)
                for name, value in says.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(says.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(says.body)

            do_GET = do_HEAD = do_DELETE = _answer  # noqa: N815  http.server's names

        return Handler


class _Leading(ThreadingHTTPServer):
    daemon_threads = True
    led: Mapping[str, int]
    asked: list[Asked]


class _Proxy(Quiet, BaseHTTPRequestHandler):
    server: _Leading

    def do_CONNECT(self) -> None:
        self.server.asked.append(Asked("CONNECT", self.path, dict(self.headers)))
        if self.path not in self.server.led:
            self.send_error(502)
            return
        with socket.create_connection(("127.0.0.1", self.server.led[self.path])) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_relay, args=(far, self.connection))
            back.start()
            _relay(self.connection, far)
            back.join()
        self.close_connection = True


def _relay(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while chunk := one.recv(65536):
            other.sendall(chunk)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


@contextmanager
def leading(led: Mapping[str, int]) -> Iterator[tuple[str, list[Asked]]]:
    """Given ports by the host and port that CONNECT names, run a proxy; yield its address and what it was asked."""
    server = _Leading(("127.0.0.1", 0), _Proxy)
    server.led, server.asked = led, []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", server.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
