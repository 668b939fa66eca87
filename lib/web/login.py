"""Login: who may read, by name and password, as HTTP's basic authentication brings them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from enum import Enum, auto
from threading import Lock

#: bcrypt itself looks at no more.
_LONGEST_PASSWORD_BYTES = 72

#: Logins that are remembered.
_MOST_REMEMBERED = 100

#: How long a login waits for those before it. They are checked one at a time, or guesses would take all cores.
_PATIENCE_SECONDS = 5.0


class Admission(Enum):
    """What comes of a login: it is good, or not, or too many others were waiting."""

    GRANTED = auto()
    REFUSED = auto()
    BUSY = auto()


class Login:
    """Checks logins, and remembers the good ones, since each check takes a tenth of a second or more."""

    def __init__(self) -> None:
        """Remember nobody."""
        self._key = secrets.token_bytes(32)
        # The oldest first. What is kept gives no password away without the key, which is in no file.
        self._remembered: dict[bytes, None] = {}
        self._checking = Lock()

    def admit(self, users: Mapping[str, bytes], header: str) -> Admission:
        """Given bcrypt hashes by the names of users, and the header `Authorization`, return what comes of it."""
        name, password = _credentials(header)
        if name is None:
            return Admission.REFUSED
        # An unknown name takes as long as a known one: it is checked against somebody's hash, and refused.
        hashed = users.get(name, max(users.values(), key=_cost))
        mark = hmac.new(self._key, b"\0".join((name.encode(), hashed, password)), hashlib.sha256).digest()
        if name in users and mark in self._remembered:
            return Admission.GRANTED
        if not self._checking.acquire(timeout=_PATIENCE_SECONDS):
            return Admission.BUSY
        try:
            if not _matches(password, hashed) or name not in users:
                return Admission.REFUSED
            if len(self._remembered) >= _MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[mark] = None
            return Admission.GRANTED
        finally:
            self._checking.release()


def _credentials(header: str) -> tuple[str | None, bytes]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None, b""
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
        name, colon, password = decoded.partition(b":")
        return (name.decode() if colon else None), password
    except (binascii.Error, ValueError):
        return None, b""


def _matches(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415  only needed where somebody has to log in

    try:
        return bcrypt.checkpw(password[:_LONGEST_PASSWORD_BYTES], hashed)
    except ValueError:  # a hash of the right form whose signs are none
        return False


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])
