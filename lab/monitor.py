"""The monitor, run as its users run it: as a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from lab.daemon import Daemon, LabError, Program
from lab.engine import Engine
from lab.port import Port

_PROGRAM = (sys.executable, str(Path(__file__).resolve().parent.parent / "monitor.py"))
_ANSWER_SECONDS = 10.0


def run_monitor(engine: Engine, *options: str) -> int:
    """Given an engine and the monitor's options, run it to its end, its output shown. Return its exit code."""
    return subprocess.run([*_PROGRAM, *options], env=engine.env, check=False).returncode


class Surroundings(Protocol):
    """What a monitor needs around it: an engine, or a stand-in for one."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment that leads to the docker CLI and its engine."""


class Monitor(Daemon):
    """The monitor as a service. A context manager: it answers on entry, and is ended on exit.

    Attributes:
        url: where it answers.
        log: the file with all that it prints.
    """

    url: str

    def __init__(self, folder: Path, engine: Surroundings, *options: str) -> None:
        """Given its folder, which must exist, the engine that it uses, and its options but for `listen`, prepare it."""
        super().__init__()
        self.log = folder / "monitor.log"
        self._engine = engine
        self._options = options

    def prepare(self, held: ExitStack) -> None:
        """Take a port."""
        self._address = f"127.0.0.1:{held.enter_context(Port()).number}"
        self.url = f"http://{self._address}"

    def program(self) -> Program:
        """Return the monitor's command."""
        argv = (*_PROGRAM, f"-listen={self._address}", *self._options)
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
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(self.url + path, timeout=_ANSWER_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()

    def verdict(self) -> tuple[int, str | None, str | None]:
        """Return the HTTP status of /status, and the verdict and the reason that it tells of its only target.

        Raise OSError, or LabError where the answer is no status.
        """
        code, text = self.get("/status?format=json")
        try:
            target: dict[str, Any] = json.loads(text)["targets"][0]
        except (ValueError, LookupError):
            raise LabError(f"/status answered {code}: {text}") from None
        return code, target["verdict"], (target["last_cycle"] or {}).get("reason")
