"""Metrics: every name and label that dashboards rely on, from the start, and what a cycle does to them."""

from __future__ import annotations

import gzip
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from lib.failure import Reason, Verdict
from lib.metrics import Metrics
from lib.metrics.exposition import WithoutCreated
from lib.metrics.series import BUCKETS
from lib.reference import parse_reference
from lib.registry_api.found import Certificate, Found, RateLimit, Role
from lib.result import Outcome, Step, StepName
from lib.secret import Secret
from lib.target import Anonymous, Credentials, StrangersMay
from tests.unit.examples import NOON, PLAIN_STEPS, a_cycle, a_failed_cycle, a_lost_image, a_target, an_up_cycle
from tests.unit.watching import MadeUp

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class World(MadeUp):
    """Targets whose metrics are looked at, a monitor that is healthy, and a time of day."""

    def __init__(self, *targets, namespace=""):
        self.healthy = True
        self.versions = ("", "")
        self.now = 5000.0
        super().__init__(*targets)
        self.metrics = Metrics(
            "1.2.3",
            self.watch.series,
            self.totals,
            self.can_judge,
            lambda: self.versions,
            namespace,
            clock=lambda: self.now,
        )

    def can_judge(self):
        if isinstance(self.healthy, Exception):
            raise self.healthy
        return self.healthy


@pytest.fixture
def world():
    return World(a_target())


@pytest.fixture
def metrics(world):
    return world.metrics


def scraped(metrics):
    """Return all samples as a scraper sees them: name and labels, and their values."""
    _, body = metrics.exposition.answer("", "")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    """Return a sample's value, None if it is absent."""
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
        "consecutive_failures",
        "cycle_lag_seconds",
    ):
        assert of_quay(metrics, name) == 0
    for step in ("push", "pull", "pull_back"):
        assert of_quay(metrics, "payload_moved_bytes_total", step=step) == 0
    for step in PLAIN_STEPS:
        for name in ("step_last_duration_seconds", "step_started_timestamp_seconds", "retries_total"):
            assert of_quay(metrics, name, step=step) == 0
        for outcome in ("ok", "failed", "skipped"):
            assert of_quay(metrics, "steps_total", step=step, outcome=outcome) == 0
        for outcome in ("ok", "failed"):
            assert of_quay(metrics, "step_duration_seconds_count", step=step, outcome=outcome) == 0
    assert of_quay(metrics, "payload_bytes") == 64 * 1024
    assert of_quay(metrics, "target_info", registry="quay.io", repository="quay.io/acme/quay", tag="canary") == 1
    assert found["registry_monitor_targets", frozenset()] == 1
    assert found["registry_monitor_healthy", frozenset()] == 1
    assert found["registry_monitor_config_last_reload_successful", frozenset()] == 1
    assert found["registry_monitor_config_last_reload_success_timestamp_seconds", frozenset()] == 5000.0


def test_what_is_not_known_yet_is_absent(metrics):
    names = {name.removeprefix("registry_monitor_") for name, _ in scraped(metrics)}
    sometimes = {"up", "verdict", "failing", "failures_total", "exposed", "anonymous", "propagation_lag_seconds"}
    sometimes |= {"last_cycle_timestamp_seconds", "last_success_timestamp_seconds", "replication_lag_seconds"}
    assert not names & sometimes


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({"credentials": Credentials("monitor", Secret("s3cr3t"))}, "login"),
        ({"base_image": parse_reference("alpine:3")}, "base"),
        ({"base_layer_id": "0123456789ab"}, "base"),
    ],
)
def test_only_the_steps_that_a_target_can_have_are_there(metrics, options, step, world):
    assert of_quay(metrics, "steps_total", step=step, outcome="ok") is None
    world.watch.replace([a_target(**options)])
    assert of_quay(metrics, "steps_total", step=step, outcome="ok") == 0


def test_the_top_bucket_holds_the_longest_deadline(metrics):
    assert BUCKETS[-2] >= 3600.0
    assert of_quay(metrics, "cycle_duration_seconds_bucket", le="3600.0") == 0


