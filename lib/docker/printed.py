"""Printed: what a docker command printed: to be read as it is, and to be shown without secrets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Self

from lib.blanking import without_secrets
from lib.command import Completed
from lib.secret import Secret

#: How many of a command's last lines are kept for people to read.
OUTPUT_LINES = 12


@dataclass(frozen=True, slots=True)
class Printed(Completed):
    """A docker command that ended. Any of its words that leave the program come from `shown`.

    Attributes:
        secrets: the known ones that it may have printed.
    """

    secrets: tuple[Secret, ...] = ()

    @classmethod
    def by(cls, command: Completed, secrets: Iterable[Secret] = ()) -> Self:
        """Given a command that ended, and the secrets that it can have printed, return it as one of docker's."""
        values = {each.name: getattr(command, each.name) for each in fields(command)}
        return cls(**values | {"secrets": tuple(secrets)})

    @property
    def shown(self) -> Self:
        """The same, without any secret in it."""
        # As a whole, not by lines: a secret can have spaces at its ends, or be broken by a line's end.
        stdout, stderr = (without_secrets(text, self.secrets) for text in (self.stdout, self.stderr))
        return replace(self, stdout=stdout, stderr=stderr, arrivals=())

    def last_lines(self) -> tuple[str, ...]:
        """Return its last lines, as on a terminal, without secrets."""
        shown = self.shown
        # Standard output holds the progress, standard error the error: that comes last.
        lines = [line.rstrip() for text in (shown.stdout, shown.stderr) for line in text.splitlines()]
        return tuple([line for line in lines if line][-OUTPUT_LINES:])
