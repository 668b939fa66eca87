"""When a certificate expires, read from its DER form.

Python's `ssl` says that only of certificates that it has verified. A library for X.509 would say it of all, but
`cryptography` adds 10 MB to the monitor's memory and 17 MB to its image, for one date in a fixed place.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

_VERSION, _UTC_TIME = 0xA0, 0x17

#: Before the validity (RFC 5280, 4.1): serial number, signature's algorithm, issuer.
_BEFORE_VALIDITY = 3

#: From here on, a length is the length of the length.
_LONG = 0x80

#: The first two-digit year that belongs to the twentieth century (RFC 5280, 4.1.2.5.1).
_FIRST_OF_1900 = "50"


def not_after(certificate: bytes) -> float:
    """Given a certificate in DER, return when it expires, in seconds since 1970. Raise ValueError if it is not one."""
    try:
        (_, outer), *_ = _elements(certificate)
        (_, signed), *_ = _elements(outer)
        fields = [content for tag, content in _elements(signed) if tag != _VERSION]
        _, (tag, ends) = _elements(fields[_BEFORE_VALIDITY])
        text = ends.decode("ascii")
        if tag == _UTC_TIME:
            text = ("19" if text[:2] >= _FIRST_OF_1900 else "20") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (ValueError, IndexError) as error:
        raise ValueError(f"the certificate can't be read: {error}") from None


def _elements(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Given consecutive elements, yield the tag and content of each. Raise IndexError if one is cut off."""
    at = 0
    while at < len(encoded):
        tag, length = encoded[at], encoded[at + 1]
        at += 2
        if length >= _LONG:
            size = length - _LONG
            length = int.from_bytes(encoded[at : at + size], "big")
            at += size
        if at + length > len(encoded):
            raise IndexError("it is cut off")
        yield tag, encoded[at : at + length]
        at += length
