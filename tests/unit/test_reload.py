"""Reloads while cycles end: what belongs to one repository never reaches another, whatever the targets' names."""

from __future__ import annotations

import random
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

from lib.history import History
from lib.history.store import Store
from lib.watch import Watch
from lib.watch.schedule import Schedule
from tests.unit.examples import a_target, an_up_cycle

TARGETS = 200
RELOADS = 20
#: From one reload to the next: some cycles of each slot end meanwhile.
BETWEEN_SECONDS = 0.01


def targets_named(names):
    """Return a target for each repository, under names that are given in the order of the repositories."""
    return [
        a_target(name, reference=f"quay.io/acme/r{number}:canary", run_every=0.1) for number, name in enumerate(names)
    ]


class Runner:
    """Cycles of some milliseconds, each of the repository that its target has."""

    def __init__(self, target, chance):
        self.target = target
        self.chance = chance
        self.anonymous = self.housekeeping = None
        self.for_builder = lambda docker, _: docker

    def __call__(self):
        time.sleep(self.chance.uniform(0.001, 0.01))
        cycle = an_up_cycle(self.target.name)
        shape = cycle.to_dict() | {"repository": self.target.reference.repository}
        return type(cycle).from_dict(shape)

    def close(self):
        """Nothing was shared."""


def mixed(watch):
    """Return what is shown or kept under another repository or name than its own."""
    return [
        (watched.target.name, cycle.target, cycle.repository)
        for watched in watch.targets
        for cycle in watched.record.recent(1000)
        if (cycle.target, cycle.repository) != (watched.target.name, watched.target.reference.repository)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_swapped_names_take_no_verdict_along_not_even_over_a_restart(tmp_path, seed):
    chance = random.Random(seed)
    names = [f"t{number}" for number in range(TARGETS)]
    with closing(SimpleNamespace(close=lambda: store.close(10))):
        store = Store(tmp_path / "state", "before")
        watch = Watch(lambda target, *_: Runner(target, chance), History("before", store))
        schedule = Schedule(concurrency=8)
        schedule.replace(watch.replace(targets_named(names)))
        schedule.start()
        for _ in range(RELOADS):
            time.sleep(BETWEEN_SECONDS)
            chance.shuffle(names)
            schedule.replace(watch.replace(targets_named(names)))
            assert mixed(watch) == []
        assert schedule.stop(10.0)
        assert mixed(watch) == []
        assert sum(watched.record.standing() is not None for watched in watch.targets) > TARGETS // 10

    with closing(SimpleNamespace(close=lambda: store.close(10))):
        store = Store(tmp_path / "state", "after")
        chance.shuffle(names)
        watch = Watch(lambda target, *_: Runner(target, chance), History("after", store))
        watch.replace(targets_named(names))
        assert any(watched.record.standing() is not None for watched in watch.targets)
        assert mixed(watch) == []
