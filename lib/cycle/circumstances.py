"""Circumstances: what the cycle knows about a failure besides docker's words, for its detail. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lib.failure import Failure, Reason, Scope
from lib.quantity import format_duration
from lib.result import Outcome, Push, Step, StepName
from lib.target import Target

#: The steps whose failures are in the monitored registry's words.
_AT_REGISTRY = (StepName.PULL, StepName.PUSH, StepName.PULL_BACK)

#: A step-timeout below this can be short for a registry that is only slow: docker itself waits 15 to 30 s.
_SHORT_SECONDS = 30.0


def in_circumstances(
    failure: Failure, name: StepName, retries: int, done: Sequence[Step], target: Target, last: Push | None
) -> Failure:
    """Given why a step failed, its name, how often docker had retried, the steps before it in this cycle, the target
    and the last push there, return the failure in the light of these circumstances.

    If a registry is away when docker asks it how to log in, docker sends no login, and the registry refuses once it is
    back. So a refusal after retries, in a cycle in which the same login worked before, is the registry's fault: plain
    refusals are not retried.
    """
    if name not in _AT_REGISTRY:
        return failure
    let_in = (step for step in reversed(done) if step.name in (StepName.LOGIN, *_AT_REGISTRY))
    worked = next((step for step in let_in if step.outcome is Outcome.OK), None)
    if failure.scope is Scope.CREDENTIALS and retries and worked is not None:
        tries = "once" if retries == 1 else f"{retries} times"
        why = f"docker had to try again {tries}, and this cycle's {worked.name.words} had worked with the same login"
        return Failure(Reason.SERVER_ERROR, f"{failure.detail}; {why}: the registry was away in between")
    if failure.reason is Reason.DENIED and failure.not_there and last is not None:
        since = f"{last.created:%Y-%m-%d %H:%M:%S} UTC"
        failure = replace(failure, detail=f"{failure.detail}; this monitor pushed here before, last at {since}")
    if failure.reason is Reason.TIMEOUT and "its deadline" in failure.detail and target.step_timeout < _SHORT_SECONDS:
        limit = f"step-timeout={format_duration(target.step_timeout)}"
        failure = replace(failure, detail=f"{failure.detail}; the limit is {limit}")
    if failure.scope is Scope.CREDENTIALS and target.credentials is None and target.docker_config is None:
        failure = replace(failure, detail=f"{failure.detail}; this target has no login")
    return failure
