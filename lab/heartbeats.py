"""A service that heartbeats are sent to: it keeps the requests, and answers as their path says."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler

from lab.local_server import LocalServer, Quiet


class Heartbeats(LocalServer):
    """A service. A context manager. It answers with the status that the path is, if it is one, else with 200; and with
    `?to=URL` behind that, sends whoever asks there.
    """

    def __init__(self) -> None:
        """Listen on a port of loopback."""
        self._paths: list[str] = []
        self._lock = threading.Lock()
        super().__init__()

    @property
    def paths(self) -> list[str]:
        """What was asked for, in the order of its arrival."""
        with self._lock:
            return list(self._paths)

    def _note(self, path: str) -> None:
        with self._lock:
            self._paths.append(path)

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return what notes what is asked for."""
        service = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service._note(self.path)
                status, _, elsewhere = self.path.removeprefix("/").partition("?to=")
                self.send_response(int(status) if status.isdecimal() else 200)
                if elsewhere:
                    self.send_header("Location", elsewhere)
                self.end_headers()

        return Handler
