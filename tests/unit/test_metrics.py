"""Metrics: every name and label that dashboards rely on, from the start, and what a cycle does to them."""

from __future__ import annotations

import gzip
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from examples import NOON, PLAIN_STEPS, a_failed_cycle, a_target, an_up_cycle
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from lib.failure import Reason
from lib.metrics import Metrics
from lib.metrics.series import BUCKETS
from lib.reference import parse_reference
from lib.result import StepName
from lib.secret import Secret
from lib.target import Credentials

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def world():
    return SimpleNamespace(healthy=True, now=5000.0)


@pytest.fixture
def metrics(world):
    def healthy():
        if isinstance(world.healthy, Exception):
            raise world.healthy
        return world.healthy

    metrics = Metrics("1.2.3", healthy, clock=lambda: world.now)
    metrics.replace([a_target()])
    return metrics


def scraped(metrics):
    """Return all samples as a scraper sees them: name and labels, and their values."""
    _, body = metrics.exposition.answer("", "")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    """Return a sample's value, None where it is absent."""
    return scraped(metrics).get((name, frozenset(labels.items())))


def of_quay(metrics, name, **labels):
    return value(metrics, f"registry_monitor_{name}", target="quay", **labels)


# Names.


def test_everything_known_beforehand_is_there_from_the_start(metrics):
    expected = {("registry_monitor_cycles_total", ("verdict", verdict)) for verdict in ("up", "down", "unknown")}
    found = scraped(metrics)
    for name in ("monitor_success", "monitor_failure"):
        assert found[name, frozenset()] == 0
    for name in ("monitor_push", "monitor_pull"):
        assert found[f"{name}_count", frozenset()] == found[f"{name}_sum", frozenset()] == 0
    for name, label in expected:
        assert found[name, frozenset([("target", "quay"), label])] == 0
    for name in (
        "cycle_duration_seconds_count",
        "last_cycle_timestamp_seconds",
        "last_success_timestamp_seconds",
        "cycle_lag_seconds",
    ):
        assert of_quay(metrics, name) == 0
    for step in PLAIN_STEPS:
        for name in ("step_last_duration_seconds", "step_started_timestamp_seconds", "retries_total"):
            assert of_quay(metrics, name, step=step) == 0
        for outcome in ("ok", "failed", "skipped"):
            assert of_quay(metrics, "steps_total", step=step, outcome=outcome) == 0
        for outcome in ("ok", "failed"):
            assert of_quay(metrics, "step_duration_seconds_count", step=step, outcome=outcome) == 0
    assert of_quay(metrics, "payload_bytes") == 1024 * 1024
    assert of_quay(metrics, "target_info", registry="quay.io", repository="quay.io/acme/quay", tag="canary") == 1
    assert found["registry_monitor_targets", frozenset()] == 1
    assert found["registry_monitor_healthy", frozenset()] == 1
    assert found["registry_monitor_config_last_reload_successful", frozenset()] == 1
    assert found["registry_monitor_config_last_reload_success_timestamp_seconds", frozenset()] == 5000.0


def test_what_is_not_known_yet_is_absent(metrics):
    names = {name for name, _ in scraped(metrics)}
    assert not names & {"registry_monitor_up", "registry_monitor_exposed", "registry_monitor_failures_total"}
    assert not [name for name in names if name.endswith("_created")]


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({"credentials": Credentials("monitor", Secret("s3cr3t"))}, "login"),
        ({"base_image": parse_reference("alpine:3")}, "base"),
        ({"base_layer_id": "0123456789ab"}, "base"),
    ],
)
def test_only_the_steps_that_a_target_can_have_are_there(metrics, options, step):
    assert of_quay(metrics, "steps_total", step=step, outcome="ok") is None
    metrics.replace([a_target(**options)])
    assert of_quay(metrics, "steps_total", step=step, outcome="ok") == 0


def test_the_top_bucket_holds_the_longest_deadline(metrics):
    assert BUCKETS[-2] >= 3600.0
    assert of_quay(metrics, "cycle_duration_seconds_bucket", le="3600.0") == 0


