"""Alerting: monitors at two vantages, a Prometheus and an Alertmanager with the files of deploy/, and a receiver.

Both monitors watch one registry, each through a proxy of its own; and directly, as a replica of it. The files are used
as they are, except for the example's addresses, and for waits, which are shorter.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from lab.alertmanager import Alertmanager, Receiver
from lab.closing import Holding
from lab.daemon import LabError, await_true
from lab.engine import Engine
from lab.misbehaviour import Door, plain
from lab.monitor import Monitor
from lab.port import on_loopback
from lab.prometheus import Prometheus
from lab.proxy import Proxy
from lab.registry import Registry
from lab.target import PASSWORD, USER

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
VANTAGES = ("fra", "nyc")
#: How long what comes soon may take, in seconds.
SOON = 90

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
#: Waits and intervals are a twentieth as long. But a scrape may take as long as the interval, and on a busy machine it
#: does take some time.
_FASTER, _SCRAPE_SECONDS = 20, 2
_WAIT = re.compile(r"^( *(?:for|keep_firing_for|group_wait|\w+_interval): )(\d+)([smh])$", re.MULTILINE)
#: What is looked for in the past is looked for in as many scrapes as in the files; and what is recorded of the past, as
#: often.
_RANGE_FASTER = 7.5
_RANGE = re.compile(r"([\[:]|^ *interval: )(\d+)([smhd])(?=[\]:]|$)", re.MULTILINE)


def hurried(text: str) -> str:
    """Given a configuration, return it with each interval, each wait, and each range of time shorter."""

    def shorter(match: re.Match[str], by: float) -> str:
        seconds = int(match[2]) * _SECONDS[match[3]] / by
        return f"{match[1]}{max(_SCRAPE_SECONDS, int(seconds))}s"

    return _RANGE.sub(partial(shorter, by=_RANGE_FASTER), _WAIT.sub(partial(shorter, by=_FASTER), text))


class Alerting(Holding):
    """All of it. A context manager.

    Attributes:
        prometheus: the Prometheus. receiver: what gets the notifications. monitors, proxies: by vantage.
    """

    prometheus: Prometheus
    receiver: Receiver

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        registry: Registry,
        *,
        doors: Mapping[str, Door] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Given a folder to make, an engine, and a registry for USER; doors of the proxies, by vantage, if they are to
        be others than plain; and what the monitors' configuration is to have besides, prepare it.
        """
        self.folder = folder
        self.monitors: dict[str, Monitor] = {}
        self.proxies: dict[str, Proxy] = {}
        self._engine = engine
        self._registry = registry
        self._doors = doors or {}
        self._options = options or {}

    def prepare(self, held: ExitStack) -> None:
        """Start it."""
        shutil.copytree(DEPLOY / "prometheus", self.folder)
        held.callback(shutil.rmtree, self.folder)
        for vantage in VANTAGES:
            self._watch_from(vantage, held)
        self.receiver = held.enter_context(Receiver())
        for rules in ("settings.yml", "recording.yml", "alerts.yml"):
            self._configured(rules, {})
        addresses = {f"http://{who}.example/alerts": f"{self.receiver.url}/{who}" for who in ("pager", "daytime")}
        configuration = self._configured("alertmanager.yml", addresses)
        alertmanager = held.enter_context(Alertmanager(self.folder / "alertmanager", configuration))
        addresses = {
            f"monitor.{vantage}.example:8000": monitor.url.removeprefix("http://")
            for vantage, monitor in self.monitors.items()
        }
        configuration = self._configured("prometheus.yml", {**addresses, "localhost:9093": alertmanager.host})
        self.prometheus = held.enter_context(Prometheus(self.folder / "server", configuration))

    def told(self, status: str) -> list[tuple[str, str]]:
        """Given a status, return the notifications with it, as pairs of receiver and alert."""
        return [(told.receiver, told.labels["alertname"]) for told in self.receiver.told if told.status == status]

    def await_told(self, status: str, receiver: str, alert: str) -> None:
        """Given a status, a receiver and an alert, wait for that notification. Raise LabError, with what was seen."""
        self.await_true(lambda: (receiver, alert) in self.told(status), f"{alert} to be {status}")

    def await_true(self, is_so: Callable[[], bool], what: str) -> None:
        """Given a condition and its words, wait for it. Raise LabError, with what was seen meanwhile."""
        try:
            await_true(is_so, SOON, what)
        except LabError as error:
            raise LabError(f"{error}\n{self._evidence()}") from error

    def cycle(self, vantage: str, target: str = "lab") -> dict[str, Any]:
        """Given a vantage and a target, return the last cycle, as the monitor reports it; empty before the first."""
        targets = json.loads(self.monitors[vantage].get("/status?format=json")[1])["targets"]
        return next(one["last_cycle"] or {} for one in targets if one["target"] == target)

    def failure(self, vantage: str) -> tuple[str | None, str | None, str | None]:
        """Given a vantage, return step, reason and scope of the last cycle."""
        cycle = self.cycle(vantage)
        return cycle["step"], cycle["reason"], cycle["scope"]

    def await_quiet(self) -> None:
        """Wait until all is up, no alert is pending or firing, and the receiver knows; then forget what it got."""
        self.await_true(lambda: all(m.get("/status")[0] == 200 for m in self.monitors.values()), "all to be up")  # noqa: PLR2004  OK
        up = 'registry_monitor_up{target="lab"} == 1'
        self.await_true(lambda: len(self.prometheus.query(up)) == len(self.monitors), "that to be seen")
        self.await_true(lambda: not self.prometheus.query("ALERTS"), "all alerts to end")
        self.await_true(
            lambda: sorted(self.told("firing")) == sorted(self.told("resolved")), "the receiver to know of that"
        )
        self.receiver.forget()

    def _watch_from(self, vantage: str, held: ExitStack) -> None:
        name, port = self._registry.host.split(":")
        proxy = Proxy(on_loopback, (name, int(port)), self._doors.get(vantage, plain))
        self.proxies[vantage] = held.enter_context(proxy)
        home = self.folder / vantage
        home.mkdir()
        path = f"tests/watched-{vantage}"
        configuration = {
            "username": USER,
            "password": PASSWORD,
            "run-test-every": "3s",
            "retry-every": "2s",
            "expect-private": True,
            "anonymous": "refused",
            "propagation-timeout": "10s",
            "state-dir": str(home / "state"),
            **self._options,
            "targets": [
                {"name": "lab", "repository": f"{proxy.host}/{path}", "cold-images": 1, "cold-every": "5s"},
                {"name": "copy", "repository": f"{self._registry.host}/{path}", "read-only": True, "replica-of": "lab"},
            ],
        }
        (home / "config.yml").write_text(json.dumps(configuration))  # JSON is YAML
        monitor = Monitor(home, self._engine, f"-config={home / 'config.yml'}")
        self.monitors[vantage] = held.enter_context(monitor)

    def _configured(self, name: str, replacements: Mapping[str, str]) -> Path:
        file = self.folder / name
        text = hurried(file.read_text())
        for example, real in replacements.items():
            if example not in text:
                raise LabError(f"{name} has no {example}")
            text = text.replace(example, real)
        file.write_text(text)
        return file

    def _evidence(self) -> str:
        """Return what explains a missing notification: what was scraped, recorded and sent in the last minutes."""
        now = time.time()
        queries = (
            "ALERTS",
            "instance_target:registry_monitor_consecutive_failures:outage",
            "instance_target:registry_monitor_up:reached",
            "registry_monitor_verdict == 1",
            "up",
            "scrape_duration_seconds",
        )
        return "\n".join(
            [f"{query}: {s}" for query in queries for s in self.prometheus.query_range(query, now - 2 * SOON, now, 2)]
            + [f"told: {told}" for told in self.receiver.told]
            + [monitor.get("/status?format=json")[1] for monitor in self.monitors.values()]
        )
