"""Cycles: runs a cycle of any target, each in private folders of its own, and asks whether docker is there at all."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lib.command import Runner
from lib.cycle import CycleRunner, Memory, Observer
from lib.cycle.build_cache import Turn
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.privacy import Privacy
from lib.cycle.steps import ASK_SECONDS
from lib.docker import Docker, DockerError
from lib.docker.client import Client
from lib.docker.environment import prepare_config
from lib.instance import Instance
from lib.result import Cycle
from lib.target import Builder, Target

_log = logging.getLogger(__name__)

#: No registry is there, ever (RFC 2606). A config folder without any login at all would have docker look for logins in
#: a credential store of the user's.
_NOWHERE = "registry.invalid"


@dataclass(slots=True)
class _Kept:
    """What the cycles of one target share."""

    runner: CycleRunner
    privacy: Privacy | None = None


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
        plugins: Path | None = None,
    ) -> None:
        """Given the docker CLI, what runs it, its environment, this process, what outlives a cycle and who watches.

        Also whether there will be no second cycle, and the folder of the CLI plugins that the user has.
        """
        self._instance = instance
        self._memory = memory
        self._is_only = is_only
        self._observer = observer
        self._plugins = plugins
        self._is_told = False
        self._client = Client()
        self._anonymous = Docker(runner, program, env, self._new_folder("anonymous"))
        prepare_config(self._anonymous.config, _NOWHERE, None)
        self._kept: dict[Target, _Kept] = {}
        self._lock = threading.Lock()
        self._turn = Turn()

    def __call__(self, target: Target) -> Cycle:
        """Given a target, run one cycle and return what came of it. Raise Stopped where the monitor is stopped."""
        return self._kept_of(target).runner()

    def check_privacy(self, target: Target, cycle: Cycle) -> bool | None:
        """Given a target and its cycle that has just ended, find out whether strangers can pull the test image.

        Return None where that is not asked for, not yet due again, or could not be found out. Raise Stopped.
        """
        kept = self._kept_of(target)
        if kept.privacy is None:
            stranger = self._client.equipped(self._anonymous, target.builder)
            kept.privacy = Privacy(target, stranger, kept.runner.housekeeping)
        return kept.privacy.check(cycle)

    def forget(self, target: Target) -> None:
        """Given a target of which no cycle will be run, remove what its cycles shared."""
        with self._lock:
            kept = self._kept.pop(target, None)
        if kept is not None:
            shutil.rmtree(kept.runner.workspace, ignore_errors=True)

    def docker_versions(self) -> tuple[str, str]:
        """Return the versions of the docker client and server. Raise DockerError where the daemon does not answer."""
        return self._client.equipped(self._anonymous, Builder.AUTO).version(ASK_SECONDS)

    def tell_engine(self, builders: Iterable[Builder]) -> None:
        """Given the builders that targets want, log what their cycles run on, and what they can't build by; once.

        Where the daemon does not answer, that is left to the next time.
        """
        if self._is_told:
            return
        docker = self._client.equipped(self._anonymous, Builder.AUTO)
        try:
            client, server = docker.version(ASK_SECONDS)
            store = docker.store(ASK_SECONDS)
        except DockerError:
            return
        used = sorted({self._client.equipped(self._anonymous, builder).builder for builder in builders})
        self._is_told = True
        _log.info("docker", extra={"client": client, "server": server, "store": store, "builder": ", ".join(used)})
        for builder, fault in self._client.faults.items():
            _log.warning("no cycle can be up with this builder", extra={"builder": builder, "detail": fault})

    def _kept_of(self, target: Target) -> _Kept:
        with self._lock:
            if target not in self._kept:
                self._kept[target] = self._new(target)
            return self._kept[target]

    def _new_folder(self, purpose: str) -> Path:
        """Given what it is for, return a new private folder, in which the CLI finds the plugins that the user has."""
        folder = self._instance.new_folder(purpose)
        if self._plugins is not None:
            (folder / "cli-plugins").symlink_to(self._plugins)
        return folder

    def _new(self, target: Target) -> _Kept:
        folder = self._new_folder("target")
        runner = CycleRunner(
            target=target,
            docker=replace(self._anonymous, config=folder),
            anonymous=self._anonymous,
            housekeeping=Housekeeping(target, self._instance.name, self._is_dead, self._turn),
            workspace=folder,
            memory=self._memory,
            observer=self._observer,
            instance=self._instance.name,
            is_only=self._is_only,
            equipped=partial(self._client.equipped, wanted=target.builder),
        )
        return _Kept(runner)

    def _is_dead(self, instance: str) -> bool:
        # One of this monitor's that is not this process ended before it began: they share a state-dir one at a time.
        return instance in self._instance.dead or (instance != self._instance.name and self._memory.is_ours(instance))
