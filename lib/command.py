"""Running one external command: argv, standard input, environment, deadline -> Completed | CommandError.

The only importer of `sh`. What runs is decided elsewhere (`lib.docker`); here is decided how it is run and how it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lib.secret import Secret


class Ending(StrEnum):
    """How a process came to its end."""

    ITSELF = "itself"
    DEADLINE = "deadline"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Command:
    """One command to run.

    Attributes:
        argv: program and arguments; no shell ever sees them.
        env: the whole environment of the child.
        deadline: seconds after which its process group is ended.
        stdin: what is written to its standard input, which is then closed; None for an empty one.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    deadline: float
    stdin: Secret | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran and ended.

    Attributes:
        exit_code: as the shell counts: minus the signal's number where a signal ended it.
        stdout, stderr: the last part of what it printed, decoded.
        seconds: from spawn to exit, monotonic.
        ending: whether it ended by itself or was ended by us, and why.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    ending: Ending = Ending.ITSELF

    @property
    def ok(self) -> bool:
        """Whether it succeeded. An exit code 0 after our own kill is no success."""
        return self.exit_code == 0 and self.ending is Ending.ITSELF


class CommandError(Exception):
    """A command could not be started at all: not found, not executable, no more processes. Its text says which."""


class Runner(Protocol):
    """Whatever runs a command."""

    def __call__(self, command: Command) -> Completed:
        """Given a command, run it to its end and return what came of it. Raise CommandError if it can't be started."""
