"""HTTP, on one port: prometheus_client's server, with our routes around its app. It only reads, and changes nothing."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import make_wsgi_app

from lib.ending import CantRun, NotNow
from lib.web.access import Access
from lib.web.connections import Connection, Connections
from lib.web.kept import Kept
from lib.web.login import GUESS_SECONDS, Admission, Login
from lib.web.pages import Answer, Pages, Query, text
from lib.web.server import CONNECTION, SERVER, Server, common_headers
from lib.web.start import start_server

_log = logging.getLogger(__name__)


class ListenError(NotNow):
    """The address can't be listened on. Its text is a sentence for the operator."""


def start_web(listen: tuple[str, int], pages: Pages, web_config: Path | None = None) -> Server:
    """Serve the pages.

    Given host (empty for all interfaces) and port (0 for any) to listen on, the pages, and the web configuration file,
    None for neither TLS nor login. Raise ListenError if it can't be done now, and CantRun if it never can: the file is
    faulty, or the port is not for this user.
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
        "/-/healthy": pages.show_healthy,
        "/-/ready": pages.show_ready,
    }
    login = Login()
    # All metrics of many targets take much time and memory: only one such answer is made at a time, and all who wait
    # for the next one share it.
    exposed = Kept[Answer]()

    def answer(environ: WSGIEnvironment) -> Answer:
        path = environ["PATH_INFO"]
        page = routes.get(path) or routes.get(path.removesuffix("/"))
        if page is None:
            return text(HTTPStatus.NOT_FOUND, "not found\n")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n", ("Allow", "GET, HEAD"))
        try:
            parameters = parse_qs(environ["QUERY_STRING"], keep_blank_values=True, max_num_fields=100)
        except ValueError:
            return text(HTTPStatus.BAD_REQUEST, "too many parameters\n")
        # A folded header contains a line end, and the format that it names is repeated in a header of ours.
        environ["HTTP_ACCEPT"] = " ".join(environ.get("HTTP_ACCEPT", "").split())
        query = Query(parameters, environ["HTTP_ACCEPT"], environ.get("HTTP_ACCEPT_ENCODING", ""))
        if page != pages.show_metrics:
            return page(query)
        asked = (environ["QUERY_STRING"], query.accept, query.accept_encoding)
        return exposed.get(asked, lambda: _answer_of(library, environ) if "name[]" in parameters else page(query))

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        connection: Connection = environ[CONNECTION]
        try:
            answered = _refusal(login, connection, environ) or answer(environ)
        except Exception as error:  # noqa: BLE001  the monitor goes on, and does not tell strangers why
            _log.error("a request could not be answered", extra={"error": type(error).__name__, "detail": str(error)})
            answered = text(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault in the monitor itself\n")
        status, body = answered.status, answered.body
        if answered.is_known_by(environ.get("HTTP_IF_NONE_MATCH", "")):
            status = HTTPStatus.NOT_MODIFIED
        if environ["REQUEST_METHOD"] == "HEAD" or status is HTTPStatus.NOT_MODIFIED:
            body = b""
        connections.send(connection, body)
        common = common_headers(connection.rules, len(answered.body), answered.caching)
        start_response(f"{status.value} {status.phrase}", [*answered.headers, *common, ("Server", SERVER)])
        return [body]

    return app


def _refusal(login: Login, connection: Connection, environ: WSGIEnvironment) -> Answer | None:
    users = connection.rules.config.users
    if not users:
        return None
    begun = time.thread_time()
    admission = login.admit(users, environ.get("HTTP_AUTHORIZATION", ""), environ["REMOTE_ADDR"])
    # Password checks have a limit of their own: guesses must not make anybody wait to be accepted.
    connection.cpu_begun += time.thread_time() - begun
    match admission:
        case Admission.GRANTED:
            return None
        case Admission.REFUSED:
            challenge = ("WWW-Authenticate", f'Basic realm="{SERVER}", charset="UTF-8"')
            return text(HTTPStatus.UNAUTHORIZED, "name and password are needed\n", challenge)
        case Admission.EXHAUSTED:
            later = ("Retry-After", f"{GUESS_SECONDS:.0f}")
            return text(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong logins from this address\n", later)
        case Admission.BUSY:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "too many logins at once\n", ("Retry-After", "5"))


def _answer_of(app: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    kept: list[Any] = []
    body = b"".join(app({**environ, "REQUEST_METHOD": "GET"}, lambda *started: kept.extend(started)))  # type: ignore[arg-type]
    status, headers = kept
    return Answer(HTTPStatus(int(status.partition(" ")[0])), headers, body)


def _all_interfaces() -> str:
    """Return the address of all interfaces: of both families, if the system has both and binds both at once."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            both = not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            probe.bind(("::", 0))
    except OSError:
        both = False
    return "::" if both else "0.0.0.0"  # noqa: S104  as configured
