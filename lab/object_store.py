"""ObjectStore: where a registry keeps its blobs and sends docker for them, at a host and port of its own.

Its door can be shut while the registry is open, as an outage of the storage behind a registry shows.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.closing import Closing
from lab.misbehaviour import plain
from lab.proxy import Proxy


class ObjectStore(Closing):
    """A server of the files below a folder. A context manager.

    Attributes:
        door: what stands before it, and can refuse or misbehave while the registry does not.
        settings: what has a registry (`lab.registry`) redirect docker to it.
    """

    def __init__(self, storage: Path) -> None:
        """Given the folder in which the registry keeps everything, start to serve it on loopback. Raise OSError."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(storage))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.door = Proxy(_listen, ("127.0.0.1", self._server.server_port), plain)
        redirect = {"name": "redirect", "options": {"baseurl": f"http://{self.door.host}/"}}
        self.settings: Mapping[str, str] = {"REGISTRY_MIDDLEWARE_STORAGE": json.dumps([redirect])}

    def close(self) -> None:
        """Stop it."""
        self.door.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(storage: Path) -> type[SimpleHTTPRequestHandler]:
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, request: socket.socket, client: tuple[str, int], server: ThreadingHTTPServer) -> None:
            super().__init__(request, client, server, directory=str(storage))

        def log_message(self, *_: object) -> None:
            """Nothing: what was asked for is not what a test looks at."""

    return Handler


def _listen(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))
