"""Real monitors, a real Prometheus and a real Alertmanager, with the files of deploy/: break, page, repair, resolve.

Two monitors watch one registry from two vantages, each through a proxy of its own; and past that, as a replica of it.
The files are taken as they are, but for the addresses of the example, and for what takes time, which takes a twentieth
of it.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.alertmanager import Alertmanager, Receiver
from lab.daemon import LabError, await_true
from lab.misbehaviour import answer, plain
from lab.monitor import Monitor
from lab.prometheus import Prometheus
from lab.proxy import Proxy
from lab.target import PASSWORD, USER, login
from lab.terminal_session import Session

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/registry-monitor.json").read_text())

SOON = 90
FASTER = 20
#: A scrape may take as long as the interval, and on a busy machine it does take some time.
SHORTEST = 2
SECONDS = {"s": 1, "m": 60, "h": 3600}
#: What stands in place of Grafana's variables.
VARIABLES = {"$target": ".*", "$instance": ".*", "$__rate_interval": "15s"}


def hurried(text):
    """Given a configuration, return it with each interval, and each wait, a twentieth as long."""

    def shorter(match):
        return f"{match[1]}{max(SHORTEST, int(match[2]) * SECONDS[match[3]] // FASTER)}s"

    return re.sub(
        r"^( *(?:for|keep_firing_for|group_wait|\w*interval): )(\d+)([smh])$", shorter, text, flags=re.MULTILINE
    )


def listen(port):
    return socket.create_server(("127.0.0.1", port), backlog=64)


@dataclass(frozen=True)
class Watch:
    """What is started once for all tests here."""

    prometheus: Prometheus
    receiver: Receiver
    monitors: dict[str, Monitor]
    proxies: dict[str, Proxy]

    def told(self, status):
        """Return what the receiver was told, as pairs of receiver and alert, for a status."""
        return [(told.receiver, told.labels["alertname"]) for told in self.receiver.told if told.status == status]

    def await_told(self, status, receiver, alert):
        try:
            await_true(lambda: (receiver, alert) in self.told(status), SOON, f"{alert} to be {status}")
        except LabError as error:
            raise LabError(f"{error}\n{self.evidence()}") from error

    def evidence(self):
        """Return what tells why nobody was told: what was seen, scraped and recorded in the last minutes, and told."""
        now = time.time()
        queries = ("ALERTS", "registry_monitor:outage:cycles", "registry_monitor:reached", "registry_monitor_up", "up")
        return "\n".join(
            [f"{query}: {s}" for query in queries for s in self.prometheus.query_range(query, now - 2 * SOON, now, 2)]
            + [f"told: {told}" for told in self.receiver.told]
            + [m.get("/status?format=json")[1] for m in self.monitors.values()]
        )

    def failure(self, vantage):
        """Return step, reason and scope of the last cycle, as the monitor itself tells them."""
        cycle = json.loads(self.monitors[vantage].get("/status?format=json")[1])["targets"][0]["last_cycle"]
        return cycle["step"], cycle["reason"], cycle["scope"]

    def await_quiet(self):
        """Wait until all is up, no alert is pending or firing, and the receiver knows; then forget what it was told."""
        await_true(lambda: all(m.get("/status")[0] == 200 for m in self.monitors.values()), SOON, "all to be up")
        up = 'registry_monitor_up{target="lab"} == 1'
        await_true(lambda: len(self.prometheus.query(up)) == len(self.monitors), SOON, "that to be seen")
        await_true(lambda: not self.prometheus.query("ALERTS"), SOON, "all alerts to end")
        await_true(
            lambda: sorted(self.told("firing")) == sorted(self.told("resolved")), SOON, "the receiver to know of that"
        )
        self.receiver.forget()


@pytest.fixture(scope="module")
def watch(session_lab, engine, registry):
    with ExitStack() as stack:
        folder = session_lab.folder / "watch"
        shutil.copytree(DEPLOY / "prometheus", folder)
        stack.callback(shutil.rmtree, folder)
        name, port = registry.host.split(":")
        monitors, proxies = {}, {}
        for vantage in ("fra", "nyc"):
            proxies[vantage] = stack.enter_context(Proxy(listen, (name, int(port)), plain))
            home = folder / vantage
            home.mkdir()
            path = f"tests/watched-{vantage}"
            (home / "config.yml").write_text(
                f"username: {USER}\npassword: {PASSWORD}\nrun-test-every: 3s\nretry-every: 2s\nexpect-private: true\n"
                f"anonymous: refused\npropagation-timeout: 10s\nstate-dir: {home / 'state'}\n"
                f"targets:\n"
                f"  - {{name: lab, repository: {proxies[vantage].host}/{path}, cold-images: 1, cold-every: 5s}}\n"
                f"  - {{name: copy, repository: {registry.host}/{path}, read-only: true, replica-of: lab}}\n"
            )
            monitors[vantage] = stack.enter_context(Monitor(home, engine, f"-config={home / 'config.yml'}"))
        receiver = stack.enter_context(Receiver())

        def configured(file, replacements):
            text = hurried((folder / file).read_text())
            for example, real in replacements.items():
                assert example in text
                text = text.replace(example, real)
            (folder / file).write_text(text)
            return folder / file

        configured("recording.yml", {})
        configured("alerts.yml", {})
        addresses = {f"http://{who}.example/alerts": f"{receiver.url}/{who}" for who in ("pager", "daytime")}
        configuration = configured("alertmanager.yml", addresses)
        alertmanager = stack.enter_context(Alertmanager(folder / "alertmanager", configuration))
        addresses = {f"monitor.{who}.example:8000": monitors[who].url.removeprefix("http://") for who in monitors}
        configuration = configured("prometheus.yml", addresses | {"localhost:9093": alertmanager.host})
        prometheus = stack.enter_context(Prometheus(folder / "server", configuration))
        yield Watch(prometheus, receiver, monitors, proxies)


def test_a_registry_breaks_pages_is_repaired_and_resolves_with_one_notification_for_all(watch, engine):
    """Two monitors see it, all are told (pager, Prometheus, /status, page, terminal): the same step and reason."""
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
            lambda: len(watch.prometheus.query("registry_monitor:outage:cycles")) == len(watch.monitors),
            SOON,
            "an outage from each vantage",
        )
        outages = watch.prometheus.query("registry_monitor:outage:cycles")
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
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    with watch.proxies["nyc"].refusing():
        down = 'registry_monitor:outage:cycles{vantage="nyc", step="login", reason="refused"}'
        await_true(lambda: watch.prometheus.query(down), SOON, "the outage to be seen")
        empty = [
            (panel["title"], target["expr"])
            for panel in panels
            for target in panel["targets"]
            if not _answers(watch.prometheus, target)
        ]
        assert empty == []
        for variable in DASHBOARD["templating"]["list"][1:]:
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
            assert watch.prometheus.label_values(label, metric), variable["name"]
        values = []
        (broken,) = (panel for panel in panels if panel["title"] == "What is not up")
        for target in broken["targets"]:
            (series,) = watch.prometheus.query(_filled_in(target["expr"]))
            labels = series.labels
            assert (labels["vantage"], labels["step"], labels["reason"], labels["scope"]) == (
                "nyc",
                *watch.failure("nyc"),
            )
            values.append(series.values[0])
        last_success, in_a_row = values
        assert 0 < time.time() - last_success / 1000 < 10 * SOON
        assert in_a_row >= 2


#: Causes, and consequences that nobody is told of beside them.
INHIBITED = (
    ("RegistryDown", "RegistrySlow"),
    ("RegistryDown", "RegistryCredentials"),
    ("RegistryCertificate", "RegistryUnreliable"),
    ("MonitorGone", "RegistryDownFromHere"),
    ("MonitorCannotJudge", "MonitorUndecided"),
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


def _filled_in(expression):
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def _answers(prometheus, target):
    """Given a panel's query, ask as Grafana would, and return whether anything came back that can be shown."""
    expression = _filled_in(target["expr"])
    now = time.time()
    series = prometheus.query(expression) if target["instant"] else prometheus.query_range(expression, now - 60, now, 5)
    return any(value == value for one in series for value in one.values)  # noqa: PLR0124  NaN is no answer
