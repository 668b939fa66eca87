"""Secret: a text that prints as `<secret>`, with one way to reveal it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

SECRET_PLACEHOLDER = "<secret>"  # noqa: S105  what is shown in place of one

#: A password of more than this is a wrong file, not a password.
LONGEST_SECRET_BYTES = 64 * 1024

_LEAST_LETTERS = 4
_ESCAPED_BY_GO = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


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

    def blanked_in(self, text: str) -> str:
        """Given a text, return it with a placeholder wherever it holds the secret, be it as it is or encoded."""
        for form in self._forms():
            text = text.replace(form, SECRET_PLACEHOLDER)
        return text

    def _forms(self) -> tuple[str, ...]:
        # As it is, in a URL, in a JSON string (Python's and Go's), in base64; longest first, so that none leaves a
        # piece of another.
        in_json = {json.dumps(self._text, ensure_ascii=escaped)[1:-1] for escaped in (True, False)}
        in_go = {form.translate(_ESCAPED_BY_GO) for form in in_json}
        in_url = {quote(self._text, safe=""), quote_plus(self._text)}
        forms = {self._text, *in_url, *in_json, *in_go, *_in_base64(self._text.encode())}
        return tuple(sorted(forms - {""}, key=len, reverse=True))

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


def read_secret_file(path: Path) -> Secret:
    """Given the path of a password file, return its content without the trailing newline.

    Raise OSError where it can't be read, and ValueError (which says why, never what is in it) where its content is no
    password: empty, not UTF-8, of several lines, or longer than `LONGEST_SECRET_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(LONGEST_SECRET_BYTES + 1)
    if len(content) > LONGEST_SECRET_BYTES:
        raise ValueError(f"{path} is longer than {LONGEST_SECRET_BYTES} bytes: not a password file")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        # `from None`: the original exception holds the bytes.
        raise ValueError(f"{path} is not UTF-8 text: not a password file") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ValueError(f"{path} is empty")
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError(f"{path} has more than one line: not a password file")
    return Secret(text)


def _in_base64(secret: bytes) -> Iterator[str]:
    """Yield what of a secret is in base64: as a whole, and behind a user name, by whose length the letters change."""
    whole = base64.b64encode(secret).decode()
    yield from (whole, whole.rstrip("="))
    for before in range(3):
        # The first and the last letter can hold bits of what stands beside it.
        inner = base64.b64encode(bytes(before) + secret).decode().rstrip("=")[(4 * before + 2) // 3 : -1]
        if len(inner) > _LEAST_LETTERS:
            yield inner
