"""How a message quotes what somebody wrote, and what they may have meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lib.blanking import without_secrets

#: A value's first word. If a quotation mark is missing in a file, the next key can follow, with a secret.
_SHOWN = re.compile(r"\S{0,100}\s?")

#: What options are called elsewhere, too far from their names here to be found by their letters.
_ELSEWHERE = {
    **dict.fromkeys(("interval", "every", "period", "scrape-interval", "check-interval"), "run-test-every"),
    **dict.fromkeys(("repo", "image", "url"), "repository"),
    **dict.fromkeys(("timeout", "deadline"), "step-timeout"),
    **dict.fromkeys(("address", "port", "bind", "web-listen-address"), "listen"),
    **dict.fromkeys(("file", "config-file"), "config"),
    **dict.fromkeys(("user", "login"), "username"),
    **dict.fromkeys(("passwd", "pass", "token", "secret"), "password"),
    **dict.fromkeys(("state", "data-dir", "storage"), "state-dir"),
    **dict.fromkeys(("check", "dry-run", "validate"), "check-config"),
    **dict.fromkeys(("size", "bytes"), "payload-size"),
    **dict.fromkeys(("layers",), "payload-layers"),
    **dict.fromkeys(("parallel", "workers", "threads", "jobs"), "concurrency"),
}

#: Of many names, how many are shown.
_NAMED = 3


def quoted(text: str) -> str:
    """Given any text, return at most its first word, fit for one line of a message: in quotes, and escaped."""
    text = without_secrets(text)
    shown = _SHOWN.match(text)
    end = shown.end() if shown else 0
    return ascii(text[:end] + ("..." if end < len(text) else ""))


def some_of(names: Sequence[str]) -> str:
    """Given names, return the first few of them, and how many more there are."""
    named = ", ".join(names[:_NAMED])
    return f"{named} and {len(names) - _NAMED} more" if len(names) > _NAMED else named


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Given a name that isn't known, and those that are, return the one that is called so elsewhere, or else the most
    similar; None if there is none.
    """
    from difflib import get_close_matches  # noqa: PLC0415  only a mistake needs it

    forms = {_form(each): each for each in known}
    elsewhere = _ELSEWHERE.get(_form(name))
    if elsewhere in forms:
        return forms[elsewhere]
    return next((forms[form] for form in get_close_matches(_form(name), forms, n=1)), None)


def _form(name: str) -> str:
    return name.lower().replace("_", "-")
