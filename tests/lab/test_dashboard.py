"""The dashboard's panels against the truth: an hour at twenty times its pace, with an outage in it.

The truth is what the monitors themselves say of each cycle (`/status`), collected beside Prometheus.
"""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from cryptography import x509

from lab.alerting import SOON, VANTAGES, Alerting
from lab.certificates import Authority
from lab.daemon import await_true
from lab.dashboard import PANELS, filled_in
from lab.misbehaviour import answer, tls
from lab.registry import Registry
from lab.target import PASSWORD, USER
from lib.metrics.series import BUCKETS

pytestmark = [pytest.mark.everything, pytest.mark.timeout(900)]

#: Ten minutes of an outage in an hour, at twenty times the pace; and what is counted over.
BEFORE, OUTAGE, AFTER, WINDOW = 60, 30, 90, 120
#: Prometheus sees things at a scrape, and records them some time later.
SEEN, RECORDED = 8, 40
NOW = "Now against usual"
MEAN = "instance_target_step:registry_monitor_step_duration_seconds:mean30m_without_unpack"
LIMITS = {"RateLimit-Limit": ["100;w=21600"], "RateLimit-Remaining": ["76;w=21600"]}


@dataclass(frozen=True)
class Ended:
    """A cycle that ended: where it was seen from, and what the monitor said about it."""

    vantage: str
    said: dict

    @property
    def target(self):
        return self.said["target"]

    @property
    def started(self):
        return datetime.fromisoformat(self.said["started"]).timestamp()

    @property
    def at(self):
        return self.started + self.said["seconds"]


