"""What came of a cycle: Step and Cycle, frozen, and the one JSON shape in which they are shown everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from lib.failure import Reason, Scope, Verdict


class StepName(StrEnum):
    """The measured docker commands of a cycle, in their order."""

    LOGIN = "login"
    PULL = "pull"
    BASE = "base"
    BUILD = "build"
    PUSH = "push"
    RMI = "rmi"
    PULL_BACK = "pull_back"


class Outcome(StrEnum):
    """How a step went."""

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
        reason, scope: why it failed and whose fault that is; None where it did not.
        detail: the last meaningful line that docker printed, whole; None where it did not fail.
        retries: how often docker itself tried again inside it.
        output: the command's own last lines, for people; not part of the JSON shape.
    """

    name: StepName
    outcome: Outcome
    seconds: float
    reason: Reason | None = None
    scope: Scope | None = None
    detail: str | None = None
    retries: int = 0
    output: tuple[str, ...] = ()

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
        }

    @classmethod
    def from_dict(cls, shape: dict[str, Any]) -> Step:
        """Given what `to_dict()` returned, return the step. Raise KeyError or ValueError for anything else."""
        return cls(
            name=StepName(shape["step"]),
            outcome=Outcome(shape["outcome"]),
            seconds=float(shape["seconds"]),
            reason=Reason(shape["reason"]) if shape["reason"] is not None else None,
            scope=Scope(shape["scope"]) if shape["scope"] is not None else None,
            detail=shape["detail"],
            retries=int(shape["retries"]),
        )


@dataclass(frozen=True, slots=True)
class Cycle:
    """One finished pass over a target.

    Attributes:
        target: the target's name.
        registry, repository, tag: what was tested; `repository` is the full name, host included.
        started: when it began, in UTC.
        seconds: how long it took, from its first command to its last step's end (the cleaning up apart).
        verdict: what it says of the registry.
        steps: its steps in order, up to and including the first failed one.
        pushed_digest: the digest that the registry acknowledged, None where nothing was pushed.
        pulled_digest: the digest that `pull_back` gave, None where it did not come so far.
        payload_bytes: random bytes in the pushed image.
    """

    target: str
    registry: str
    repository: str
    tag: str
    started: datetime
    seconds: float
    verdict: Verdict
    steps: tuple[Step, ...]
    pushed_digest: str | None
    pulled_digest: str | None
    payload_bytes: int

    @property
    def failed(self) -> Step | None:
        """The step that failed, None where none did."""
        return next((step for step in self.steps if step.outcome is Outcome.FAILED), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the cycle's JSON shape: the same in `once`, in `/status` and in the history."""
        failed = self.failed
        return {
            "target": self.target,
            "registry": self.registry,
            "repository": self.repository,
            "tag": self.tag,
            "started": rfc3339(self.started),
            "seconds": round(self.seconds, 3),
            "verdict": str(self.verdict),
            "step": failed and str(failed.name),
            "reason": failed and str(failed.reason),
            "scope": failed and str(failed.scope),
            "detail": failed and failed.detail,
            "pushed_digest": self.pushed_digest,
            "pulled_digest": self.pulled_digest,
            "payload_bytes": self.payload_bytes,
            "steps": [step.to_dict() for step in self.steps],
        }

    @classmethod
    def from_dict(cls, shape: dict[str, Any]) -> Cycle:
        """Given what `to_dict()` returned, return the cycle. Raise KeyError or ValueError for anything else."""
        try:
            return cls(
                target=shape["target"],
                registry=shape["registry"],
                repository=shape["repository"],
                tag=shape["tag"],
                started=datetime.fromisoformat(shape["started"]),
                seconds=float(shape["seconds"]),
                verdict=Verdict(shape["verdict"]),
                steps=tuple(Step.from_dict(step) for step in shape["steps"]),
                pushed_digest=shape["pushed_digest"],
                pulled_digest=shape["pulled_digest"],
                payload_bytes=int(shape["payload_bytes"]),
            )
        except TypeError as error:
            raise ValueError(f"no cycle: {error}") from None


def rfc3339(moment: datetime) -> str:
    """Given a moment with a time zone, return it in UTC with milliseconds and a Z (RFC 3339, section 5.6)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
