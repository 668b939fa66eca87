"""The page's words: steps, reasons, spans of time, moments, shares and sizes, as people say them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from lib.failure import Reason, Scope
from lib.quantity import format_size
from lib.result import Step, StepName

#: Keeps a number and its unit on one line.
NBSP = "\N{NO-BREAK SPACE}"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400

STEPS: dict[StepName, str] = {
    StepName.LOGIN: "login",
    StepName.PULL: "pull",
    StepName.BASE: "pull of the base image",
    StepName.BUILD: "build",
    StepName.PUSH: "push",
    StepName.RMI: "removal",
    StepName.PULL_BACK: "pull back",
}

#: What happened, to be read after "push failed after 50 s: ".
REASONS: dict[Reason, str] = {
    Reason.SERVER_ERROR: "the registry answered with a server error",
    Reason.RATE_LIMITED: "the registry said that it was asked too often",
    Reason.NOT_FOUND: "the registry said that the image is not there",
    Reason.QUOTA: "a storage limit of the registry is reached",
    Reason.REJECTED: "the registry understood the request and refused it",
    Reason.INTEGRITY: "what came back is not what was sent",
    Reason.STALE: "the registry gave back an older image than the one that was pushed last",
    Reason.UNCLASSIFIED: "docker said why in words that this monitor does not know",
    Reason.UNAUTHORIZED: "the registry did not accept the login",
    Reason.DENIED: "the registry let this account in, but did not let it do this",
    Reason.DNS: "the registry's name could not be resolved",
    Reason.REFUSED: "nothing accepts connections at the address that docker was sent to",
    Reason.UNREACHABLE: "no way leads to the registry's address",
    Reason.RESET: "the connection was cut",
    Reason.TLS: "no TLS connection that docker trusts could be made",
    Reason.TIMEOUT: "it had not ended by its deadline",
    Reason.PROXY: "the proxy on the way failed or refused",
    Reason.DAEMON: "the docker daemon on the monitor's host did not do its part",
    Reason.CLI: "the docker program on the monitor's host could not do its part",
    Reason.DISK_FULL: "the disk of the docker daemon on the monitor's host is full",
    Reason.BUILD: "the test image could not be built on the monitor's host",
    Reason.WARM: "the payload was still on the monitor's host, so that nothing had to be moved",
    Reason.IN_USE: "something on the monitor's host still uses the test image",
    Reason.BASE_IMAGE: "the base image could not be had from its own registry",
    Reason.REFERENCE: "docker does not accept a name that the configuration gives",
    Reason.FOREIGN: "the tag holds an image that this monitor did not make",
    Reason.CREDENTIAL_HELPER: "the credential helper of the Docker configuration failed",
}

#: Whose fault it is, and whether the registry's users meet it, too.
SCOPES: dict[Scope, str] = {
    Scope.REGISTRY: "The fault is the registry's: its users meet it, too.",
    Scope.CREDENTIALS: "The fault is in the account: whoever uses it meets it, too.",
    Scope.NETWORK: "The fault is on the way to the registry: its users may meet it, too.",
    Scope.HOST: "The fault is on the monitor's own host: nothing is known of the registry.",
    Scope.DEPENDENCY: "The fault is another registry's, which serves the base image: nothing is known of this one.",
    Scope.CONFIG: "The fault is in how the monitor is set up: nothing is known of the registry.",
}


def failure_in_words(step: Step) -> str:
    """Given a step that failed, return what happened, in one sentence without its full stop."""
    words = f"{STEPS[step.name]} failed after {span(step.seconds)}"
    return sentence(words if step.reason is None else f"{words}: {REASONS[step.reason]}")


def sentence(words: str) -> str:
    """Given words, return them as a sentence begins."""
    return words[:1].upper() + words[1:]


def span(seconds: float) -> str:
    """Given seconds, return them as a person would say them: `0.42 s`, `50 s`, `6 min`, `3 h 20 min`, `5 days`."""
    seconds = max(0.0, seconds)
    if seconds >= 1.5 * _MINUTE:
        return _long_span(seconds)
    # As many decimals as tell something.
    decimals = 2 if round(seconds, 2) < 1 else 1 if round(seconds, 1) < 10 else 0  # noqa: PLR2004  where digits change
    return f"{seconds:.{decimals}f}{NBSP}s"


def _long_span(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / _MINUTE), 60)
    if seconds < 1.5 * _HOUR:
        return f"{60 * hours + minutes}{NBSP}min"
    if seconds >= 2 * _DAY:
        return f"{int(seconds // _DAY)}{NBSP}days"
    if hours >= 10 or not minutes:  # noqa: PLR2004  from there on, minutes tell nothing
        return f"{round(seconds / _HOUR)}{NBSP}h"
    return f"{hours}{NBSP}h{NBSP}{minutes}{NBSP}min"


def moment(when: datetime, now: datetime) -> str:
    """Given a moment and the time, return it in UTC, with as much of its date as is needed."""
    when, now = when.astimezone(UTC), now.astimezone(UTC)
    shown = f"{when.hour:02}:{when.minute:02}{NBSP}UTC"
    if when.date() == now.date():
        return shown
    day = f"{when.day}{NBSP}{when:%b}"
    return f"{day}, {shown}" if when.year == now.year else f"{day}{NBSP}{when.year}, {shown}"


def percent(share: float) -> str:
    """Given a share, 0 to 1, return it in percent: rounded down, so that only all is 100%."""
    hundredths = math.floor(share * 10_000 + 1e-6)
    return f"{hundredths / 100:.2f}".rstrip("0").rstrip(".") + "%"


def size(size_bytes: int) -> str:
    """Given bytes, return them in the largest unit that divides them: `256 KiB`."""
    return re.sub(r"(?<=[0-9])(?=[A-Z])", NBSP, format_size(size_bytes))


def count(number: int, singular: str, plural: str) -> str:
    """Given a number, and what to call one and several, return both: `1 layer`, `3 layers`."""
    return f"{number}{NBSP}{singular if number == 1 else plural}"
