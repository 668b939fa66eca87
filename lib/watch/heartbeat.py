"""Heartbeat: reports each cycle's verdict to a service such as healthchecks.io, which notices silence, too.

It uses the standard library's urllib, which knows proxies and authorities: one GET without a body is not a reason for
the program's first HTTP library. Each heartbeat has a thread of its own, so that no cycle waits; if a target's
heartbeats are slower than its cycles, only the latest is sent. The URL is a secret: whoever has it can report that all
is well.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import SHUT_RDWR
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import (
    AbstractHTTPHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPRedirectHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from lib import __version__
from lib.failure import Verdict
from lib.progress import Listener
from lib.result import Cycle, Outcome
from lib.secret import Secret

_log = logging.getLogger(__name__)

#: How long a heartbeat may take in all, and how long nothing may come meanwhile.
DEADLINE_SECONDS, _SILENCE_SECONDS = 10.0, 5.0

#: GETs a given URL. Raises OSError, HTTPException or ValueError.
Send = Callable[[str], None]


class Heartbeat(Listener):
    """The heartbeats of one target: a listener."""

    def __init__(self, target: str, url: Secret, count: Callable[[Outcome], None], send: Send | None = None) -> None:
        """Given the target's name, the URL, what counts a heartbeat that was sent or not, and what sends one."""
        self._target = target
        self._url = url
        self._count = count
        self._send = send or get
        self._pending: Verdict | None = None
        self._is_sending = self._is_failing = False
        self._changed = threading.Condition()

    def cycle_finished(self, cycle: Cycle) -> None:
        """Given a finished cycle, have its verdict reported, unless it is unknown."""
        if cycle.verdict is Verdict.UNKNOWN:
            return
        with self._changed:
            self._pending = cycle.verdict
            if self._is_sending:
                return
            try:
                threading.Thread(target=self._send_pending, name="heartbeat", daemon=True).start()
            except RuntimeError:
                self._note("no thread could be started for it")
            else:
                self._is_sending = True

    def wait(self, seconds: float) -> None:
        """Given seconds, wait until nothing is left to be sent, but no longer than that."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_sending, seconds)

    def _send_pending(self) -> None:
        while True:
            with self._changed:
                verdict, self._pending = self._pending, None
                if verdict is None:
                    self._is_sending = False
                    self._changed.notify_all()
                    return
            fault = self._fault_of(verdict)
            with self._changed:
                self._note(fault)

    def _fault_of(self, verdict: Verdict) -> str | None:
        """Given a verdict, report it. Return why that failed, without any of the URL, None if it did not."""
        try:
            self._send(url_for(self._url.reveal(), verdict))
        except HTTPError as error:
            error.close()
            return f"it was answered with status {error.code}"
        except URLError as error:
            return _words(error.reason)
        except Exception as error:  # noqa: BLE001  whatever it is, the next one is sent
            return _words(error)
        return None

    def _note(self, fault: str | None) -> None:
        self._count(Outcome.OK if fault is None else Outcome.FAILED)
        was_failing, self._is_failing = self._is_failing, fault is not None
        if fault is not None and not was_failing:
            _log.warning("a heartbeat could not be sent", extra={"target": self._target, "detail": fault})
        elif fault is None and was_failing:
            _log.info("heartbeats can be sent again", extra={"target": self._target})


def wait_for_heartbeats(heartbeats: Iterable[Heartbeat | None]) -> None:
    """Given those of targets that will have no further cycle, wait until they were sent, or have failed."""
    ends = time.monotonic() + DEADLINE_SECONDS
    for heartbeat in heartbeats:
        if heartbeat:
            heartbeat.wait(max(0.0, ends - time.monotonic()))


def url_for(url: str, verdict: Verdict) -> str:
    """Given the URL of a target, and a verdict, return the URL to GET: if it is down, with `/fail` after the path."""
    if verdict is Verdict.UP:
        return url
    scheme, host, path, query, _ = urlsplit(url)
    return urlunsplit((scheme, host, f"{path.rstrip('/')}/fail", query, ""))


def get(url: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Given a URL, and how long that may take, GET it. Raise OSError (HTTPError for a bad status), HTTPException or
    ValueError.
    """
    door = _Door()
    opener = OpenerDirector()
    for handler in (ProxyHandler(), door, _Redirects(), HTTPErrorProcessor(), HTTPDefaultErrorHandler()):
        opener.add_handler(handler)
    timer = threading.Timer(seconds, door.close)
    timer.daemon = True
    timer.start()
    try:
        request = Request(url, headers={"User-Agent": f"registry-monitor/{__version__}"})  # noqa: S310  it was checked
        opener.open(request, timeout=min(seconds, _SILENCE_SECONDS)).close()
    except (OSError, HTTPException) as error:
        if door.is_closed and not isinstance(error, HTTPError):
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


class _Door(AbstractHTTPHandler):
    """Opens connections, and closes them on request: urllib's own deadline begins again with each byte."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False
        self._connections: list[HTTPConnection] = []

    def http_open(self, request: Request) -> Any:
        return self.do_open(self._connecting(HTTPConnection), request)

    def https_open(self, request: Request) -> Any:
        return self.do_open(self._connecting(HTTPSConnection), request)

    def http_request(self, request: Request) -> Request:
        return self.do_request_(request)

    https_request = http_request

    def close(self) -> None:
        self.is_closed = True
        for connection in self._connections:
            with suppress(OSError, AttributeError):  # it has no socket before it is open
                connection.sock.shutdown(SHUT_RDWR)

    def _connecting(self, kind: type[HTTPConnection]) -> Any:
        def connect(host: str, **options: Any) -> HTTPConnection:
            if self.is_closed:
                raise TimeoutError
            self._connections.append(kind(host, **options))
            return self._connections[-1]

        return connect


class _Redirects(HTTPRedirectHandler):
    """Follows redirects within HTTP or HTTPS, and from HTTP to HTTPS."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(newurl).scheme not in {req.type, "https"}:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _words(error: object) -> str:
    """Given what went wrong, return words for it without any of the URL, whatever the error's own words are."""
    if isinstance(error, TimeoutError):
        return "no answer came in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'reason', None) or type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
