"""Keychain: the logins in a Docker configuration, and whether its credential helper gives one at all.

If the helper fails, docker does not say so: it continues without a login, and only the registry's refusal is seen.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.blanking import without_secrets
from lib.command import Command, CommandError, Runner
from lib.reference import DEFAULT_HOST
from lib.secret import Secret

#: How long a helper has to answer.
_ASK_SECONDS = 5.0

#: The name under which docker keeps the login of Docker Hub.
_HUB = "https://index.docker.io/v1/"

#: The characters of a program's name: with a slash, it would be a path.
_NAME = re.compile(r"[\w.-]+", re.ASCII)

#: The words, on standard output, of a helper that works and has no such login.
_NO_SUCH_LOGIN = "credentials not found in native keychain"


#: The names under which docker keeps what it logs in with.
_LOGIN_KEYS = frozenset({"auth", "password", "identitytoken", "registrytoken", "Username", "Secret"})


@dataclass(frozen=True, slots=True)
class HelperAnswer:
    """What a credential helper did when it was asked for a login.

    Attributes:
        why_none: why it gave none; None if it gave one, or has none.
        secrets: what it printed on standard output.
    """

    why_none: str | None = None
    secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Login:
    """A name, and its password."""

    username: str
    password: Secret


def plain_login(config: Path, host: str) -> Login | None:
    """Given a Docker config folder and a registry's host, return the login that is there in plain text.

    None if there is none: a credential helper may have it, or the registry gave a token instead.
    """
    server = _HUB if host == DEFAULT_HOST else host
    try:
        login: Any = json.loads((config / "config.json").read_text(encoding="utf-8"))["auths"][server]
        name, _, password = b64decode(login["auth"]).decode().partition(":")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Login(name, Secret(password)) if name and password and not login.get("identitytoken") else None


def stored_logins(config: Path) -> Iterator[Secret]:
    """Given a Docker config folder, return the secrets in its logins. None of them if there are no readable ones."""
    try:
        logins: Any = json.loads((config / "config.json").read_text(encoding="utf-8"))["auths"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return
    for login in logins:
        yield from _login(login)


def ask_helper(runner: Runner, env: Mapping[str, str], config: Path, host: str) -> HelperAnswer:
    """Ask the credential helper for a login, as docker does.

    Given what runs it, its environment, the Docker config folder and the registry's host, return what it answered; an
    empty answer if no helper is named for this host.
    """
    server = _HUB if host == DEFAULT_HOST else host
    name = _helper(config, server)
    if name is None:
        return HelperAnswer()
    program = f"docker-credential-{name}"
    # What is sent to it is not a secret, but standard input is always given as one.
    command = Command((program, "get"), {**env, "DOCKER_CONFIG": str(config)}, _ASK_SECONDS, stdin=Secret(server))
    try:
        completed = runner(command)
    except CommandError as error:
        return HelperAnswer(f"the credential helper can't be run: {error}")
    printed = completed.stdout.strip()
    secrets = tuple(_printed(printed))
    if completed.ok or printed == _NO_SUCH_LOGIN:
        return HelperAnswer(secrets=secrets)
    # In docker's own form, so that it is blanked in the same way.
    said = f", out: `{printed}`" if printed else ""
    words = without_secrets(completed.stderr.strip(), secrets) or f"exit code {completed.exit_code}"
    return HelperAnswer(f"the credential helper {program} gives no login: {words}{without_secrets(said)}", secrets)


def _printed(text: str) -> Iterator[Secret]:
    """Given what a helper printed on standard output, return it as secrets: a login, or else each line."""
    try:
        login = json.loads(text)
    except ValueError:
        yield from map(Secret, filter(None, map(str.strip, text.splitlines())))
    else:
        yield from _login(login)


def _login(login: Any) -> Iterator[Secret]:
    for key, value in login.items() if isinstance(login, dict) else ():
        if key in _LOGIN_KEYS and isinstance(value, str) and value:
            yield Secret(value)
            if key == "auth":
                with suppress(ValueError):
                    yield Secret(b64decode(value).decode().partition(":")[2])


def _helper(config: Path, server: str) -> str | None:
    try:
        shape: Any = json.loads((config / "config.json").read_text(encoding="utf-8"))
        name = (shape.get("credHelpers") or {}).get(server) or shape.get("credsStore")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else None
