"""nerdctl in docker's place: recognised and refused, since it can't run a cycle. No other module knows its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from lib.command import Command, CommandError, Runner

#: Its version, and the help of any of its commands. It uses this name whatever its file is called.
_ITSELF = re.compile(r"^(?:nerdctl version|Usage: nerdctl)\b", re.MULTILINE)
LACKS = (
    "it is nerdctl, which lacks what a cycle needs: its build has no --force-rm, it has no system df, which finds"
    " what a build leaves, and its push does not print the digest that the registry acknowledged; use docker's own"
    " CLI, or podman"
)

#: The environment variables that a docker program needs to say what it is.
_NEEDED = ("HOME", "PATH")
_ASK_SECONDS = 5.0


def is_nerdctl(text: str) -> bool:
    """Given what a docker program prints as its version or help, return whether it is nerdctl."""
    return _ITSELF.search(text) is not None


def refuse(command: Command) -> NoReturn:
    """Given one of its commands, raise CommandError, which says what it lacks: a runner that runs nothing."""
    raise CommandError(f"{command.argv[0]}: {LACKS}")


def why_unusable(program: str, env: Mapping[str, str], runner: Runner) -> str | None:
    """Given the docker program, the monitor's environment and what runs commands, return why that program can't run
    cycles; None if it can, or if it does not answer: then the cycles say why.
    """
    command = Command((program, "--version"), {name: env[name] for name in _NEEDED if name in env}, _ASK_SECONDS)
    try:
        said = runner(command).stdout
    except CommandError:
        return None
    return LACKS if is_nerdctl(said) else None