class Hour:
    """What happened in the hour, and what the panels say about it."""

    def __init__(self, alerting):
        self.alerting = alerting
        self.began = time.time()
        self.ended = None
        self.cycles = {}
        self._over = threading.Event()
        self._collecting = threading.Thread(target=self._collect, daemon=True)
        self._collecting.start()

    def _collect(self):
        while not self._over.wait(0.2):
            for vantage in VANTAGES:
                for target in ("lab", "copy"):
                    if said := self.alerting.cycle(vantage, target):
                        self.cycles[vantage, target, said["started"]] = Ended(vantage, said)

    def end(self):
        """End it, once Prometheus has seen what the monitors said until now."""
        self.ended = time.time()
        self._over.set()
        self._collecting.join()
        time.sleep(SEEN)

    def of(self, vantage, target):
        """The cycles of one target, in the order in which they ended."""
        cycles = (cycle for cycle in self.cycles.values() if (cycle.vantage, cycle.target) == (vantage, target))
        return sorted((cycle for cycle in cycles if cycle.at <= self.ended), key=lambda cycle: cycle.at)

    def last_of(self, labels):
        return self.of(labels["vantage"], labels["target"])[-1]

    def counted(self, target):
        """The cycles of a target, from everywhere, in the time that is counted over."""
        cycles = (cycle for vantage in VANTAGES for cycle in self.of(vantage, target))
        return [cycle for cycle in cycles if cycle.at > self.ended - WINDOW]

    def steps(self, target, step):
        """Those of a step that ended well, in the time that is counted over."""
        steps = (one for cycle in self.counted(target) for one in cycle.said["steps"])
        return [one for one in steps if (one["step"], one["outcome"]) == (step, "ok")]

    def verdicts(self, target, moment):
        """What each monitor said about a target at a moment; None if too new to be seen, or if there was nothing."""
        found = []
        for vantage in VANTAGES:
            cycles = self.of(vantage, target)
            said = {
                cycle.said["verdict"]
                for cycle, until in _with_ends(cycles, self.ended)
                if cycle.at <= moment and until > moment - SEEN
            }
            if len(said) != 1 or cycles[0].at > moment - SEEN:
                return None
            found += said
        return found

    def shown(self, title, number=0, at=None):
        """What a panel shows at a moment, by default at the end."""
        at = at or self.ended
        series = self.alerting.prometheus.query_range(filled_in(PANELS[title][number]["expr"], WINDOW), at, at, 1)
        assert series, title
        return [(one.labels, one.values[0]) for one in series]

    def shown_by(self, title, *labels, number=0):
        return {tuple(names[label] for label in labels): value for names, value in self.shown(title, number)}


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A certificate that ends in nine days."""
    authority = Authority(tmp_path_factory.mktemp("certificates") / "authority")
    return authority.issue("127.0.0.1", ends=timedelta(days=9))


@pytest.fixture(scope="module")
def hour(session_lab, engine, pem):
    """An hour that is over. The panels that show breakage were asked while things were broken."""
    settings = {"REGISTRY_HTTP_HEADERS": json.dumps(LIMITS)}
    with ExitStack() as stack:
        registry = Registry(session_lab.folder / "limited", users={USER: PASSWORD}, settings=settings)
        stack.enter_context(registry)
        folder = session_lab.folder / "hour"
        alerting = stack.enter_context(Alerting(folder, engine, registry, doors={"nyc": tls(pem)}))
        hour = Hour(alerting)
        await_true(
            lambda: all(monitor.get("/status")[0] == 200 for monitor in alerting.monitors.values()), SOON, "all up"
        )
        time.sleep(BEFORE)
        with ExitStack() as broken:
            for proxy in alerting.proxies.values():
                broken.enter_context(proxy.rule(answer(503), method="PUT", path="/manifests/"))
            time.sleep(OUTAGE)
            hour.during = {
                "Down from everywhere": hour.shown("Down from everywhere", at=time.time()),
                "What is not up": [hour.shown("What is not up", number, time.time()) for number in (0, 1)],
                "cycles": [alerting.cycle(vantage) for vantage in VANTAGES],
            }
        with alerting.proxies["nyc"].rule(answer(503), method="POST", path="/blobs/uploads/"):
            await_true(
                lambda: alerting.prometheus.query("registry_monitor_retries_total > 0"), SOON, "docker to try again"
            )
        await_true(
            lambda: all(monitor.get("/status")[0] == 200 for monitor in alerting.monitors.values()), SOON, "all up"
        )
        time.sleep(max(0.0, hour.began + BEFORE + OUTAGE + AFTER - time.time()))
        hour.end()
        yield hour


def test_whoever_is_on_call_is_told_of_the_outage_and_nobody_of_a_certificate_that_ends_in_nine_days(hour):
    told = hour.alerting.told("firing")
    assert ("pager", "RegistryDown") in told
    assert ("pager", "RegistryDown") in hour.alerting.told("resolved")
    assert ("daytime", "CertificateExpires") in told
    assert {alert for receiver, alert in told if receiver == "pager"} == {"RegistryDown"}


def test_what_is_broken_shows_while_it_is(hour):
    ((_, down),) = hour.during["Down from everywhere"]
    assert down == 1
    last_success, in_a_row = hour.during["What is not up"]
    for rows in (last_success, in_a_row):
        assert {(row["vantage"], row["target"], row["step"], row["reason"], row["scope"]) for row, _ in rows} == {
            (vantage, "lab", "push", "server_error", "registry") for vantage in VANTAGES
        }
    for row, milliseconds in last_success:
        ups = [cycle.at for cycle in hour.of(row["vantage"], "lab") if cycle.said["verdict"] == "up"]
        assert min(abs(milliseconds / 1000 - at) for at in ups) < 0.01
    for row, count in in_a_row:
        downs = [cycle for cycle in hour.of(row["vantage"], "lab") if cycle.said["verdict"] == "down"]
        assert 2 <= count <= len(downs)
    for title, expected in (("Down from everywhere", 0), ("Not judged", 0), ("Open to strangers", 0)):
        assert [value for _, value in hour.shown(title)] == [expected], title
    assert [value for _, value in hour.shown("Alerts firing")] == [1]  # the certificate


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Down from everywhere", lambda verdicts: set(verdicts) == {"down"}),
        ("Down from some places only", lambda verdicts: set(verdicts) == {"up", "down"}),
        ("Not judged", lambda verdicts: verdicts.count("unknown")),
    ],
)
def test_counts_of_targets_follow_the_verdicts(hour, title, expected):
    """At each second, except those in which Prometheus can't have seen the last verdicts yet."""
    (series,) = hour.alerting.prometheus.query_range(
        filled_in(PANELS[title][0]["expr"], WINDOW), hour.began, hour.ended, 1
    )
    right = []
    for second, value in enumerate(series.values):
        verdicts = [hour.verdicts(target, hour.began + second) for target in ("lab", "copy")]
        if None not in verdicts:
            right.append(value == sum(map(expected, verdicts)))
    assert len(right) > 60
    # A scrape that is lost hides a verdict for as long.
    assert sum(right) >= 0.9 * len(right)


def test_verdicts_are_shown_as_long_as_they_stood(hour):
    for vantage in VANTAGES:
        expression = filled_in(PANELS["Verdicts"][0]["expr"], WINDOW).replace("{", f'{{vantage="{vantage}", ')
        for series in hour.alerting.prometheus.query_range(expression, hour.began, hour.ended, 1):
            share = sum(series.values) / len(series.values)
            assert share == pytest.approx(_share_up(hour, vantage, series.labels["target"], hour.ended), abs=0.08)


def _share_up(hour, vantage, target, until):
    """The share of the time that a target was up: a verdict stands from the end of its cycle to that of the next."""
    cycles = [cycle for cycle in hour.of(vantage, target) if cycle.at < until]
    spans = [(cycle.said["verdict"], after - cycle.at) for cycle, after in _with_ends(cycles, until)]
    judged = sum(seconds for verdict, seconds in spans if verdict != "unknown")
    return sum(seconds for verdict, seconds in spans if verdict == "up") / judged


