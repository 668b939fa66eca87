"""Prometheus, for the rules and the dashboard, with its own port and its own folder for everything that it keeps."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import direct
from lab.daemon import Daemon, LabError, Program
from lab.environment import lab_environment
from lab.port import Port

_ANSWER_SECONDS = 10.0


class Watcher(Daemon):
    """A program of the Prometheus project. A context manager: it is ready on entry, and is ended on exit.

    Attributes:
        folder: where everything of it is.
        host: `127.0.0.1:PORT`.
    """

    host: str

    def __init__(self, folder: Path, argv: Sequence[str]) -> None:
        """Given its folder, and its program with all arguments but the one that says where to listen, prepare it."""
        super().__init__()
        self.folder = folder
        self._argv = argv

    def prepare(self, held: ExitStack) -> None:
        """Make its folder, and take a port."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.host = f"127.0.0.1:{held.enter_context(Port()).number}"

    def program(self) -> Program:
        """Return its command."""
        log = self.folder / "log"
        argv = (*self._argv, f"--web.listen-address={self.host}")
        return Program(argv, lab_environment(self.folder), log=log, output=log)

    def answers(self) -> bool:
        """Return whether it says that it is ready."""
        try:
            return self.get("/-/ready")[0] == 200  # noqa: PLR2004  OK
        except OSError:
            return False

    def get(self, path: str) -> tuple[int, str]:
        """Given a path, return the HTTP status and the text that it answers with. Raise OSError."""
        return direct.get(f"http://{self.host}{path}", _ANSWER_SECONDS)


class NodeExporter(Watcher):
    """A node_exporter that serves the files of a folder, and nothing else."""

    def __init__(self, folder: Path, files: Path) -> None:
        """Given its own folder, and that of the files, prepare it."""
        collector = "--collector.textfile"
        argv = ("prometheus-node-exporter", "--collector.disable-defaults", collector, f"{collector}.directory={files}")
        super().__init__(folder, argv)

    def answers(self) -> bool:
        """Return whether it serves metrics."""
        try:
            return self.get("/metrics")[0] == 200  # noqa: PLR2004  OK
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Series:
    """What a query gives of one series.

    Attributes:
        labels: its labels, with `__name__` if it has one.
        values: its values, the oldest first.
    """

    labels: dict[str, str]
    values: tuple[float, ...]


class Prometheus(Watcher):
    """A Prometheus server."""

    def __init__(self, folder: Path, configuration: Path) -> None:
        """Given its folder and its configuration file, prepare it."""
        argv = ("prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}")
        super().__init__(folder, (*argv, "--log.level=warn"))

    def query(self, expression: str) -> list[Series]:
        """Given an expression, return its value now. Raise OSError; LabError if it is refused."""
        result: Any = self._ask("query", query=expression)["result"]
        return [Series(series["metric"], (float(series["value"][1]),)) for series in result]

    def query_range(self, expression: str, start: float, end: float, step_seconds: float) -> list[Series]:
        """Given an expression, and a range in seconds since 1970, return its values there. Raise as `query`."""
        result: Any = self._ask("query_range", query=expression, start=start, end=end, step=step_seconds)["result"]
        return [Series(series["metric"], tuple(float(value) for _, value in series["values"])) for series in result]

    def label_values(self, label: str, match: str) -> list[str]:
        """Given a label and a selector of series, return the values that the label has there. Raise as `query`."""
        values: list[str] = self._ask(f"label/{label}/values", **{"match[]": match})
        return values

    def _ask(self, what: str, **parameters: str | float) -> Any:
        status, text = self.get(f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}")
        try:
            answer = json.loads(text)
        except ValueError:
            raise LabError(f"{self.host} answered {status}: {text}") from None
        if answer["status"] != "success":
            raise LabError(f"{parameters} was refused: {answer['error']}")
        return answer["data"]
