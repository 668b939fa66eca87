"""Every metric name, in one place.

Operators' dashboards and rules rely on these: the original's names without labels, and those that begin with
`registry_monitor_`; `families` and `sparse` have those of single targets. No error text, digest or token is a label.
"""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
    UnknownMetricFamily,
)

from lib.failure import Verdict
from lib.metrics.exposition import Exposition, Guarded
from lib.metrics.families import FAMILIES
from lib.metrics.series import RowCollector
from lib.metrics.sparse import SPARSE
from lib.metrics.target import Series
from lib.progress import Listener
from lib.result import Cycle, Outcome, StepName


class Totals(Listener):
    """The original's metrics: over all targets, including those that are gone. It listens to every target."""

    def __init__(self) -> None:
        self._cycles: Counter[Verdict] = Counter()
        self._moves = Counter[StepName]()
        self._move_seconds = {StepName.PUSH: 0.0, StepName.PULL: 0.0}
        self._lock = threading.Lock()

    def cycle_finished(self, cycle: Cycle) -> None:
        """Count a finished cycle."""
        with self._lock:
            self._cycles[cycle.verdict] += 1
            for step in cycle.steps:
                if step.name in self._move_seconds and step.outcome is Outcome.OK:
                    self._moves[step.name] += 1
                    self._move_seconds[step.name] += step.seconds

    def collect(self, prefix: str) -> Iterable[Metric]:
        """Given what the names begin with, return the metrics."""
        with self._lock:
            up, down = self._cycles[Verdict.UP], self._cycles[Verdict.DOWN]
            push, pull = ((self._moves[step], self._move_seconds[step]) for step in (StepName.PUSH, StepName.PULL))
        name = f"{prefix}monitor_"
        # As counters these would be exposed with a suffix that the original's names don't have.
        return (
            UnknownMetricFamily(f"{name}success", "Cycles of all targets that were up.", up),
            UnknownMetricFamily(f"{name}failure", "Cycles of all targets that were down.", down),
            SummaryMetricFamily(f"{name}push", "Seconds that pushes took.", *push),
            SummaryMetricFamily(f"{name}pull", "Seconds that the first pulls of cycles took.", *pull),
        )


class Metrics:
    """All metrics. Any thread may ask for them.

    Attributes:
        registry: all of them, for prometheus_client.
        exposition: all of them, as text.
        own: all but those about this process, as text.
    """

    def __init__(
        self,
        version: str,
        targets: Callable[[], Sequence[Series]],
        totals: Totals,
        healthy: Callable[[], bool],
        docker_versions: Callable[[], tuple[str, str]],
        namespace: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Given this program's version, and what to show.

        That is: what returns the series of all targets, the original's metrics, what returns whether the monitor can
        judge, what returns the versions of the docker client and server, the prefix of the original's names, and a
        clock in seconds since 1970.
        """
        self._targets = targets
        self._totals = totals
        self._healthy = healthy
        self._docker_versions = docker_versions
        self._prefix = f"{namespace}_" if namespace else ""
        self._clock = clock
        self._build = {"version": version, "python": platform.python_version()}
        self._reload_successful = True
        self._reloaded = clock()
        # Each remembers what it wrote, in the format that is asked for again and again.
        rows, rows_of_file = (RowCollector(FAMILIES, lambda: [series.row() for series in targets()]) for _ in range(2))
        own = CollectorRegistry(support_collectors_without_names=True)
        for collect in (self._collect_targets, self._collect_original, self._collect_monitor):
            own.register(Guarded(collect))
        others = CollectorRegistry(support_collectors_without_names=True)
        others.register(own)
        others.register(Guarded(ProcessCollector(registry=None).collect))
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        self.registry.register(rows)
        self.registry.register(others)
        self.exposition = Exposition(rows, others)
        self.own = Exposition(rows_of_file, own)

    def set_reloaded(self, successful: bool) -> None:  # noqa: FBT001  it is the value
        """Given whether the configuration could be read again, show that."""
        self._reload_successful = successful
        if successful:
            self._reloaded = self._clock()

    def _collect_targets(self) -> Iterable[Metric]:
        targets = self._targets()
        return [sparse.metric(targets) for sparse in SPARSE]

    def _collect_original(self) -> Iterable[Metric]:
        return self._totals.collect(self._prefix)

    def _collect_monitor(self) -> Iterable[Metric]:
        client, server = self._docker_versions()
        build = {**self._build, "docker_client": client, "docker_server": server}
        return (
            GaugeMetricFamily("registry_monitor_healthy", "1 if the monitor can judge, else 0.", self._healthy()),
            GaugeMetricFamily("registry_monitor_targets", "How many targets are monitored.", len(self._targets())),
            GaugeMetricFamily(
                "registry_monitor_config_last_reload_successful",
                "1 if the last reload of the configuration succeeded, or there was none yet, else 0.",
                self._reload_successful,
            ),
            GaugeMetricFamily(
                "registry_monitor_config_last_reload_success_timestamp_seconds",
                "When the configuration was last read.",
                self._reloaded,
            ),
            InfoMetricFamily("registry_monitor_build", "What is running here.", build),
        )
