"""The page's words: failures, spans of time, moments, shares and sizes, in plain language."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from lib.quantity import format_size
from lib.result import Step

#: Keeps a number and its unit on one line.
NBSP = "\N{NO-BREAK SPACE}"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def failure_in_words(step: Step) -> str:
    """Given a step that failed, return what happened, in one sentence without its full stop."""
    words = f"{step.name.words} failed after {span(step.seconds)}"
    return sentence(words if step.reason is None else f"{words}: {step.reason.words}")


def sentence(words: str) -> str:
    """Given words, return them with a capital, as a sentence begins."""
    return words[:1].upper() + words[1:]


def span(seconds: float) -> str:
    """Given seconds, return them as a person would say them: `0.42 s`, `50 s`, `6 min`, `3 h 20 min`, `5 days`."""
    seconds = max(0.0, seconds)
    if seconds >= 1.5 * _MINUTE:
        return _long_span(seconds)
    # Only as many decimals as are meaningful.
    decimals = 2 if round(seconds, 2) < 1 else 1 if round(seconds, 1) < 10 else 0  # noqa: PLR2004  where digits change
    return f"{seconds:.{decimals}f}{NBSP}s"


def _long_span(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / _MINUTE), 60)
    if seconds < 1.5 * _HOUR:
        return f"{60 * hours + minutes}{NBSP}min"
    if seconds >= 2 * _DAY:
        return f"{int(seconds // _DAY)}{NBSP}days"
    if hours >= 10 or not minutes:  # noqa: PLR2004  beyond that, minutes don't matter
        return f"{round(seconds / _HOUR)}{NBSP}h"
    return f"{hours}{NBSP}h{NBSP}{minutes}{NBSP}min"


def moment(when: datetime, now: datetime) -> str:
    """Given a moment and the current time, return it in UTC, with as much of its date as is needed."""
    when, now = when.astimezone(UTC), now.astimezone(UTC)
    shown = f"{when.hour:02}:{when.minute:02}{NBSP}UTC"
    if when.date() == now.date():
        return shown
    day = f"{when.day}{NBSP}{when:%b}"
    return f"{day}, {shown}" if when.year == now.year else f"{day}{NBSP}{when.year}, {shown}"


def percent(share: float) -> str:
    """Given a share, 0 to 1, return it in percent: rounded down, so that only 1 is 100%."""
    hundredths = math.floor(share * 10_000 + 1e-6)
    return f"{hundredths / 100:.2f}".rstrip("0").rstrip(".") + "%"


def size(size_bytes: int) -> str:
    """Given bytes, return them in the largest unit that divides them: `256 KiB`."""
    return re.sub(r"(?<=[0-9])(?=[A-Z])", NBSP, format_size(size_bytes))


def count(number: int, singular: str, plural: str) -> str:
    """Given a number, and what to call one and several, return both: `1 layer`, `3 layers`."""
    return f"{number}{NBSP}{singular if number == 1 else plural}"
