"""A past for pages to show: cycles like those of real registries, kept by a real history, served by the real server."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lab.past_cycle import Fault, failed_step, past_cycle
from lib.cycle import CycleRunner
from lib.failure import Reason
from lib.health import Health
from lib.history import History
from lib.history.pushes import Pushes
from lib.metrics import Metrics, Totals
from lib.progress import Observer
from lib.reference import parse_reference
from lib.result import StepName
from lib.secret import Secret
from lib.target import Credentials, Target
from lib.watch import Watch
from lib.web.app import start_web
from lib.web.pages import Pages

#: What docker prints if a push meets a broken registry, or a login uses a password that is no longer valid.
_SERVER_ERROR = (
    "The push refers to repository [{repository}]",
    "3c7cb0c68a17: Preparing",
    "3c7cb0c68a17: Retrying in 1 second",
    "received unexpected HTTP status: 503 Service Unavailable",
)
_UNAUTHORIZED = (
    'Error response from daemon: Get "https://{registry}/v2/": unauthorized: incorrect username or password',
)
_DAEMON = ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",)


@dataclass(frozen=True, kw_only=True)
class Spell(Fault):
    """A fault that began and ended so many seconds ago."""

    begins: float
    ends: float = 0.0


SERVER_ERROR = Spell(StepName.PUSH, Reason.SERVER_ERROR, 50.6, _SERVER_ERROR, begins=1500, retries=5)
UNAUTHORIZED = Spell(StepName.LOGIN, Reason.UNAUTHORIZED, 0.41, _UNAUTHORIZED, begins=11 * 3600)
DAEMON = Spell(StepName.BUILD, Reason.DAEMON, 0.02, _DAEMON, begins=900)


def yesterday(fault: Spell) -> Spell:
    """Given a fault, return it as one that ended yesterday."""
    return replace(fault, begins=27 * 3600, ends=26.2 * 3600)


class Past:
    """A past of so many targets.

    Attributes:
        targets: the targets, as the monitor gets them. watch: the same, watched, with what happened to them.
        faults: what keeps the monitor itself from judging.
    """

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self.faults: list[str] = []
        self.now = time.time()
        self._clock = self.now
        self.watch = Watch(no_runner, History("instance"), monotonic=lambda: self._clock, wall=lambda: self._clock)

    def begin(self, *targets: Target) -> None:
        """Given targets, watch these, too."""
        self.targets.extend(targets)
        self.watch.replace(self.targets)

    def live(self, target: Target, days: float, *faults: Spell) -> None:
        """Given a target, how long ago it was first watched, and its faults, let it have lived until now."""
        chance = random.Random(target.name)
        watched = next(watched for watched in self.watch.targets if watched.target is target)
        at = self.now - days * 86400
        while True:
            ago = self.now - at
            fault = next((one for one in faults if one.ends <= ago <= one.begins), None)
            cycle = past_cycle(target, at, chance, failed_step(target, chance, fault) if fault else None)
            if at + cycle.seconds > self.now:
                break
            self._clock = at + cycle.seconds
            watched.record.add(cycle)
            at += max(cycle.seconds, watched.record.pace.seconds)
        watched.progress.due = at
        self._clock = self.now

    @contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        """Given a port, 0 for any, serve it there, and give the URL."""
        # By a clock that stands still, no answer of the daemon's is ever too old.
        health = Health(lambda: self.faults[0] if self.faults else None, tuple, lambda: 0.0)
        health.ask()
        metrics = Metrics("1.2.3", self.watch.series, Totals(), health.can_judge, lambda: ("28.2.2", "20.10.24"))
        web = start_web(("127.0.0.1", port), Pages(self.watch, health, metrics))
        try:
            yield f"http://127.0.0.1:{web.port}/"
        finally:
            web.close()


def no_runner(target: Target, _pushes: Pushes, _observer: Observer) -> CycleRunner:
    """Given a target of which no cycle is run, raise AssertionError: somebody wants to run one."""
    raise AssertionError(f"no cycle of {target.name} is to be run")


def a_target(name: str, reference: str, **options: Any) -> Target:
    """Given its name, its repository and tag, and its options, return a target."""
    credentials = Credentials("acme+canary", Secret("not used"))
    return Target(name=name, reference=parse_reference(reference), credentials=credentials, **options)


_REGISTRIES = ("quay.io", "docker.io", "ghcr.io", "registry.gitlab.com", "public.ecr.aws", "registry.example.org")
_PLACES = ("ams", "fra", "iad", "gru", "sin", "syd", "nrt", "cpt", "ord", "lhr")


def one_target(*faults: Spell, days: float = 12.0) -> Past:
    """Given its faults, and for how many days it was watched, return the past of one target."""
    past = Past()
    target = a_target("quay", "quay.io/acme/canary", run_every=120.0)
    past.begin(target)
    past.live(target, days, *faults, yesterday(SERVER_ERROR))
    return past


def many_targets(*, failing: bool, number: int = 60, days: float = 2.0) -> Past:
    """Given whether three of them fail, and how many there are, return the past of many targets."""
    past = Past()
    targets = []
    for place in range(number):
        registry = _REGISTRIES[place % len(_REGISTRIES)]
        name = f"{registry.split('.')[-2]}-{_PLACES[place // len(_REGISTRIES) % len(_PLACES)]}"
        if place >= len(_REGISTRIES) * len(_PLACES):
            name += f"-{place}"
        targets.append(a_target(name, f"{registry}/acme/{name}", run_every=300.0))
    past.begin(*targets)
    faults = {3: SERVER_ERROR, 7: UNAUTHORIZED, 10: DAEMON} if failing else {}
    for place, target in enumerate(targets):
        own = [faults[place]] if place in faults else []
        if place % 7 == 3:  # noqa: PLR2004  now and then
            own.append(yesterday(SERVER_ERROR))
        past.live(target, days if place % 5 else 3 * days, *own)
    return past
