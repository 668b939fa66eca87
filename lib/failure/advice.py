"""Advice: what to do first about a failure. A row of `reason` has the usual one; some cases allow plainer advice.

A case is known by its detail, which names the path or limit in question: so advice is the same after a restart.
"""

from __future__ import annotations

from typing import NamedTuple

from lib.failure.reason import Reason
from lib.failure.words import Words


class _Case(NamedTuple):
    reasons: frozenset[Reason]
    detail: Words
    advice: str


def _case(reasons: str, detail: str, advice: str) -> _Case:
    return _Case(frozenset(map(Reason, reasons.split())), Words(detail), advice)


#: The reasons, what the detail of a plainer case says, and what to do. The first two details come from `lib.cycle`.
_CASES = (
    _case(
        "unauthorized denied",
        "; this target has no login$",
        "This target has no login: set `username` and `password-file`, or `docker-config` to a folder in which"
        " `docker login` keeps logins, such as ~/.docker.",
    ),
    _case(
        "denied",
        "; this monitor pushed here before",
        "Find out who has deleted the repository since then, or took this account's rights: some registries answer both"
        " with the same words.",
    ),
    _case(
        "timeout",
        "; the limit is step-timeout=",
        "If the registry is only slow, allow more with `step-timeout`; else look for lost packets on the way.",
    ),
    _case(
        "credential_helper",
        r"^the password file \$\{?CREDENTIALS_DIRECTORY",
        "systemd hands a credential to the service when it starts: restart it, or name the file itself, if the service"
        " may read it.",
    ),
    _case(
        "credential_helper",
        "^the password file .{0,500}Permission denied",
        "Let the monitor's user read this file: for the service of systemd, `chgrp registry-monitor FILE` and"
        " `chmod 640 FILE`.",
    ),
    _case(
        "credential_helper",
        "^the password file ",
        "Check that this file is there, that it holds the password, and that the monitor's user may read it.",
    ),
    _case(
        "credential_helper",
        "^the logins in ",
        "Check that this file is there and whole, and that the monitor's user may read it: `docker login` writes it.",
    ),
    _case(
        # Pulp's, without a word of how often.
        "rate_limited",
        r"unsupported: request was throttled\.$",
        "Look at the registry's task workers: it answers like this while a task of the same repository, such as a"
        " deletion, waits for one.",
    ),
    _case(
        "not_found",
        ", which this is a replica of, has not pushed yet$",
        "Wait for the source's first push, or find out why there is none: until then there is nothing to replicate.",
    ),
    _case(
        "foreign",
        "^replica-of is ",
        "Check that this tag shows what the target in `replica-of` pushes. If the image is from before a restart, give"
        " the monitor a `state-dir`, by which it knows its own images.",
    ),
    _case(
        "integrity",
        ", and expect-digest is ",
        "Find out who moved the tag; if the new image is right, set `expect-digest` to its digest.",
    ),
    _case(
        "warm",
        "^this host had ",
        "Remove this image, or what was built on it, from the monitor's host, or watch this target from another host.",
    ),
    _case(
        "daemon",
        "permission denied.{0,200}(?:socket|docker api)|dial unix.{0,200}permission denied",
        "Let the monitor's user open the docker socket: `sudo usermod -aG docker USER`, then start the monitor again.",
    ),
    _case(
        "daemon",
        "; refused: [A-Z]+ /",
        "Allow this request in the proxy before the docker socket, or in the engine's authorization plugin:"
        " docs/socket-proxies.md lists all that a monitor needs.",
    ),
    _case(
        "daemon",
        r"for api route and version|denied by plugin|plugin \S+ failed|error response from daemon: \d{3} ",
        "Look at what stands before the engine: a proxy before the docker socket, or an authorization plugin.",
    ),
)


def advice_for(reason: Reason, detail: str) -> str:
    """Given a reason and the detail of a failure, return what to do first: a sentence."""
    return next(
        (case.advice for case in _CASES if reason in case.reasons and case.detail.search(detail)), reason.advice
    )
