"""Host: the docker CLI and engine of this host, which the cycles of all targets share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from lib.command import Runner
from lib.cycle import CycleRunner
from lib.cycle.build_cache import BuildLock
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.leftovers import Leftovers
from lib.cycle.refusals import Refusals
from lib.cycle.steps import ASK_SECONDS, reason_of
from lib.cycle.transfers import Transfers
from lib.docker import Docker, DockerError
from lib.docker.client import Client
from lib.docker.environment import prepare_config
from lib.failure import Failure, Reason
from lib.history import History
from lib.history.pushes import Pushes
from lib.instance import Instance
from lib.progress import Observer
from lib.target import Builder, Target

_log = logging.getLogger(__name__)

#: There is never a registry there (RFC 2606). With a config folder without any login, docker would look for logins in a
#: credential store of the user's.
_NOWHERE = "registry.invalid"


class Host:
    """The host that cycles run on. Any thread may use it."""

    def __init__(
        self,
        program: str,
        runner: Runner,
        env: Mapping[str, str],
        instance: Instance,
        history: History,
        *,
        builders: Iterable[Builder] = (Builder.AUTO,),
        is_only: bool = False,
        plugins: Path | None = None,
    ) -> None:
        """Given the docker CLI, what runs it, its environment, this process, and what is known about those before it.

        Also the builders that targets want, whether each target has only one cycle, and the folder of the user's CLI
        plugins.
        """
        self._versions = ("", "")
        self._instance = instance
        self._builders = sorted(builders)
        self._is_only = is_only
        self._plugins = plugins
        self._is_announced = False
        self._client = Client()
        self._anonymous = Docker(runner, program, env, instance.new_folder("anonymous"))
        self._furnish(self._anonymous.config)
        self._furnishing = threading.Lock()
        self._build_lock = BuildLock()
        self._refusals = Refusals()
        self._leftovers = Leftovers(instance, history.is_ours, self._refusals)
        self._transfers = Transfers()
        self._pulled: set[str] = set()

    def runner_for(self, target: Target, pushes: Pushes, observer: Observer) -> CycleRunner:
        """Given a target, its pushes, and who follows its cycles, return what runs them."""
        folder = self._instance.new_folder("target")
        self._furnish(folder)  # before the first cycle, the CLI is asked what it can do, and plugins are part of that
        return CycleRunner(
            target=target,
            docker=replace(self._anonymous, config=folder),
            anonymous=self._anonymous,
            housekeeping=Housekeeping(target, self._leftovers, self._build_lock),
            workspace=folder,
            pushes=pushes,
            observer=observer,
            instance=self._instance.name,
            restore_folders=partial(self._restore_folders, folder),
            transfers=self._transfers,
            is_only=self._is_only,
            for_builder=self._client.for_builder,
            left=self._instance.neighbours.left,
            pulled=self._pulled,
        )

    def docker_versions(self) -> tuple[str, str]:
        """Return the versions of the docker client and server, empty until `ask()` has had an answer."""
        return self._versions

    def ask(self) -> str | None:
        """Ask docker whether it works. Return why not, None if it does.

        The first time that it works, log what cycles run on. Raise Stopped if the monitor is being stopped.
        """
        # An engine is asked for the classic builder only if a target may want it: not every endpoint lets that through.
        docker = self._client.for_builder(self._anonymous, self._builders[0])
        try:
            self._versions = docker.version(ASK_SECONDS)
        except DockerError as error:
            # The question never leaves the host: if no answer comes, that is the daemon's fault.
            reason = Reason.DAEMON if error.deadline_passed else error.failure.reason
            return f"docker can't be used ({reason}): {error.failure.detail}"
        if not self._is_announced:
            self._announce(docker)
        return None

    def close(self, *, is_late: bool = False) -> None:
        """Remove what cycles may have left, and the private folder with it.

        Given whether there is no time left for docker commands. If something stays, so does the folder, with only notes
        of it, for the next instance.
        """
        self._instance.close(all_is_gone=self._leftovers.close(is_late=is_late))

    def _announce(self, docker: Docker) -> None:
        """Log what cycles run on, and which builders don't work; if the daemon does not answer, the next time."""
        client, server = self._versions
        store = "unknown"
        try:
            with self._refusals.excused("where the engine keeps its images is not known"):
                store = docker.store(ASK_SECONDS)
        except DockerError:
            return
        used = sorted({self._client.for_builder(self._anonymous, builder).builder for builder in self._builders})
        self._is_announced = True
        _log.info("docker", extra={"client": client, "server": server, "store": store, "builder": ", ".join(used)})
        for builder, fault in self._client.faults.items():
            _log.warning("no cycle can be up with this builder", extra={"builder": builder, "detail": fault})

    def _restore_folders(self, folder: Path) -> None:
        """Given a target's private folder, make sure that it and the one without logins are there, with their contents.

        Raise DockerError.
        """
        try:
            with self._furnishing:
                for one in (folder, self._anonymous.config):
                    self._instance.restore(one)
                    self._furnish(one)
        except OSError as error:
            lost = f"somebody removed the private folder {self._instance.folder}, and it can't be made again"
            detail = f"{lost}: {error.strerror or error}"
            raise DockerError(Failure(reason_of(error, Reason.CLI), detail)) from None

    def _furnish(self, folder: Path) -> None:
        """Given a private folder, put the user's plugins in it, and what keeps strangers without logins."""
        plugins = folder / "cli-plugins"
        if self._plugins is not None and not plugins.is_symlink():
            plugins.symlink_to(self._plugins)
        if folder == self._anonymous.config and not (folder / "config.json").exists():
            prepare_config(folder, _NOWHERE, None)
