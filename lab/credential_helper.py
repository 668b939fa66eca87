"""CredentialHelper: a `docker-credential-…` program, in which the Docker CLI looks for logins instead of its own file.

Run as a program, this module is that helper: docker names a verb, and says the rest on standard input.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Self

#: The words that docker takes for "no such login"; any others are a failure of the helper.
_NO_SUCH_LOGIN = "credentials not found in native keychain"


class CredentialHelper:
    """A credential helper with a store of its own.

    Attributes:
        name: as a Docker configuration names it, in `credsStore` or `credHelpers`.
        folder: holds the program, and is to be put on PATH.
    """

    name = "lab"

    def __init__(self, folder: Path) -> None:
        """Given the folder of a helper that was made before, use it."""
        self.folder = folder
        self._store = folder / "logins.json"
        self._asked = folder / "asked"
        self._lock = folder / "locked"
        self._broken = folder / "broken"

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Given a folder to make, make a helper without logins in it, and return that. Raise OSError."""
        folder.mkdir(parents=True)
        command = shlex.join((sys.executable, str(Path(__file__).resolve()), str(folder)))
        program = folder / f"docker-credential-{cls.name}"
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o755)
        helper = cls(folder)
        helper._write({})
        return helper

    def keep(self, host: str, username: str, password: str) -> None:
        """Given a registry's host, and a login there, keep it."""
        self._write({**self.logins(), host: [username, password]})

    def logins(self) -> dict[str, list[str]]:
        """Return user and password by host."""
        logins: dict[str, list[str]] = json.loads(self._store.read_text())
        return logins

    def asked(self) -> list[str]:
        """Return the verbs that docker has used so far."""
        return self._asked.read_text().split() if self._asked.exists() else []

    def lock(self) -> None:
        """Make it refuse every answer from now on, as a locked keychain does."""
        self._lock.touch()

    def break_down(self) -> None:
        """Make it print each answer from now on, and fail all the same."""
        self._broken.touch()

    @property
    def exit_code(self) -> int:
        """What it exits with after an answer."""
        return 1 if self._broken.exists() else 0

    def answer(self, verb: str, said: str) -> str:
        """Given docker's verb and what it said, return the answer. Raise LookupError, with the words, for none."""
        with self._asked.open("a") as asked:
            asked.write(f"{verb}\n")
        if self._lock.exists():
            raise LookupError("the keychain is locked")
        logins = self.logins()
        match verb:
            case "list":
                return json.dumps({host: username for host, (username, _) in logins.items()})
            case "store":
                login = json.loads(said)
                self.keep(login["ServerURL"], login["Username"], login["Secret"])
                return ""
        if said not in logins:
            raise LookupError(_NO_SUCH_LOGIN)
        if verb == "erase":
            self._write({host: login for host, login in logins.items() if host != said})
            return ""
        username, password = logins[said]
        return json.dumps({"ServerURL": said, "Username": username, "Secret": password})

    def _write(self, logins: dict[str, list[str]]) -> None:
        self._store.write_text(json.dumps(logins))


if __name__ == "__main__":
    helper = CredentialHelper(Path(sys.argv[1]))
    try:
        print(helper.answer(sys.argv[2], sys.stdin.read().strip()))
        sys.exit(helper.exit_code)
    except LookupError as error:
        print(*error.args)  # docker reads the words on standard output
        sys.exit(1)
