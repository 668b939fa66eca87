"""Cycle time and the monitor's own CPU time, compared with a plain script and with a runner without `sh`."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

from bench.result import Boxes, Figure, Limit, Result
from bench.site import Payload, PlainScript, Site
from bench.spread import in_turn, median, ratio
from bench.wired import Wired, run_bare
from lib.command import Command, Completed

METHOD = """Whole cycles, including the clean-up, of the monitor (in process, wired as in the program), of
[`bench/plain.sh`](../bench/plain.sh), which runs the same docker commands, and of the monitor with `subprocess` instead
of `sh`. They take turns on one engine and one registry, with the default payload. The CPU time is that of the monitor's
own threads; its children's is docker's."""

ROUNDS, SHORT_ROUNDS = 36, 4


def measure(site: Site, *, short: bool = False) -> Result:
    """Given a site, and whether a few rounds will do, return the result."""
    own_cpu: list[float] = []
    bare_cpu: list[float] = []
    commands: list[str] = []

    def run_counted(command: Command) -> Completed:
        commands.append(command.argv[1])
        return run_bare(command)

    plain = PlainScript(site, Payload())
    with Wired(site, Payload()) as monitor, Wired(site, Payload(), run_counted) as bare:
        actions: dict[str, Callable[[], None]] = {
            "monitor": timed(monitor, own_cpu),
            "plain sh script": plain,
            "monitor without sh": timed(bare, bare_cpu),
        }
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = in_turn(actions, SHORT_ROUNDS if short else ROUNDS)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    own, script, without = seconds.values()
    own_cpu, bare_cpu = own_cpu[1:], bare_cpu[1:]  # the first round is not counted
    docker_cpu = (used.ru_utime + used.ru_stime - children.ru_utime - children.ru_stime) / (3 * (len(own) + 1))
    in_a_cycle = len(commands) / (len(own) + 1)
    figures = (
        Figure(
            "cycle.ratio", "cycle time, relative to the plain script's", "", ratio(own, script), Limit(1.03), Limit(2)
        ),
        Figure("cycle.pairs", "the same, pair by pair", "", median([a / b for a, b in zip(own, script, strict=True)])),
        Figure("cycle.without_sh", "the same without `sh`", "", ratio(without, script)),
        Figure("cycle.seconds", "cycle time", "s", median(own)),
        Figure("cycle.plain_seconds", "the plain script's", "s", median(script)),
        Figure(
            "cycle.sh",
            "extra time of `sh` over `subprocess`, a command",
            "ms",
            median([(a - b) / in_a_cycle * 1000 for a, b in zip(own, without, strict=True)]),
        ),
        Figure("cycle.cpu", "the monitor's own CPU a cycle", "ms", median(own_cpu).scaled(1000), Limit(25)),
        Figure("cycle.cpu_without_sh", "the same without `sh`", "ms", median(bare_cpu).scaled(1000)),
        Figure(
            "cycle.cpu_share",
            "the monitor's own CPU, relative to that of its docker commands",
            "",
            median([cpu / docker_cpu for cpu in own_cpu]),
            gross=Limit(0.6),
        ),
    )
    plots = (
        Boxes("cycle", "A cycle", "s", seconds),
        Boxes(
            "cpu",
            "The monitor's own CPU time a cycle",
            "ms",
            {
                name: [cpu * 1000 for cpu in some]
                for name, some in (("monitor", own_cpu), ("monitor without sh", bare_cpu))
            },
        ),
    )
    return Result("Cycle time, and the monitor's own CPU", METHOD, figures, plots)


def timed(cycle: Callable[[], None], cpu: list[float]) -> Callable[[], None]:
    """Given what runs a cycle, return what runs it and adds to `cpu` the seconds that this process used for it."""

    def run() -> None:
        began = time.process_time()
        cycle()
        cpu.append(time.process_time() - began)

    return run
