"""A server with something to read, certificates, and clients that say exactly what a test wants said."""

from __future__ import annotations

import resource
import socket
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lib.health import Health
from lib.web.app import start_web
from lib.web.pages import Pages
from lib.web.server import Server
from tests.unit.examples import a_target
from tests.unit.watching import MadeUp, metrics_of

# Each takes half a second, and no test has to wait for it.
_closing = ThreadPoolExecutor()

ASK = b"GET /health HTTP/1.0\r\n\r\n"


@contextmanager
def served(web_config: Path | None = None, targets: int = 1, port: int = 0) -> Iterator[Server]:
    """Given a web configuration file, how many targets there are, and a port (0 for any), serve."""
    every = [a_target(f"t{number}") for number in range(targets)]
    world = MadeUp(*every)
    health = Health(lambda: None, tuple)
    health.ask()
    web = start_web(("127.0.0.1", port), Pages(world.watch, health, metrics_of(*every)), web_config)
    try:
        yield web
    finally:
        _closing.submit(web.close)


def connected(port: int, context: ssl.SSLContext | None = None) -> socket.socket:
    """Given a port, and what speaks TLS if that is to be spoken, return a connection."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain


def raw(port: int, request: bytes, context: ssl.SSLContext | None = None) -> bytes:
    """Send bytes, and return all that is answered."""
    with connected(port, context) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def a_certificate(folder: Path, name: str, usage: str = "serverAuth", sans: str = "IP:127.0.0.1") -> Path:
    """Make a certificate that vouches for itself, NAME.crt, and its key, NAME.key. Return the certificate's path."""
    certificate = folder / f"{name}.crt"
    extensions = (f"subjectAltName={sans}", f"extendedKeyUsage={usage}", "basicConstraints=critical,CA:true")
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-noenc", "-days", "2", "-subj", f"/CN={name}"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *(argument for extension in extensions for argument in ("-addext", extension)),
            *("-keyout", folder / f"{name}.key", "-out", certificate),
        ),
        check=True,
        capture_output=True,
    )
    return certificate


def trusting(certificate: Path, client: Path | None = None) -> ssl.SSLContext:
    """Given a server's certificate, and a client's, return what speaks TLS with that server."""
    context = ssl.create_default_context(cafile=str(certificate))
    if client is not None:
        context.load_cert_chain(client, client.with_suffix(".key"))
    return context


@contextmanager
def files_at_most(number: int) -> Iterator[None]:
    """Let this process have so many files open, and then as many as before."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
