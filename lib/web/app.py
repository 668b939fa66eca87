"""HTTP, on one port: prometheus_client's server, with our routes around its app. It reads, and never acts."""

from __future__ import annotations

import gzip
import json
import logging
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import gzip_accepted

from lib.ending import CantRun, NotNow
from lib.health import Health
from lib.metrics import Metrics
from lib.page import PageData, PageQuery, render
from lib.page.template import content_security_policy
from lib.watch import Watch
from lib.watch.status import all_ok, status_of
from lib.web.access import Access
from lib.web.connections import Connection, Connections
from lib.web.login import Admission, Login
from lib.web.server import CONNECTION, SERVER, Server, common_headers
from lib.web.start import start_server

_log = logging.getLogger(__name__)

#: What the browser of a page lets it do, and tells others of it.
_PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", content_security_policy()),
    ("Referrer-Policy", "no-referrer"),
)

Headers = list[tuple[str, str]]


class ListenError(NotNow):
    """The address can't be listened on. Its text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: its status.
        headers: those that are its own; what all answers have is added.
        body: its body.
    """

    status: HTTPStatus
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    Attributes:
        parameters: those of the URL.
        accept, accept_encoding: the headers of these names.
    """

    parameters: dict[str, list[str]]
    accept: str
    accept_encoding: str

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be JSON. `format` in the URL outweighs the header."""
        if "format" in self.parameters:
            return self.parameters["format"][-1] == "json"
        return any(part.partition(";")[0].strip() == "application/json" for part in self.accept.split(","))


@dataclass(frozen=True, slots=True)
class Pages:
    """What there is to read.

    Attributes:
        watch: the targets.
        health: whether we can judge.
        metrics: the metrics.
    """

    watch: Watch
    health: Health
    metrics: Metrics

    def show_page(self, query: Query) -> Answer:
        """Show all of it to people: 404 if one target is asked for that there is not."""
        data = PageData(self.watch.targets, self.health.faults)
        page = render(data, PageQuery.of(query.parameters), datetime.now(UTC))
        headers, body = [*_PAGE_HEADERS], page.html.encode(errors="replace")
        if gzip_accepted(query.accept_encoding):
            headers.append(("Content-Encoding", "gzip"))
            body = gzip.compress(body, compresslevel=1, mtime=0)
        return Answer(HTTPStatus.OK if page.found else HTTPStatus.NOT_FOUND, headers, body)

    def show_status(self, query: Query) -> Answer:
        """Say whether the registries work: 200 if all of those that are asked for do, else 503."""
        targets = self.watch.targets
        if (wanted := query.parameters.get("target")) is not None:
            if unknown := set(wanted) - {watched.target.name for watched in targets}:
                return _text(HTTPStatus.NOT_FOUND, f"no target is named {', '.join(sorted(unknown))}\n")
            targets = tuple(watched for watched in targets if watched.target.name in wanted)
        statuses = status_of(targets)
        ok, now = all_ok(statuses), datetime.now(UTC)
        if query.wants_json:
            return _json(ok, {"ok": ok, "targets": [status.to_dict(now) for status in statuses]})
        return _lines(ok, [status.to_line(now) for status in statuses])

    def show_health(self, query: Query) -> Answer:
        """Say whether the monitor can judge: 200 if so, else 503."""
        faults = self.health.faults
        ok = not faults
        return _json(ok, {"ok": ok, "faults": list(faults)}) if query.wants_json else _lines(ok, faults)

    def show_metrics(self, query: Query) -> Answer:
        """Give all metrics in the format that is asked for."""
        headers, body = self.metrics.exposition.answer(query.accept, query.accept_encoding)
        return Answer(HTTPStatus.OK, headers, body)


def start_web(listen: tuple[str, int], pages: Pages, web_config: Path | None = None) -> Server:
    """Serve what there is to read.

    Given host (empty for all interfaces) and port (0 for any) to listen on, what there is to read, and the web
    configuration file, None for neither TLS nor login. Raise ListenError if it can't be done now, and CantRun if it
    never can: the file is faulty, or the port is not for this user.
    """
    host, port = listen
    connections = Connections()
    router = _router(pages, make_wsgi_app(pages.metrics.registry), connections)
    access = Access(web_config)
    try:
        server = start_server(port, host or _all_interfaces())
    except OSError as error:
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        kind = CantRun if isinstance(error, PermissionError) else ListenError
        raise kind(f"can't listen on {shown}: {error.strerror or error}") from None
    server.open(router, access, connections)
    return server


