"""Cycles: runs a cycle of any target, each in private folders of its own, and asks whether docker is there at all."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from lib.command import Runner
from lib.cycle import CycleRunner, Memory, Observer
from lib.docker import Docker
from lib.environment import builder_environment, prepare_config
from lib.housekeeping import Housekeeping
from lib.instance import Instance
from lib.privacy import Privacy
from lib.result import Cycle
from lib.steps import ASK_SECONDS
from lib.target import Target

#: No registry is there, ever (RFC 2606). A config folder without any login at all would have docker look for logins in
#: a credential store of the user's.
_NOWHERE = "registry.invalid"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the cycles of one target share."""

    runner: CycleRunner
    privacy: Privacy


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
        *,
        is_only: bool = False,
    ) -> None:
        """Given the docker CLI, what runs it, its environment, this process, what outlives a cycle and who watches."""
        self._instance = instance
        self._memory = memory
        self._is_only = is_only
        self._observer = observer
        self._anonymous = Docker(runner, program, env, instance.new_folder("anonymous"))
        prepare_config(self._anonymous.config, _NOWHERE, None)
        self._kept: dict[Target, _Kept] = {}
        self._lock = threading.Lock()

    def __call__(self, target: Target) -> Cycle:
        """Given a target, run one cycle and return what came of it. Raise Stopped where the monitor is stopped."""
        return self._kept_of(target).runner()

    def check_privacy(self, target: Target, cycle: Cycle) -> bool | None:
        """Given a target and its cycle that has just ended, find out whether strangers can pull the test image.

        Return None where that is not asked for, not yet due again, or could not be found out. Raise Stopped.
        """
        return self._kept_of(target).privacy.check(cycle)

    def forget(self, target: Target) -> None:
        """Given a target of which no cycle will be run, remove what its cycles shared."""
        with self._lock:
            kept = self._kept.pop(target, None)
        if kept is not None:
            shutil.rmtree(kept.runner.workspace, ignore_errors=True)

    def docker_versions(self) -> tuple[str, str]:
        """Return the versions of the docker client and server. Raise DockerError where the daemon does not answer."""
        return self._anonymous.version(ASK_SECONDS)

    def _kept_of(self, target: Target) -> _Kept:
        with self._lock:
            if target not in self._kept:
                self._kept[target] = self._new(target)
            return self._kept[target]

    def _new(self, target: Target) -> _Kept:
        shared = self._anonymous
        folder = self._instance.new_folder("target")
        housekeeping = Housekeeping(target, self._instance.name, self._is_dead)
        runner = CycleRunner(
            target=target,
            docker=Docker(shared.runner, shared.program, builder_environment(shared.env, target.builder), folder),
            anonymous=shared,
            housekeeping=housekeeping,
            workspace=folder,
            memory=self._memory,
            observer=self._observer,
            instance=self._instance.name,
            is_only=self._is_only,
        )
        return _Kept(runner, Privacy(target, shared, housekeeping))

    def _is_dead(self, instance: str) -> bool:
        # One of this monitor's that is not this process ended before it began: they share a state-dir one at a time.
        return instance in self._instance.dead or (instance != self._instance.name and self._memory.is_ours(instance))
