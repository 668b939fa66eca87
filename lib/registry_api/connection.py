"""Connection: one to a registry, its token server or its store, the way that docker takes.

TLS, verified by this host's authorities and those in /etc/docker/certs.d. On loopback TLS that is not verified, or else
plain HTTP. Whatever else is plain or not verified gets no request that holds a secret.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from lib.reference import DOMAIN, LONGEST_NAME

#: How long a connection may take, and then each wait for an answer.
SECONDS = 5.0

#: Where docker's daemon has the authorities and client certificates of registries, a folder a host.
CERTIFICATES = Path("/etc/docker/certs.d")

_HTTP, _HTTPS = 80, 443


class RefusedError(OSError):
    """A server did not do as it was asked. Its text says which, and what it answered.

    Attributes:
        status: the HTTP status that it answered with.
    """

    def __init__(self, host: str, status: int, asked: str) -> None:
        super().__init__(f"{host} answered {status} when asked {asked}")
        self.status = status


def is_loopback(host: str) -> bool:
    """Given a host, with its port if it has one, return whether docker takes it for this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


@contextmanager
def connect(
    host: str, *, scheme: str = "https", verified: bool = True, trusted_as: str | None = None
) -> Iterator[HTTPConnection]:
    """Given a host, with its port if it has one, connect to it, and close that in the end.

    Given also the scheme of its URL (on loopback, plain HTTP comes after https), whether the host has to prove who it
    is, and of which host the authorities are (its own, unless that is given). Raise OSError or ValueError.
    """
    if scheme != "https" and not is_loopback(host):
        raise ValueError(f"{host} is not asked: it would be without TLS")
    if scheme == "https":
        context = _verifying(trusted_as or host) if verified and not is_loopback(host) else _trusting()
        connection: HTTPConnection = _tls(host, context)
        try:
            connection.connect()
        except OSError:
            connection.close()
            if not is_loopback(host):
                raise
            scheme = "http"
    if scheme == "http":
        connection = HTTPConnection(*_address(host, _HTTP), timeout=SECONDS)
    with closing(connection):
        yield connection


def peer_certificate(connection: HTTPConnection) -> bytes | None:
    """Given a connection, return the certificate of whom it leads to, in DER; None without TLS."""
    return connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None


def _tls(host: str, context: ssl.SSLContext) -> HTTPSConnection:
    name, port = _address(host, _HTTPS)
    proxy = None if is_loopback(host) or proxy_bypass(name) else getproxies().get("https")
    if proxy is None:
        return HTTPSConnection(name, port, timeout=SECONDS, context=context)
    # By the environment of the monitor: what docker's daemon was told of proxies is the daemon's alone.
    with _without_words("HTTPS_PROXY is not the http:// URL of a proxy"):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        if parts.scheme != "http" or parts.hostname is None:
            raise ValueError
        connection = HTTPSConnection(parts.hostname, parts.port or _HTTP, timeout=SECONDS, context=context)
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
    connection.set_tunnel(name, port, headers)
    return connection


@contextmanager
def _without_words(text: str) -> Iterator[None]:
    """Given what a ValueError is to say, have it say that, and nothing of the URL, which can hold a login."""
    try:
        yield
    except ValueError:
        raise ValueError(text) from None


def host_of(url: str) -> str:
    """Given a URL, return its host, with its port if it has one, without a user. Raise ValueError if it has none."""
    with _without_words("the registry refers to a host that can't be one"):
        host = urlsplit(url).netloc.rpartition("@")[2]
        if not DOMAIN.fullmatch(host) or len(host) > LONGEST_NAME:
            raise ValueError
    return host


def _address(host: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    if not parts.hostname:
        raise ValueError("there is no host")
    return parts.hostname, parts.port or port


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _verifying(host: str) -> ssl.SSLContext:
    """Given the host whose authorities are trusted, beside those of this machine, return what verifies."""
    files: list[tuple[Path, int]] = []
    with suppress(OSError):  # a folder that this user can't read is as none
        files = [(file, file.stat().st_mtime_ns) for file in sorted((CERTIFICATES / host).iterdir())]
    return _verifying_by(tuple(files))


@lru_cache(maxsize=32)
def _verifying_by(files: tuple[tuple[Path, int], ...]) -> ssl.SSLContext:
    """Given the files of a folder of certificates, and when each changed, return what verifies.

    Kept, as the authorities of a machine take 10 ms to read.
    """
    context = ssl.create_default_context()
    # Authorities that Go, and so docker, takes though they are not written to the letter: Python 3.13 would not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    for file, _ in files:
        with suppress(OSError):  # it is not a certificate, or can't be read
            if file.suffix == ".crt":
                context.load_verify_locations(file)
            elif file.suffix == ".cert":
                context.load_cert_chain(file, file.with_suffix(".key"))
    return context
