"""Cycles of a past that never was, as a real registry's look."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lib.failure import Failure, Reason
from lib.result import PHASES, Cycle, Outcome, Step, StepName
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


#: About which share of a step each of its phases takes.
_SHARES: Mapping[StepName, tuple[float, float, float]] = {
    StepName.PULL: (0.35, 0.25, 0.4),
    StepName.PUSH: (0.1, 0.75, 0.15),
    StepName.PULL_BACK: (0.3, 0.3, 0.4),
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
        Failure(fault.reason, words[-1]),
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
        steps.append(_step(name, [seconds * share for share in _SHARES.get(name, (1.0,))], chance))
    digest = f"sha256:{chance.getrandbits(256):064x}" if failed is None else None
    return Cycle(
        target=target.name,
        repository=target.reference.repository,
        tag=target.reference.tag or "latest",
        started=datetime.fromtimestamp(at, UTC),
        seconds=sum(step.seconds for step in steps),
        steps=tuple(steps),
        pushed_digest=digest,
        pulled_digest=digest,
        payload_bytes=target.payload_bytes,
    )


def _step(name: StepName, usual_seconds: Sequence[float], chance: random.Random) -> Step:
    """Given a step's name, what its phases usually take, and what makes a difference, return one that went well."""
    took = [seconds * chance.lognormvariate(0, 0.25) for seconds in usual_seconds]
    return Step(name, Outcome.OK, sum(took), spent=(took[0], took[1], took[2]) if name in PHASES else None)
