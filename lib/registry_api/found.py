"""The findings about a registry beside its cycles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from enum import StrEnum
from types import MappingProxyType

#: Docker Hub and the IETF's draft use no prefix, others do: `100;w=21600`, `2000, 2000;window=60`.
_PREFIXES = ("RateLimit", "X-RateLimit")
_NUMBER = re.compile(r"\s*(\d{1,15})\b", re.ASCII)


class Role(StrEnum):
    """What a host is to a registry."""

    REGISTRY = "registry"
    TOKEN = "token"  # noqa: S105  not a password: a server that issues tokens
    STORE = "store"


class Deletion(StrEnum):
    """The outcome of a deletion."""

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
    """How many pulls a registry allows.

    Attributes:
        limit: how many in all, None if it does not say. remaining: how many are left, None if it does not say.
    """

    limit: int | None
    remaining: int | None

    @classmethod
    def of(cls, headers: Message) -> RateLimit | None:
        """Given the headers of an answer, return the limit in them, None if there is none."""
        limit, remaining = _said(headers, "Limit"), _said(headers, "Remaining")
        return None if limit is remaining is None else cls(limit, remaining)


def _said(headers: Message, what: str) -> int | None:
    said = (_NUMBER.match(headers.get(f"{prefix}-{what}", "")) for prefix in _PREFIXES)
    return next((int(number[1]) for number in said if number), None)


@dataclass(frozen=True, slots=True)
class Found:
    """All findings.

    Attributes:
        certificates: those that could be read.
        rate_limit: what the registry last reported, None if it reports nothing, or does not answer. deletions: how many
            there were of superseded manifests, by outcome; empty if the target does not delete any.
    """

    certificates: tuple[Certificate, ...] = ()
    rate_limit: RateLimit | None = None
    deletions: Mapping[Deletion, int] = field(default_factory=lambda: MappingProxyType({}))
