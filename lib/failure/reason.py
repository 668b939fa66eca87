"""Why a step failed, whose fault that is, and what it says about the registry: Reason, Scope, Verdict.

Everything that the program knows about a reason or a scope is in its row here. docs/reasons.md says the same in more
detail.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self


class Verdict(StrEnum):
    """What a cycle says about its registry."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """Whose fault a failure is.

    Attributes:
        verdict: of a cycle that failed with this scope: `down` if users of the registry are affected, too.
        words: whose fault it is and whether the registry's users are affected, for people: a sentence.
    """

    verdict: Verdict
    words: str

    REGISTRY = "registry", Verdict.DOWN, "The registry is at fault; its users are affected."
    CREDENTIALS = "credentials", Verdict.DOWN, "The account is at fault; everyone who uses it is affected."
    NETWORK = "network", Verdict.DOWN, "The problem is between this host and the registry; users may be affected."
    HOST = "host", Verdict.UNKNOWN, "The monitor's own host is at fault: nothing is known of the registry."
    DEPENDENCY = (
        "dependency",
        Verdict.UNKNOWN,
        (
            "Something else is to blame, such as a base image's registry or a replica's source: nothing is known of"
            " this registry."
        ),
    )
    CONFIG = "config", Verdict.UNKNOWN, "The monitor's set-up is at fault: nothing is known of the registry."

    def __new__(cls, name: str, *row: Any) -> Self:
        """Given a row, make it a member; its name alone finds it later."""
        scope = str.__new__(cls, name)
        scope._value_ = name
        scope.verdict, scope.words = row
        return scope


class Reason(StrEnum):
    """Why a step failed.

    Attributes:
        scope: whose fault it is.
        words: what happened, for people, to be read after "push failed after 50 s: ".
        advice: what to do first, for people: a sentence.
    """

    scope: Scope
    words: str
    advice: str

    # A row begins with its name and scope, and has a line for its words and one for its advice.
    # fmt: off
    SERVER_ERROR = ("server_error", Scope.REGISTRY,
        "the registry answered with a server error",
        "Look at the registry's own logs and storage, then at what stands in front of it.")
    RATE_LIMITED = ("rate_limited", Scope.REGISTRY,
        "the registry said that it was asked too often",
        "Log in with an account that has a higher limit, or test this target less often.")
    NOT_FOUND = ("not_found", Scope.REGISTRY,
        "the registry said that the image is not there",
        ("Create the repository, if the registry does not do so by itself; or find out who deleted the repository or"
         " the tag, or whether the registry lost data."))
    QUOTA = ("quota", Scope.REGISTRY,
        "a storage limit of the registry is reached",
        "Delete old images from the repository or raise its storage limit.")
    REJECTED = ("rejected", Scope.REGISTRY,
        "the registry understood the request and refused it",
        ("Exclude this tag from rules that make tags immutable; or allow what else the registry refused (size,"
         " read-only mode) for this repository."))
    INTEGRITY = ("integrity", Scope.REGISTRY,
        "what came back is not what was sent",
        "Treat the registry's storage and caches as suspect, and compare digests from another place.")
    STALE = ("stale", Scope.REGISTRY,
        "the registry gave back an older image than the one that was pushed last",
        "Look for a cache, mirror or replica that still serves an older image, or for a restored backup.")
    UNCLASSIFIED = ("unclassified", Scope.REGISTRY,
        "docker said why in words that this monitor does not know",
        "Read docker's own words, and report them so that the next release knows them.")
    UNAUTHORIZED = ("unauthorized", Scope.CREDENTIALS,
        "the registry did not accept the login",
        "Check that the user name and password still log in, and have not expired.")
    DENIED = ("denied", Scope.CREDENTIALS,
        "the registry let this account in, but did not let it do this",
        "Check that the account may pull from and push to this repository, and that the repository exists.")
    DNS = ("dns", Scope.NETWORK,
        "the registry's name could not be resolved",
        "Resolve the registry's name on this host, then check the resolvers that the docker daemon uses.")
    REFUSED = ("refused", Scope.NETWORK,
        "nothing accepts connections at the address that docker was sent to",
        ("Check that what the error names (the registry, or the token server or store that it sends docker to) runs"
         " and listens on this port, then the load balancer in front."))
    UNREACHABLE = ("unreachable", Scope.NETWORK,
        "there is no route to the registry's address",
        "Check this host's route to the registry, then firewalls on the way.")
    RESET = ("reset", Scope.NETWORK,
        "the connection was cut",
        "Look for a proxy, load balancer or firewall that cuts connections, or a registry that crashes.")
    TLS = ("tls", Scope.NETWORK,
        "no TLS connection that docker trusts could be made",
        "Look at the registry's certificate: expiry, names, issuer; and whether the port speaks TLS at all.")
    TIMEOUT = ("timeout", Scope.NETWORK,
        "it did not finish by its deadline",
        "Check how fast the registry answers from elsewhere, then for lost packets on the way.")
    PROXY = ("proxy", Scope.NETWORK,
        "the proxy on the way failed or refused",
        "Check the proxy that the docker daemon is configured with: address, credentials and rules.")
    DAEMON = ("daemon", Scope.HOST,
        "the docker daemon on the monitor's host did not do its part",
        "Check on this host that the docker daemon runs, and that this user may open its socket.")
    CLI = ("cli", Scope.HOST,
        "the docker program on the monitor's host could not do its part",
        "Run `docker version` as this user: the docker program is missing, misused or was killed.")
    DISK_FULL = ("disk_full", Scope.HOST,
        "the disk of the docker daemon on the monitor's host is full",
        "Free space on the disk of the docker daemon's data folder on this host.")
    BUILD = ("build", Scope.HOST,
        "the test image could not be built on the monitor's host",
        "Read the build's last lines and try the same builder by hand on this host.")
    WARM = ("warm", Scope.HOST,
        "the payload was still on the monitor's host, so that nothing had to be moved",
        "Find what kept the payload on this host: a build cache, or somebody else who pulls this image.")
    IN_USE = ("in_use", Scope.HOST,
        "something on the monitor's host still uses the test image",
        "Find the container on this host that was made from the test image, and remove it.")
    STARVED = ("starved", Scope.HOST,
        "this host stood still, or left the step too little time",
        ("Check whether this host was paused, suspended or overloaded; then that `cycle-timeout` has room for"
         " `step-timeout` beside the build."))
    BASE_IMAGE = ("base_image", Scope.DEPENDENCY,
        "the base image could not be pulled from its own registry",
        "Check the base image's name and its own registry: the monitored registry is not to blame.")
    REFERENCE = ("reference", Scope.CONFIG,
        "docker does not accept a name that the configuration gives",
        "Correct the repository, tag or base image in the configuration.")
    FOREIGN = ("foreign", Scope.CONFIG,
        "the tag holds an image that this monitor did not make",
        "Give this monitor a repository or tag of its own, or set `overwrite` to replace the image there.")
    CREDENTIAL_HELPER = ("credential_helper", Scope.CONFIG,
        "the login could not be read on the monitor's host, or its credential helper failed",
        "Run the credential helper that the Docker configuration names, by hand, as this user.")
    # fmt: on

    def __new__(cls, name: str, *row: Any) -> Self:
        """Given a row, make it a member; its name alone finds it later."""
        reason = str.__new__(cls, name)
        reason._value_ = name
        try:
            reason.scope, reason.words, reason.advice = row
        except ValueError:
            raise TypeError(f"the reason {name} needs a scope, words and advice") from None
        return reason