def _with_ends(cycles, ended):
    return zip(cycles, [*(cycle.at for cycle in cycles[1:]), ended], strict=True)


@pytest.mark.parametrize("number", range(3))
def test_availability_is_the_part_of_the_time_in_which_a_target_was_up(hour, number):
    """Until it was recorded last, which is up to an interval ago."""
    vantages = {monitor.url.removeprefix("http://"): vantage for vantage, monitor in hour.alerting.monitors.items()}
    shown = hour.shown_by("Availability", "target", "instance", number=number)
    assert len(shown) == 2 * len(VANTAGES)
    for (target, instance), share in shown.items():
        ends = (hour.ended - ago for ago in (0, RECORDED / 2, RECORDED + SEEN))
        truths = [_share_up(hour, vantages[instance], target, end) for end in ends]
        assert min(truths) - 0.04 <= share <= max(truths) + 0.04


def test_failures_and_cycles_are_as_many_as_there_were(hour):
    failed = [c for vantage in VANTAGES for c in hour.of(vantage, "lab") if c.said["reason"] == "server_error"]
    assert len(failed) > 4
    shown = hour.shown_by("Failures by reason", "target", "step", "reason")
    assert shown["lab", "push", "server_error"] == pytest.approx(len(failed), abs=len(VANTAGES))
    shown = hour.shown_by("Cycles by verdict", "target", "verdict")
    for target in ("lab", "copy"):
        verdicts = [cycle.said["verdict"] for cycle in hour.counted(target)]
        for verdict in ("up", "down", "unknown"):
            # For each monitor one cycle more or less: those at the edges.
            assert shown[target, verdict] == pytest.approx(verdicts.count(verdict), rel=0.1, abs=2 * len(VANTAGES))


def test_durations_are_those_of_the_steps(hour):
    for labels, seconds in hour.shown("Duration of each step"):
        took = [
            step["seconds"]
            for cycle in hour.of(labels["vantage"], labels["target"])[-3:]
            for step in cycle.said["steps"]
            if step["step"] == labels["step"]
        ]
        assert min(abs(seconds - one) for one in took) < 0.01, labels
    for (target, step), seconds in hour.shown_by("95th percentile of steps that succeeded", "target", "step").items():
        took = sorted(one["seconds"] for one in hour.steps(target, step))
        assert _bucket_below(took[int(0.9 * len(took))]) <= seconds <= _bucket_above(took[-1]), (target, step)
    for (target,), seconds in hour.shown_by("Duration of whole cycles", "target").items():
        took = [cycle.said["seconds"] for cycle in hour.counted(target)]
        assert seconds == pytest.approx(sum(took) / len(took), rel=0.25), target


def _bucket_above(seconds):
    return next(bound for bound in BUCKETS if seconds <= bound)


def _bucket_below(seconds):
    return max((bound for bound in BUCKETS if bound < seconds), default=0)


def test_phases_are_those_of_the_steps_and_add_up(hour):
    """Of steps whose lines say enough: now and then one is not divided."""
    shown = hour.shown_by("What pulls and pushes spend their time on", "target", "step", "phase")
    for target, step in (("lab", "pull"), ("lab", "push"), ("lab", "pull_back"), ("copy", "pull")):
        steps = hour.steps(target, step)
        told = [one for one in steps if one["phases"]]
        assert len(told) > 0.8 * len(steps), (target, step)
        parts = {phase: value for (*who, phase), value in shown.items() if who == [target, step]}
        mean = sum(one["seconds"] for one in told) / len(steps)
        assert sum(parts.values()) == pytest.approx(mean, rel=0.25), (target, step)
        for phase, value in parts.items():
            truth = sum(one["phases"][phase] for one in told) / len(steps)
            assert value == pytest.approx(truth, rel=0.25, abs=0.05), (target, step, phase)


def test_what_is_slow_is_told_by_what_the_registry_took(hour):
    """The mean is that of sums over counts, without what was unpacked. Both were recorded again and again: of what is
    usual, a step has the more weight the longer it is known.
    """
    shown = {(labels["vantage"], labels["target"], labels["step"]): value for labels, value in hour.shown(NOW)}
    assert {step for _, _, step in shown} == {"login", "push", "pull", "pull_back"}
    for step in ("push", "pull", "pull_back"):
        query = f'{MEAN}{{target="lab", step="{step}"}}'
        series = hour.alerting.prometheus.query_range(query, hour.ended, hour.ended, 1)
        assert len(series) == len(VANTAGES)
        for one in series:
            vantage = one.labels["vantage"]
            took = [
                (done["seconds"] - (done["phases"] or {}).get("unpack", 0), hour.ended - cycle.at)
                for cycle in hour.of(vantage, "lab")
                for done in cycle.said["steps"]
                if (done["step"], done["outcome"]) == (step, "ok")
            ]
            mean = sum(seconds for seconds, _ in took) / len(took)
            usual = sum(seconds * weight for seconds, weight in took) / sum(weight for _, weight in took)
            assert one.values[0] == pytest.approx(mean, rel=0.25, abs=0.05)
            assert shown[vantage, "lab", step] == pytest.approx(mean / usual, rel=0.3)


