"""Heartbeats: what is sent after which cycle, and that nothing waits for it, or shows its URL."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from http.client import InvalidURL
from urllib.error import URLError

import pytest

from lab.heartbeats import Heartbeats
from lib.failure import Reason, Verdict
from lib.options import OptionsError, describe, parse_options
from lib.result import Outcome
from lib.secret import Secret
from lib.watch import heartbeat
from lib.watch.heartbeat import Heartbeat, get, url_for
from tests.unit.examples import a_failed_cycle, a_target, an_up_cycle
from tests.unit.served import a_certificate
from tests.unit.watching import MadeUp

SOON = 30
PLANTED = "hunter2"
URL = f"https://hc.example/ping/{PLANTED}"
UP, DOWN, UNKNOWN = an_up_cycle(), a_failed_cycle(), a_failed_cycle(Reason.DAEMON)


@pytest.fixture
def receiver(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Heartbeats() as receiver:
        yield receiver


class Told:
    """Stands in for the service: holds back or fails as it is asked to."""

    def __init__(self):
        self.urls, self.counted = [], []
        self.begun, self.open = threading.Event(), threading.Event()
        self.open.set()
        self.error = None
        self.heartbeat = Heartbeat("quay", Secret(URL), self.counted.append, self.send)

    def send(self, url):
        self.begun.set()
        assert self.open.wait(SOON)
        self.urls.append(url)
        if self.error is not None:
            raise self.error

    def after(self, *cycles):
        for cycle in cycles:
            self.heartbeat.cycle_finished(cycle)
            self.heartbeat.wait(SOON)
        return self.urls


@pytest.fixture
def told():
    return Told()


# What is sent.


def test_up_is_the_url_itself_down_is_its_failure_and_unknown_is_silence(told):
    assert told.after(UP, UNKNOWN, DOWN, UNKNOWN, UP) == [URL, f"{URL}/fail", URL]
    assert told.counted == [Outcome.OK] * 3


@pytest.mark.parametrize(
    ("url", "failed"),
    [
        ("https://hc.example/id", "https://hc.example/id/fail"),
        ("https://hc.example/id/", "https://hc.example/id/fail"),
        ("https://hc.example/key/slug?create=1", "https://hc.example/key/slug/fail?create=1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/fail"),
        ("http://[::1]:8000/a%2Fb?x=/y", "http://[::1]:8000/a%2Fb/fail?x=/y"),
        ("https://hc.example/id#here", "https://hc.example/id/fail"),
    ],
)
def test_a_failure_is_joined_to_the_path(url, failed):
    assert url_for(url, Verdict.UP) == url
    assert url_for(url, Verdict.DOWN) == failed


def test_no_cycle_waits_and_of_what_waits_only_the_latest_is_sent(told):
    told.open.clear()
    told.heartbeat.cycle_finished(UP)
    assert told.begun.wait(SOON)
    for cycle in (UP, DOWN, UP, DOWN, UNKNOWN):
        told.heartbeat.cycle_finished(cycle)
    told.heartbeat.wait(0.0)
    assert told.counted == []
    told.open.set()
    told.heartbeat.wait(SOON)
    assert told.urls == [URL, f"{URL}/fail"]


# What fails.


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (URLError(OSError(111, "Connection refused")), "Connection refused"),
        (URLError(socket.gaierror(-2, "Name or service not known")), "Name or service not known"),
        (URLError(TimeoutError()), "no answer came in time"),
        (TimeoutError("timed out"), "no answer came in time"),
        (URLError(ssl.SSLCertVerificationError(f"not valid for {PLANTED}")), "TLS failed: SSLCertVerificationError"),
        (InvalidURL(f"URL can't contain control characters. '/ping/{PLANTED}'"), "InvalidURL"),
        (URLError(f"unknown url type: {URL}"), "str"),
        (ValueError(URL), "ValueError"),
    ],
)
def test_what_fails_is_logged_once_and_so_is_its_end_without_a_word_of_the_url(told, caplog, error, words):
    caplog.set_level(logging.DEBUG)
    told.error = error
    told.after(UP, DOWN, UP)
    told.error = None
    told.after(UP, UP)
    assert told.counted == [Outcome.FAILED] * 3 + [Outcome.OK] * 2
    assert [(record.levelname, record.message, record.target) for record in caplog.records] == [
        ("WARNING", "a heartbeat could not be sent", "quay"),
        ("INFO", "heartbeats can be sent again", "quay"),
    ]
    assert caplog.records[0].detail == words
    assert not [record for record in caplog.records if PLANTED in str(vars(record))]


def test_a_host_without_a_thread_to_spare_fails_a_heartbeat_and_no_cycle(told, monkeypatch, caplog):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert told.after(UP) == []
    assert told.counted == [Outcome.FAILED]
    assert told.after(DOWN) == [f"{URL}/fail"]


# How it is asked for.


def test_an_answer_is_an_answer_and_a_bad_status_none(receiver):
    get(f"{receiver.url}/200")
    get(f"{receiver.url}/204")
    for status in (400, 404, 500):
        with pytest.raises(heartbeat.HTTPError):
            get(f"{receiver.url}/{status}")
    assert receiver.paths == ["/200", "/204", "/400", "/404", "/500"]


def test_redirects_are_followed_to_http_and_nowhere_else(receiver, tmp_path):
    (tmp_path / "file").write_text("secret")
    get(f"{receiver.url}/302?to={receiver.url}/204")
    assert receiver.paths[-1] == "/204"
    for elsewhere in (f"file://{tmp_path}/file", "ftp://127.0.0.1/x", "data:,x", "gopher://127.0.0.1/"):
        with pytest.raises(heartbeat.HTTPError):
            get(f"{receiver.url}/302?to={elsewhere}")
    for scheme, allowed in (("https", {"https"}), ("http", {"http", "https"})):
        request = heartbeat.Request(f"{scheme}://hc.example/")
        redirects = {
            new
            for new in ("http", "https", "ftp")
            if heartbeat._Redirects().redirect_request(request, None, 302, "", {}, f"{new}://hc.example/")
        }
        assert redirects == allowed


def test_who_never_ends_an_answer_has_a_deadline_all_the_same():
    """A byte now and then is not silence, and keeps no heartbeat for longer than its deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = threading.Event()

        def trickle():
            connection, _ = listening.accept()
            with connection:
                while not over.wait(0.05):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        server = threading.Thread(target=trickle)
        server.start()
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            get(f"http://127.0.0.1:{listening.getsockname()[1]}/", seconds=0.5)
        assert time.monotonic() - begun < SOON
        over.set()
        server.join()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(a_certificate(tmp_path, "own"), tmp_path / "own.key")
    with Heartbeats() as receiver:
        receiver._server.socket = context.wrap_socket(receiver._server.socket, server_side=True)
        with pytest.raises(URLError) as raised:
            get(f"https://127.0.0.1:{receiver.address[1]}/200")
    assert isinstance(raised.value.reason, ssl.SSLCertVerificationError)
    assert receiver.paths == []