def test_a_namespace_prefixes_the_originals_names_and_no_others(world):
    metrics = Metrics("1.2.3", lambda: True, namespace="acme")
    names = {name for name, _ in scraped(metrics)}
    assert {"acme_monitor_success", "acme_monitor_failure", "acme_monitor_push_count", "acme_monitor_pull_sum"} <= names
    assert "registry_monitor_targets" in names


# What a cycle does.


def test_an_up_cycle_is_counted(metrics):
    metrics.observe(a_target(), an_up_cycle(), 0.5)
    assert of_quay(metrics, "up") == 1
    assert of_quay(metrics, "cycles_total", verdict="up") == 1
    assert of_quay(metrics, "cycle_lag_seconds") == 0.5
    assert of_quay(metrics, "last_cycle_timestamp_seconds") == NOON.timestamp() + 2.0
    assert of_quay(metrics, "last_success_timestamp_seconds") == NOON.timestamp() + 2.0
    assert of_quay(metrics, "step_last_duration_seconds", step="push") == 0.25
    assert of_quay(metrics, "steps_total", step="push", outcome="ok") == 1
    assert of_quay(metrics, "step_duration_seconds_bucket", step="push", outcome="ok", le="0.1") == 0
    assert of_quay(metrics, "step_duration_seconds_bucket", step="push", outcome="ok", le="0.3") == 1
    assert of_quay(metrics, "step_duration_seconds_bucket", step="push", outcome="ok", le="+Inf") == 1
    assert of_quay(metrics, "step_duration_seconds_sum", step="push", outcome="ok") == 0.25
    assert of_quay(metrics, "cycle_duration_seconds_sum") == 2.0
    assert (value(metrics, "monitor_success"), value(metrics, "monitor_failure")) == (1, 0)
    assert (value(metrics, "monitor_push_count"), value(metrics, "monitor_push_sum")) == (1, 0.25)
    assert (value(metrics, "monitor_pull_count"), value(metrics, "monitor_pull_sum")) == (1, 0.25)


def test_a_down_cycle_is_counted(metrics):
    metrics.observe(a_target(), a_failed_cycle(), 0.0)
    assert of_quay(metrics, "up") == 0
    assert of_quay(metrics, "cycles_total", verdict="down") == 1
    assert of_quay(metrics, "steps_total", step="pull", outcome="skipped") == 1
    assert of_quay(metrics, "steps_total", step="push", outcome="failed") == 1
    assert of_quay(metrics, "step_duration_seconds_count", step="push", outcome="failed") == 1
    assert of_quay(metrics, "retries_total", step="push") == 5
    assert of_quay(metrics, "failures_total", step="push", reason="server_error", scope="registry") == 1
    assert of_quay(metrics, "last_cycle_timestamp_seconds") > 0
    assert of_quay(metrics, "last_success_timestamp_seconds") == 0
    assert (value(metrics, "monitor_success"), value(metrics, "monitor_failure")) == (0, 1)
    assert value(metrics, "monitor_push_count") == 0
    assert value(metrics, "monitor_pull_count") == 0


def test_an_unknown_cycle_counts_for_neither_side_and_takes_up_away(metrics):
    metrics.observe(a_target(), an_up_cycle(), 0.0)
    metrics.observe(a_target(), a_failed_cycle(Reason.DAEMON), 0.0)
    assert of_quay(metrics, "up") is None
    assert of_quay(metrics, "cycles_total", verdict="unknown") == 1
    assert (value(metrics, "monitor_success"), value(metrics, "monitor_failure")) == (1, 0)


def test_the_step_under_way_is_told_while_it_lasts(metrics, world):
    step = an_up_cycle().steps[0]
    metrics.step_started(a_target(), StepName.PULL)
    assert of_quay(metrics, "step_started_timestamp_seconds", step="pull") == 5000.0
    metrics.step_finished(a_target(), step)
    assert of_quay(metrics, "step_started_timestamp_seconds", step="pull") == 0


def test_a_step_of_a_cycle_that_broke_off_is_not_under_way_any_more(metrics, world):
    metrics.step_started(a_target(), StepName.PUSH)
    metrics.step_started(a_target(), StepName.PULL)
    assert of_quay(metrics, "step_started_timestamp_seconds", step="push") == 0


def test_exposed_is_told_once_tried(metrics):
    metrics.set_exposed(a_target(), exposed=False)
    assert of_quay(metrics, "exposed") == 0
    metrics.set_exposed(a_target(), exposed=True)
    assert of_quay(metrics, "exposed") == 1


