"""The past: a history full of cycles, for a monitor that begins with it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from lib.failure.reason import Verdict
from lib.history import History
from lib.history.record import Bounds
from lib.history.store import Store
from lib.result import Cycle, Outcome, Step, StepName
from lib.target import Target

#: Steps of a cycle without login and base, and about what they take.
_SECONDS = {
    StepName.PULL: 0.8,
    StepName.BUILD: 0.3,
    StepName.PUSH: 1.6,
    StepName.RMI: 0.1,
    StepName.PULL_BACK: 0.9,
}
#: The store loses cycles where more than it holds wait to be written.
_AT_ONCE = 1000
_CLOSE_SECONDS = 60.0


def write_past(state: Path, targets: Sequence[Target], cycles: int) -> None:
    """Given a new state-dir, targets, and how many cycles of each there shall have been, write them there."""
    instance = uuid4().hex
    store = Store(state, instance)
    history = History(instance, store=store)
    history.replace(targets)
    chance = random.Random(0)
    began = time.time() - cycles * targets[0].run_every
    for number in range(cycles):
        for place, target in enumerate(targets):
            history.record(_cycle(target, began + number * target.run_every, chance))
            if (number * len(targets) + place) % _AT_ONCE == 0:
                store.kept((), Bounds(0, 0))  # it waits for what was given before
    store.close(_CLOSE_SECONDS)


def _cycle(target: Target, at: float, chance: random.Random) -> Cycle:
    steps = [Step(name, Outcome.OK, seconds * chance.lognormvariate(0, 0.25)) for name, seconds in _SECONDS.items()]
    digest = f"sha256:{chance.getrandbits(256):064x}"
    return Cycle(
        target=target.name,
        registry=target.registry,
        repository=target.reference.repository,
        tag=target.reference.tag or "latest",
        started=datetime.fromtimestamp(at, UTC),
        seconds=sum(step.seconds for step in steps),
        verdict=Verdict.UP,
        steps=tuple(steps),
        pushed_digest=digest,
        pulled_digest=digest,
        payload_bytes=target.payload_bytes,
    )