def test_a_namespace_prefixes_the_originals_names_and_no_others(world):
    names = {name for name, _ in scraped(World(namespace="acme").metrics)}
    assert {"acme_monitor_success", "acme_monitor_failure", "acme_monitor_push_count", "acme_monitor_pull_sum"} <= names
    assert "registry_monitor_targets" in names


# What a cycle does.


def test_an_up_cycle_is_counted(metrics, world):
    world["quay"].finished(an_up_cycle(), 0.5)
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


def test_phases_of_pulls_and_pushes_are_added_up(metrics, world):
    """A step whose lines do not say enough adds nothing to any of its phases; others have none."""
    pull = Step(StepName.PULL, Outcome.OK, 1.0, spent=(0.5, 0.25, 0.25))
    for _ in range(2):
        world["quay"].finished(a_cycle((pull, Step(StepName.PUSH, Outcome.OK, 1.0)), "quay", NOON, 2.0), 0.0)
    spent = {
        (labels["step"], labels["phase"]): seconds
        for (name, found), seconds in scraped(metrics).items()
        if name == "registry_monitor_step_phase_seconds_total" and (labels := dict(found))["target"] == "quay"
    }
    assert spent == {
        ("pull", "resolve"): 1.0, ("pull", "transfer"): 0.5, ("pull", "unpack"): 0.5,
        ("push", "prepare"): 0.0, ("push", "transfer"): 0.0, ("push", "commit"): 0.0,
        ("pull_back", "resolve"): 0.0, ("pull_back", "transfer"): 0.0, ("pull_back", "unpack"): 0.0,
    }  # fmt: skip


def test_a_down_cycle_is_counted(metrics, world):
    world["quay"].finished(a_failed_cycle(), 0.0)
    assert of_quay(metrics, "up") == 0
    assert of_quay(metrics, "cycles_total", verdict="down") == 1
    assert of_quay(metrics, "steps_total", step="pull", outcome="skipped") == 1
    assert of_quay(metrics, "steps_total", step="push", outcome="failed") == 1
    assert of_quay(metrics, "step_duration_seconds_count", step="push", outcome="failed") == 1
    assert of_quay(metrics, "retries_total", step="push") == 5
    assert of_quay(metrics, "failures_total", step="push", reason="server_error", scope="registry") == 1
    assert of_quay(metrics, "last_cycle_timestamp_seconds") > 0
    assert of_quay(metrics, "last_success_timestamp_seconds") is None
    assert (value(metrics, "monitor_success"), value(metrics, "monitor_failure")) == (0, 1)
    assert value(metrics, "monitor_push_count") == 0
    assert value(metrics, "monitor_pull_count") == 0


def test_an_unknown_cycle_counts_for_neither_side_and_takes_up_away(metrics, world):
    world["quay"].finished(an_up_cycle(), 0.0)
    world["quay"].finished(a_failed_cycle(Reason.DAEMON), 0.0)
    assert of_quay(metrics, "up") is None
    assert of_quay(metrics, "cycles_total", verdict="unknown") == 1
    assert (value(metrics, "monitor_success"), value(metrics, "monitor_failure")) == (1, 0)


def state(metrics):
    """Return the standing verdict, what fails, and how many cycles in a row did."""
    standing, failing = None, None
    for (name, labels), number in scraped(metrics).items():
        if name == "registry_monitor_verdict" and number == 1:
            standing = dict(labels)["verdict"]
        if name == "registry_monitor_failing":
            failing = tuple(dict(labels)[label] for label in ("step", "reason", "scope"))
    return standing, failing, of_quay(metrics, "consecutive_failures")


