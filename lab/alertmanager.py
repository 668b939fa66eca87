"""Alertmanager, and a receiver that keeps the notifications that it gets."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from lab.daemon import LabError
from lab.environment import lab_environment
from lab.local_server import LocalServer, Quiet
from lab.prometheus import Watcher


class Alertmanager(Watcher):
    """An Alertmanager by itself, without peers."""

    def __init__(self, folder: Path, configuration: Path) -> None:
        """Given its folder and its configuration file, prepare it."""
        argv = ("prometheus-alertmanager", f"--config.file={configuration}", f"--storage.path={folder / 'data'}")
        super().__init__(folder, (*argv, "--cluster.listen-address=", "--log.level=warn"))

    def add(self, name: str, labels: Mapping[str, str]) -> None:
        """Given an alert's name and its other labels, report that alert to it as firing. Raise LabError."""
        pairs = (f"{label}={value}" for label, value in labels.items())
        self._amtool("alert", "add", f"alertname={name}", *pairs)

    def inhibited(self) -> list[dict[str, str]]:
        """Return the labels of the alerts that another one inhibits. Raise LabError."""
        alerts: list[dict[str, Any]] = json.loads(self._amtool("alert", "query", "--inhibited", "--output=json"))
        return [alert["labels"] for alert in alerts]

    def _amtool(self, *arguments: str) -> str:
        done = subprocess.run(
            ["amtool", f"--alertmanager.url=http://{self.host}", *arguments],
            env=lab_environment(self.folder),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"amtool {' '.join(arguments)} exited with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Told:
    """One alert of a notification.

    Attributes:
        receiver: the path at which it arrived, without the slash.
        status: `firing` or `resolved`.
        labels: what it is about.
        annotations: what it says.
    """

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Receiver(LocalServer):
    """A webhook. A context manager.

    Attributes:
        url: where it gets notifications, without the path, which is up to the sender.
    """

    def __init__(self) -> None:
        """Listen on a port of loopback."""
        self._told: list[Told] = []
        self._lock = threading.Lock()
        super().__init__()

    @property
    def told(self) -> list[Told]:
        """Each alert of each notification, in the order of their arrival."""
        with self._lock:
            return list(self._told)

    def forget(self) -> None:
        """Forget what came so far."""
        with self._lock:
            self._told.clear()

    def _note(self, path: str, notification: dict[str, Any]) -> None:
        with self._lock:
            self._told.extend(
                Told(path.strip("/"), alert["status"], alert["labels"], alert["annotations"])
                for alert in notification["alerts"]
            )

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return the handler that notes what comes."""
        receiver = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._note(self.path, json.loads(body))
                self.send_response(HTTPStatus.OK)
                self.end_headers()

        return Handler
