"""The registry's HTTP API, only for measuring and tidying. Nothing here judges a registry: the docker CLI does that.

Each request is made once: no retry, no redirect followed, a deadline of seconds. What fails raises one of `ERRORS`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from lib import __version__
from lib.docker.keychain import Login
from lib.reference import DEFAULT_HOST, Reference, parse_digest
from lib.registry_api.certificates import not_after
from lib.registry_api.challenge import Challenge, basic, challenge_of, token_url
from lib.registry_api.connection import RefusedError, connect, host_of, peer_certificate
from lib.registry_api.found import Certificate, RateLimit, Role
from lib.secret import Secret

#: What a request can raise. Their texts can contain what a server said: show them blanked (`RegistryApi.secrets`).
ERRORS = (OSError, HTTPException, ValueError)

#: Where the API of Docker Hub is.
_HUB_API = "registry-1.docker.io"

#: The longest answer that is read: that of a manifest, as the distribution project limits it.
_MOST_BYTES = 4 * 1024 * 1024

#: The types that are read: images, and indexes of them.
_ACCEPTED = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/json",
)

_OK, _PARTIAL, _UNAUTHORIZED = 200, 206, 401
_DELETED = frozenset({200, 202, 204})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status: the HTTP status.
        headers: the headers.
        body: the body, as much of it as was asked for.
    """

    status: int
    headers: Message
    body: bytes