def test_the_state_is_shown_as_it_is_and_unknown_neither_counts_as_a_failure_nor_ends_a_row(metrics, world):
    down, unknown = a_failed_cycle(), a_failed_cycle(Reason.DAEMON)
    pushing, building = ("push", "server_error", "registry"), ("push", "daemon", "host")
    for cycle, expected in (
        (an_up_cycle(), ("up", None, 0)),
        (unknown, ("unknown", building, 0)),
        (down, ("down", pushing, 1)),
        (unknown, ("unknown", building, 1)),
        (down, ("down", pushing, 2)),
        (an_up_cycle(), ("up", None, 0)),
    ):
        world["quay"].finished(cycle, 0.0)
        assert state(metrics) == expected
        verdicts = [of_quay(metrics, "verdict", verdict=verdict) for verdict in Verdict]
        assert sorted(verdicts) == [0, 0, 1]


def moved(metrics):
    steps = (StepName.PULL, StepName.PUSH, StepName.PULL_BACK)
    return tuple(of_quay(metrics, "payload_moved_bytes_total", step=step) for step in steps)


def test_what_was_moved_is_counted_of_steps_that_ended_well_also_over_a_change_of_its_size(metrics, world):
    size = a_target().payload_bytes
    up = replace(an_up_cycle(), payload_bytes=size)
    world["quay"].finished(replace(a_failed_cycle(), payload_bytes=size), 0.0)
    assert moved(metrics) == (0, 0, 0), "a pull that was skipped and a push that failed"
    world["quay"].finished(up, 0.0)
    assert moved(metrics) == (size, size, size)
    world.watch.replace([a_target(payload_bytes=5)])
    world["quay"].finished(replace(up, payload_bytes=5), 0.0)
    assert moved(metrics) == (size, 5, 5), "the first pull brings what was pushed before"
    world["quay"].finished(replace(up, payload_bytes=5), 0.0)
    assert moved(metrics) == (size + 5, 10, 10)


def test_the_step_under_way_is_shown_while_it_lasts(metrics, world):
    world.clock.advance(12.5)
    world["quay"].step_started(StepName.PULL)
    assert of_quay(metrics, "step_started_timestamp_seconds", step="pull") == NOON.timestamp() + 12.5
    world["quay"].step_finished(an_up_cycle().steps[0])
    assert of_quay(metrics, "step_started_timestamp_seconds", step="pull") == 0


def test_a_step_of_a_cycle_that_broke_off_is_not_under_way_any_more(metrics, world):
    world["quay"].step_started(StepName.PUSH)
    world["quay"].step_started(StepName.PULL)
    assert of_quay(metrics, "step_started_timestamp_seconds", step="push") == 0


def exposed_and_anonymous(metrics):
    return of_quay(metrics, "exposed"), *(of_quay(metrics, "anonymous", action=action) for action in ("pull", "push"))


@pytest.mark.parametrize("pull", [False, True])
def test_what_strangers_can_do_is_told_once_tried_and_only_to_those_who_ask(metrics, world, pull):
    world["quay"].record.strangers = StrangersMay(pull, push=True)
    assert exposed_and_anonymous(metrics) == (None, None, None)

    (watched,) = world.watch.replace([a_target(expect_private=True)])
    watched.record.strangers = StrangersMay(pull)
    assert exposed_and_anonymous(metrics) == (pull, None, None)

    (watched,) = world.watch.replace([a_target(anonymous=Anonymous.REFUSED)])
    watched.record.strangers = StrangersMay()
    assert exposed_and_anonymous(metrics) == (None, None, None)
    watched.record.strangers = StrangersMay(push=pull)
    assert exposed_and_anonymous(metrics) == (None, None, pull)
    watched.record.strangers = StrangersMay(pull, push=not pull)
    assert exposed_and_anonymous(metrics) == (None, pull, not pull)


def test_lags_are_those_of_the_last_cycle_that_could_tell(metrics, world):
    """Of a push until the next one; of a replica, nothing if its last cycle could not tell."""
    quay, up = world["quay"], an_up_cycle()
    quay.finished(replace(up, propagation_lag=2.5, replication_lag=7.0), 0.0)
    assert (of_quay(metrics, "propagation_lag_seconds"), of_quay(metrics, "replication_lag_seconds")) == (2.5, 7.0)
    quay.finished(replace(up, pushed_digest=None), 0.0)
    assert (of_quay(metrics, "propagation_lag_seconds"), of_quay(metrics, "replication_lag_seconds")) == (2.5, None)
    quay.finished(up, 0.0)
    assert of_quay(metrics, "propagation_lag_seconds") is None


