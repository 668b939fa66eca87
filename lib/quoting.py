"""How a message quotes what somebody wrote."""

from __future__ import annotations

import re

#: A value's first word. Where a quotation mark is missing in a file, what follows can be the next key, with a secret.
_SHOWN = re.compile(r"\S{0,100}\s?")


def quoted(text: str) -> str:
    """Given any text, return its first word, at most, fit for one line of a message: in quotes, and escaped."""
    shown = _SHOWN.match(text)
    end = shown.end() if shown else 0
    return ascii(text[:end] + ("..." if end < len(text) else ""))
