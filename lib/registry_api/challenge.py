"""Challenge: what a registry asks for before it lets a client in (`WWW-Authenticate`), and how to answer."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from lib.docker.keychain import Login
from lib.registry_api.connection import host_of

_SCHEME = re.compile(r"\s*(?P<scheme>bearer|basic)\s+(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_PARAMETER = re.compile(r'(?P<name>\w+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for.

    Attributes:
        is_bearer: whether that is a token; if not, name and password. realm: where tokens are issued; for name and
            password, any text. service: the service that the token is for. scope: the access that it is for.
    """

    is_bearer: bool
    realm: str = ""
    service: str = ""
    scope: str = ""


def challenge_of(headers: Iterable[str]) -> Challenge | None:
    """Given the headers with challenges, return the one to answer, None if there is none: preferably for a token."""
    found = [match for match in map(_SCHEME.match, headers) if match]
    match = min(found, key=lambda match: match["scheme"].lower() != "bearer", default=None)
    if match is None:
        return None
    said = {
        parameter["name"].lower(): re.sub(r"\\(.)", r"\1", parameter["quoted"] or parameter["bare"] or "")
        for parameter in _PARAMETER.finditer(match["rest"])
    }
    is_bearer = match["scheme"].lower() == "bearer"
    return Challenge(is_bearer, said.get("realm", ""), said.get("service", ""), said.get("scope", ""))


def token_url(challenge: Challenge) -> str:
    """Given a challenge, return the URL that issues the token for it. Raise ValueError if there is none."""
    host_of(challenge.realm)
    parts = urlsplit(challenge.realm)
    if parts.scheme not in ("http", "https"):
        raise ValueError("the registry does not say where it issues tokens")
    asked = [("service", challenge.service)] if challenge.service else []
    asked += [("scope", scope) for scope in challenge.scope.split()]
    query = "&".join(filter(None, (parts.query, urlencode(asked))))
    return parts._replace(query=query, fragment="").geturl()


def basic(login: Login) -> str:
    """Given a login, return it in the form of a header."""
    return f"Basic {b64encode(f'{login.username}:{login.password.reveal()}'.encode()).decode()}"
