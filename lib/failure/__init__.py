"""Failure: one failed step, judged; and classify(): the words of a failed docker command -> Failure.

Nothing else in the program reads docker's words when it fails. `words` finds the error in what was printed, `rules`
knows what it means, and `reason` whose fault that is; all that others need of them is here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lib.failure.reason import ADVICE, Reason, Scope, Verdict
from lib.failure.rules import RULES, STEPS
from lib.failure.words import errors, plain

__all__ = ["ADVICE", "Failure", "Reason", "Scope", "Verdict", "classify"]

_NO_SUCH_IMAGE = re.compile(r"no such image|image not known|does not exist locally", re.IGNORECASE)
_LOCAL = frozenset({"rmi", "tag", "inspect", "images"})

#: Words of `denied` that also fit what does not exist: registries do not tell a stranger which of the two it is.
_MAY_NOT_EXIST = re.compile(r"does not exist or (?:may|no)|or it may not exist", re.IGNORECASE)

#: What words mean that nobody has met. `unclassified` speaks of the registry, so that only its own steps have it.
_UNMET = dict.fromkeys(STEPS, Reason.UNCLASSIFIED) | {"build": Reason.BUILD, "rmi": Reason.IN_USE, "rm": Reason.IN_USE}

_WRONG_USAGE = 125
#: Not executable, not found; and 128 + the signal, as a shell in between, or docker 28 itself, puts it.
_NO_ORDINARY_END = frozenset({126, 127, *range(129, 160)})


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed step, judged.

    Attributes:
        reason: why.
        detail: the last meaningful line that docker printed, whole; or our own sentence where docker said nothing.
        not_there: docker's words can mean that the image or repository does not exist (an empty repository), or, of a
            local command, that the image is not on the host.
    """

    reason: Reason
    detail: str
    not_there: bool = False

    @property
    def scope(self) -> Scope:
        """Whose fault it is."""
        return self.reason.scope


def classify(verb: str, exit_code: int, stdout: str, stderr: str) -> Failure:
    """Given the verb of a docker command that failed, its exit code and what it printed, return why it failed.

    A negative exit code is the signal that ended it. Never raises, whatever the texts.
    """
    said = errors(stdout, stderr)
    ending = f"docker {verb} {_ending(exit_code)}"
    if exit_code < 0 or exit_code in _NO_ORDINARY_END:
        # What it had said until then is not why it ended.
        return Failure(Reason.CLI, f"{ending}; it had said: {said[0]}" if said else ending)
    for error in said:
        failure = _by_words(verb, error)
        if failure is not None:
            return failure
    detail = said[0] if said else f"{ending} and said nothing of why"
    return Failure(Reason.CLI if exit_code == _WRONG_USAGE else _UNMET.get(verb, Reason.DAEMON), detail)


def _by_words(verb: str, error: str) -> Failure | None:
    words = plain(error)
    for rule in RULES:
        if rule.fits(verb, words):
            not_there = (
                rule.reason is Reason.NOT_FOUND
                or (rule.reason is Reason.DENIED and _MAY_NOT_EXIST.search(words) is not None)
                or (verb in _LOCAL and _NO_SUCH_IMAGE.search(words) is not None)
            )
            return Failure(rule.reason, error, not_there)
    return None


def _ending(exit_code: int) -> str:
    return f"was ended by signal {-exit_code}" if exit_code < 0 else f"failed with exit code {exit_code}"