def test_a_watched_target_tells_and_counts(receiver):
    world = MadeUp(a_target(heartbeat_url=Secret(f"{receiver.url}/")), a_target("other"))
    world.finish(UP, DOWN, UNKNOWN)
    world["quay"].heartbeat.wait(SOON)
    assert receiver.paths in (["/", "/fail"], ["/fail"])
    assert world["quay"].series.heartbeats[Outcome.OK] + world["quay"].series.heartbeats[Outcome.FAILED] > 0
    assert world["other"].heartbeat is None


# The option.


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"ftp://hc.example/{PLANTED}", "is not a URL that begins with http:// or https:// and a host"),
        (f"hc.example/{PLANTED}", "is not a URL that begins with http:// or https:// and a host"),
        (f"https:///{PLANTED}", "is not a URL that begins with http:// or https:// and a host"),
        (f"https://hc.example:0/{PLANTED}", "is not a URL that begins with http:// or https:// and a host"),
        (f"https://hc.example:{PLANTED}/", "is not a URL"),
        (f"https://[{PLANTED}/", "is not a URL"),
        (f"https://user:{PLANTED}@hc.example/", "has a user or password before its host, which would not be sent"),
        (f"https://hc.example/{PLANTED} x", "has a character that no URL has: write it as %XX"),
        (f"https://hc.example/{PLANTED}\n", "has a character that no URL has: write it as %XX"),
        (f"https://hc.example/{PLANTED}ü", "has a character that no URL has: write it as %XX"),
    ],
)
def test_a_url_that_is_none_is_refused_without_a_word_of_it(url, fault):
    with pytest.raises(OptionsError) as raised:
        parse_options([f"-heartbeat-url={url}", "-repository=q.io/r"], {})
    assert list(raised.value.faults) == [f"-heartbeat-url: {fault}"]


def test_the_url_is_a_secret_wherever_options_are_shown():
    options = parse_options([f"-heartbeat-url={URL}", "-repository=q.io/r"], {})
    assert PLANTED not in describe(options) + repr(options)
    assert options.targets[0].heartbeat_url == Secret(URL)
