"""The monitor, run as its users run it: as a program of its own."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from lab import direct
from lab.daemon import Daemon, LabError, Program, await_true
from lab.engine import Engine
from lab.port import Port

#: What its command begins with.
PROGRAM = (sys.executable, str(Path(__file__).resolve().parent.parent / "monitor.py"))
#: Options with which little time passes between two cycles.
QUICK = ("-run-test-every=500ms", "-retry-every=500ms", "-payload-size=64KiB")
#: A proxy that does not exist: for a monitor of registries whose names belong to others outside the lab.
NO_WAY = "http://127.0.0.1:9"
#: How long something that should come soon may take, in seconds, even on a busy machine.
SOON = 30.0

#: Where `once` has its processes from: the lab runs hundreds, and importing the monitor takes each some 0.4 s.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["lab.monitor", "lib.monitor"])

_ANSWER_SECONDS = 10.0
_SUCCESSES = re.compile(r"^monitor_success (\S+)$", re.MULTILINE)


class Surroundings(Protocol):
    """What a monitor needs around it: an engine, or a stand-in for one."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment that leads to the docker CLI and its engine."""


def run_monitor(engine: Engine, *options: str) -> int:
    """Given an engine and the monitor's options, run it to its end, its output shown. Return its exit code."""
    return subprocess.run([*PROGRAM, *options], env=engine.env, check=False).returncode


def once(
    engine: Surroundings, *options: str, env: Mapping[str, str] | None = None
) -> tuple[int, list[dict[str, Any]], str]:
    """Run the monitor once over all its targets, in a process that is forked from one which has imported it already.

    Given an engine, the monitor's options, and further variables of its environment, return the exit code, the cycles
    in the shape of `-output=json`, and what it wrote to standard error.
    """
    with TemporaryDirectory() as folder:
        printed, told = Path(folder, "stdout"), Path(folder, "stderr")
        for file in (printed, told):
            file.touch()
        arguments = ("-once", "-output=json", *options)
        process = _FORKS.Process(target=_run_program, args=(arguments, {**engine.env, **(env or {})}, printed, told))
        process.start()
        try:
            process.join()
        except BaseException:
            process.kill()
            raise
        code = process.exitcode
        if code is None:
            raise LabError("the monitor ended without an exit code")
        return code, json.loads(text)["cycles"] if (text := printed.read_text()) else [], told.read_text()


def _run_program(arguments: Sequence[str], env: Mapping[str, str], stdout: Path, stderr: Path) -> None:
    """Given its arguments, its environment, and the files for what it prints, become the monitor."""
    for number, file in ((1, stdout), (2, stderr)):
        os.dup2(os.open(file, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [PROGRAM[1], *arguments]
    runpy.run_path(PROGRAM[1], run_name="__main__")


def failed(cycle: Mapping[str, Any]) -> tuple[str, str, str]:
    """Given a cycle as `once` returns it, return the step, the reason and the scope of its failure."""
    return cycle["step"], cycle["reason"], cycle["scope"]


class Monitor(Daemon):
    """The monitor as a service. A context manager: it answers on entry, and is ended on exit.

    Attributes:
        url: where it answers. log: the file with everything that it prints.
    """

    url: str

    def __init__(self, folder: Path, engine: Surroundings, *options: str, run_by: Sequence[str] = ()) -> None:
        """Given its folder, which must exist, the engine that it uses, its options except `listen`, and what its
        command line begins with if it is not to be run by root, prepare it.
        """
        super().__init__()
        self._run_by = run_by
        self.log = folder / "monitor.log"
        self._engine = engine
        self._options = options

    def prepare(self, held: ExitStack) -> None:
        """Take a port."""
        self._address = f"127.0.0.1:{held.enter_context(Port()).number}"
        self.url = f"http://{self._address}"

    def program(self) -> Program:
        """Return the monitor's command."""
        argv = (*self._run_by, *PROGRAM, f"-listen={self._address}", *self._options)
        return Program(argv, self._engine.env, log=self.log, output=self.log)

    def answers(self) -> bool:
        """Return whether it answers at all."""
        try:
            self.get("/health")
        except OSError:
            return False
        return True

    def get(self, path: str) -> tuple[int, str]:
        """Given a path, return the HTTP status and the text that it answers with. Raise OSError."""
        return direct.get(self.url + path, _ANSWER_SECONDS)

    def verdict(self) -> tuple[int, str | None, str | None]:
        """Return the HTTP status of /status, and the verdict and the reason in it of the only target.

        Raise OSError, or LabError if the answer is no status.
        """
        code, text = self.get("/status?format=json")
        try:
            target: dict[str, Any] = json.loads(text)["targets"][0]
        except (ValueError, LookupError):
            raise LabError(f"/status answered {code}: {text}") from None
        return code, target["verdict"], (target["last_cycle"] or {}).get("reason")

    def troubles(self) -> list[dict[str, Any]]:
        """Return the events of level warn and error in its JSON log, except that its schedule can't keep up."""
        events = map(json.loads, self.log.read_text().splitlines())
        troubles = (event for event in events if event["level"] in {"warn", "error"})
        return [event for event in troubles if "can't keep up" not in event["msg"]]

    def await_status(self, code: int) -> None:
        """Given an HTTP status, wait until /status has it. Raise LabError if that takes too long, and OSError."""
        await_true(lambda: self.get("/status")[0] == code, SOON, f"/status to be {code}")

    def successes(self) -> float:
        """Return how many cycles of all targets were up. Raise OSError, or LabError if the metrics tell nothing."""
        found = _SUCCESSES.search(self.get("/metrics")[1])
        if found is None:
            raise LabError("/metrics has no monitor_success")
        return float(found[1])