def test_a_read_only_target_has_the_steps_of_one_and_no_payload(metrics, world):
    world.watch.replace([a_target(read_only=True, credentials=Credentials("monitor", Secret("s3cr3t")))])
    steps = {dict(labels)["step"] for name, labels in scraped(metrics) if name == "registry_monitor_retries_total"}
    assert steps == {"login", "pull", "rmi"}
    assert of_quay(metrics, "payload_bytes") == 0
    world["quay"].finished(a_cycle((Step(StepName.PULL, Outcome.OK, 0.1),), "quay", NOON, 1.0), 0.0)
    assert moved(metrics) == (None, None, None), "nobody knows what somebody else's image is made of"


def test_rested_images_are_counted_and_shown_only_where_there_are_any(metrics, world):
    def shown(name, **labels):
        return of_quay(metrics, f"cold_{name}", **labels)

    assert shown("images") is None
    assert shown("checks_total", verdict="up") is None
    world.watch.replace([a_target(cold_images=2)])
    assert (shown("images"), shown("up"), shown("oldest_created_timestamp_seconds")) == (0, None, None)
    assert [shown("checks_total", verdict=verdict) for verdict in Verdict] == [0, 0, 0]
    lost = a_lost_image()
    series = world["quay"].series
    world["quay"].rested.images = (lost,)
    series.count_rested(replace(lost, acted=lost.acted + timedelta(hours=1)))
    assert shown("checks_total", verdict="down") == 0, "a renewal that failed is not a check"
    series.count_rested(lost)
    assert (shown("images"), shown("up")) == (1, 0)
    assert shown("oldest_created_timestamp_seconds") == lost.created.timestamp()
    assert shown("last_success_timestamp_seconds") == lost.succeeded.timestamp()
    assert [shown("checks_total", verdict=verdict) for verdict in Verdict] == [0, 1, 0]
    assert shown("failures_total", reason="not_found", scope="registry") == 1


def test_the_build_names_docker_once_it_is_known(metrics, world):
    def build():
        return next(dict(labels) for name, labels in scraped(metrics) if name == "registry_monitor_build_info")

    assert (build()["version"], build()["docker_client"], build()["docker_server"]) == ("1.2.3", "", "")
    world.versions = ("28.2.2", "20.10.24")
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


def test_unchanged_targets_keep_their_series_and_removed_ones_lose_them(metrics, world):
    world["quay"].finished(an_up_cycle(), 0.0)
    world.watch.replace([a_target("new"), a_target()])
    assert of_quay(metrics, "up") == 1
    assert value(metrics, "registry_monitor_payload_bytes", target="new") == 64 * 1024
    world.watch.replace([a_target("new")])
    assert not [labels for _, labels in scraped(metrics) if ("target", "quay") in labels]
    assert value(metrics, "monitor_success") == 1


def test_what_a_target_does_after_it_was_changed_is_shown_nowhere(metrics, world):
    before = world["quay"]
    credentials = Credentials("monitor", Secret("s3cr3t"))
    world.watch.replace([a_target(payload_bytes=5, credentials=credentials, expect_private=True)])
    before.step_started(StepName.PULL)
    before.step_finished(an_up_cycle().steps[0])
    before.finished(an_up_cycle(), 0.0)
    before.record.strangers = StrangersMay(pull=True)
    assert of_quay(metrics, "up") is None
    assert of_quay(metrics, "exposed") is None
    assert of_quay(metrics, "step_started_timestamp_seconds", step="pull") == 0
    assert value(metrics, "monitor_success") == 0


# What a process before this one knew.


