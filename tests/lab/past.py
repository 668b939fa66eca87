"""A past for pages to show: cycles as real registries give them, kept by a real history, served by the real server."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from lib.failure import Reason, Verdict
from lib.health import Health
from lib.history import History
from lib.metrics import Metrics
from lib.reference import parse_reference
from lib.result import Cycle, Outcome, Step, StepName
from lib.target import Target
from lib.under_way import UnderWay
from lib.web.app import Pages, start_web

#: What docker prints as a push meets a broken registry, or a login a password that is no longer good.
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

_USUAL = {
    StepName.LOGIN: 0.35,
    StepName.PULL: 0.8,
    StepName.BUILD: 0.3,
    StepName.PUSH: 1.6,
    StepName.RMI: 0.06,
    StepName.PULL_BACK: 0.9,
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a target, from how many seconds ago and until how many."""

    step: StepName
    reason: Reason
    seconds: float
    words: Sequence[str]
    begins: float
    ends: float = 0.0
    retries: int = 0


SERVER_ERROR = Fault(StepName.PUSH, Reason.SERVER_ERROR, 50.6, _SERVER_ERROR, begins=1500, retries=5)
UNAUTHORIZED = Fault(StepName.LOGIN, Reason.UNAUTHORIZED, 0.41, _UNAUTHORIZED, begins=11 * 3600)
DAEMON = Fault(StepName.BUILD, Reason.DAEMON, 0.02, _DAEMON, begins=900)


def yesterday(fault: Fault) -> Fault:
    """Given a fault, return it as one that is over since yesterday."""
    return Fault(fault.step, fault.reason, fault.seconds, fault.words, 27 * 3600, 26.2 * 3600, fault.retries)


class Past:
    """A past of so many targets.

    Attributes:
        targets: the targets, as the monitor gets them.
        history: what happened to them.
        faults: what keeps the monitor itself from judging.
    """

    def __init__(self) -> None:
        self.targets: list[Target] = []
        self.faults: list[str] = []
        self.now = time.time()
        self._clock = self.now
        self.history = History("instance", lambda: self._clock, lambda: self._clock)

    def watch(self, *targets: Target) -> None:
        """Given targets, watch these, too."""
        self.targets.extend(targets)
        self.history.replace(self.targets)

    def live(self, target: Target, days: float, *faults: Fault) -> None:
        """Given a target, how long ago it was first watched, and its faults, let it have lived until now."""
        chance = random.Random(target.name)
        at = self.now - days * 86400
        while True:
            ago = self.now - at
            fault = next((one for one in faults if one.ends <= ago <= one.begins), None)
            cycle = a_cycle(target, at, chance, fault)
            if at + cycle.seconds > self.now:
                break
            self._clock = at + cycle.seconds
            self.history.record(cycle)
            at += max(cycle.seconds, target.retry_every if fault else target.run_every)
        self._clock = self.now

    @contextmanager
    def served(self, port: int = 0) -> Iterator[str]:
        """Given a port, 0 for any, serve it there, and give the URL."""
        # By a clock that stands still, no answer of the daemon's is ever too old.
        health = Health(lambda: self.faults[0] if self.faults else None, tuple, lambda: 0.0)
        health.ask()
        metrics = Metrics("1.2.3", lambda: not self.faults)
        pages = Pages(lambda: tuple(self.targets), self.history, health, metrics, UnderWay())
        web = start_web(("127.0.0.1", port), pages)
        try:
            yield f"http://127.0.0.1:{web.port}/"
        finally:
            web.close()


def a_target(name: str, reference: str, **options: object) -> Target:
    """Given its name, its repository and tag, and its options, return a target."""
    return Target(name=name, reference=parse_reference(reference), **options)


def a_cycle(target: Target, at: float, chance: random.Random, fault: Fault | None) -> Cycle:
    """Given a target, when, what makes a difference from cycle to cycle, and what goes wrong, return the cycle."""
    steps = []
    for name, seconds in _USUAL.items():
        if fault and name is fault.step:
            words = tuple(
                word.format(repository=target.reference.repository, registry=target.registry) for word in fault.words
            )
            failed = Outcome.FAILED, fault.seconds * chance.uniform(0.98, 1.02), fault.reason, fault.reason.scope
            steps.append(Step(name, *failed, words[-1], fault.retries, words))
            break
        steps.append(Step(name, Outcome.OK, seconds * chance.lognormvariate(0, 0.25)))
    digest = f"sha256:{chance.getrandbits(256):064x}"
    return Cycle(
        target=target.name,
        registry=target.registry,
        repository=target.reference.repository,
        tag=target.reference.tag or "latest",
        started=datetime.fromtimestamp(at, UTC),
        seconds=sum(step.seconds for step in steps),
        verdict=fault.reason.scope.verdict if fault else Verdict.UP,
        steps=tuple(steps),
        pushed_digest=None if fault else digest,
        pulled_digest=None if fault else digest,
        payload_bytes=target.payload_bytes,
    )


_REGISTRIES = ("quay.io", "docker.io", "ghcr.io", "registry.gitlab.com", "public.ecr.aws", "registry.example.org")
_PLACES = ("ams", "fra", "iad", "gru", "sin", "syd", "nrt", "cpt", "ord", "lhr")


def one_target(*faults: Fault, days: float = 12.0) -> Past:
    """Given its faults, and for how many days it was watched, return the past of one target."""
    past = Past()
    target = a_target("quay", "quay.io/acme/canary", run_every=120.0)
    past.watch(target)
    past.live(target, days, *faults, yesterday(SERVER_ERROR))
    return past


def many_targets(failing: bool, number: int = 60, days: float = 2.0) -> Past:
    """Given whether three of them fail, and how many there are, return the past of many targets."""
    past = Past()
    targets = []
    for place in range(number):
        registry = _REGISTRIES[place % len(_REGISTRIES)]
        name = f"{registry.split('.')[-2]}-{_PLACES[place // len(_REGISTRIES) % len(_PLACES)]}"
        if place >= len(_REGISTRIES) * len(_PLACES):
            name += f"-{place}"
        targets.append(a_target(name, f"{registry}/acme/{name}", run_every=300.0))
    past.watch(*targets)
    faults = {3: SERVER_ERROR, 7: UNAUTHORIZED, 10: DAEMON} if failing else {}
    for place, target in enumerate(targets):
        own = [faults[place]] if place in faults else []
        if place % 7 == 3:
            own.append(yesterday(SERVER_ERROR))
        past.live(target, days if place % 5 else 3 * days, *own)
    return past
