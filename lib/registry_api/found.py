"""What was found out of a registry beside its cycles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from enum import StrEnum
from types import MappingProxyType

#: Docker Hub and the IETF's draft say it without, others with the prefix: `100;w=21600`, `2000, 2000;window=60`.
_PREFIXES = ("RateLimit", "X-RateLimit")
_NUMBER = re.compile(r"\s*(\d{1,15})\b", re.ASCII)


class Role(StrEnum):
    """What a host is to a registry."""

    REGISTRY = "registry"
    TOKEN = "token"  # noqa: S105  no password, a server that gives out tokens
    STORE = "store"


class Deletion(StrEnum):
    """What came of a deletion."""

    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's certificate.

    Attributes:
        host: the server, with its port if that is not the usual one.
        role: what it is to the registry.
        expires: when the certificate ends, in seconds since 1970.
    """

    host: str
    role: Role
    expires: float


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How often a registry lets one in.

    Attributes:
        limit: how often in all, None if it does not say.
        remaining: how often still, None if it does not say.
    """

    limit: int | None
    remaining: int | None

    @classmethod
    def of(cls, headers: Message) -> RateLimit | None:
        """Given the headers of an answer, return what they say, None if they say nothing."""
        limit, remaining = _said(headers, "Limit"), _said(headers, "Remaining")
        return None if limit is remaining is None else cls(limit, remaining)


def _said(headers: Message, what: str) -> int | None:
    said = (_NUMBER.match(headers.get(f"{prefix}-{what}", "")) for prefix in _PREFIXES)
    return next((int(number[1]) for number in said if number), None)


@dataclass(frozen=True, slots=True)
class Found:
    """All that was found.

    Attributes:
        certificates: those that could be read.
        rate_limit: what the registry last said of it, None if it says nothing, or does not answer.
        deletions: how many there were of superseded manifests, by what came of them; empty if none is wanted.
    """

    certificates: tuple[Certificate, ...] = ()
    rate_limit: RateLimit | None = None
    deletions: Mapping[Deletion, int] = field(default_factory=lambda: MappingProxyType({}))
