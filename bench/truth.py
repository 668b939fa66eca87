"""Truth of the times: how long the monitor says a command took, compared with what the kernel saw of that process."""

from __future__ import annotations

from dataclasses import dataclass

from bench.process_events import Life, ProcessEvents
from bench.result import Boxes, Figure, Limit, Result
from bench.site import Payload, Site
from bench.spread import estimate, median
from bench.wired import Wired
from lab.daemon import LabError
from lib.command import Command, Completed, ShRunner

METHOD = """Every docker command of some cycles: the seconds that the monitor reports, minus those from the moment when
the kernel started the program to the moment when its last thread ended. The kernel stamps both by the same clock (its
process events, netlink). Positive means that too long a time was reported."""

CYCLES, SHORT_CYCLES = 25, 3


@dataclass(frozen=True, slots=True)
class _Told:
    """A command.

    Attributes:
        verb: docker's.
        seconds: as the monitor reports.
        life: as the kernel saw it.
    """

    verb: str
    seconds: float
    life: Life

    @property
    def program_seconds(self) -> float:
        return self.life.exited - self.life.executed

    @property
    def error(self) -> float:
        """By how many seconds its reported time is too long."""
        return self.seconds - self.program_seconds


class _Witness:
    """Runs commands as the monitor does, and notes what the kernel saw of them."""

    def __init__(self, events: ProcessEvents) -> None:
        self.told: list[_Told] = []
        self._events = events
        self._run = ShRunner()

    def __call__(self, command: Command) -> Completed:
        completed = self._run(command)
        lives = self._events.ended_children()
        if len(lives) != 1:
            raise LabError(f"docker {command.argv[1]} was {len(lives)} processes to the kernel")
        self.told.append(_Told(command.argv[1], completed.seconds, lives[0]))
        return completed


def measure(site: Site, *, short: bool = False) -> Result:
    """Given a site, and whether a few cycles will do, return the result."""
    with ProcessEvents() as events:
        witness = _Witness(events)
        with Wired(site, Payload(), witness) as cycle:
            for _ in range(SHORT_CYCLES if short else CYCLES):
                cycle()
    told = witness.told
    errors = [one.error * 1000 for one in told]
    figures = (
        Figure("truth.error", "excess of a command's reported time", "ms", median(errors), Limit(3)),
        Figure(
            "truth.error_from_fork",
            "the same, from the start of the process instead of the program",
            "ms",
            median([(one.seconds - (one.life.exited - one.life.forked)) * 1000 for one in told]),
        ),
        Figure("truth.start_up", "from the fork to the program", "ms", median([_start_up(one) * 1000 for one in told])),
        Figure(
            "truth.ratio",
            "all reported time, relative to all real time",
            "",
            estimate(told, lambda some: sum(one.seconds for one in some) / sum(one.program_seconds for one in some)),
            gross=Limit(1.5),
        ),
    )
    by_verb = {verb: [one.error * 1000 for one in told if one.verb == verb] for verb in dict.fromkeys(_verbs(told))}
    plots = (Boxes("truth", "Excess of a docker command's reported time", "ms", by_verb),)
    return Result("Truth of the times", METHOD, figures, plots)


def _start_up(told: _Told) -> float:
    return told.life.executed - told.life.forked


def _verbs(told: list[_Told]) -> list[str]:
    return [one.verb for one in told]
