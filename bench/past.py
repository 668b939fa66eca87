"""The past: a history full of cycles, for a monitor that begins with it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from lab.past_cycle import Fault, failed_step, past_cycle
from lib.history import History
from lib.history.hours import Bounds
from lib.history.store import Store
from lib.target import Target
from lib.watch.record import Record

#: The store loses cycles if more than it can hold wait to be written.
_AT_ONCE = 1000
_CLOSE_SECONDS = 60.0


def write_past(state: Path, targets: Sequence[Target], cycles: int, fault: Fault | None = None) -> None:
    """Given a new state-dir, targets, and how many cycles of each there shall have been, write them there.

    Given a fault, every second cycle failed by that.
    """
    instance = uuid4().hex
    store = Store(state, instance)
    history = History(instance, store)
    chance = random.Random(0)
    began = now = time.time() - cycles * targets[0].run_every

    def clock() -> float:
        return now

    records = [Record(target, None, clock, clock) for target in targets]
    for number in range(cycles):
        for place, (target, record) in enumerate(zip(targets, records, strict=True)):
            failed = failed_step(target, chance, fault) if fault is not None and number % 2 == 0 else None
            cycle = past_cycle(target, began + number * target.run_every, chance, failed)
            now = cycle.started.timestamp() + cycle.seconds
            finished = record.add(cycle)
            if finished is not None:
                history.keep_finished(finished)
            if (number * len(targets) + place) % _AT_ONCE == 0:
                store.kept((), Bounds(0, 0))  # it waits for what was given before
    store.close(_CLOSE_SECONDS)
