"""LocalServer: the lab's own HTTP server, on loopback."""

from __future__ import annotations

import threading
from abc import abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.closing import Closing


class LocalServer(Closing):
    """Answers requests in threads of its own. A subclass says how (`handler`).

    Attributes:
        address: where it listens.
        url: the same as a URL, without a path.
    """

    def __init__(self) -> None:
        """Start it on a free port of loopback. Raise OSError."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self._server.daemon_threads = True
        self.address: tuple[str, int] = ("127.0.0.1", self._server.server_port)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @abstractmethod
    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return what answers a request."""

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Quiet(BaseHTTPRequestHandler):
    """Logs nothing: tests don't look at the requests."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""
