"""Sparse: the metrics of one target whose series are not all known beforehand, or are absent at times. One row each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from lib.metrics.target import Labels, Series
from lib.rested import Cold
from lib.target import Target


@dataclass(frozen=True, slots=True)
class Sparse:
    """A metric whose series are not all known beforehand, or are absent at times.

    Attributes:
        name: its name, without the suffixes of a counter or info.
        type: what it is.
        help: what it says.
        labels: their names, beside `target`.
        values: returns the values of the labels, the number and, for a counter, since when it counts, given a target's
            series.
    """

    name: str
    type: type[GaugeMetricFamily | CounterMetricFamily | InfoMetricFamily]
    help: str
    labels: Labels
    values: Callable[[Series], Iterable[tuple[Any, ...]]]

    def metric(self, targets: Iterable[Series]) -> Metric:
        """Given the series of all targets, return them as prometheus_client's metric."""
        metric: Any = self.type(self.name, self.help, labels=["target", *self.labels])
        for series in targets:
            for labels, *numbers in series.read(self.values):
                metric.add_metric([series.target.name, *labels], *numbers)
        return metric  # type: ignore[no-any-return]


def _unless_none(value: float | None) -> list[tuple[Labels, float]]:
    return [] if value is None else [((), value)]


def _at(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _cold(name: str, text: str, value: Callable[[Cold], float | None]) -> Sparse:
    """Given the rest of a gauge's name, its help, and what computes it from rested images, return the gauge."""
    return Sparse(
        f"registry_monitor_cold_{name}",
        GaugeMetricFamily,
        text,
        (),
        lambda series: _unless_none(None if (cold := series.cold()) is None else value(cold)),
    )


def _rate_limit(what: str, text: str) -> Sparse:
    """Given the attribute of a RateLimit, and its help, return its gauge."""
    return Sparse(
        f"registry_monitor_rate_limit_{what}",
        GaugeMetricFamily,
        text,
        (),
        lambda series: _unless_none(getattr(series.found().rate_limit, what, None)),
    )


SPARSE = (
    Sparse(
        "registry_monitor_failing",
        GaugeMetricFamily,
        "1, only while the last cycle was not up: the labels say which step failed, why, and whose fault that is.",
        ("step", "reason", "scope"),
        lambda series: [(series.failing, 1)] if series.failing else [],
    ),
    Sparse(
        "registry_monitor_failures",
        CounterMetricFamily,
        "Failed steps by reason; each series begins with its first failure.",
        ("step", "reason", "scope"),
        lambda series: series.failures.all(),
    ),
    Sparse(
        "registry_monitor_exposed",
        GaugeMetricFamily,
        "1 if strangers can pull what should be private, else 0; only with expect-private, absent until it was tried.",
        (),
        lambda series: _unless_none(series.strangers().pull) if series.target.expect_private else [],
    ),
    Sparse(
        "registry_monitor_anonymous",
        GaugeMetricFamily,
        "1 if the action (pull, push) works without a login, else 0; only with anonymous, absent until it was tried.",
        ("action",),
        lambda series: _anonymous(series) if series.target.anonymous else [],
    ),
    _cold(
        "images",
        "Rested images that were pushed so far; this and the other cold metrics exist only with cold-images.",
        lambda cold: len(cold.pushed),
    ),
    _cold(
        "oldest_created_timestamp_seconds",
        "When the oldest rested image was made; absent before the first push.",
        lambda cold: _at(cold.oldest),
    ),
    _cold(
        "up",
        "0 while the last check of a rested image was down, else 1; absent before the first check.",
        lambda cold: cold.up,
    ),
    _cold(
        "last_success_timestamp_seconds",
        "When a rested image was last found intact; absent before the first time.",
        lambda cold: _at(cold.last_success),
    ),
    Sparse(
        "registry_monitor_cold_checks",
        CounterMetricFamily,
        "Checks of rested images.",
        ("verdict",),
        lambda series: (
            [((verdict,), number, series.created) for verdict, number in series.cold_checks.items()]
            if series.cold()
            else []
        ),
    ),
    Sparse(
        "registry_monitor_cold_failures",
        CounterMetricFamily,
        "Rested images that could not be checked, were lost, or could not be pushed, by reason; each series begins with"
        " its first failure.",
        ("reason", "scope"),
        lambda series: series.cold_failures.all(),
    ),
    Sparse(
        "registry_monitor_heartbeats",
        CounterMetricFamily,
        "Heartbeats by outcome; only with heartbeat-url.",
        ("outcome",),
        lambda series: (
            [((outcome,), number, series.created) for outcome, number in series.heartbeats.items()]
            if series.target.heartbeat_url
            else []
        ),
    ),
    Sparse(
        "registry_monitor_certificate_expiry_timestamp_seconds",
        GaugeMetricFamily,
        "When the certificate of the host expires, by its role (registry, token, store); absent if it can't be read.",
        ("host", "role"),
        lambda series: [((one.host, one.role), one.expires) for one in series.found().certificates],
    ),
    _rate_limit(
        "limit",
        "How many pulls the registry allows this account or address in a given time; absent if it does not say.",
    ),
    _rate_limit(
        "remaining",
        "How many pulls are left to this account or address in that time; absent if the registry does not say.",
    ),
    Sparse(
        "registry_monitor_superseded_deletions",
        CounterMetricFamily,
        "Deletions of manifests that a later push replaced, by outcome; only with delete-superseded.",
        ("outcome",),
        lambda series: [((outcome,), number, series.created) for outcome, number in series.found().deletions.items()],
    ),
    Sparse(
        "registry_monitor_target",
        InfoMetricFamily,
        "What is tested, in its labels registry, repository and tag; always 1.",
        (),
        lambda series: [((), _described(series.target))],
    ),
)


def _anonymous(series: Series) -> list[tuple[Labels, float]]:
    worked = asdict(series.strangers())
    return [((action,), float(works)) for action, works in worked.items() if works is not None]


def _described(target: Target) -> dict[str, str]:
    reference = target.reference
    return {"registry": reference.host, "repository": reference.repository, "tag": reference.tag or "latest"}
