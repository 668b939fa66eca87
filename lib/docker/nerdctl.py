"""nerdctl in docker's place: recognised and refused, since no cycle can be had with it. Nobody else knows its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from lib.command import Command, CommandError, Runner

#: Its version, and the help of any of its commands. It calls itself so under any name.
_ITSELF = re.compile(r"^(?:nerdctl version|Usage: nerdctl)\b", re.MULTILINE)
LACKS = (
    "it is nerdctl, which lacks what a cycle needs: its build has no --force-rm, it has no system df, by which what a"
    " build leaves is found, and its push does not print the digest that the registry acknowledged; use docker's own"
    " CLI, or podman"
)

#: What a docker program needs of the environment to say what it is.
_NEEDED = ("HOME", "PATH")
_ASK_SECONDS = 5.0


def is_nerdctl(text: str) -> bool:
    """Given what a docker program prints as its version or help, return whether it is nerdctl."""
    return _ITSELF.search(text) is not None


def refuse(command: Command) -> NoReturn:
    """Given one of its commands, raise CommandError, which says what it lacks: a runner that runs nothing."""
    raise CommandError(f"{command.argv[0]}: {LACKS}")


def why_unusable(program: str, env: Mapping[str, str], runner: Runner) -> str | None:
    """Given the docker program, the monitor's environment and what runs commands, return why no cycle can be had with
    that program; None if one can, or if it does not answer: then the cycles say why.
    """
    command = Command((program, "--version"), {name: env[name] for name in _NEEDED if name in env}, _ASK_SECONDS)
    try:
        said = runner(command).stdout
    except CommandError:
        return None
    return LACKS if is_nerdctl(said) else None
