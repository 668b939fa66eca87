"""Habits: what registries do by design, not by a fault, as actions for a `lab.proxy.Proxy` in front of one."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Container
from contextlib import suppress
from http.client import HTTPConnection

from lab.exchange import Action, Exchange, Headers, forward, pass_on
from lab.misbehaviour import answer

_UPSTREAM_SECONDS = 10.0
_REPOSITORY = re.compile(r"/v2/(?P<name>.+)/(?:blobs|manifests|tags)/")


def publishing_late(seconds: float) -> Action:
    """Given how long, return what answers a manifest with 202, and passes it to the registry only after that time."""

    def act(exchange: Exchange) -> None:
        body = b"".join(exchange.body)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        headers = {name: value for name, value in exchange.headers.items() if name in ("Authorization", "Content-Type")}
        late = threading.Timer(seconds, _put, (exchange.upstream, exchange.path, body, headers))
        late.daemon = True
        late.start()
        exchange.send(202, {"Docker-Content-Digest": digest, "Content-Length": "0"}, [])

    return act


def immutable(refusal: Action) -> Action:
    """Given how the registry refuses, return what accepts each tag once, and refuses it from then on."""
    taken: set[str] = set()

    def act(exchange: Exchange) -> None:
        if exchange.path in taken:
            refusal(exchange)
        else:
            taken.add(exchange.path)
            forward(exchange)

    return act


def created_first(created: Container[str]) -> Action:
    """Given the existing repositories, by their paths, return what knows no others, neither to read nor to write."""

    def act(exchange: Exchange) -> None:
        match = _REPOSITORY.match(exchange.path)
        if match is None or match["name"] in created:
            forward(exchange)
            return
        told = f"The repository with name '{match['name']}' does not exist in the registry with id '000000000000'"
        answer(404, _error("NAME_UNKNOWN", told))(exchange)

    return act


class RateLimit:
    """An action that passes so many requests on, and says how many are left; the rest are too many.

    Attributes:
        left: how many more. Can be changed.
    """

    def __init__(self, left: int) -> None:
        """Given how many requests it lets through."""
        self.left = left

    def __call__(self, exchange: Exchange) -> None:
        """Pass a request on, or refuse it, in Docker Hub's words."""
        if self.left <= 0:
            told = "You have reached your pull rate limit. You may increase the limit by authenticating and upgrading"
            answer(429, _error("TOOMANYREQUESTS", told), headers=self._headers({"Retry-After": "60"}))(exchange)
            return
        self.left -= 1
        pass_on(exchange, exchange.body, lambda body: body, self._headers)

    def _headers(self, headers: Headers) -> Headers:
        return {**headers, "RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": f"{self.left};w=21600"}


def _error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _put(upstream: tuple[str, int], path: str, body: bytes, headers: Headers) -> None:
    # The test may be over, and the registry gone: then there is nobody left to publish it to.
    with suppress(OSError):
        connection = HTTPConnection(*upstream, timeout=_UPSTREAM_SECONDS)
        try:
            connection.request("PUT", path, body, headers)
            connection.getresponse().read()
        finally:
            connection.close()
