"""Failure: one failed step, judged; and classify(): the words of a failed docker command -> Failure.

Nothing else in the program reads docker's words when it fails. `words` finds the error in what was printed, `rules`
knows what it means, and `reason` whose fault that is; everything that others need from them is here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lib.failure.advice import advice_for
from lib.failure.quoted import Said, taken_apart
from lib.failure.reason import Reason, Scope, Verdict
from lib.failure.refusal import refused
from lib.failure.rules import meaning
from lib.failure.speaker import Speaker, speaker_of
from lib.failure.words import errors, shown

__all__ = ["WRONG_USAGE", "Failure", "Reason", "Scope", "Verdict", "classify"]

_NO_SUCH_IMAGE = re.compile(r"no such image|image not known|does not exist locally", re.IGNORECASE)

#: Words of `denied` that also fit something that does not exist: registries do not tell strangers which of the two it
#: is.
_MAY_NOT_EXIST = re.compile(
    r"does not exist or (?:may|no)|or it may not exist|access to the requested resource is not authorized",
    re.IGNORECASE,
)

#: The verbs that talk to the registry; `build` can talk to others, and the rest never leaves this host.
_TO_REGISTRY = frozenset({"login", "pull", "push"})

#: The reason for unknown words of a command that stays on this host.
_UNMET = {"build": Reason.BUILD, "rmi": Reason.IN_USE, "rm": Reason.IN_USE}
#: Those who do the building, and have trouble with that rather than with themselves.
_BUILDING = frozenset({Speaker.CLI, Speaker.RUNTIME})
_HERE = frozenset(reason for reason in Reason if reason.scope in (Scope.HOST, Scope.CONFIG))

#: Lines of a pull that moves layers: its manifest is here by then.
_LAYERS = re.compile(
    r"^[0-9a-f]{12}: (?:Pulling fs layer|Waiting|Downloading|Verifying|Download complete|Pull complete|Retrying)",
    re.MULTILINE,
)
#: docker tries again only what it sends to a registry or gets from it.
_RETRYING = re.compile(r"^[0-9a-f]{12}: Retrying in \d+ second", re.MULTILINE)

#: docker's exit code for wrong usage.
WRONG_USAGE = 125
#: Not executable, not found; and 128 + the signal, as a shell in between, or docker 28 itself, puts it.
_NO_ORDINARY_END = frozenset({126, 127, *range(129, 160)})


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed step, judged.

    Attributes:
        reason: why.
        detail: the last message that docker printed, in full, on one line; or our own sentence if it said nothing.
        not_there: docker's words can mean that the image or repository does not exist (an empty repository), or, for a
            local command, that the image is not on the host.
        explicit_scope: whose fault it is, if that is not the reason's own scope: only `unclassified` can have another.
        refused: the request to the engine's API that somebody in front of the engine does not let through, None if
            there is none.
    """

    reason: Reason
    detail: str
    not_there: bool = False
    explicit_scope: Scope | None = None
    refused: str | None = None

    @property
    def scope(self) -> Scope:
        """Whose fault it is."""
        return self.explicit_scope or self.reason.scope

    @property
    def advice(self) -> str:
        """What to do first, for people: a sentence."""
        return advice_for(self.reason, self.detail)


def classify(verb: str, exit_code: int, stdout: str, stderr: str, wrong_usage: int | None = WRONG_USAGE) -> Failure:
    """Given the verb of a docker command that failed, its exit code and what it printed, return why it failed.

    A negative exit code is the signal that ended it; given also the one that this program has for wrong usage. Never
    raises, whatever the texts.
    """
    said = errors(stdout, stderr)
    ending = f"docker {verb} {_ending(exit_code)}"
    if exit_code < 0 or exit_code in _NO_ORDINARY_END:
        # What it said before that is not why it ended.
        return Failure(Reason.CLI, f"{ending}; it had said: {shown(said[0])}" if said else ending)
    moves_layers = verb == "pull" and any(map(_LAYERS.search, (stdout, stderr)))
    for error in said:
        failure = _judged(verb, taken_apart(error, moves_layers=moves_layers))
        if failure is not None:
            return failure
    detail = shown(said[0]) if said else f"{ending} and did not say why"
    if exit_code == wrong_usage:
        return Failure(Reason.CLI, detail)
    if verb not in _TO_REGISTRY:
        return Failure(_UNMET.get(verb, Reason.DAEMON), detail)
    outside = any(map(_RETRYING.search, (stdout, stderr))) or (said and taken_apart(said[0]).names_outside)
    return Failure(Reason.UNCLASSIFIED, detail, explicit_scope=None if outside else Scope.HOST)


def _judged(verb: str, said: Said) -> Failure | None:
    """Given a verb and an error, return whose fault it is; None if nobody knows."""
    speaker = speaker_of(said)
    if verb in _TO_REGISTRY:
        reason = meaning(said, verb, speaker.guilty) or speaker.otherwise
    else:
        reason = meaning(said, verb, (speaker.guilty & _HERE) or _HERE) or _otherwise(verb, said, speaker)
    if reason is None:
        return None
    not_there = (
        reason is Reason.NOT_FOUND
        or (reason is Reason.DENIED and _MAY_NOT_EXIST.search(said.words) is not None)
        or (verb not in _TO_REGISTRY and _NO_SUCH_IMAGE.search(said.words) is not None)
    )
    request = refused(verb, said, speaker)
    # If the ping is refused, newer CLIs end with the very same words.
    told = f"; refused: {request}, or HEAD /_ping before it" if request else ""
    detail = f"{shown(said.text)}{told}"
    return Failure(reason, detail, not_there, refused=request)


def _otherwise(verb: str, said: Said, speaker: Speaker) -> Reason | None:
    """Given a verb that does not talk to the monitored registry, return the reason if no words fit."""
    if speaker.otherwise is not None and speaker.otherwise in _HERE:
        return Reason.BUILD if verb == "build" and speaker in _BUILDING else speaker.otherwise
    if verb == "build":
        return Reason.BASE_IMAGE if said.names_outside else None
    return None


def _ending(exit_code: int) -> str:
    return f"was ended by signal {-exit_code}" if exit_code < 0 else f"failed with exit code {exit_code}"