class RegistryApi:
    """The API of one repository, with one login. Made for a few requests: it learns how to log in, and never forgets
    it.

    Attributes:
        host: where the API is, with its port if that is not the usual one.
        secrets: what must not be shown of its errors.
    """

    def __init__(self, reference: Reference, login: Login | None = None) -> None:
        """Given the repository and tag, and the login (None: none), make no request yet."""
        self.host = _HUB_API if reference.host == DEFAULT_HOST else reference.host
        self._reference = reference
        self._login = login
        self._authorization: str | None = None
        self._connection: HTTPConnection | None = None
        self.secrets: list[Secret] = [login.password] if login else []

    # What it is asked.

    def certificates(self) -> Iterable[Certificate]:
        """Return when the certificates of the registry and of its token server expire, as far as they have one.

        They are read from connections that verify nothing, on which nothing secret is sent. Raise one of `ERRORS`.
        """
        with self._connected(self.host, verified=False) as connection:
            yield from _shown(connection, self.host, Role.REGISTRY)
            connection.request("GET", "/v2/", headers=_headers())
            challenge = challenge_of(connection.getresponse().headers.get_all("WWW-Authenticate", ()))
        if challenge is not None and challenge.realm.startswith("https:"):
            yield from self._certificate(host_of(challenge.realm), Role.TOKEN)

    def store_certificate(self) -> Iterable[Certificate]:
        """Return when the certificate of the host expires to which the registry refers for blobs, if there is one.

        Raise one of `ERRORS`.
        """
        layer = self._some_layer()
        if layer is None:
            return
        answer = self._ask("GET", f"blobs/{layer}", {"Range": "bytes=0-0"}, most_bytes=0)
        if answer.status in (_OK, _PARTIAL):
            return
        location = answer.headers.get("Location", "")
        if answer.status not in _REDIRECTS:
            raise RefusedError(self.host, answer.status, "for a layer")
        if location.startswith("https://"):
            yield from self._certificate(host_of(location), Role.STORE)

    def rate_limit(self) -> RateLimit | None:
        """Return what is left of the registry's limit, None if it does not report one. Raise one of `ERRORS`.

        It is asked by a HEAD, which Docker Hub does not count.
        """
        answer = self._ask("HEAD", f"manifests/{self._reference.tag}")
        limit = RateLimit.of(answer.headers)
        if limit is None and answer.status != _OK:
            raise RefusedError(self.host, answer.status, "for the manifest")
        return limit

    def delete(self, digest: str) -> None:
        """Given the digest of a manifest, delete it. Raise one of `ERRORS`: RefusedError if the registry refused."""
        answer = self._ask("DELETE", f"manifests/{digest}")
        if answer.status not in _DELETED:
            raise RefusedError(self.host, answer.status, "to delete a manifest")

    def abandon(self) -> None:
        """Give up the request that another thread waits for: a server can answer a byte at a time."""
        sock = self._connection.sock if self._connection else None
        if sock is not None:
            with suppress(OSError):  # it is closed just now
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    # How it is asked.

    @contextmanager
    def _connected(self, host: str, scheme: str = "https", *, verified: bool = True) -> Iterator[HTTPConnection]:
        with connect(host, scheme=scheme, verified=verified, trusted_as=self.host) as connection:
            self._connection = connection
            yield connection

    def _certificate(self, host: str, role: Role) -> Iterable[Certificate]:
        with self._connected(host, verified=False) as connection:
            yield from _shown(connection, host, role)

    def _some_layer(self) -> str | None:
        """Return the digest of the last layer of the image that the tag shows, None if it shows none."""
        reference: Any = self._reference.tag
        for _ in range(2):  # an index, and then an image in it
            answer = self._ask("GET", f"manifests/{reference}")
            if answer.status != _OK:
                return None
            shape: Any = _parsed(answer.body)
            try:
                if "manifests" not in shape:
                    return parse_digest(shape["layers"][-1]["digest"])
                reference = parse_digest(shape["manifests"][0]["digest"])
            except (KeyError, IndexError, TypeError):
                return None
        return None

    def _ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, most_bytes: int = _MOST_BYTES
    ) -> Answer:
        """Given a request of the repository, send it; again with a login, if the registry asks for one."""
        url = f"https://{self.host}/v2/{self._reference.path}/{path}"
        answer = self._send(method, url, self._authorization, headers, most_bytes)
        if answer.status == _UNAUTHORIZED:
            challenge = challenge_of(answer.headers.get_all("WWW-Authenticate", ()))
            authorization = self._authorize(challenge) if challenge else None
            if authorization is not None and authorization != self._authorization:
                self._authorization = authorization
                answer = self._send(method, url, authorization, headers, most_bytes)
        return answer

    def _authorize(self, challenge: Challenge) -> str | None:
        """Given the registry's challenge, return the header that answers it, None if there is no login to send.

        Raise one of `ERRORS`.
        """
        login = basic(self._login) if self._login else None
        if not challenge.is_bearer:
            return login
        url = token_url(challenge)
        answer = self._send("GET", url, login)
        if answer.status != _OK:
            raise RefusedError(host_of(url), answer.status, "for a token")
        shape: Any = _parsed(answer.body)
        token = (shape.get("token") or shape.get("access_token")) if isinstance(shape, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ValueError(f"{host_of(url)} gave no token")
        self.secrets.append(Secret(token))
        return f"Bearer {token}"

    def _send(
        self,
        method: str,
        url: str,
        authorization: str | None,
        headers: dict[str, str] | None = None,
        most_bytes: int = _MOST_BYTES,
    ) -> Answer:
        parts = urlsplit(url)
        with self._connected(host_of(url), parts.scheme) as connection:
            own = {"Authorization": authorization} if authorization else {}
            path = parts._replace(scheme="", netloc="", fragment="").geturl()
            connection.request(method, path, headers=_headers() | (headers or {}) | own)
            response = connection.getresponse()
            body = response.read(most_bytes + 1) if most_bytes else b""
        if len(body) > most_bytes:
            raise ValueError(f"{parts.hostname} gave more than {most_bytes} bytes")
        return Answer(response.status, response.headers, body)


def _shown(connection: HTTPConnection, host: str, role: Role) -> Iterator[Certificate]:
    """Given a connection to a host, and the host's role, yield the certificate that it showed, if it did."""
    if (certificate := peer_certificate(connection)) is not None:
        yield Certificate(host, role, not_after(certificate))


def _headers() -> dict[str, str]:
    return {"User-Agent": f"registry-monitor/{__version__}", "Accept": ", ".join(_ACCEPTED)}


def _parsed(body: bytes) -> Any:
    """Given JSON, return its value. Raise ValueError if it is not JSON."""
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("JSON that is too deep") from None
