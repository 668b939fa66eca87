"""Why a step failed, whose fault that is, what it says of the registry, what to do: Reason, Scope, Verdict, ADVICE.

docs/reasons.md says the same at more length.
"""

from __future__ import annotations

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

#: What to do first, one sentence a reason.
ADVICE: dict[Reason, str] = {
    Reason.SERVER_ERROR: "Look at the registry's own logs and storage, then at what stands in front of it.",
    Reason.RATE_LIMITED: "Log in with an account that has a higher limit, or test this target less often.",
    Reason.NOT_FOUND: (
        "Create the repository, where the registry makes none by itself; or find out who deleted the repository or the"
        " tag, or whether the registry lost data."
    ),
    Reason.QUOTA: "Delete old images from the repository or raise its storage limit.",
    Reason.REJECTED: (
        "Exclude this tag from rules that make tags immutable; or allow what else the registry refused (size, read-only"
        " mode) for this repository."
    ),
    Reason.INTEGRITY: "Treat the registry's storage and caches as suspect, and compare digests from another place.",
    Reason.STALE: "Look for a cache, mirror or replica that still serves an older image, or for a restored backup.",
    Reason.UNCLASSIFIED: "Read docker's own words, and report them so that the next release knows them.",
    Reason.UNAUTHORIZED: "Check that the user name and password still log in, and have not expired.",
    Reason.DENIED: "Check that the account may pull from and push to this repository, and that the repository exists.",
    Reason.DNS: "Resolve the registry's name on this host, then check the resolvers that the docker daemon uses.",
    Reason.REFUSED: (
        "Check that what the error names (the registry, or the token server or store that it sends docker to) runs and"
        " listens on this port, then the load balancer in front."
    ),
    Reason.UNREACHABLE: "Check this host's route to the registry, then firewalls on the way.",
    Reason.RESET: "Look for a proxy, load balancer or firewall that cuts connections, or a registry that crashes.",
    Reason.TLS: "Look at the registry's certificate: expiry, names, issuer; and whether the port speaks TLS at all.",
    Reason.TIMEOUT: "Check how fast the registry answers from elsewhere, then for lost packets on the way.",
    Reason.PROXY: "Check the proxy that the docker daemon is configured with: address, credentials and rules.",
    Reason.DAEMON: "Check on this host that the docker daemon runs, and that this user may open its socket.",
    Reason.CLI: "Run `docker version` as this user: the docker program is missing, misused or was killed.",
    Reason.DISK_FULL: "Free space on the disk of the docker daemon's data folder on this host.",
    Reason.BUILD: "Read the build's last lines and try the same builder by hand on this host.",
    Reason.WARM: "Find what kept the payload on this host: a build cache, or somebody else who pulls this image.",
    Reason.IN_USE: "Find the container on this host that was made from the test image, and remove it.",
    Reason.BASE_IMAGE: "Check the base image's name and its own registry: the monitored registry is not to blame.",
    Reason.REFERENCE: "Correct the repository, tag or base image in the configuration.",
    Reason.FOREIGN: "Give this monitor a repository or tag of its own, or set `overwrite` to replace the image there.",
    Reason.CREDENTIAL_HELPER: "Run the credential helper that the Docker configuration names, by hand, as this user.",
}
