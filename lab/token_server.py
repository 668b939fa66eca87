"""TokenServer: issues the tokens of a registry with `auth: token`, as the distribution project describes them."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Collection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from lab.certificates import Signer
from lab.local_server import LocalServer, Quiet
from lab.registry import TokenAuth

SERVICE = "lab registry"
ISSUER = "lab token server"
_LIFETIME_SECONDS = 300


class TokenServer(LocalServer):
    """A token server on loopback, with one user. A context manager.

    Attributes:
        password: the user's password; may be changed.
        strangers_may: what those without a login may do, "pull" or "push"; may be changed.
    """

    def __init__(self, folder: Path, username: str, password: str, strangers_may: Collection[str] = ()) -> None:
        """Given a folder to make for its key, its user, and what others may do, start it. Raise OSError."""
        self.strangers_may = strangers_may
        self._signer = Signer(folder)
        self.username = username
        self.password = password
        super().__init__()

    def auth(self, realm: str) -> TokenAuth:
        """Given the URL under which docker finds this server, return what its registry has to know."""
        return TokenAuth(realm, SERVICE, ISSUER, self._signer.certificate)

    def _knows(self, authorization: str) -> bool:
        try:
            said = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        return said == f"{self.username}:{self.password}"

    def _token(self, scopes: list[str], allowed: Collection[str] | None) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._signer.chain()]}
        claims = {
            "iss": ISSUER,
            "sub": self.username,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + _LIFETIME_SECONDS,
            "jti": uuid4().hex,
            "access": [_access(scope, allowed) for scope in scopes],
        }
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        return (signed + b"." + _base64url(self._signer.sign(signed))).decode()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return the handler that issues tokens."""
        server = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                login = self.headers.get("Authorization", "")
                is_stranger = not login and server.strangers_may
                if not is_stranger and not server._knows(login):
                    self._answer(401, {"details": "incorrect username or password"})
                    return
                scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
                allowed = server.strangers_may if is_stranger else None
                token = server._token([scope for text in scopes for scope in text.split()], allowed)
                self._answer(200, {"token": token, "expires_in": _LIFETIME_SECONDS})

            def _answer(self, status: int, shape: dict[str, Any]) -> None:
                body = json.dumps(shape).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def _access(scope: str, allowed: Collection[str] | None) -> dict[str, Any]:
    """Given a scope (`repository:acme/canary:pull,push`), and what is allowed (None: all), return a token's claim."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    granted = [action for action in actions.split(",") if allowed is None or action in allowed]
    return {"type": kind, "name": name, "actions": granted}


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
