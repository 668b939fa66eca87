"""What the value of an option may be.

Each `parse_…` takes the text that was given and returns the value, or raises ValueError with one sentence that quotes
the text (never a secret's) and says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from lib.quantity import format_duration, format_size, parse_count, parse_duration, parse_size
from lib.quoting import quoted
from lib.reference import parse_digest
from lib.secret import Secret

LONGEST_NAME = 128

Parse = Callable[[str], Any]


class LogLevel(StrEnum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
    FATAL = "fatal"
    PANIC = "panic"


class LogFormat(StrEnum):
    """How an event is written."""

    TEXT = "text"
    JSON = "json"


class Output(StrEnum):
    """How `once` prints its cycles."""

    TEXT = "text"
    JSON = "json"


def parse_name(text: str) -> str:
    """Given a target's name, return it. Raise ValueError for one that is no fit label."""
    if len(text) > LONGEST_NAME or text != text.strip():
        raise ValueError(f"{quoted(text)} is no name: at most {LONGEST_NAME} characters, no space around them")
    return parse_text(text)


def parse_text(text: str) -> str:
    """Given any text, return it. Raise ValueError where it can't stand in one line of a log."""
    if not text.isprintable():
        raise ValueError(f"{quoted(text)} has a line end or another character that doesn't print")
    return text


def parse_path(text: str) -> Path:
    """Given a path, return it; whether anything is there is not looked at."""
    return Path(parse_text(text))


def parse_program(text: str) -> str:
    """Given a program's name or path, return it."""
    if text.startswith("-"):
        raise ValueError(f"{quoted(text)} is no program: it begins with a dash")
    return parse_text(text)


def parse_username(text: str) -> str:
    """Given a name to log in with, return it."""
    if text.startswith("-") or ":" in text:
        raise ValueError(f"{quoted(text)} is no username: no dash at its beginning, no colon in it")
    return parse_text(text)


def parse_password(text: str) -> Secret:
    """Given a password, return it wrapped. The error never quotes it."""
    # Bytes that are no UTF-8 reach us from argv and environment as lone surrogates.
    if any(character in "\n\r\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("has a line end, a NUL or bytes that are no UTF-8, which no password can have")
    return Secret(text)


def parse_image_id(text: str) -> str:
    """Given a local image's ID, shortened or not, or a digest, return it."""
    if text.startswith("sha256:"):
        return parse_digest(text)
    if not re.fullmatch(r"[0-9a-f]{7,64}", text):
        raise ValueError(f"{quoted(text)} is no image ID: 7 to 64 of the digits 0-9 a-f, or sha256: and 64 of them")
    return text


def parse_address(text: str) -> tuple[str, int]:
    """Given an address to listen on, return its host (empty for all) and port."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65535:  # noqa: PLR2004  the highest port
        raise ValueError(f"{quoted(text)} is no address: :8000, 127.0.0.1:8000 or [::1]:8000, the port 0 to 65535")
    return match[1] or match[2] or "", int(match[3])


def parse_log_level(text: str) -> LogLevel:
    """Given a log level, return it."""
    # The original's logger takes any case, and this second spelling.
    lower = text.lower()
    return one_of(LogLevel)("warn" if lower == "warning" else lower)  # type: ignore[no-any-return]


def one_of(choices: type[StrEnum]) -> Parse:
    """Given the choices, return what parses one of them."""

    def parse(text: str) -> StrEnum:
        try:
            return choices(text)
        except ValueError:
            raise ValueError(f"{quoted(text)} is none of {', '.join(choices)}") from None

    return parse


def duration_within(least: float, most: float) -> Parse:
    """Given bounds in seconds, return what parses a duration within them."""
    return _within(parse_duration, least, most, format_duration)


def size_within(least: int, most: int) -> Parse:
    """Given bounds in bytes, return what parses a size within them."""
    return _within(parse_size, least, most, format_size)


def count_within(least: int, most: int) -> Parse:
    """Given bounds, return what parses a whole number within them."""
    return _within(parse_count, least, most, str)


def _within(parse: Parse, least: float, most: float, shown: Callable[[Any], str]) -> Parse:
    def parse_within(text: str) -> Any:
        value = parse(text)
        if not least <= value <= most:
            raise ValueError(f"{quoted(text)} is out of bounds: {shown(least)} to {shown(most)}")
        return value

    return parse_within
