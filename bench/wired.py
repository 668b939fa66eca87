"""The monitor's cycles in this process, wired as `lib.monitor` wires them; and what runs commands without `sh`."""

from __future__ import annotations

import subprocess
import time
from types import TracebackType
from typing import Self

from bench.site import Payload, Site
from lab.daemon import LabError
from lib.command import Command, Completed, Runner, ShRunner
from lib.cycle.host import Host
from lib.docker.environment import docker_environment, user_plugins
from lib.failure.reason import Verdict
from lib.health import Health
from lib.history import History
from lib.instance import Instance
from lib.metrics import Totals
from lib.options import parse_options
from lib.watch import Watch
from lib.watch.log import CycleLog


class Wired:
    """Cycles of one target, in a repository of its own. A context manager, which leaves nothing behind."""

    def __init__(self, site: Site, payload: Payload, runner: Runner | None = None) -> None:
        """Given a site, what is moved, and what runs the commands (by default, the monitor's own), get ready."""
        runner = runner or ShRunner()
        argv = (
            f"-repository={site.new_repository()}",
            f"-payload-size={payload.size}",
            f"-payload-layers={payload.layers}",
        )
        options = parse_options(argv, {})
        self._instance = Instance(site.new_folder())
        history = History(self._instance.name)
        host = Host(
            program=options.docker,
            runner=runner,
            env=docker_environment(site.engine.env, options.docker, runner),
            instance=self._instance,
            history=history,
            plugins=user_plugins(site.engine.env),
        )
        health = Health(host.ask, tuple)
        watch = Watch(host.runner_for, history, lambda record: (Totals(), health, CycleLog(record)))
        (self._watched,) = watch.replace(options.targets)

    def __call__(self) -> None:
        """Run a cycle, and keep, count and log it. Raise LabError if it is not up."""
        cycle = self._watched.take_turn(lag=0.0)
        if cycle.verdict is not Verdict.UP:
            raise LabError(f"a cycle was {cycle.verdict}: {cycle.to_dict()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._instance.close()


def run_bare(command: Command) -> Completed:
    """Given a command, run it as the standard library does, which on Linux is by vfork; without what `ShRunner` does
    besides (deadlines of groups, bounded output, dying with the monitor). Return what came of it.
    """
    began = time.monotonic()
    done = subprocess.run(
        command.argv,
        env=command.env,
        input=b"" if command.stdin is None else command.stdin.reveal().encode(),
        capture_output=True,
        start_new_session=True,
        timeout=command.deadline,
        check=False,
    )
    seconds = time.monotonic() - began
    return Completed(
        done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), seconds
    )
