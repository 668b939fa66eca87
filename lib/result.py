"""The results of a cycle: Step and Cycle, frozen, and the one JSON shape in which they are shown everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import accumulate, pairwise
from sys import intern
from typing import Any

from lib.failure import Failure, Reason, Scope, Verdict


class StepName(StrEnum):
    """The measured docker commands of a cycle, in their order."""

    LOGIN = "login"
    PULL = "pull"
    BASE = "base"
    BUILD = "build"
    PUSH = "push"
    RMI = "rmi"
    PULL_BACK = "pull_back"

    @property
    def words(self) -> str:
        """What people call it."""
        return {"base": "pull of the base image", "rmi": "removal", "pull_back": "pull back"}.get(self, str(self))


class Phase(StrEnum):
    """Where the seconds of a pull or a push go, one phase after the other."""

    RESOLVE = "resolve"
    PREPARE = "prepare"
    TRANSFER = "transfer"
    UNPACK = "unpack"
    COMMIT = "commit"


_PULLING = (Phase.RESOLVE, Phase.TRANSFER, Phase.UNPACK)
#: The phases of each step that has them, in their order.
PHASES = {
    StepName.PULL: _PULLING,
    StepName.BASE: _PULLING,
    StepName.PUSH: (Phase.PREPARE, Phase.TRANSFER, Phase.COMMIT),
    StepName.PULL_BACK: _PULLING,
}


class Outcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Push:
    """A push that the registry acknowledged.

    Attributes:
        digest: the digest that it acknowledged.
        image_id: the image's ID on the engine that built it.
        token: the cycle's token, as the image's label has it.
        instance: the process's instance, as the label has it.
        created: when the image was made, as the label has it.
    """

    digest: str
    image_id: str
    token: str
    instance: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a cycle.

    Attributes:
        name: which.
        outcome: how it went.
        seconds: wall time of its docker command, from spawn to exit.
        failure: why it failed, None if it did not.
        retries: how often docker itself tried again inside it.
        output: the command's own last lines, for people; not part of the JSON shape.
        spent: how its seconds went to its phases, in the order of PHASES; None if docker's lines did not tell.
    """

    name: StepName
    outcome: Outcome
    seconds: float
    failure: Failure | None = None
    retries: int = 0
    output: tuple[str, ...] = ()
    spent: tuple[float, float, float] | None = None

    @property
    def phases(self) -> dict[Phase, float] | None:
        """The seconds of each phase, which add up to its own; None if docker's lines did not tell."""
        return None if self.spent is None else dict(zip(PHASES[self.name], self.spent, strict=True))

    @property
    def reason(self) -> Reason | None:
        """Why it failed, None if it did not."""
        return self.failure.reason if self.failure else None

    @property
    def scope(self) -> Scope | None:
        """Whose fault its failure is, None if it did not fail."""
        return self.failure.scope if self.failure else None

    @property
    def detail(self) -> str | None:
        """The last meaningful line that docker printed, whole; None if it did not fail."""
        return self.failure.detail if self.failure else None

    @property
    def advice(self) -> str:
        """What to do first about its failure, for people; empty if it did not fail."""
        return self.failure.advice if self.failure else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the step's JSON shape."""
        return {
            "step": str(self.name),
            "outcome": str(self.outcome),
            "seconds": round(self.seconds, 3),
            "reason": self.reason and str(self.reason),
            "scope": self.scope and str(self.scope),
            "detail": self.detail,
            "retries": self.retries,
            "phases": self.spent and self._to_milliseconds(self.spent),
        }

    def _to_milliseconds(self, spent: tuple[float, float, float]) -> dict[str, float]:
        """Return the phases, rounded so that they still add up."""
        ends = (0.0, *accumulate(spent[:-1]), self.seconds)
        rounded = (round(round(end, 3) - round(start, 3), 3) for start, end in pairwise(ends))
        return dict(zip(map(str, PHASES[self.name]), rounded, strict=True))

    @classmethod
    def from_dict(cls, shape: dict[str, Any]) -> Step:
        """Given what `to_dict()` returned, return the step. Raise KeyError or ValueError for anything else."""
        scope = Scope(shape["scope"]) if shape["scope"] is not None else None
        failure = None
        if shape["reason"] is not None:
            reason = Reason(shape["reason"])
            # The verdict of that time stands, even if this version would blame somebody else.
            explicit_scope = None if scope is reason.scope else scope
            failure = Failure(reason, read_text(shape["detail"]), explicit_scope=explicit_scope)
        outcome = Outcome(shape["outcome"])
        if outcome is Outcome.FAILED and failure is None:
            raise ValueError("it failed for no reason")
        return cls(
            name=StepName(shape["step"]),
            outcome=outcome,
            seconds=read_number(shape["seconds"]),
            failure=failure,
            retries=int(read_number(shape["retries"])),
            spent=_read_phases(StepName(shape["step"]), shape.get("phases")),
        )