def test_what_is_remembered_is_told_and_not_counted(metrics, world):
    last, success = a_failed_cycle(started=NOON), an_up_cycle(started=NOON - timedelta(hours=1))
    world["quay"].series.remember(last, success, downs=3, stands=True)
    assert of_quay(metrics, "up") == 0
    assert state(metrics) == ("down", ("push", "server_error", "registry"), 3)
    assert of_quay(metrics, "last_cycle_timestamp_seconds") == NOON.timestamp() + 2
    assert of_quay(metrics, "last_success_timestamp_seconds") == NOON.timestamp() - 3600 + 2
    assert of_quay(metrics, "cycles_total", verdict="down") == 0
    assert value(metrics, "monitor_failure") == 0


def test_a_verdict_that_does_not_stand_any_more_is_not_told(metrics, world):
    world["quay"].series.remember(a_failed_cycle(), None, downs=1, stands=False)
    assert of_quay(metrics, "up") is None
    assert state(metrics) == (None, None, 1)
    assert of_quay(metrics, "last_success_timestamp_seconds") is None


# The text.


@pytest.fixture
def many(metrics, world):
    """The metrics of targets of several kinds, two of them with names that have to be escaped."""
    targets = [
        a_target(),
        a_target('say "50%\\no"', reference="quay.io/acme/a", credentials=Credentials("monitor", Secret("s3cr3t"))),
        a_target("strangers", reference="quay.io/acme/c", expect_private=True, anonymous=Anonymous.REFUSED),
        a_target("größe %s", reference="quay.io/acme/b", base_image=parse_reference("alpine:3")),
    ]
    for watched in world.watch.replace(targets):
        name = watched.target.name
        watched.finished(an_up_cycle(name, seconds=1e9), 12345678.9)
        watched.finished(a_failed_cycle(target=name), float("inf"))
        watched.record.strangers = StrangersMay(pull=False, push=True)
    return metrics


def without_process(body):
    """Leave out what changes between two scrapes."""
    return [line for line in body.decode().splitlines() if not line.startswith("process_")]


def generate_plain(registry):
    """The older format, in which nothing says since when a counter counts."""
    return generate_latest(WithoutCreated(registry))


@pytest.mark.parametrize(
    ("accept", "generate"),
    [("", generate_plain), ("text/plain", generate_plain), (OPENMETRICS, generate_openmetrics)],
)
def test_the_text_is_what_prometheus_client_writes(many, accept, generate):
    headers, body = many.exposition.answer(accept, "")
    assert without_process(body) == without_process(generate(many.registry))
    assert dict(headers)["Content-Type"].startswith(
        "application/openmetrics" if accept == OPENMETRICS else "text/plain"
    )


def test_what_was_written_before_is_written_again_only_where_it_is_the_same(many, world):
    """Whoever asked last, in whatever format, and whatever happened to the targets since then."""
    changes = (
        lambda: None,
        lambda: world["quay"].finished(an_up_cycle(), 0.5),
        lambda: world["quay"].step_started(StepName.PUSH),
        lambda: world.watch.replace([a_target(), a_target("new", reference="quay.io/acme/new")]),
        lambda: world.watch.replace([a_target(credentials=Credentials("monitor", Secret("s3cr3t")))]),
    )
    for change in changes:
        change()
        for accept, generate in (("", generate_plain), ("", generate_plain), (OPENMETRICS, generate_openmetrics)):
            _, body = many.exposition.answer(accept, "")
            assert without_process(body) == without_process(generate(many.registry))


def test_both_formats_can_be_parsed(many):
    _, text = many.exposition.answer("", "")
    _, openmetrics = many.exposition.answer(OPENMETRICS, "")
    targets = {"quay", "strangers", 'say "50%\\no"', "größe %s"}
    for families in (parse_text(text.decode()), parse_openmetrics(openmetrics.decode())):
        found = {
            sample.labels["target"] for family in families for sample in family.samples if "target" in sample.labels
        }
        assert found == targets


