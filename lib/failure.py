"""Why a step failed, whose fault that is, and what that says of the registry: Reason, Scope, Verdict, Failure.

`classify()` reads docker's words when it fails; nothing else in the program does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a cycle says of its registry."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """Whose fault a failure is."""

    REGISTRY = "registry"
    CREDENTIALS = "credentials"
    NETWORK = "network"
    HOST = "host"
    DEPENDENCY = "dependency"
    CONFIG = "config"

    @property
    def verdict(self) -> Verdict:
        """The verdict of a cycle that failed with this scope: what users of the registry also meet is `down`."""
        users_meet_it_too = self in (Scope.REGISTRY, Scope.CREDENTIALS, Scope.NETWORK)
        return Verdict.DOWN if users_meet_it_too else Verdict.UNKNOWN


class Reason(StrEnum):
    """Why a step failed."""

    SERVER_ERROR = "server_error"
    RATE_LIMITED = "rate_limited"
    NOT_FOUND = "not_found"
    QUOTA = "quota"
    REJECTED = "rejected"
    INTEGRITY = "integrity"
    STALE = "stale"
    UNCLASSIFIED = "unclassified"
    UNAUTHORIZED = "unauthorized"
    DENIED = "denied"
    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    TLS = "tls"
    TIMEOUT = "timeout"
    PROXY = "proxy"
    DAEMON = "daemon"
    CLI = "cli"
    DISK_FULL = "disk_full"
    BUILD = "build"
    WARM = "warm"
    IN_USE = "in_use"
    BASE_IMAGE = "base_image"
    REFERENCE = "reference"
    FOREIGN = "foreign"
    CREDENTIAL_HELPER = "credential_helper"

    @property
    def scope(self) -> Scope:
        """Whose fault a failure of this reason is."""
        return _SCOPES[self]


_REASONS_BY_SCOPE: dict[Scope, tuple[Reason, ...]] = {
    Scope.REGISTRY: (
        Reason.SERVER_ERROR,
        Reason.RATE_LIMITED,
        Reason.NOT_FOUND,
        Reason.QUOTA,
        Reason.REJECTED,
        Reason.INTEGRITY,
        Reason.STALE,
        Reason.UNCLASSIFIED,
    ),
    Scope.CREDENTIALS: (Reason.UNAUTHORIZED, Reason.DENIED),
    Scope.NETWORK: (
        Reason.DNS,
        Reason.REFUSED,
        Reason.UNREACHABLE,
        Reason.RESET,
        Reason.TLS,
        Reason.TIMEOUT,
        Reason.PROXY,
    ),
    Scope.HOST: (Reason.DAEMON, Reason.CLI, Reason.DISK_FULL, Reason.BUILD, Reason.WARM, Reason.IN_USE),
    Scope.DEPENDENCY: (Reason.BASE_IMAGE,),
    Scope.CONFIG: (Reason.REFERENCE, Reason.FOREIGN, Reason.CREDENTIAL_HELPER),
}
_SCOPES: dict[Reason, Scope] = {reason: scope for scope, reasons in _REASONS_BY_SCOPE.items() for reason in reasons}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed step, judged.

    Attributes:
        reason: why.
        detail: the last meaningful line that docker printed, whole; or our own sentence where docker said nothing.
        not_there: docker's words can mean that the image or repository does not exist (an empty repository).
    """

    reason: Reason
    detail: str
    not_there: bool = False

    @property
    def scope(self) -> Scope:
        """Whose fault it is."""
        return self.reason.scope
