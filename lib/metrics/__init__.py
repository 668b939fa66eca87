"""Every metric name, in one place, and what observes cycles.

What an operator's dashboards and rules rely on is here: the original's names without labels, and those that begin with
`registry_monitor_`. No error text, digest or token is ever a label.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
    UnknownMetricFamily,
)

from lib.failure import Verdict
from lib.metrics.exposition import Exposition, Guarded
from lib.metrics.series import Family, Layout, Row, RowCollector
from lib.result import Cycle, Outcome, Step, StepName
from lib.target import Target

_CYCLES = Family("registry_monitor_cycles", "counter", "Finished cycles.")
_CYCLE_DURATION = Family("registry_monitor_cycle_duration_seconds", "histogram", "Duration of whole cycles.")
_STEPS = Family("registry_monitor_steps", "counter", "Steps by outcome.")
_STEP_DURATION = Family(
    "registry_monitor_step_duration_seconds", "histogram", "Duration of each step's docker command, from spawn to exit."
)
_STEP_LAST = Family("registry_monitor_step_last_duration_seconds", "gauge", "Duration of each step when it last ran.")
_STEP_STARTED = Family(
    "registry_monitor_step_started_timestamp_seconds", "gauge", "When the step under way began, 0 for all others."
)
_RETRIES = Family("registry_monitor_retries", "counter", "How often docker itself tried again inside a step.")
_LAST_CYCLE = Family("registry_monitor_last_cycle_timestamp_seconds", "gauge", "End of the last cycle, 0 before it.")
_LAST_SUCCESS = Family(
    "registry_monitor_last_success_timestamp_seconds", "gauge", "End of the last cycle that was up, 0 before it."
)
_LAG = Family("registry_monitor_cycle_lag_seconds", "gauge", "How long after it was due the last cycle began.")
_PAYLOAD = Family("registry_monitor_payload_bytes", "gauge", "Random bytes in each pushed image.")
_FAMILIES = (
    _CYCLES,
    _CYCLE_DURATION,
    _STEPS,
    _STEP_DURATION,
    _STEP_LAST,
    _STEP_STARTED,
    _RETRIES,
    _LAST_CYCLE,
    _LAST_SUCCESS,
    _LAG,
    _PAYLOAD,
)


#: What `registry_monitor_up` says of a verdict; nothing, where it is absent.
_UP = {Verdict.UP: 1, Verdict.DOWN: 0}


class _Series:
    """The series of one target: those known beforehand are in its row."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.row = Row(target.name, _layout(_steps_of(target)))
        self.row.set(target.payload_bytes, _PAYLOAD)
        self.up: int | None = None
        self.exposed: int | None = None
        self.failures: Counter[tuple[str, str, str]] = Counter()

    def finish(self, cycle: Cycle, lag: float) -> None:
        """Count a finished cycle."""
        row = self.row
        row.add(1, _CYCLES, cycle.verdict)
        row.observe(cycle.seconds, _CYCLE_DURATION)
        row.set(lag, _LAG)
        row.set(_ended(cycle), _LAST_CYCLE)
        if cycle.verdict is Verdict.UP:
            row.set(_ended(cycle), _LAST_SUCCESS)
        self.up = _UP.get(cycle.verdict)
        for step in cycle.steps:
            self._count(step)

    def start(self, step: StepName | None, moment: float) -> None:
        """Given the step under way, None between cycles, and when it began, say so."""
        for name in _steps_of(self.target):
            self.row.set(moment if name is step else 0, _STEP_STARTED, name)

    def _count(self, step: Step) -> None:
        self.row.add(1, _STEPS, step.name, step.outcome)
        self.row.add(step.retries, _RETRIES, step.name)
        self.row.set(step.seconds, _STEP_LAST, step.name)
        if step.outcome is not Outcome.SKIPPED:
            self.row.observe(step.seconds, _STEP_DURATION, step.name, step.outcome)
        if step.reason is not None and step.scope is not None:
            self.failures[step.name, step.reason, step.scope] += 1