def _router(pages: Pages, library: WSGIApplication, connections: Connections) -> WSGIApplication:
    routes: dict[str, Callable[[Query], Answer]] = {
        "/": pages.show_page,
        "/status": pages.show_status,
        "/health": pages.show_health,
        "/metrics": pages.show_metrics,
    }
    login = Login()
    # All metrics of many targets take much time and memory: never are two such answers in the making.
    exposing = Lock()

    def answer(environ: WSGIEnvironment) -> Answer:
        page = routes.get(environ["PATH_INFO"])
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, "not found\n")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n", ("Allow", "GET, HEAD"))
        try:
            parameters = parse_qs(environ["QUERY_STRING"], keep_blank_values=True, max_num_fields=100)
        except ValueError:
            return _text(HTTPStatus.BAD_REQUEST, "too many parameters\n")
        # A folded header holds a line end, and the format that it names comes back in a header of ours.
        environ["HTTP_ACCEPT"] = " ".join(environ.get("HTTP_ACCEPT", "").split())
        query = Query(parameters, environ["HTTP_ACCEPT"], environ.get("HTTP_ACCEPT_ENCODING", ""))
        if page != pages.show_metrics:
            return page(query)
        with exposing:
            return _answer_of(library, environ) if "name[]" in parameters else page(query)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        connection: Connection = environ[CONNECTION]
        try:
            answered = _refusal(login, connection, environ) or answer(environ)
        except Exception as error:  # noqa: BLE001  the monitor goes on, and tells no stranger why
            _log.error("a request could not be answered", extra={"error": type(error).__name__, "detail": str(error)})
            answered = _text(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault in the monitor itself\n")
        connections.count_bytes(connection, len(answered.body))
        headers = [*answered.headers, *common_headers(connection.rules, len(answered.body)), ("Server", SERVER)]
        start_response(f"{answered.status.value} {answered.status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answered.body]

    return app


def _refusal(login: Login, connection: Connection, environ: WSGIEnvironment) -> Answer | None:
    users = connection.rules.config.users
    if not users:
        return None
    match login.admit(users, environ.get("HTTP_AUTHORIZATION", "")):
        case Admission.GRANTED:
            return None
        case Admission.REFUSED:
            challenge = ("WWW-Authenticate", f'Basic realm="{SERVER}", charset="UTF-8"')
            return _text(HTTPStatus.UNAUTHORIZED, "name and password are needed\n", challenge)
        case Admission.BUSY:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "too many logins at once\n", ("Retry-After", "5"))


def _answer_of(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    kept: list[Any] = []
    body = b"".join(app({**environ, "REQUEST_METHOD": "GET"}, lambda *started: kept.extend(started)))  # type: ignore[arg-type]
    status, headers = kept
    return Answer(HTTPStatus(int(status.partition(" ")[0])), headers, body)


def _all_interfaces() -> str:
    """Return the address of all interfaces: of both families, where the system has both and binds both at once."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            both = not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            probe.bind(("::", 0))
    except OSError:
        both = False
    return "::" if both else "0.0.0.0"  # noqa: S104  that is what was asked for


def _text(status: HTTPStatus, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], text.encode())


def _lines(ok: bool, lines: Iterable[str]) -> Answer:  # noqa: FBT001  it is the first line
    return _text(_status(ok), "".join(f"{line}\n" for line in ("true" if ok else "false", *lines)))


def _json(ok: bool, shape: dict[str, Any]) -> Answer:  # noqa: FBT001  as above
    return Answer(_status(ok), [("Content-Type", "application/json")], json.dumps(shape, indent=2).encode() + b"\n")


def _status(ok: bool) -> HTTPStatus:  # noqa: FBT001  as above
    return HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
