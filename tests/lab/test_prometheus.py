"""Real monitors, a real Prometheus and a real Alertmanager, with the files of deploy/: break, page, repair, resolve."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from functools import partial

import pytest

from lab.alerting import DEPLOY, SOON, Alerting
from lab.alertmanager import Alertmanager
from lab.daemon import await_true
from lab.dashboard import DASHBOARD, PANELS, filled_in
from lab.misbehaviour import answer
from lab.target import login
from lab.terminal_session import Session

OUTAGE = "instance_target:registry_monitor_consecutive_failures:outage"
#: Over which seconds events are counted.
WINDOW = 60
#: What a registry without TLS and limits has nothing to show in.
WITHOUT = {"Certificates", "Rate limit left"}


@pytest.fixture(scope="module")
def watch(session_lab, engine, registry):
    with Alerting(session_lab.folder / "watch", engine, registry) as alerting:
        yield alerting


def test_a_registry_breaks_pages_is_repaired_and_resolves_with_one_notification_for_all(watch, engine):
    """Two monitors see it, and pager, Prometheus, /status, page and terminal report the same step and reason."""
    watch.await_quiet()
    at_terminal = login(f"{watch.proxies['fra'].host}/tests/watched-once")
    with ExitStack() as broken:
        for proxy in watch.proxies.values():
            broken.enter_context(proxy.rule(answer(503), method="PUT", path="/manifests/"))
        watch.await_told("firing", "pager", "RegistryDown")
        (page,) = (told for told in watch.receiver.told if told.labels["alertname"] == "RegistryDown")
        assert page.labels["target"] == "lab"
        assert page.annotations["summary"] == "lab is down: push failed, server_error"
        assert re.fullmatch(
            r"lab is down from everywhere that can judge: \d+ cycles in a row failed\."
            r"( From (fra|nyc): push failed, server_error \(registry\)\.){1,2}",
            page.annotations["description"],
        )
        for vantage in watch.monitors:
            await_true(lambda v=vantage: watch.failure(v)[0] is not None, SOON, "a failed cycle of each")
            assert watch.failure(vantage) == ("push", "server_error", "registry")
        await_true(
            lambda: len(watch.prometheus.query(OUTAGE)) == len(watch.monitors),
            SOON,
            "an outage from each vantage",
        )
        outages = watch.prometheus.query(OUTAGE)
        assert {(o.labels["vantage"], o.labels["step"], o.labels["reason"]) for o in outages} == {
            ("fra", "push", "server_error"),
            ("nyc", "push", "server_error"),
        }
        for monitor in watch.monitors.values():
            page = monitor.get("/?target=lab")[1]
            assert "<title>lab is down: push server_error" in page
            assert re.search(r"Push failed after [^:]*: the registry answered with a server error", page)
        with Session(engine, *at_terminal, columns=200) as session:
            pass
        assert session.code == 1
        assert "push failed, server_error (registry)" in str(session.screen())
    watch.await_told("resolved", "pager", "RegistryDown")
    # One that is up from one vantage point resolves it; the other's next cycle may still be under way.
    await_true(
        lambda: all("<title>lab is up" in monitor.get("/?target=lab")[1] for monitor in watch.monitors.values()),
        SOON,
        "both pages to turn green",
    )
    with Session(engine, *at_terminal, columns=200) as session:
        pass
    assert session.code == 0
    assert watch.told("firing") == watch.told("resolved") == [("pager", "RegistryDown")]


def test_one_monitor_that_is_cut_off_pages_nobody_and_says_from_where(watch):
    watch.await_quiet()
    with watch.proxies["nyc"].refusing():
        watch.await_told("firing", "daytime", "RegistryDownFromHere")
        (ticket,) = watch.receiver.told
        step, reason, scope = watch.failure("nyc")
        assert (reason, scope) == ("refused", "network")
        assert ticket.labels["vantage"] == "nyc"
        assert ticket.annotations["summary"] == f"lab is down from nyc only: {step} failed, refused"
        assert watch.failure("fra") == (None, None, None)
    watch.await_told("resolved", "daytime", "RegistryDownFromHere")
    assert watch.told("firing") == watch.told("resolved") == [("daytime", "RegistryDownFromHere")]


def test_every_query_of_the_dashboard_has_an_answer_while_something_is_broken(watch):
    watch.await_quiet()
    with watch.proxies["nyc"].refusing():
        # What was scraped, beside what was recorded: that can still be the outage of the test before.
        down = (
            'registry_monitor_consecutive_failures{vantage="nyc", target="lab"} >= 2'
            f' and on (instance, target) {OUTAGE}{{step="login", reason="refused"}}'
        )
        watch.await_true(lambda: bool(watch.prometheus.query(down)), "the outage to be seen")
        # In their own time: a scrape that is lost, as on a busy machine, leaves all empty until the next.
        for title, targets in PANELS.items():
            for target in targets if title not in WITHOUT else ():
                await_true(partial(_answers, watch.prometheus, target), SOON, f"an answer for the panel {title}")
        assert not any(_answers(watch.prometheus, target) for title in WITHOUT for target in PANELS[title])
        for variable in DASHBOARD["templating"]["list"][1:-1]:
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"]).groups()
            assert watch.prometheus.label_values(label, filled_in(metric, WINDOW)), variable["name"]
        values = []
        for target in PANELS["What is not up"]:
            (series,) = _answer(watch.prometheus, filled_in(target["expr"], WINDOW))
            labels = series.labels
            assert (labels["vantage"], labels["step"], labels["reason"], labels["scope"]) == (
                "nyc",
                *watch.failure("nyc"),
            )
            values.append(series.values[0])
        last_success, in_a_row = values
        assert 0 < time.time() - last_success / 1000 < 10 * SOON
        assert in_a_row >= 2


#: Causes, and consequences that raise no alert beside them.
INHIBITED = (
    ("RegistryDown", "RegistrySlow"),
    ("RegistryDown", "RegistryCredentials"),
    ("RegistryDown", "ReplicaStale"),
    ("RegistryCertificate", "RegistryUnreliable"),
    ("RegistryCredentials", "RegistryDownFromHere"),
    ("ReplicaStale", "RegistryDownFromHere"),
    ("RegistryUnreliable", "RegistryShaky"),
    ("MonitorGone", "RegistryDownFromHere"),
    ("MonitorCannotJudge", "MonitorUndecided"),
    ("MonitorCannotJudge", "ScheduleLags"),
)
#: Causes, and what is a cause of its own.
TOLD = (
    ("RegistryDown", "RegistryExposed"),
    ("RegistrySlow", "RegistryUnreliable"),
    ("MonitorCannotJudge", "RegistryDown"),
)


def test_a_consequence_is_inhibited_by_a_cause_that_shares_its_target_or_monitor(session_lab):
    """An Alertmanager with the configuration as it is, which reaches nobody, is given pairs of alerts."""
    with Alertmanager(session_lab.folder / "inhibiting", DEPLOY / "prometheus/alertmanager.yml") as alertmanager:
        for cause, consequence in (*TOLD, *INHIBITED):
            here, elsewhere = (f"{cause}, {consequence}, {where}" for where in ("here", "elsewhere"))
            alertmanager.add(cause, {"target": here, "instance": here})
            alertmanager.add(consequence, {"target": here, "instance": here})
            alertmanager.add(consequence, {"target": elsewhere, "instance": elsewhere})
        await_true(lambda: len(alertmanager.inhibited()) >= len(INHIBITED), SOON, "alerts to be inhibited")
        inhibited = {(alert["alertname"], alert["target"]) for alert in alertmanager.inhibited()}
    assert inhibited == {(consequence, f"{cause}, {consequence}, here") for cause, consequence in INHIBITED}


def _answer(prometheus, expression):
    """Given a query, ask until something comes back, and return that."""
    found = []
    await_true(lambda: found.extend(prometheus.query(expression)) or found, SOON, f"an answer to {expression}")
    return found


def _answers(prometheus, target):
    """Given a panel's query, ask as Grafana would, and return whether anything came back that can be shown."""
    expression = filled_in(target["expr"], WINDOW)
    now = time.time()
    series = prometheus.query(expression) if target["instant"] else prometheus.query_range(expression, now - 60, now, 5)
    return any(value == value for one in series for value in one.values)  # noqa: PLR0124  NaN is not an answer
