"""The surroundings of a docker command: its environment variables, and its private Docker config folder.

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

from lib.command import Command, CommandError, Ending, Runner
from lib.docker.cli import judged
from lib.docker.printed import Printed
from lib.ending import CantRun, NotNow
from lib.target import Builder

_CONTEXT_SECONDS = 10.0

#: Where docker looks for its engine by default.
_DEFAULT_HOST = "unix:///var/run/docker.sock"

#: Not for docker: our own options contain passwords, the service manager's variables are ours alone, and the rest would
#: make a cycle do something else than it says.
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


class SetupError(CantRun):
    """The host's docker set-up can't be used as it is. Its text says what is wrong and what to do."""


def docker_environment(env: Mapping[str, str], program: str, runner: Runner) -> dict[str, str]:
    """Given the monitor's own environment, the docker CLI and what runs it, return the environment of its commands.

    The endpoint of the user's current Docker context is in it, since a private config folder loses that. Raise
    SetupError if that context can't be used, and NotNow if docker can't be asked for it.
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
    if builder is Builder.BUILDKIT:
        # BuildKit keeps the trace of each traced build in its history, where it takes nine tenths of the space.
        return {**env, "DOCKER_BUILDKIT": "1", "OTEL_TRACES_SAMPLER": "always_off"}
    # The classic builder: its layers are gone with the image, so that the pull after it has to move them.
    return {**env, "DOCKER_BUILDKIT": "0"}


def engine_of(env: Mapping[str, str], program: str) -> str:
    """Given the environment of docker commands, and the docker CLI, return what distinguishes their engine from others:
    as far as these tell, it is the same for everybody who works with that engine.
    """
    if "podman" in Path(program).name:
        return f"podman {env.get('CONTAINER_HOST', '')}"
    host = env.get("DOCKER_HOST") or _DEFAULT_HOST
    scheme, _, path = host.partition("://")
    return f"{scheme}://{os.path.realpath(path)}" if scheme == "unix" else host


def user_plugins(env: Mapping[str, str]) -> Path | None:
    """Given the monitor's own environment, return the folder of the user's own plugins of the docker CLI.

    A private config folder loses them, and buildx may be one. None if there are none.
    """
    plugins = _user_config(env) / "cli-plugins"
    return plugins.resolve() if os.path.isdir(plugins) else None  # noqa: PTH112  unlike Path.is_dir, it never raises


def prepare_config(folder: Path, host: str, source: Path | None) -> None:
    """Given a private Docker config folder, the registry's host and a folder with logins to take, prepare it.

    Raise ValueError if the logins can't be read, and OSError if the folder can't be written.
    """
    # With no login at all in it, docker would take a new one to a credential store of the user's.
    config = {"auths": {host: {}}} if source is None else read_config(source)
    config.pop("currentContext", None)
    # In one step or not at all: several targets share the folder without logins, and docker may be reading it.
    descriptor, unfinished = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(config, file)
        Path(unfinished).replace(folder / "config.json")
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def read_config(folder: Path) -> dict[str, Any]:
    """Given a Docker config folder of the user's, return the configuration in it.

    Raise ValueError, which names the file and says what is wrong with it, but never what is in it.
    """
    file = folder / "config.json"
    if not os.path.isdir(folder):  # noqa: PTH112  as above
        raise ValueError(f"{folder} is not a folder")
    try:
        config = json.loads(file.read_bytes())
    except OSError as error:
        raise ValueError(f"{file} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{file} is not JSON") from None
    if not isinstance(config, dict):
        raise ValueError(f"{file} is not a Docker configuration")  # noqa: TRY004  it is what is in the file
    return config


def forget_logins(folder: Path) -> None:
    """Given a private Docker config folder, remove the logins in it, and what buildx notes there of each build."""
    shutil.rmtree(folder / "buildx" / "refs", ignore_errors=True)
    with suppress(OSError):  # on a disk that has become read-only they stay as long as the folder, which is private
        # docker writes under a longer name first, and a killed login leaves that file behind
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
    advice = "set DOCKER_HOST, or choose another context with `docker context use`"
    argv = (program, "context", "inspect", "--format", "{{json .}}", "--", context)
    # The user's own environment, so that the context is looked for where the user has it.
    own = {name: value for name, value in env.items() if not name.startswith(_KEPT_BACK_PREFIXES)}
    try:
        completed = runner(Command(argv, own, _CONTEXT_SECONDS))
    except CommandError as error:
        raise NotNow(f"the Docker context {context!r} can't be read: {error}; {advice}") from None
    if completed.ending is not Ending.ITSELF:
        raise NotNow(f"the Docker context {context!r} can't be read: docker had not answered in time; {advice}")
    if not completed.ok:
        detail = judged("context", Printed.by(completed)).detail
        raise SetupError(f"the Docker context {context!r} can't be read: {detail}; {advice}")
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
