"""ObjectStore: where a registry keeps its blobs and sends docker for them, at a host and port of its own.

Its door can be shut while the registry is open, like an outage of the storage behind a registry.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.local_server import LocalServer, Quiet
from lab.misbehaviour import plain
from lab.port import on_loopback
from lab.proxy import Proxy


class ObjectStore(LocalServer):
    """A server of the files below a folder. A context manager.

    Attributes:
        door: what stands in front of it, and can refuse or misbehave while the registry does not.
        settings: make a registry (`lab.registry`) redirect docker to it.
    """

    def __init__(self, storage: Path) -> None:
        """Given the folder in which the registry keeps everything, start to serve it on loopback. Raise OSError."""
        self._storage = storage
        super().__init__()
        self.door = Proxy(on_loopback, self.address, plain)
        redirect = {"name": "redirect", "options": {"baseurl": f"http://{self.door.host}/"}}
        self.settings: Mapping[str, str] = {"REGISTRY_MIDDLEWARE_STORAGE": json.dumps([redirect])}

    def close(self) -> None:
        """Stop it."""
        self.door.close()
        super().close()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """Return what reads the files."""
        storage = str(self._storage)

        class Handler(Quiet, SimpleHTTPRequestHandler):
            def __init__(self, request: socket.socket, client: tuple[str, int], server: ThreadingHTTPServer) -> None:
                super().__init__(request, client, server, directory=storage)

        return Handler
