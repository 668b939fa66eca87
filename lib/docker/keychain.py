"""Keychain: whether the credential helper of a Docker configuration gives a login at all.

Where it fails, docker says nothing of that: it goes on without a login, and all that is seen is the registry's refusal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib.command import Command, CommandError, Runner
from lib.reference import DEFAULT_HOST
from lib.secret import Secret

#: How long a helper has to answer.
_ASK_SECONDS = 5.0

#: Under which name docker keeps the login of Docker Hub.
_HUB = "https://index.docker.io/v1/"

#: What can be part of a program's name: with a slash, it would be a path.
_NAME = re.compile(r"[\w.-]+", re.ASCII)

#: The words, on standard output, of a helper that works and has no such login.
_NO_SUCH_LOGIN = "credentials not found in native keychain"


def why_no_login(runner: Runner, env: Mapping[str, str], config: Path, host: str) -> str | None:
    """Ask the credential helper for a login, as docker does.

    Given what runs it, its environment, the Docker config folder and the registry's host, return why it gives none;
    None where it gives one, knows of none, or where no helper is named for this host. What it gives is not looked at.
    """
    server = _HUB if host == DEFAULT_HOST else host
    name = _helper(config, server)
    if name is None:
        return None
    program = f"docker-credential-{name}"
    # What is said to it is no secret, but standard input is only ever given one.
    command = Command((program, "get"), {**env, "DOCKER_CONFIG": str(config)}, _ASK_SECONDS, stdin=Secret(server))
    try:
        completed = runner(command)
    except CommandError as error:
        return f"the credential helper can't be run: {error}"
    said = completed.stdout.strip() or completed.stderr.strip()
    if completed.ok or said == _NO_SUCH_LOGIN:
        return None
    return f"the credential helper {program} gives no login: {said or f'exit code {completed.exit_code}'}"


def _helper(config: Path, server: str) -> str | None:
    """Given a Docker config folder and a registry, return the name of the helper that docker asks; None for none."""
    try:
        shape: Any = json.loads((config / "config.json").read_text(encoding="utf-8"))
        name = (shape.get("credHelpers") or {}).get(server) or shape.get("credsStore")
    except (OSError, ValueError, AttributeError):
        return None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else None
