"""Families: the metrics of one target whose series are all known as soon as the target is. One row each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lib.failure import Verdict
from lib.metrics.series import Family
from lib.result import PHASES, Outcome, StepName

#: The steps that move payload.
MOVING = frozenset({StepName.PUSH, StepName.PULL, StepName.PULL_BACK})


def _by_step(steps: Iterable[StepName]) -> list[Mapping[str, str]]:
    return [{"step": step} for step in steps]


def _by_step_and(*outcomes: Outcome) -> Callable[[Iterable[StepName]], list[Mapping[str, str]]]:
    return lambda steps: [{"step": step, "outcome": outcome} for step in steps for outcome in outcomes]


def _by_step_that_moves(steps: Iterable[StepName]) -> list[Mapping[str, str]]:
    """Given the steps of a target, return those that move its payload: none if it has no payload."""
    return _by_step(step for step in steps if step in MOVING) if StepName.PUSH in steps else []


def _by_step_and_phase(steps: Iterable[StepName]) -> list[Mapping[str, str]]:
    return [{"step": step, "phase": phase} for step in steps for phase in PHASES.get(step, ())]


def _by_verdict(_: Iterable[StepName]) -> list[Mapping[str, str]]:
    return [{"verdict": verdict} for verdict in Verdict]


class Families:
    """The families whose series are all known as soon as a target is, in the order in which they are written."""

    UP = Family(
        "registry_monitor_up",
        "gauge",
        "1 if the last cycle was up, 0 if it was down; absent before the first verdict, and while unknown.",
        is_sometimes_absent=True,
    )
    VERDICT = Family(
        "registry_monitor_verdict",
        "gauge",
        "1 for the verdict of the last cycle, 0 for the others; absent before the first.",
        _by_verdict,
        is_sometimes_absent=True,
    )
    CONSECUTIVE_FAILURES = Family(
        "registry_monitor_consecutive_failures",
        "gauge",
        "Cycles in a row that were down; unknown ones neither count nor end them.",
    )
    CYCLES = Family("registry_monitor_cycles", "counter", "Finished cycles.", _by_verdict)
    CYCLE_DURATION = Family("registry_monitor_cycle_duration_seconds", "histogram", "Duration of whole cycles.")
    STEPS = Family("registry_monitor_steps", "counter", "Steps by outcome.", _by_step_and(*Outcome))
    STEP_DURATION = Family(
        "registry_monitor_step_duration_seconds",
        "histogram",
        "Duration of each step's docker command, from spawn to exit.",
        _by_step_and(Outcome.OK, Outcome.FAILED),
    )
    STEP_LAST = Family(
        "registry_monitor_step_last_duration_seconds", "gauge", "Duration of each step when it last ran.", _by_step
    )
    STEP_PHASES = Family(
        "registry_monitor_step_phase_seconds",
        "counter",
        "Seconds of pulls and pushes by phase, of steps that ended well and whose phases docker's lines show.",
        _by_step_and_phase,
    )
    STEP_STARTED = Family(
        "registry_monitor_step_started_timestamp_seconds",
        "gauge",
        "When the step under way began, 0 for all others: so a hang shows while it lasts.",
        _by_step,
    )
    RETRIES = Family(
        "registry_monitor_retries", "counter", "How often docker itself tried again inside a step.", _by_step
    )
    LAST_CYCLE = Family(
        "registry_monitor_last_cycle_timestamp_seconds",
        "gauge",
        "End of the last cycle; absent before the first.",
        is_sometimes_absent=True,
    )
    LAST_SUCCESS = Family(
        "registry_monitor_last_success_timestamp_seconds",
        "gauge",
        "End of the last cycle that was up; absent before the first.",
        is_sometimes_absent=True,
    )
    LAG = Family("registry_monitor_cycle_lag_seconds", "gauge", "How late the last cycle began, after it was due.")
    PAYLOAD = Family("registry_monitor_payload_bytes", "gauge", "Random bytes in each pushed image.")
    PAYLOAD_MOVED = Family(
        "registry_monitor_payload_moved_bytes",
        "counter",
        "Random bytes moved by steps that ended well; a read-only target has none.",
        _by_step_that_moves,
    )
    PROPAGATION_LAG = Family(
        "registry_monitor_propagation_lag_seconds",
        "gauge",
        "How long after the last push the tag showed it, or was still waited for; only with propagation-timeout.",
        is_sometimes_absent=True,
    )
    REPLICATION_LAG = Family(
        "registry_monitor_replication_lag_seconds",
        "gauge",
        "How long ago what this replica shows was replaced at its source, 0 if it was not; only with replica-of, absent"
        " while unknown.",
        is_sometimes_absent=True,
    )


FAMILIES = tuple(family for family in vars(Families).values() if isinstance(family, Family))