def test_retries_and_bytes_are_as_many_as_there_were(hour):
    pushes = [step for cycle in hour.counted("lab") for step in cycle.said["steps"] if step["step"] == "push"]
    retries = sum(step["retries"] for step in pushes)
    assert retries
    assert hour.shown_by("Retries by docker itself", "target", "step")["lab", "push"] == pytest.approx(
        retries, rel=0.2, abs=2
    )
    pushed = sum(cycle.said["payload_bytes"] for cycle in hour.counted("lab") if cycle.said["pushed_digest"])
    edges = 2 * len(VANTAGES) * 64 * 1024
    assert hour.shown_by("Bytes pushed", "target")["lab",] == pytest.approx(pushed, rel=0.1, abs=edges)


def test_ages_lags_and_the_step_under_way_are_those_of_the_cycles(hour):
    for labels, seconds in hour.shown("Age of the last cycle"):
        assert seconds == pytest.approx(hour.ended - hour.last_of(labels).at, abs=SEEN), labels
    for labels, seconds in hour.shown("Lag"):
        last = hour.of(labels["vantage"], labels["target"])[-4:]
        late = [after.started - before.started - 3 for before, after in pairwise(last)]
        assert -0.01 <= seconds <= max(*late, 0) + 1.5, labels
    longest = max(cycle.said["seconds"] for cycle in hour.cycles.values())
    assert all(0 <= seconds < longest + SEEN for _, seconds in hour.shown("Step under way"))


def test_old_content_replicas_and_strangers_are_as_they_were(hour):
    assert [value for _, value in hour.shown("Rested images intact")] == [1] * len(VANTAGES)
    checks = hour.shown_by("Checks of rested images", "target", "verdict")
    assert checks["lab", "up"] >= 2 * len(VANTAGES)
    assert checks["lab", "down"] == 0
    assert [value for _, value in hour.shown("Rested images", 0)] == [1] * len(VANTAGES)
    for number in (1, 2):
        for _, milliseconds in hour.shown("Rested images", number):
            assert hour.began - SOON < milliseconds / 1000 <= hour.ended
    (replicas, tags) = (hour.shown(title) for title in ("Replication lag", "Propagation lag"))
    assert [labels["target"] for labels, _ in replicas] == ["copy"] * len(VANTAGES)
    assert [labels["target"] for labels, _ in tags] == ["lab"] * len(VANTAGES)
    # Both show what was pushed at once: it is one registry.
    assert all(0 <= seconds < SEEN for _, seconds in (*replicas, *tags))
    for number in (0, 1):
        assert {value for _, value in hour.shown("Without a login", number)} == {0}


def test_certificates_and_limits_are_those_of_the_registry(hour, pem):
    ends = x509.load_pem_x509_certificate(pem.read_bytes()).not_valid_after_utc.timestamp()
    (((host, role, target), left),) = hour.shown_by("Certificates", "host", "role", "target").items()
    assert (host, role, target) == (hour.alerting.proxies["nyc"].host, "registry", "lab")
    assert left == pytest.approx(ends - hour.ended, abs=1)
    limits = hour.shown("Rate limit left")
    assert {labels["target"] for labels, _ in limits} == {"lab", "copy"}
    assert {value for _, value in limits} == {0.76}


def test_monitors_are_shown_as_they_are(hour):
    for number in range(3):
        assert {value for _, value in hour.shown("Monitors", number)} == {1}
    assert len(hour.shown("Versions")) == len(VANTAGES)
    resident = {labels["instance"]: value for labels, value in hour.shown("Memory")}
    for monitor in hour.alerting.monitors.values():
        with open(f"/proc/{monitor._running.pid}/status") as status:  # noqa: PTH123
            kilobytes = int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])
        assert resident[monitor.url.removeprefix("http://")] == pytest.approx(1024 * kilobytes, rel=0.3)
    assert all(0 < share < 2 for _, share in hour.shown("CPU"))


def test_no_panel_was_left_out():
    """Each is compared with the truth by its name, above."""
    with open(__file__) as source:  # noqa: PTH123
        text = source.read()
    assert [title for title in PANELS if f'"{title}"' not in text] == []
