"""The values that an option may have.

Each `parse_…` takes a text and returns the value, or raises ValueError with one sentence that quotes the text (never a
secret) and says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lib.quantity import format_duration, format_size, parse_count, parse_duration, parse_size
from lib.quoting import quoted
from lib.reference import parse_digest
from lib.secret import Secret
from lib.target import LABEL_PREFIX

LONGEST_NAME = 128

#: How long a label's name and its value may be. An image's labels are one line of a Dockerfile, which may have 64 KB.
_LONGEST_LABEL = 128
_LABEL_NAME = re.compile(rf"[A-Za-z0-9](?:[A-Za-z0-9._/-]{{0,{_LONGEST_LABEL - 2}}}[A-Za-z0-9])?")
#: How many labels an image may be given.
MOST_LABELS = 32

#: A variable that a shell or a template would replace.
_VARIABLE = re.compile(r"\$\{\w+\}|\$[A-Z_][A-Z0-9_]*|\{\{.*\}\}", re.ASCII)

Parse = Callable[[str], Any]


class LogLevel(StrEnum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    FATAL = "fatal"
    PANIC = "panic"

    @classmethod
    def _missing_(cls, value: object) -> LogLevel | None:
        # The original's logger takes any case, and a second spelling.
        lower = str(value).lower()
        return cls.WARN if lower == "warning" else cls.__members__.get(lower.upper())


class LogFormat(StrEnum):
    """How an event is written."""

    TEXT = "text"
    JSON = "json"


class Output(StrEnum):
    """How `once` prints its cycles."""

    TEXT = "text"
    JSON = "json"


class Address(NamedTuple):
    """An address to listen on; an empty host means all addresses."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_name(text: str) -> str:
    """Given a target's name, return it. Raise ValueError if it is not fit as a label."""
    if len(text) > LONGEST_NAME or text != text.strip():
        raise ValueError(f"{quoted(text)} is not a name: at most {LONGEST_NAME} characters, no space around them")
    return parse_text(text)


def parse_text(text: str) -> str:
    """Given any text, return it. Raise ValueError if it does not fit into one line of a log."""
    if not text.isprintable():
        raise ValueError(f"{quoted(text)} has a line end or another character that doesn't print")
    return text


def parse_path(text: str) -> Path:
    """Given a path, return it, with `~` at its beginning expanded as in a shell. Nothing has to be there."""
    try:
        return Path(parse_text(text)).expanduser()
    except RuntimeError:
        raise ValueError(f"{quoted(text)} begins with ~, and it is not known whose home that is") from None


def parse_program(text: str) -> str:
    """Given a program's name or path, return it."""
    if text.startswith("-"):
        raise ValueError(f"{quoted(text)} is not a program: it begins with a dash")
    return parse_text(text)


def parse_username(text: str) -> str:
    """Given a name to log in with, return it."""
    if text.startswith("-") or ":" in text:
        raise ValueError(f"{quoted(text)} is not a username: no dash at its beginning, no colon in it")
    return parse_text(text)


def parse_password(text: str) -> Secret:
    """Given a password, return it wrapped. The error never quotes it."""
    # Bytes that are not UTF-8 reach us from argv and environment as lone surrogates.
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("has a NUL or bytes that are not UTF-8, which no password can have")
    if _VARIABLE.fullmatch(text):
        raise ValueError(
            "names a variable, and variables are not expanded: set REGISTRY_MONITOR_PASSWORD, or give a `password-file`"
        )
    if text.endswith(("\n", "\r")):
        raise ValueError("ends with a line end: leave that out, or put the password into a `password-file`")
    return Secret(text)


def parse_heartbeat_url(text: str) -> Secret:
    """Given a URL to report verdicts to, return it. Errors about it quote none of it."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if url.scheme not in {"http", "https"} or not url.hostname or port == 0:
        raise ValueError("is not a URL that begins with http:// or https:// and a host")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("has a character that no URL has: write it as %XX")
    if "@" in url.netloc:
        raise ValueError("has a user or password before its host, which would not be sent")
    return Secret(text)


def parse_outside_a_file(text: str) -> None:  # noqa: ARG001  whatever it is
    """Raise ValueError: no text stands for a mapping."""
    raise ValueError("can only be given in a file: it is a mapping")


def parse_label(name: str, value: str) -> tuple[str, str]:
    """Given the name and the value of a label for an image, return them."""
    if name.lower().startswith(LABEL_PREFIX):
        raise ValueError(f"{quoted(name)} can't be set: monitors know their images by the labels {LABEL_PREFIX}*")
    if not _LABEL_NAME.fullmatch(name):
        raise ValueError(
            f"{quoted(name)} is not a label's name: up to {_LONGEST_LABEL} of A-Z a-z 0-9 . _ / -, a letter or digit at"
            " both ends"
        )
    if len(value) > _LONGEST_LABEL:
        raise ValueError(f"{quoted(name)} has a value of more than {_LONGEST_LABEL} characters")
    return name, parse_text(value)


def parse_image_id(text: str) -> str:
    """Given a local image's ID, shortened or not, or a digest, return it."""
    if text.startswith("sha256:"):
        return parse_digest(text)
    if not re.fullmatch(r"[0-9a-f]{7,64}", text):
        raise ValueError(
            f"{quoted(text)} is not an image ID: write 7 to 64 of the digits 0-9 a-f, or sha256: and 64 of them"
        )
    return text


def parse_address(text: str) -> Address:
    """Given an address to listen on, return it."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:  # noqa: PLR2004  the highest port
        raise ValueError(
            f"{quoted(text)} is not an address: write :8000, 127.0.0.1:8000 or [::1]:8000, with a port from 0 to 65535"
        )
    return Address(match[1] or match[2] or "", int(match[3]))


@dataclass(frozen=True, slots=True)
class OneOf:
    """Parses one of several choices.

    Attributes:
        choices: the choices.
    """

    choices: type[StrEnum]

    def __call__(self, text: str) -> StrEnum:
        """Given the text of a choice, return it."""
        try:
            return self.choices(text)
        except ValueError:
            raise ValueError(f"{quoted(text)} is not one of {', '.join(self.choices)}") from None


@dataclass(frozen=True, slots=True)
class Within:
    """Parses a quantity within bounds.

    Attributes:
        parse: parses the quantity.
        least, most: its bounds.
        show: returns the text of a quantity.
    """

    parse: Parse
    least: float
    most: float
    show: Callable[[Any], str]

    @property
    def bounds(self) -> str:
        """The bounds, as text."""
        return f"{self.show(self.least)} to {self.show(self.most)}"

    def __call__(self, text: str) -> Any:
        """Given the text of a quantity, return it."""
        value = self.parse(text)
        if not self.least <= value <= self.most:
            raise ValueError(f"{quoted(text)} is out of bounds: {self.bounds}")
        return value


def duration_within(least: float, most: float) -> Within:
    """Given bounds in seconds, return a parser of durations within them."""
    return Within(parse_duration, least, most, format_duration)


def size_within(least: int, most: int) -> Within:
    """Given bounds in bytes, return a parser of sizes within them."""
    return Within(parse_size, least, most, format_size)


def count_within(least: int, most: int) -> Within:
    """Given bounds, return a parser of whole numbers within them."""
    return Within(parse_count, least, most, str)