def test_each_counter_says_in_openmetrics_since_when_it_counts(many, world):
    """If a series begins with its first failure, that is when it failed; else, when the target was first watched."""
    world.watch.replace([a_target(cold_images=1, heartbeat_url=Secret("http://127.0.0.1:1/"))])
    begun = time.time()
    world["quay"].finished(a_failed_cycle(), 0.0)
    world["quay"].series.count_rested(a_lost_image())
    _, body = many.exposition.answer(OPENMETRICS, "")
    counters = [family for family in parse_openmetrics(body.decode()) if family.type == "counter"]
    ours = [family for family in counters if family.name.startswith("registry_monitor_") and family.samples]
    assert {"cycles", "failures", "cold_failures", "heartbeats"} <= {family.name[17:] for family in ours}
    for family in ours:
        created, counted = (
            {frozenset(sample.labels.items()): sample.value for sample in family.samples if sample.name == name}
            for name in (f"{family.name}_created", f"{family.name}_total")
        )
        assert created.keys() == counted.keys() > set()
        for moment in created.values():
            assert (begun <= moment <= time.time()) if family.name.endswith("failures") else moment <= begun
    assert "_created{" not in many.exposition.answer("", "")[1].decode()


def test_gzip_is_given_to_who_accepts_it(many):
    headers, body = many.exposition.answer("", "gzip, deflate")
    assert ("Content-Encoding", "gzip") in headers
    assert without_process(gzip.decompress(body)) == without_process(many.exposition.answer("", "")[1])


@pytest.mark.parametrize(
    "accept", [f"{OPENMETRICS}x", "application/openmetrics-text; version=x", "text/plain; version=;"]
)
def test_a_format_that_there_is_none_of_gets_some_answer(many, accept):
    assert b"registry_monitor_up" in many.exposition.answer(accept, "")[1]


def test_versions_made_up_by_a_scraper_take_no_memory(many, world):
    for version in range(100):
        many.exposition.answer(f"application/openmetrics-text; version=1.0.{version}", "")
    layout = world["quay"].series.row().layout
    assert len(layout._templates) <= 100


def test_samples_can_be_chosen_by_name(many):
    restricted = many.registry.restricted_registry(["registry_monitor_up", "monitor_success"])
    names = {line.split("{")[0].split(" ")[0] for line in generate_latest(restricted).decode().splitlines()} - {"#"}
    assert names == {"registry_monitor_up", "monitor_success"}


def test_a_part_that_breaks_does_not_take_the_rest_with_it(metrics, world, caplog):
    world.healthy = RuntimeError("no more threads")
    names = {name for name, _ in scraped(metrics)}
    assert "registry_monitor_healthy" not in names
    assert {"monitor_success", "registry_monitor_cycles_total"} <= names
    assert {record.message for record in caplog.records} == {"some metrics can't be read"}


def test_a_target_has_no_more_than_240_series():
    """With default options and a login, all certificates, a limit, and both kinds of cycle; beside `_created`."""
    world = World(a_target(credentials=Credentials("monitor", Secret("s3cr3t"))))
    quay = world["quay"]
    found = Found(tuple(Certificate(f"{role}.example", role, 0.0) for role in Role), RateLimit(100, 76))
    quay.series.found = lambda: found
    world.finish(an_up_cycle(), a_failed_cycle())
    series = [name for name, labels in scraped(world.metrics) if ("target", "quay") in labels]
    assert {"registry_monitor_failing", "registry_monitor_rate_limit_limit"} < set(series)
    assert 200 < len(series) <= 240


def test_two_hundred_targets_are_written_much_faster_than_by_the_library(metrics, world):
    for watched in world.watch.replace([a_target(f"t{number}") for number in range(200)]):
        watched.finished(an_up_cycle(watched.target.name), 0.0)
    metrics.exposition.answer("", "")

    def seconds(write):
        begun = time.perf_counter()
        write()
        return time.perf_counter() - begun

    ours = min(seconds(lambda: metrics.exposition.answer("", "")) for _ in range(3))
    assert ours < seconds(lambda: generate_latest(metrics.registry)) / 3
