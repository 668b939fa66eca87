"""AuthorizationPlugin: one of dockerd's, which is asked about each request to the engine's API, and denies some."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from lab.closing import Closing
from lab.local_server import Quiet

_TYPE = "application/vnd.docker.plugins.v1.1+json"


class AuthorizationPlugin(Closing):
    """Answers dockerd on a socket. A context manager.

    Attributes:
        asked: how many requests it was asked about.
    """

    def __init__(self, path: Path, method: str, uri: str) -> None:
        """Given the socket to make, and regular expressions for the method's beginning and any part of the URI of what
        is to be denied, start it. Raise OSError.
        """
        self.asked = 0
        self._path = path
        self._method, self._uri = re.compile(method), re.compile(uri)
        self._server = _Server(str(path), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._path.unlink()

    def answer(self, call: str, said: dict[str, Any]) -> dict[str, Any]:
        """Given the plugin's method that dockerd calls, and what it says, return the answer."""
        if call == "/Plugin.Activate":
            return {"Implements": ["authz"]}
        if call != "/AuthZPlugin.AuthZReq":
            return {"Allow": True}
        self.asked += 1
        denied = self._method.match(said["RequestMethod"]) and self._uri.search(said["RequestUri"])
        return {"Allow": False, "Msg": "the lab's policy"} if denied else {"Allow": True}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        plugin = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                body = json.dumps(plugin.answer(self.path, json.loads(content or b"{}"))).encode()
                self.send_response(200)
                self.send_header("Content-Type", _TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
