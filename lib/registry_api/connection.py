"""Connection: one to a registry, its token server or its store, made the way that docker does.

It is TLS, verified by this host's authorities and those in /etc/docker/certs.d. On loopback it may be unverified TLS,
or else plain HTTP. No other plain or unverified connection gets a request with a secret.
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

#: How long connecting may take, and then each wait for an answer.
SECONDS = 5.0

#: Where docker's daemon has the authorities and client certificates of registries, a folder a host.
CERTIFICATES = Path("/etc/docker/certs.d")

_HTTP, _HTTPS = 80, 443


class RefusedError(OSError):
    """A server did not do what it was asked. The text says which server, and what it answered.

    Attributes:
        status: the HTTP status that it answered with.
    """

    def __init__(self, host: str, status: int, asked: str) -> None:
        super().__init__(f"{host} answered {status} when asked {asked}")
        self.status = status


def is_loopback(host: str) -> bool:
    """Given a host, with its port if it has one, return whether docker considers it this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


@contextmanager
def connect(
    host: str, *, scheme: str = "https", verified: bool = True, trusted_as: str | None = None
) -> Iterator[HTTPConnection]:
    """Given a host, with its port if it has one, connect to it, and close the connection in the end.

    Given also the scheme of its URL (on loopback, plain HTTP comes after https), whether the host has to prove its
    identity, and the host whose authorities count (itself, unless given). Raise OSError or ValueError.
    """
    if scheme != "https" and not is_loopback(host):
        raise ValueError(f"{host} is not asked: that would be without TLS")
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
    """Given a connection, return the certificate of its server, in DER; None without TLS."""
    return connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None


def _tls(host: str, context: ssl.SSLContext) -> HTTPSConnection:
    name, port = _address(host, _HTTPS)
    proxy = None if is_loopback(host) or proxy_bypass(name) else getproxies().get("https")
    if proxy is None:
        return HTTPSConnection(name, port, timeout=SECONDS, context=context)
    # From the environment of the monitor: the proxies of docker's daemon are configured in the daemon alone.
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
    """Given a text, replace that of any ValueError by it: the URL in it can contain a login."""
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
    """Given the host whose authorities are trusted in addition to this machine's, return a context that verifies."""
    files: list[tuple[Path, int]] = []
    with suppress(OSError):  # a folder that this user can't read counts as none
        files = [(file, file.stat().st_mtime_ns) for file in sorted((CERTIFICATES / host).iterdir())]
    return _verifying_by(tuple(files))


@lru_cache(maxsize=32)
def _verifying_by(files: tuple[tuple[Path, int], ...]) -> ssl.SSLContext:
    """Given the files of a folder of certificates, and when each changed, return a context that verifies.

    It is cached, since the authorities of a machine take 10 ms to read.
    """
    context = ssl.create_default_context()
    # Go, and so docker, accepts authorities that don't follow the standard to the letter: Python 3.13 would not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    for file, _ in files:
        with suppress(OSError):  # not a certificate, or not readable
            if file.suffix == ".crt":
                context.load_verify_locations(file)
            elif file.suffix == ".cert":
                context.load_cert_chain(file, file.with_suffix(".key"))
    return context