def test_the_build_names_docker_once_it_is_known(metrics):
    def build():
        return next(dict(labels) for name, labels in scraped(metrics) if name == "registry_monitor_build_info")

    assert (build()["version"], build()["docker_client"], build()["docker_server"]) == ("1.2.3", "", "")
    metrics.set_build("28.2.2", "20.10.24")
    assert (build()["docker_client"], build()["docker_server"]) == ("28.2.2", "20.10.24")
    assert build()["python"].startswith("3.")


def test_a_bad_reload_is_told_and_keeps_the_time_of_the_last_good_one(metrics, world):
    world.now = 6000.0
    metrics.set_reloaded(successful=False)
    assert value(metrics, "registry_monitor_config_last_reload_successful") == 0
    assert value(metrics, "registry_monitor_config_last_reload_success_timestamp_seconds") == 5000.0
    metrics.set_reloaded(successful=True)
    assert value(metrics, "registry_monitor_config_last_reload_successful") == 1
    assert value(metrics, "registry_monitor_config_last_reload_success_timestamp_seconds") == 6000.0


def test_health_is_asked_at_each_scrape(metrics, world):
    world.healthy = False
    assert value(metrics, "registry_monitor_healthy") == 0


# Reload.


def test_unchanged_targets_keep_their_series_and_removed_ones_lose_them(metrics):
    metrics.observe(a_target(), an_up_cycle(), 0.0)
    metrics.replace([a_target("new"), a_target()])
    assert of_quay(metrics, "up") == 1
    assert value(metrics, "registry_monitor_payload_bytes", target="new") == 1024 * 1024
    metrics.replace([a_target("new")])
    assert not [labels for _, labels in scraped(metrics) if ("target", "quay") in labels]
    assert value(metrics, "monitor_success") == 1


def test_what_a_target_did_before_it_was_changed_is_not_told_of_it(metrics):
    changed = a_target(payload_bytes=5, credentials=Credentials("monitor", Secret("s3cr3t")))
    metrics.replace([changed])
    metrics.observe(a_target(), an_up_cycle(), 0.0)
    metrics.step_started(a_target(), StepName.PULL)
    metrics.step_finished(a_target(), an_up_cycle().steps[0])
    metrics.set_exposed(a_target(), exposed=True)
    assert of_quay(metrics, "up") is None
    assert of_quay(metrics, "exposed") is None
    assert of_quay(metrics, "step_started_timestamp_seconds", step="pull") == 0


# What a process before this one knew.


def test_what_is_remembered_is_told_and_not_counted(metrics):
    last, success = a_failed_cycle(started=NOON), an_up_cycle(started=NOON - timedelta(hours=1))
    metrics.remember(a_target(), last, success, stands=True)
    assert of_quay(metrics, "up") == 0
    assert of_quay(metrics, "last_cycle_timestamp_seconds") == NOON.timestamp() + 2
    assert of_quay(metrics, "last_success_timestamp_seconds") == NOON.timestamp() - 3600 + 2
    assert of_quay(metrics, "cycles_total", verdict="down") == 0
    assert value(metrics, "monitor_failure") == 0


def test_a_verdict_that_does_not_stand_any_more_is_not_told(metrics):
    metrics.remember(a_target(), an_up_cycle(), None, stands=False)
    assert of_quay(metrics, "up") is None
    assert of_quay(metrics, "last_success_timestamp_seconds") == 0
    metrics.remember(a_target("stranger"), an_up_cycle(), None, stands=True)
    assert value(metrics, "registry_monitor_up", target="stranger") is None


# The text.


@pytest.fixture
def many(metrics):
    """The metrics of targets of several kinds, two of them with names that have to be escaped."""
    targets = [
        a_target(),
        a_target('say "50%\\no"', reference="quay.io/acme/a", credentials=Credentials("monitor", Secret("s3cr3t"))),
        a_target("größe %s", reference="quay.io/acme/b", base_image=parse_reference("alpine:3")),
    ]
    metrics.replace(targets)
    for target in targets:
        metrics.observe(target, an_up_cycle(target.name, seconds=1e9), 12345678.9)
        metrics.observe(target, a_failed_cycle(target=target.name), float("inf"))
        metrics.set_exposed(target, exposed=False)
    return metrics


