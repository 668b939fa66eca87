"""Another real registry: Pulp's (pulp_container), with its database, its content app, its worker and nginx before them.

Each of its programs can be stopped and started for itself. It gives out tokens, and an account may make repositories
below its own name.
"""

from __future__ import annotations

import base64
import json
import subprocess
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from lab.access import Accessed
from lab.closing import Holding
from lab.daemon import LabError, await_true
from lab.direct import DIRECT, get
from lab.folder import remove
from lab.port import Port
from lab.pulp_root import ADMIN, ADMIN_PASSWORD, NEW, PYTHON, Database, Part, write_settings

_ANSWER_SECONDS = 30.0
_TASK_SECONDS = 300.0
_UNAUTHORIZED, _NOT_FOUND = 401, 404

_NGINX = """
daemon off;
user root;
pid {folder}/tmp/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log {folder}/access.log combined;
    client_body_temp_path {folder}/tmp/body;
    proxy_temp_path {folder}/tmp/proxy;
    fastcgi_temp_path {folder}/tmp/fastcgi;
    scgi_temp_path {folder}/tmp/scgi;
    uwsgi_temp_path {folder}/tmp/uwsgi;
    client_max_body_size 0;
    server {{
        listen {host};
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_redirect off;
        location / {{ proxy_pass http://unix:{folder}/tmp/api.sock; }}
        location /pulp/container/ {{ proxy_pass http://unix:{folder}/tmp/content.sock; }}
    }}
}}
"""


class Pulp(Accessed, Holding):
    """Pulp on loopback. A context manager: it answers on entry; on exit its folder is gone.

    Attributes:
        host: `127.0.0.1:PORT`, as it stands in the name of a repository.
        database, api, content, worker, door: its programs; the door is nginx.
    """

    host: str
    database: Part
    api: Part
    content: Part
    worker: Part
    door: Part

    def __init__(self, root: Path, folder: Path, *, users: Mapping[str, str]) -> None:
        """Given the Debian that it runs in (`make_pulp_root`), its folder, which must not exist, and passwords by user,
        prepare a registry.
        """
        self.folder = folder
        self._root = root
        self._users = users

    def prepare(self, held: ExitStack) -> None:
        """Take a port, start its programs, and make its users."""
        held.callback(remove, self.folder)
        subprocess.run(["cp", "--archive", str(self._root / NEW), str(self.folder)], check=True)
        self.host = f"127.0.0.1:{held.enter_context(Port()).number}"
        write_settings(self.folder, self.host)
        (self.folder / "nginx.conf").write_text(_NGINX.format(folder=self.folder, host=self.host))
        self.database = held.enter_context(Database(self._root, self.folder))
        nginx = ("/usr/sbin/nginx", "-e", "stderr", "-c", f"{self.folder}/nginx.conf")
        self.door = self._part("nginx", nginx, lambda: self._status("/v2/") != 0)
        self.api = self._part("api", self._server("api"), lambda: self._status("/v2/") == _UNAUTHORIZED)
        self.content = self._part(
            "content", self._server("content"), lambda: self._status("/pulp/container/none/blobs/none") == _NOT_FOUND
        )
        self.worker = self._part("worker", (f"{PYTHON}/pulpcore-worker",), self._has_worker)
        self._parts = (self.door, self.api, self.content, self.worker)
        for part in self._parts:
            held.callback(part.stop)
        _start(self._parts)
        for name, password in self._users.items():
            self.ask("POST", "users/", {"username": name, "password": password})

    @contextmanager
    def without(self, part: Part) -> Iterator[None]:
        """Given one of its programs, have it stopped for a while."""
        part.stop()
        try:
            yield
        finally:
            if part is self.database:
                part.start()
                # Each has ended for want of it, or is about to.
                for other in (self.api, self.content, self.worker):
                    other.stop()
            _start([part for part in self._parts if part.has_ended])

    def hide(self, repository: str) -> None:
        """Given a repository's path, let nobody see it but those who have a right to it."""
        self.ask("PATCH", self._place("distributions", repository), {"private": True})

    def keep(self, repository: str, versions: int) -> None:
        """Given a repository's path, have it keep so many of its versions: each push or deletion makes one."""
        self.ask("PATCH", self._place("repositories", repository), {"retain_repo_versions": versions})

    def delete_tag(self, repository: str, tag: str) -> None:
        """Given a repository's path and a tag, let the registry forget the tag."""
        self.ask("POST", f"{self._place('repositories', repository)}untag/", {"tag": tag})

    def blob(self, digest: str) -> Path:
        """Given the digest of what was pushed, a layer or a manifest, return the file with it."""
        hexadecimal = digest.removeprefix("sha256:")
        return self.folder / "media" / "artifact" / hexadecimal[:2] / hexadecimal[2:]

    def collect_garbage(self) -> None:
        """Remove what is in no version of a repository, however young."""
        self.ask("POST", "orphans/cleanup/", {"orphan_protection_time": 0})

    def stored_bytes(self) -> int:
        """Return the bytes of all that was pushed and is still kept."""
        return sum(file.stat().st_size for file in (self.folder / "media").rglob("*") if file.is_file())

    def ask(self, method: str, path: str, shape: Mapping[str, object]) -> None:
        """Given a method, a path of Pulp's own API, and what is sent, have its administrator ask for that, and wait
        until it is done. Raise OSError, or LabError if it fails.
        """
        task = self._ask(method, path, shape).get("task")
        if task is None:
            return

        def has_ended() -> bool:
            state: str = self._ask("GET", task)["state"]
            if state in ("failed", "canceled"):
                raise LabError(f"Pulp can't {method} {path}: {self._ask('GET', task)['error']}")
            return state == "completed"

        await_true(has_ended, _TASK_SECONDS, f"Pulp to {method} {path}")

    def _part(self, name: str, argv: Sequence[str], answers: Callable[[], bool]) -> Part:
        return Part(self._root, self.folder, name, argv, answers)

    def _server(self, name: str) -> tuple[str, ...]:
        socket = f"unix:{self.folder}/tmp/{name}.sock"
        return (f"{PYTHON}/pulpcore-{name}", "--workers=1", f"--bind={socket}", "--no-control-socket")

    def _place(self, kind: str, name: str) -> str:
        """Given a kind of Pulp's objects, and a repository's path, return the path of that object. Raise LabError."""
        found = self._ask("GET", f"{kind}/container/container/?name={name}")["results"]
        if not found:
            raise LabError(f"Pulp has no {name} among its {kind}")
        place: str = found[0]["pulp_href"]
        return place

    def _has_worker(self) -> bool:
        with suppress(OSError):
            return bool(self._ask("GET", "status/")["online_workers"])
        return False

    def _status(self, path: str) -> int:
        """Given a path, return the HTTP status that it is answered with, 0 if it is not."""
        try:
            return get(f"http://{self.host}{path}", _ANSWER_SECONDS)[0]
        except OSError:
            return 0

    def _ask(self, method: str, path: str, shape: Mapping[str, object] | None = None) -> Any:
        login = base64.b64encode(f"{ADMIN}:{ADMIN_PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"http://{self.host}{urljoin('/pulp/api/v3/', path)}",
            method=method,
            data=None if shape is None else json.dumps(shape).encode(),
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        with DIRECT.open(request, timeout=_ANSWER_SECONDS) as answer:
            return json.load(answer)


def _start(parts: Collection[Part]) -> None:
    """Given programs, start them side by side: most of what they do until then is to read Python."""
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(Part.start, parts):
            pass
