"""Cycles: runs a cycle of any target, each in private folders of its own, and asks whether docker is there at all."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from lib.command import Runner
from lib.cycle import CycleRunner, Memory, Observer
from lib.docker import Docker
from lib.housekeeping import Housekeeping
from lib.instance import Instance
from lib.result import Cycle
from lib.steps import ASK_SECONDS
from lib.target import Target


class Cycles:
    """Runs cycles; between those of one target it keeps what they share."""

    def __init__(
        self,
        program: str,
        runner: Runner,
        env: Mapping[str, str],
        instance: Instance,
        memory: Memory,
        observer: Observer,
    ) -> None:
        """Given the docker CLI, what runs it, its environment, this process, what outlives a cycle and who watches."""
        self._instance = instance
        self._memory = memory
        self._observer = observer
        self._anonymous = Docker(runner, program, env, instance.new_folder("anonymous"))
        self._runners: dict[str, CycleRunner] = {}
        self._lock = threading.Lock()

    def __call__(self, target: Target) -> Cycle:
        """Given a target, run one cycle and return what came of it. Raise Stopped where the monitor is stopped."""
        return self._runner_of(target)()

    def docker_versions(self) -> tuple[str, str]:
        """Return the versions of the docker client and server. Raise DockerError where the daemon does not answer."""
        return self._anonymous.version(ASK_SECONDS)

    def _runner_of(self, target: Target) -> CycleRunner:
        with self._lock:
            runner = self._runners.get(target.name)
            if runner is None or runner.target != target:
                runner = self._runners[target.name] = self._new_runner(target)
            return runner

    def _new_runner(self, target: Target) -> CycleRunner:
        shared = self._anonymous
        folder = self._instance.new_folder("target")
        return CycleRunner(
            target=target,
            docker=Docker(shared.runner, shared.program, shared.env, config=folder),
            anonymous=shared,
            housekeeping=Housekeeping(target, self._instance.name, self._is_dead),
            workspace=folder,
            memory=self._memory,
            observer=self._observer,
            instance=self._instance.name,
        )

    def _is_dead(self, instance: str) -> bool:
        # One of this monitor's that is not this process ended before it began: they share a state-dir one at a time.
        return instance in self._instance.dead or (instance != self._instance.name and self._memory.is_ours(instance))
