"""A watch of targets with made-up cycles, and no docker."""

from __future__ import annotations

from collections.abc import Callable

from lib.history import History
from lib.metrics import Metrics, Totals
from lib.result import Cycle
from lib.target import Target
from lib.watch import Watch
from lib.watch.watched import Watched
from tests.unit.examples import NOON, HandClock


class MadeUp:
    """Targets, watched by a clock that is moved by hand.

    Attributes:
        watch: the targets, watched. totals: the original's metrics of them. clock: the clock that never jumps.
    """

    def __init__(
        self,
        *targets: Target,
        history: History | None = None,
        clock: HandClock | None = None,
        wall: Callable[[], float] | None = None,
    ) -> None:
        """Given targets, their past, and clocks: one that never jumps, and one since 1970, by default noon at first."""
        self.clock = clock or HandClock()
        began = NOON.timestamp() - self.clock.now
        wall = wall or (lambda: began + self.clock.now)
        self.totals = Totals()
        past = history or History("this-instance")
        self.watch = Watch(_no_runner, past, lambda _: (self.totals,), self.clock.monotonic, wall)
        self.watch.replace(targets)

    def __getitem__(self, name: str) -> Watched:
        """Return what is watched under a name."""
        return next(watched for watched in self.watch.targets if watched.target.name == name)

    def finish(self, *cycles: Cycle) -> None:
        """Make cycles end."""
        for cycle in cycles:
            self[cycle.target].finished(cycle, lag=0.0)


def metrics_of(*targets: Target) -> Metrics:
    """Return the metrics of targets that had no cycle yet, of a monitor that can judge."""
    world = MadeUp(*targets)
    return Metrics("1.2.3", world.watch.series, world.totals, lambda: True, lambda: ("28.2.2", "20.10.24"))


def _no_runner(*_: object) -> None:
    raise AssertionError("no cycle is to be run here")
