"""Secret: a text that prints as `<secret>`, with one way to reveal it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SECRET_PLACEHOLDER = "<secret>"  # noqa: S105  shown in place of a secret

#: Anything longer than this is the wrong file, not a password.
LONGEST_SECRET_BYTES = 64 * 1024


class Secret:
    """A text that must not be shown.

    Printing, formatting, pickling or comparing it never gives it away; `reveal()` does, and its call sites are the
    only places that know a password.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Given the text to keep, hold it."""
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def as_line(self) -> Secret:
        """Return it for a program that drops a line's end after it, as docker does: so that all of it is left."""
        return Secret(f"{self._text}\r\n") if self._text.endswith(("\n", "\r")) else self

    def __repr__(self) -> str:
        return SECRET_PLACEHOLDER

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(SECRET_PLACEHOLDER, spec)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a Secret is never written anywhere")


@dataclass(frozen=True, slots=True)
class PasswordFile:
    """A file that holds a password.

    Attributes:
        path: where it is.
        written: how the configuration names it, if not by that path.
    """

    path: Path
    written: str = ""

    def __str__(self) -> str:
        return self.written or str(self.path)

    def read(self) -> Secret:
        """Return the password as it is now. Raise ValueError, which says what is wrong with the file, but never what is
        in it.
        """
        try:
            return read_secret_file(self.path)
        except OSError as error:
            raise ValueError(f"{self} can't be read: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{self} {error}") from None


def read_secret_file(path: Path) -> Secret:
    """Given the path of a password file, return its content without the one newline at its end.

    It may have several lines, as a key in JSON has. Raise OSError if it can't be read, and ValueError (which says why,
    never what is in it) if its content is not a password: empty, not UTF-8, with a NUL, or longer than
    `LONGEST_SECRET_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(LONGEST_SECRET_BYTES + 1)
    if len(content) > LONGEST_SECRET_BYTES:
        raise ValueError(f"is longer than {LONGEST_SECRET_BYTES} bytes: not a password file")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        # `from None`: the original exception holds the bytes.
        raise ValueError("is not UTF-8 text: not a password file") from None
    text = text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")
    if not text.strip("\r\n"):
        raise ValueError("is empty")
    if "\0" in text:
        raise ValueError("has a NUL in it: not a password file")
    return Secret(text)
