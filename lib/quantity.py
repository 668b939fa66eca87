"""Durations, sizes, counts and booleans, as written on a command line and in a file.

Each `parse_…` raises ValueError with one sentence that quotes what was given and says what is allowed.
"""

from __future__ import annotations

import re

from lib.quoting import quoted

#: One number with its unit, as Go's time.ParseDuration takes it. Checked before durationpy reads it, which also takes
#: units from days to years, digits of any script, and `1.2.3s`.
DURATION = re.compile(r"(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+")
_LONGEST_NUMBER = 32

_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
SIZE = re.compile(r"([0-9]+) ?([A-Za-z]*)", re.ASCII)

_GO_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def is_boolean(text: str) -> bool:
    """Given any text, return whether it is a boolean as Go's strconv.ParseBool takes it."""
    return text in _GO_BOOLEANS


def parse_boolean(text: str) -> bool:
    """Given a boolean as Go's strconv.ParseBool takes it, return it."""
    if not is_boolean(text):
        raise ValueError(f"{quoted(text)} is neither true nor false")
    return _GO_BOOLEANS[text]


def parse_duration(text: str) -> float:
    """Given a duration as Go's time.ParseDuration takes it, not negative, return it in seconds."""
    # Imported here: with the datetime that it needs, it takes a tenth of the time that `-version` may take.
    from durationpy import from_str  # noqa: PLC0415

    unsigned = text.removeprefix("+")
    if len(text) > _LONGEST_NUMBER or not (unsigned == "0" or DURATION.fullmatch(unsigned)):
        raise ValueError(f"{quoted(text)} is not a duration: write a number with its unit, such as 90s or 1h30m")
    try:
        return float(from_str(text).total_seconds())
    except ValueError:
        raise ValueError(f"{quoted(text)} is too long") from None


def format_duration(seconds: float) -> str:
    """Given seconds, return them as Go writes a duration: `1h30m`, `500ms`."""
    from datetime import timedelta  # noqa: PLC0415  as in parse_duration()

    from durationpy import to_str  # noqa: PLC0415

    return str(to_str(timedelta(seconds=seconds))) if seconds else "0s"


def parse_size(text: str) -> int:
    """Given a size, return it in bytes: a whole number, and B, kB, MB, GB (of 1000), KiB, MiB or GiB (of 1024)."""
    match = SIZE.fullmatch(text)
    if match is None or match[2] not in _SIZE_UNITS or len(text) > _LONGEST_NUMBER:
        raise ValueError(
            f"{quoted(text)} is not a size: write a whole number of B, kB, MB, GB, KiB, MiB or GiB, such as 256KiB"
        )
    return int(match[1]) * _SIZE_UNITS[match[2]]


def format_size(size: int) -> str:
    """Given bytes, return them in the largest unit that divides them: `256KiB`."""
    unit = max(
        (unit for unit in ("B", "KiB", "MiB", "GiB") if size % _SIZE_UNITS[unit] == 0), key=_SIZE_UNITS.__getitem__
    )
    return f"{size // _SIZE_UNITS[unit]}{unit}"


def parse_count(text: str) -> int:
    """Given a whole number in decimal digits, return it."""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise ValueError(f"{quoted(text)} is not a whole number")
    return int(text)
