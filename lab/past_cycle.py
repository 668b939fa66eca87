"""Cycles of a past that never was, as a real registry's look."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lib.failure.reason import Reason, Verdict
from lib.result import Cycle, Outcome, Step, StepName
from lib.target import Target

#: About what the steps of a cycle take at a registry across the internet, in seconds.
USUAL_SECONDS: Mapping[StepName, float] = {
    StepName.LOGIN: 0.35,
    StepName.PULL: 0.8,
    StepName.BUILD: 0.3,
    StepName.PUSH: 1.6,
    StepName.RMI: 0.06,
    StepName.PULL_BACK: 0.9,
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a target.

    Attributes:
        step: the step that fails.
        reason: why.
        seconds: about how long it takes.
        words: what docker prints; `{repository}` and `{registry}` are the target's.
        retries: how often docker tried again.
    """

    step: StepName
    reason: Reason
    seconds: float
    words: Sequence[str]
    retries: int = 0


def failed_step(target: Target, chance: random.Random, fault: Fault) -> Step:
    """Given a target, what makes a difference from cycle to cycle, and what goes wrong, return the step that fails."""
    words = tuple(word.format(repository=target.reference.repository, registry=target.registry) for word in fault.words)
    return Step(
        fault.step,
        Outcome.FAILED,
        fault.seconds * chance.uniform(0.98, 1.02),
        fault.reason,
        fault.reason.scope,
        words[-1],
        fault.retries,
        words,
    )


def past_cycle(target: Target, at: float, chance: random.Random, failed: Step | None = None) -> Cycle:
    """Given a target, when a cycle began, in seconds since 1970, and what makes a difference from one to the next,
    return a cycle. Given the step that failed, the cycle ends with that.
    """
    steps = []
    for name, seconds in USUAL_SECONDS.items():
        if failed is not None and name is failed.name:
            steps.append(failed)
            break
        if name is StepName.LOGIN and target.credentials is None:
            continue
        steps.append(Step(name, Outcome.OK, seconds * chance.lognormvariate(0, 0.25)))
    digest = f"sha256:{chance.getrandbits(256):064x}" if failed is None else None
    return Cycle(
        target=target.name,
        registry=target.registry,
        repository=target.reference.repository,
        tag=target.reference.tag or "latest",
        started=datetime.fromtimestamp(at, UTC),
        seconds=sum(step.seconds for step in steps),
        verdict=Verdict.UP if failed is None or failed.scope is None else failed.scope.verdict,
        steps=tuple(steps),
        pushed_digest=digest,
        pulled_digest=digest,
        payload_bytes=target.payload_bytes,
    )
