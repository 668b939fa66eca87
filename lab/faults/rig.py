"""A monitor in this process: the program's own cycle over a lane, with faults that strike as a step begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.faults.ground import PASSWORD, REPOSITORY, USERNAME, Lane
from lib.command import Command, Completed, ShRunner
from lib.cycle import CycleRunner
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.leftovers import Leftovers
from lib.cycle.payload import TARGET_LABEL
from lib.docker import Docker
from lib.docker.environment import docker_environment
from lib.history import History
from lib.history.pushes import Pushes
from lib.instance import Instance
from lib.neighbours import ENGINE_NOTE
from lib.reference import Reference
from lib.result import Cycle, Step, StepName
from lib.secret import Secret
from lib.target import Credentials, Target


class _Runner:
    """Runs commands. How fast a busy machine is without a fault is not what is tested: so long, deadlines are long.

    Attributes:
        is_patient: whether they are.
    """

    def __init__(self) -> None:
        self.is_patient = False
        self._run = ShRunner()

    def __call__(self, command: Command) -> Completed:
        # Questions keep their short deadlines: one under way when the engine is made to hang would take its whole
        # deadline.
        is_patient = self.is_patient and "version" not in command.argv
        return self._run(replace(command, deadline=_PATIENCE) if is_patient else command)


class Rig:
    """A monitor of a lane's repository. A context manager.

    Attributes:
        lane: the lane.
        cli: what it runs as `docker`: a link of its own, so that a fault can put something else in its place.
        target: what it tests.
        pushes: what it pushed.
    """

    def __init__(self, lane: Lane, **options: Any) -> None:
        """Given a lane, and attributes of the target that differ from the usual ones, prepare a monitor."""
        self.lane = lane
        usual: dict[str, Any] = {
            "name": lane.host,
            "reference": Reference(lane.host, REPOSITORY),
            "credentials": Credentials(USERNAME, Secret(PASSWORD)),
            "payload_bytes": 256 * 1024,
        }
        self.target = Target(**usual | options)

    def __enter__(self) -> Self:
        self._instance = Instance(self.lane.folder)
        folder = self._instance.folder
        self.cli = folder / "docker"
        self.cli.symlink_to(shutil.which("docker", path=self.lane.engine.env["PATH"]) or "docker")
        runner = self._runner = _Runner()
        env = docker_environment(self.lane.engine.env, str(self.cli), runner)
        self.pushes = Pushes(self.target.reference.familiar, History(self._instance.name))
        self._observer = _Observer()
        self._cycle = CycleRunner(
            target=self.target,
            docker=Docker(runner, str(self.cli), env, self._instance.new_folder("config")),
            anonymous=Docker(runner, str(self.cli), env, self._instance.new_folder("anonymous")),
            housekeeping=Housekeeping(self.target, Leftovers(self._instance)),
            workspace=folder,
            pushes=self.pushes,
            observer=self._observer,
            instance=self._instance.name,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._instance.close()

    @property
    def instance(self) -> str:
        """The name of its instance, as in the labels of what it makes."""
        return self._instance.name

    @property
    def context(self) -> Path:
        """The folder that the payload is built from, while that is under way."""
        return self._instance.folder / "context"

    def cycle(self, fault: Fault | None = None, at: StepName | None = None) -> Cycle:
        """Run one cycle.

        Given a fault, let it strike as a step begins, or before the cycle if no step is given, and lift it after it.
        """
        if fault is None:
            # Patiently: how fast a busy machine is without a fault is not what is tested.
            return replace(self._cycle, target=replace(self.target, step_timeout=_PATIENCE, cycle_timeout=_PATIENCE))()
        with self.struck(fault, at) as cycle:
            return cycle

    @contextmanager
    def struck(self, fault: Fault, at: StepName | None = None) -> Iterator[Cycle]:
        """Given a fault, and as for `cycle()`, run one cycle; the fault is lifted only at the context's end."""
        with ExitStack() as stack:

            def strike(step: StepName | None) -> None:
                if step is at:
                    self._runner.is_patient = False
                    stack.enter_context(fault(self))

            self._runner.is_patient = True
            strike(None)
            self._observer.told = strike
            try:
                cycle = self._cycle()
            finally:
                self._observer.told = _ignore
                self._runner.is_patient = False
            yield cycle

    def docker_pids(self) -> list[int]:
        """Return the processes that run for this monitor now."""
        return _processes_with(f"DOCKER_CONFIG={self._instance.folder}")

    def leftovers(self) -> list[str]:
        """Return what is left between two cycles and should not be: images, processes, files."""
        images = self.lane.engine.docker(
            "images", "--all", "--quiet", "--filter", f"label={TARGET_LABEL}={self.target.name}"
        )
        left = [f"image {image}" for image in images.stdout.split()]
        left += [f"process {pid}" for pid in self.docker_pids()]
        files = (path for path in self._instance.folder.rglob("*") if path.is_file())
        # Which engine it works on stands there for as long as it lives.
        left += [f"file {path}" for path in files if path != self.cli and not path.name.startswith(ENGINE_NOTE)]
        return left


def reference_of(name: str) -> Reference:
    """Given an image's name with host, port and tag, return the reference."""
    host, _, rest = name.partition("/")
    repository, _, tag = rest.partition(":")
    return Reference(host, repository, tag)


#: What strikes a monitor, for as long as its context lasts.
Fault = Callable[[Rig], AbstractContextManager[Any]]

#: Of a healthy cycle, in seconds.
_PATIENCE = 60.0


def _ignore(_: StepName) -> None:
    """Nothing strikes."""


@dataclass
class _Observer:
    """Reports each step that begins to the current listener."""

    told: Callable[[StepName], None] = _ignore

    def step_started(self, step: StepName) -> None:
        self.told(step)

    def step_finished(self, step: Step) -> None:
        """Nothing: the cycle holds its steps."""


def _processes_with(beginning: str) -> list[int]:
    """Given the beginning of an environment variable, return the processes that have it."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):  # it has just ended
            if folder.name.isdecimal() and f"\0{beginning}".encode() in b"\0" + (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
