"""Login: who may read, by the name and password of HTTP's basic authentication."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from ipaddress import IPv6Address, ip_address, ip_network
from itertools import count
from threading import Condition

from lib.web.allowance import Allowance

#: bcrypt itself ignores the rest.
_LONGEST_PASSWORD_BYTES = 72

#: Logins that are remembered: this many good ones, and as many refused ones.
_MOST_REMEMBERED = 100

#: How long a login waits for its turn. They are checked one at a time; otherwise guesses would take all cores.
_PATIENCE_SECONDS = 5.0

#: How many guesses an address has, and how soon it gets one more.
MOST_GUESSES = 10
GUESS_SECONDS = 6.0

#: Addresses whose guesses are counted. With IPv6, the network counts, since everybody has 2 to the 64 addresses.
_MOST_ADDRESSES = 1000
_NETWORK_BITS = 64


class Admission(Enum):
    """The outcome of a login: it is good, or not, or too many others wait, or its address has guessed too often."""

    GRANTED = auto()
    REFUSED = auto()
    BUSY = auto()
    EXHAUSTED = auto()


class Login:
    """Checks logins, and remembers the outcomes, since each check takes a tenth of a second or more."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Given a clock in seconds, remember nobody yet."""
        self._key = secrets.token_bytes(32)
        # The oldest first. They reveal no password without the key, which is in no file.
        self._good: dict[bytes, None] = {}
        self._bad: dict[bytes, None] = {}
        self._guesses = _Guesses(clock)
        self._numbers = count()
        self._waiting: set[tuple[float, int]] = set()
        self._is_checking = False
        self._changed = Condition()

    def admit(self, users: Mapping[str, bytes], header: str, address: str) -> Admission:
        """Given bcrypt hashes by the names of users, the header `Authorization`, and the client's address, return the
        outcome.

        A remembered login costs nothing and waits for nobody. Of the others, the next is the one whose address has
        guessed least.
        """
        name, password = _credentials(header)
        if name is None:
            return Admission.REFUSED
        # An unknown name takes as long as a known one: it is checked against somebody's hash, and refused.
        hashed = users.get(name, max(users.values(), key=_cost))
        asked = b"\0".join((b"known" if name in users else b"unknown", name.encode(), hashed, password))
        mark = hmac.new(self._key, asked, hashlib.sha256).digest()
        with self._changed:
            if (known := self._remembered(mark)) is not None:
                return known
            guesses = self._guesses.of(address)
            if guesses.left() < 1:
                return Admission.EXHAUSTED
            # Each counts as wrong until it proves right.
            is_next = self._await_turn((-guesses.take(1), next(self._numbers)))
            if not is_next or (known := self._remembered(mark)) is not None:
                guesses.take(-1)
                return known or Admission.BUSY
            self._is_checking = True
        try:
            is_good = _matches(password, hashed) and name in users
        finally:
            with self._changed:
                self._is_checking = False
                self._changed.notify_all()
        with self._changed:
            _remember(self._good if is_good else self._bad, mark)
            if is_good:
                guesses.take(-1)
        return Admission.GRANTED if is_good else Admission.REFUSED

    def _remembered(self, mark: bytes) -> Admission | None:
        if mark in self._good:
            return Admission.GRANTED
        return Admission.REFUSED if mark in self._bad else None

    def _await_turn(self, place: tuple[float, int]) -> bool:
        self._waiting.add(place)
        try:
            is_next = lambda: not self._is_checking and place == min(self._waiting)  # noqa: E731
            return self._changed.wait_for(is_next, _PATIENCE_SECONDS)
        finally:
            self._waiting.remove(place)
            self._changed.notify_all()


class _Guesses:
    """How many wrong passwords an address may still send: one more every few seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Given a clock, in seconds."""
        self._clock = clock
        self._allowances: dict[str, Allowance] = {}  # the one that was asked for longest ago comes first

    def of(self, address: str) -> Allowance:
        """Given an address, return what it may guess."""
        network = _network_of(address)
        allowance = self._allowances.pop(network, None) or Allowance(MOST_GUESSES, 1 / GUESS_SECONDS, self._clock)
        self._allowances[network] = allowance
        if len(self._allowances) > _MOST_ADDRESSES:
            del self._allowances[next(iter(self._allowances))]
        return allowance


def _network_of(address: str) -> str:
    with suppress(ValueError):
        parsed = ip_address(address)
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
            return str(ip_network((parsed.packed, _NETWORK_BITS), strict=False))
    return address


def _remember(marks: dict[bytes, None], mark: bytes) -> None:
    if len(marks) >= _MOST_REMEMBERED:
        del marks[next(iter(marks))]
    marks[mark] = None


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
    import bcrypt  # noqa: PLC0415  only needed if somebody has to log in

    try:
        return bcrypt.checkpw(password[:_LONGEST_PASSWORD_BYTES], hashed)
    except ValueError:  # a hash of the right form whose characters are not valid
        return False


def _cost(hashed: bytes) -> int:
    return int(hashed[4:6])