def without_process(body):
    """Leave out what changes between two scrapes."""
    return [line for line in body.decode().splitlines() if not line.startswith("process_")]


@pytest.mark.parametrize(
    ("accept", "generate"),
    [("", generate_latest), ("text/plain", generate_latest), (OPENMETRICS, generate_openmetrics)],
)
def test_the_text_is_what_prometheus_client_writes(many, accept, generate):
    headers, body = many.exposition.answer(accept, "")
    assert without_process(body) == without_process(generate(many.registry))
    assert dict(headers)["Content-Type"].startswith(
        "application/openmetrics" if accept == OPENMETRICS else "text/plain"
    )


def test_what_was_written_before_is_written_again_only_where_it_is_the_same(many):
    """Whoever asked last, in whatever format, and whatever became of the targets since then."""
    changes = (
        lambda: None,
        lambda: many.observe(a_target(), an_up_cycle(), 0.5),
        lambda: many.step_started(a_target(), StepName.PUSH),
        lambda: many.replace([a_target(), a_target("new", reference="quay.io/acme/new")]),
        lambda: many.replace([a_target(credentials=Credentials("monitor", Secret("s3cr3t")))]),
    )
    for change in changes:
        change()
        for accept, generate in (("", generate_latest), ("", generate_latest), (OPENMETRICS, generate_openmetrics)):
            _, body = many.exposition.answer(accept, "")
            assert without_process(body) == without_process(generate(many.registry))


def test_both_formats_can_be_parsed(many):
    _, text = many.exposition.answer("", "")
    _, openmetrics = many.exposition.answer(OPENMETRICS, "")
    targets = {"quay", 'say "50%\\no"', "größe %s"}
    for families in (parse_text(text.decode()), parse_openmetrics(openmetrics.decode())):
        found = {
            sample.labels["target"] for family in families for sample in family.samples if "target" in sample.labels
        }
        assert found == targets


def test_gzip_is_given_to_who_accepts_it(many):
    headers, body = many.exposition.answer("", "gzip, deflate")
    assert ("Content-Encoding", "gzip") in headers
    assert without_process(gzip.decompress(body)) == without_process(many.exposition.answer("", "")[1])


@pytest.mark.parametrize(
    "accept", [f"{OPENMETRICS}x", "application/openmetrics-text; version=x", "text/plain; version=;"]
)
def test_a_format_that_there_is_none_of_gets_some_answer(many, accept):
    assert b"registry_monitor_up" in many.exposition.answer(accept, "")[1]


def test_versions_made_up_by_a_scraper_take_no_memory(many):
    for version in range(100):
        many.exposition.answer(f"application/openmetrics-text; version=1.0.{version}", "")
    (row, *_) = many._copied_rows()
    assert len(row.layout._templates) <= 100


def test_samples_can_be_chosen_by_name(many):
    restricted = many.registry.restricted_registry(["registry_monitor_up", "monitor_success"])
    names = {line.split("{")[0].split(" ")[0] for line in generate_latest(restricted).decode().splitlines()} - {"#"}
    assert names == {"registry_monitor_up", "monitor_success"}


def test_a_part_that_breaks_does_not_take_the_rest_with_it(metrics, world, caplog):
    world.healthy = RuntimeError("no more threads")
    names = {name for name, _ in scraped(metrics)}
    assert "registry_monitor_healthy" not in names
    assert {"monitor_success", "registry_monitor_cycles_total"} <= names
    assert {record.message for record in caplog.records} == {"some metrics can't be had"}


def test_two_hundred_targets_are_written_much_faster_than_by_the_library(metrics):
    targets = [a_target(f"t{number}") for number in range(200)]
    metrics.replace(targets)
    for target in targets:
        metrics.observe(target, an_up_cycle(target.name), 0.0)
    metrics.exposition.answer("", "")

    def seconds(write):
        begun = time.perf_counter()
        write()
        return time.perf_counter() - begun

    ours = min(seconds(lambda: metrics.exposition.answer("", "")) for _ in range(3))
    assert ours < seconds(lambda: generate_latest(metrics.registry)) / 3