class Metrics:
    """All metrics. It observes cycles and their steps; any thread may tell it, and any may ask.

    Attributes:
        registry: all of them, for prometheus_client.
        exposition: all of them, as text.
    """

    def __init__(
        self,
        version: str,
        healthy: Callable[[], bool],
        namespace: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin without targets.

        Given this program's version, what tells whether the monitor can judge, what the original's names begin with,
        and a clock in seconds since 1970.
        """
        self._healthy = healthy
        self._prefix = f"{namespace}_" if namespace else ""
        self._clock = clock
        self._build = {
            "version": version,
            "python": platform.python_version(),
            "docker_client": "",
            "docker_server": "",
        }
        self._reload_successful = True
        self._reloaded = clock()
        self._targets: dict[str, _Series] = {}
        self._cycles: Counter[Verdict] = Counter()
        self._moves = Counter[StepName]()
        self._move_seconds = {StepName.PUSH: 0.0, StepName.PULL: 0.0}
        self._lock = threading.Lock()
        rows = RowCollector(_FAMILIES, self._copied_rows)
        others = CollectorRegistry(support_collectors_without_names=True)
        for collect in (self._collect_targets, self._collect_original, self._collect_monitor):
            others.register(Guarded(collect))
        others.register(Guarded(ProcessCollector(registry=None).collect))
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        self.registry.register(rows)
        self.registry.register(others)
        self.exposition = Exposition(rows, others)

    def replace(self, targets: Sequence[Target]) -> list[Target]:
        """Given the targets from now on, keep the series of unchanged ones, begin those of new ones, drop the rest.

        Return the new ones.
        """
        wanted = {target.name: target for target in targets}
        with self._lock:
            unchanged = {name: series for name, series in self._targets.items() if series.target == wanted.get(name)}
            self._targets = {target.name: unchanged.get(target.name) or _Series(target) for target in targets}
        return [target for target in targets if target.name not in unchanged]

    def observe(self, target: Target, cycle: Cycle, lag: float) -> None:
        """Given a target, its finished cycle, and how many seconds after it was due that began, count it."""
        with self._lock:
            self._cycles[cycle.verdict] += 1
            for step in cycle.steps:
                if step.name in self._move_seconds and step.outcome is Outcome.OK:
                    self._moves[step.name] += 1
                    self._move_seconds[step.name] += step.seconds
            series = self._series_of(target)
            if series is not None:
                series.finish(cycle, lag)

    def remember(self, target: Target, last: Cycle, last_success: Cycle | None, *, stands: bool) -> None:
        """Given a target, its last finished cycle and its last that was up, of a process before this one, say so.

        They are not counted; and whether it is up is said only where that verdict still stands.
        """
        with self._lock:
            series = self._series_of(target)
            if series is not None:
                series.row.set(_ended(last), _LAST_CYCLE)
                series.row.set(_ended(last_success) if last_success else 0, _LAST_SUCCESS)
                series.up = _UP.get(last.verdict) if stands else None

    def step_started(self, target: Target, step: StepName) -> None:
        """Note the step that is under way."""
        with self._lock:
            series = self._series_of(target)
            if series is not None:
                series.start(step, self._clock())

    def step_finished(self, target: Target, step: Step) -> None:  # noqa: ARG002  an observer is told of both
        """Note that no step is under way."""
        with self._lock:
            series = self._series_of(target)
            if series is not None:
                series.start(None, 0)

    def set_exposed(self, target: Target, exposed: bool) -> None:  # noqa: FBT001  it is the value
        """Given a target that has to be private, and whether an anonymous pull of its test image succeeded, say so."""
        with self._lock:
            series = self._series_of(target)
            if series is not None:
                series.exposed = int(exposed)

    def set_build(self, docker_client: str, docker_server: str) -> None:
        """Given the versions of docker's client and server, name them."""
        with self._lock:
            self._build = {**self._build, "docker_client": docker_client, "docker_server": docker_server}

    def set_reloaded(self, successful: bool) -> None:  # noqa: FBT001  it is the value
        """Given whether the configuration could be read again, say so."""
        with self._lock:
            self._reload_successful = successful
            if successful:
                self._reloaded = self._clock()

    def _series_of(self, target: Target) -> _Series | None:
        """Return a target's series, None where it is gone or has been changed since its cycle began."""
        series = self._targets.get(target.name)
        return series if series is not None and series.target == target else None

    def _copied_rows(self) -> list[Row]:
        with self._lock:
            return [series.row.copy() for series in self._targets.values()]

    # What is not known beforehand, or has no target.

    def _collect_targets(self) -> Iterable[Metric]:
        up = GaugeMetricFamily(
            "registry_monitor_up",
            "Whether the last cycle was up (1) or down (0); absent while unknown.",
            labels=["target"],
        )
        failures = CounterMetricFamily(
            "registry_monitor_failures", "Failed steps by reason.", labels=["target", "step", "reason", "scope"]
        )
        exposed = GaugeMetricFamily(
            "registry_monitor_exposed", "Whether strangers can pull what has to be private.", labels=["target"]
        )
        info = InfoMetricFamily("registry_monitor_target", "What is tested.", labels=["target"])
        with self._lock:
            for name, series in self._targets.items():
                if series.up is not None:
                    up.add_metric([name], series.up)
                for labels, count in series.failures.items():
                    failures.add_metric([name, *labels], count)
                if series.exposed is not None:
                    exposed.add_metric([name], series.exposed)
                reference = series.target.reference
                info.add_metric(
                    [name],
                    {
                        "registry": reference.host,
                        "repository": reference.repository,
                        "tag": reference.tag or "latest",
                    },
                )
        return up, failures, exposed, info

    def _collect_original(self) -> Iterable[Metric]:
        with self._lock:
            up, down = self._cycles[Verdict.UP], self._cycles[Verdict.DOWN]
            push, pull = ((self._moves[step], self._move_seconds[step]) for step in (StepName.PUSH, StepName.PULL))
        name = f"{self._prefix}monitor_"
        # As counters these would be exposed with a suffix that the original's names don't have.
        return (
            UnknownMetricFamily(f"{name}success", "Cycles of all targets that were up.", up),
            UnknownMetricFamily(f"{name}failure", "Cycles of all targets that were down.", down),
            SummaryMetricFamily(f"{name}push", "Seconds that pushes took.", *push),
            SummaryMetricFamily(f"{name}pull", "Seconds that the first pulls of cycles took.", *pull),
        )

    def _collect_monitor(self) -> Iterable[Metric]:
        healthy = self._healthy()
        with self._lock:
            return (
                GaugeMetricFamily("registry_monitor_healthy", "Whether the monitor can judge.", healthy),
                GaugeMetricFamily("registry_monitor_targets", "How many targets are monitored.", len(self._targets)),
                GaugeMetricFamily(
                    "registry_monitor_config_last_reload_successful",
                    "Whether the configuration could be read when it last had to be.",
                    self._reload_successful,
                ),
                GaugeMetricFamily(
                    "registry_monitor_config_last_reload_success_timestamp_seconds",
                    "When the configuration was last read.",
                    self._reloaded,
                ),
                InfoMetricFamily("registry_monitor_build", "What is running here.", self._build),
            )


def _steps_of(target: Target) -> tuple[StepName, ...]:
    """Given a target, return the steps that its cycles can have."""
    left_out = set()
    if target.credentials is None:
        left_out.add(StepName.LOGIN)
    if target.base_image is None and target.base_layer_id is None:
        left_out.add(StepName.BASE)
    return tuple(step for step in StepName if step not in left_out)


def _ended(cycle: Cycle) -> float:
    """Given a cycle, return when it ended, in seconds since 1970."""
    return cycle.started.timestamp() + cycle.seconds


@cache
def _layout(steps: tuple[StepName, ...]) -> Layout:
    """Given the steps that a target's cycles can have, return where its numbers stand."""
    each_step = [{"step": step} for step in steps]
    return Layout(
        {
            _CYCLES: [{"verdict": verdict} for verdict in Verdict],
            _CYCLE_DURATION: [{}],
            _STEPS: [{"step": step, "outcome": outcome} for step in steps for outcome in Outcome],
            _STEP_DURATION: [
                {"step": step, "outcome": outcome} for step in steps for outcome in (Outcome.OK, Outcome.FAILED)
            ],
            _STEP_LAST: each_step,
            _STEP_STARTED: each_step,
            _RETRIES: each_step,
            _LAST_CYCLE: [{}],
            _LAST_SUCCESS: [{}],
            _LAG: [{}],
            _PAYLOAD: [{}],
        }
    )
