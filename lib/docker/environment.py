"""What a docker command finds around it: its environment variables, and its private Docker config folder.

The user's own `~/.docker` is only read: the current context's endpoint is taken from it, and so are the logins of a
target with `docker-config`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lib.command import Command, CommandError, Runner
from lib.failure import classify
from lib.target import Builder

_CONTEXT_SECONDS = 10.0

#: Not for docker: our own options hold passwords, the service manager's variables are ours alone, and the rest would
#: have a cycle do something else than it says.
_KEPT_BACK_PREFIXES = ("REGISTRY_MONITOR_",)
_KEPT_BACK = frozenset(
    {
        "BUILDKIT_HOST",
        "BUILDX_BUILDER",
        "CREDENTIALS_DIRECTORY",
        "DOCKER_CONFIG",
        "DOCKER_CONTENT_TRUST",
        "DOCKER_CONTEXT",
        "DOCKER_DEFAULT_PLATFORM",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)


class SetupError(Exception):
    """The host's docker set-up can't be used as it is. Its text says what is wrong and what to do."""


def docker_environment(env: Mapping[str, str], program: str, runner: Runner) -> dict[str, str]:
    """Given the monitor's own environment, the docker CLI and what runs it, return the environment of its commands.

    The endpoint of the user's current Docker context is in it, since a private config folder loses that. Raise
    SetupError where that context can't be read.
    """
    kept = {
        name: value
        for name, value in env.items()
        if name not in _KEPT_BACK and not name.startswith(_KEPT_BACK_PREFIXES)
    }
    context = _current_context(env)
    if context is not None:
        kept |= _endpoint_of(context, env, program, runner)
    return builder_environment(kept | {"DOCKER_CLI_HINTS": "false", "BUILDKIT_PROGRESS": "plain"}, Builder.AUTO)


def builder_environment(env: Mapping[str, str], builder: Builder) -> dict[str, str]:
    """Given the environment of docker commands, and the builder that is wanted, return the one that chooses it."""
    # The classic builder: its layers are gone with the image, so that the pull after it has to move them.
    return {**env, "DOCKER_BUILDKIT": "1" if builder is Builder.BUILDKIT else "0"}


def user_plugins(env: Mapping[str, str]) -> Path | None:
    """Given the monitor's own environment, return the folder of the user's own plugins of the docker CLI.

    A private config folder loses them, and buildx may be one. None where there are none.
    """
    plugins = _user_config(env) / "cli-plugins"
    return plugins.resolve() if plugins.is_dir() else None


def prepare_config(folder: Path, host: str, source: Path | None) -> None:
    """Given a private Docker config folder, the registry's host and a folder with logins to take, make it ready.

    Raise OSError or ValueError where the logins can't be read.
    """
    # With no login at all in it, docker would take a new one to a credential store of the user's.
    config: dict[str, Any] = {"auths": {host: {}}}
    if source is not None and (source / "config.json").exists():
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"{source / 'config.json'} is no Docker configuration")
        config.pop("currentContext", None)
    # At once or not at all: several targets share the folder without logins, and docker may be reading it.
    descriptor, unfinished = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(config, file)
        Path(unfinished).replace(folder / "config.json")
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def forget_logins(folder: Path) -> None:
    """Given a private Docker config folder, remove the logins in it, and what buildx notes there of each build."""
    shutil.rmtree(folder / "buildx" / "refs", ignore_errors=True)
    with suppress(OSError):  # on a disk that has become read-only they stay as long as the folder, which is private
        # docker writes under a longer name first, and a login that was killed leaves that behind.
        for file in folder.glob("config.json*"):
            file.unlink()


def _user_config(env: Mapping[str, str]) -> Path:
    return Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME", "/")) / ".docker")


def _current_context(env: Mapping[str, str]) -> str | None:
    """Return the name of the user's current Docker context, None for the default one; in docker's own order."""
    if env.get("DOCKER_HOST"):
        return None
    context: Any = env.get("DOCKER_CONTEXT")
    if not context:
        try:
            config = json.loads((_user_config(env) / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        context = config.get("currentContext") if isinstance(config, dict) else None
    return context if isinstance(context, str) and context not in ("", "default") else None


def _endpoint_of(context: str, env: Mapping[str, str], program: str, runner: Runner) -> dict[str, str]:
    """Given a Docker context's name, return the environment variables that name its endpoint."""
    advice = "set DOCKER_HOST, or choose another context with `docker context use`"
    argv = (program, "context", "inspect", "--format", "{{json .}}", "--", context)
    # The user's own environment, so that the context is looked for where the user has it.
    own = {name: value for name, value in env.items() if not name.startswith(_KEPT_BACK_PREFIXES)}
    try:
        completed = runner(Command(argv, own, _CONTEXT_SECONDS))
    except CommandError as error:
        raise SetupError(f"the Docker context {context!r} can't be read: {error}; {advice}") from None
    if not completed.ok:
        failure = classify("context", completed.exit_code, completed.stdout, completed.stderr)
        raise SetupError(f"the Docker context {context!r} can't be read: {failure.detail}; {advice}")
    try:
        shape = json.loads(completed.stdout)
        endpoint = shape["Endpoints"]["docker"]
        variables = {"DOCKER_HOST": str(endpoint["Host"])}
        if (shape.get("TLSMaterial") or {}).get("docker"):
            variables["DOCKER_CERT_PATH"] = str(Path(shape["Storage"]["TLSPath"]) / "docker")
            variables["DOCKER_TLS"] = "1"
            if not endpoint.get("SkipTLSVerify"):
                variables["DOCKER_TLS_VERIFY"] = "1"
    except (ValueError, KeyError, TypeError):
        raise SetupError(f"the Docker context {context!r} is not understood; {advice}") from None
    return variables