@dataclass(frozen=True, slots=True)
class Cycle:
    """One finished pass over a target.

    Attributes:
        target: the target's name.
        repository, tag: what was tested; `repository` is the full name, host included.
        started: when it began, in UTC.
        seconds: how long it took, from its first command to its last step's end (without the clean-up).
        steps: its steps in order, up to and including the first failed one.
        pushed_digest: the digest that the registry acknowledged, None if nothing was pushed.
        pulled_digest: the digest that `pull_back` gave, None if it did not get that far.
        payload_bytes: random bytes in the pushed image.
        propagation_lag: seconds from the push until the tag showed it, if measured; like the next, not in the JSON.
        replication_lag: of a replica, how many seconds ago what it showed was replaced at its source; None if unknown.
    """

    target: str
    repository: str
    tag: str
    started: datetime
    seconds: float
    steps: tuple[Step, ...]
    pushed_digest: str | None
    pulled_digest: str | None
    payload_bytes: int
    propagation_lag: float | None = None
    replication_lag: float | None = None

    @property
    def failed(self) -> Step | None:
        """The step that failed, None if none did."""
        failed = Outcome.FAILED  # a page of 1,000 targets asks for 60,000 cycles; so it takes a third of the time
        for step in self.steps:
            if step.outcome is failed:
                return step
        return None

    @property
    def verdict(self) -> Verdict:
        """What it says about the registry."""
        failed = self.failed
        if failed is None:
            return Verdict.UP
        return failed.scope.verdict if failed.scope else Verdict.UNKNOWN

    @property
    def registry(self) -> str:
        """The registry's host."""
        return self.repository.partition("/")[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the cycle's JSON shape: the same in `once`, in `/status` and in the history."""
        failed = self.failed.to_dict() if self.failed else {}
        return {
            "target": self.target,
            "registry": self.registry,
            "repository": self.repository,
            "tag": self.tag,
            "started": rfc3339(self.started),
            "seconds": round(self.seconds, 3),
            "verdict": str(self.verdict),
            **{name: failed.get(name) for name in ("step", "reason", "scope", "detail")},
            "pushed_digest": self.pushed_digest,
            "pulled_digest": self.pulled_digest,
            "payload_bytes": self.payload_bytes,
            "steps": [step.to_dict() for step in self.steps],
        }

    @classmethod
    def from_dict(cls, shape: dict[str, Any]) -> Cycle:
        """Given what `to_dict()` returned, return the cycle. Raise KeyError or ValueError for anything else."""
        try:
            Verdict(shape["verdict"])  # it follows from the steps; an unknown one was written by another program
            pushed, pulled = shape["pushed_digest"], shape["pulled_digest"]
            return cls(
                # The same in all cycles of a target, of which many are kept: kept once.
                target=intern(read_text(shape["target"])),
                repository=intern(read_text(shape["repository"])),
                tag=intern(read_text(shape["tag"])),
                started=read_moment(shape["started"]),
                seconds=read_number(shape["seconds"]),
                steps=tuple(Step.from_dict(step) for step in shape["steps"]),
                pushed_digest=None if pushed is None else read_text(pushed),
                pulled_digest=pushed if pulled == pushed else None if pulled is None else read_text(pulled),
                payload_bytes=int(read_number(shape["payload_bytes"])),
            )
        except TypeError as error:
            raise ValueError(f"not a cycle: {error}") from None


def _read_phases(step: StepName, shape: dict[str, Any] | None) -> tuple[float, float, float] | None:
    """Given a step's name and its phases as its JSON shape has them, if it does, return them. Raise ValueError."""
    if shape is None:
        return None
    if set(shape) != set(PHASES.get(step, ())):
        raise ValueError(f"{step} has other phases")
    first, second, third = (read_number(shape[phase]) for phase in PHASES[step])
    return first, second, third


#: More than any possible number of seconds, bytes, hours and cycles; sums of such numbers are still exact.
_MOST = 2**53

_YEARS = range(1970, 9999)


def read_text(value: object) -> str:
    """Given what should be a printable text, return it, else raise ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} in place of a text")  # noqa: TRY004  it was read, not passed
    value.encode()  # half of a pair of surrogates is not a character
    return value


def read_number(value: object) -> float:
    """Given what should be a number from 0 to the bound, return it, else raise ValueError."""
    if not isinstance(value, int | float) or not 0 <= value <= _MOST:
        raise ValueError(f"no number from 0 to {_MOST}")
    return value


def read_moment(value: object) -> datetime:
    """Given what should be a moment as `rfc3339()` or `isoformat()` write it, return it, else raise ValueError."""
    moment = datetime.fromisoformat(read_text(value))
    if moment.tzinfo is None or moment.year not in _YEARS:
        raise ValueError(f"{value} is not a moment of this program's time")
    return moment


def rfc3339(moment: datetime) -> str:
    """Given a moment with a time zone, return it in UTC with milliseconds and a Z (RFC 3339, section 5.6)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
