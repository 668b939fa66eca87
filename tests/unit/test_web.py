"""Web: what each path answers, over real sockets, whatever the client does."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import re
import socket
import sys
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from types import SimpleNamespace

import pytest

from lib.health import Health
from lib.metrics import Metrics
from lib.reference import parse_reference
from lib.web import app as web
from lib.web import connections as web_connections
from lib.web import pages as web_pages
from lib.web.app import ListenError, start_web
from lib.web.pages import Pages
from tests.unit.examples import a_failed_cycle, a_target, an_up_cycle
from tests.unit.served import raw, served
from tests.unit.watching import MadeUp

TARGETS = (a_target("quay"), a_target("docker.io/acme/canary", reference="docker.io/acme/canary"))


@pytest.fixture
def world():
    """What there is to read: two targets without a verdict, and a daemon that answers."""
    world = MadeUp(*TARGETS)
    world.health = Health(lambda: None, tuple, world.clock.monotonic)
    world.health.ask()
    world.metrics = Metrics(
        "1.2.3", world.watch.series, world.totals, world.health.can_judge, lambda: ("28.2.2", "20.10.24")
    )
    return world


@pytest.fixture(scope="module")
def closing():
    """Closes servers side by side: each takes half a second."""
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.fixture
def serve(world, closing):
    started = []

    def start(host="127.0.0.1", port=0):
        pages = Pages(world.watch, world.health, world.metrics)
        started.append(start_web((host, port), pages))
        return started[-1]

    yield start
    for one in started:
        closing.submit(one.close)


@pytest.fixture(scope="module")
def one_port():
    """The port of one server for all who only ask oddly."""
    with served() as web:
        yield web.port


@pytest.fixture
def ask(serve):
    """Ask the server for a path, and return status, headers and body."""
    port = serve().port

    def ask(path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return SimpleNamespace(status=answer.status, headers=answer.headers, body=answer.read())
        finally:
            connection.close()

    return ask


def record_all_up(world):
    for target in TARGETS:
        world.finish(an_up_cycle(target.name))


# What the paths answer.


def test_status_is_503_until_every_target_is_up(ask, world):
    assert ask("/status").status == 503
    world.finish(an_up_cycle("quay"))
    assert ask("/status").status == 503
    record_all_up(world)
    answer = ask("/status")
    assert answer.status == 200
    first, *lines = answer.body.decode().splitlines()
    assert first == "true"
    assert [line.split(": ")[0] for line in lines] == ["quay", "docker.io/acme/canary"]


def test_status_names_what_failed(ask, world):
    record_all_up(world)
    world.finish(a_failed_cycle(target="quay"))
    answer = ask("/status")
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    first, quay, _ = answer.body.decode().splitlines()
    assert first == "false"
    assert quay.endswith(", push: server_error (registry): received unexpected HTTP status: 503 Service Unavailable")


def test_status_is_503_when_stale(ask, world):
    record_all_up(world)
    world.clock.advance(421.0)
    answer = ask("/status")
    assert answer.status == 503
    assert b"stale: the last cycle ended 7m1s ago" in answer.body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/status?target=quay", 200),
        ("/status?target=docker.io/acme/canary", 503),
        ("/status?target=docker.io%2Facme%2Fcanary", 503),
        ("/status?target=quay&target=docker.io/acme/canary", 503),
        ("/status?target=nobody", 404),
        ("/status?target=", 404),
        ("/status?target=quay&target=nobody&format=json", 404),
    ],
)
def test_status_of_one_target(ask, world, path, status):
    world.finish(an_up_cycle("quay"))
    world.finish(a_failed_cycle(target="docker.io/acme/canary"))
    assert ask(path).status == status


@pytest.mark.parametrize("accept", [None, "application/json", "text/html, application/json;q=0.9"])
def test_status_as_json(ask, world, accept):
    world.finish(a_failed_cycle(target="quay"))
    answer = ask("/status", Accept=accept) if accept else ask("/status?format=json")
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/json"
    shape = json.loads(answer.body)
    assert not shape["ok"]
    assert [target["target"] for target in shape["targets"]] == ["quay", "docker.io/acme/canary"]
    assert shape["targets"][0]["last_cycle"] == a_failed_cycle(target="quay").to_dict()
    assert shape["targets"][1]["last_cycle"] is None


def test_the_format_in_the_url_outweighs_the_header(ask):
    assert ask("/health?format=text", Accept="application/json").body == b"true\n"


def test_health_names_each_fault(ask, world):
    assert (ask("/health").status, ask("/health").body) == (200, b"true\n")
    assert json.loads(ask("/health?format=json").body) == {"ok": True, "faults": []}
    world.clock.advance(100.0)
    fault = "the docker daemon has not answered for 100 s"
    answer = ask("/health")
    assert (answer.status, answer.body.decode()) == (503, f"false\n{fault}\n")
    answer = ask("/health?format=json")
    assert (answer.status, json.loads(answer.body)) == (503, {"ok": False, "faults": [fault]})


def test_registry_failures_never_change_health(ask, world):
    world.finish(a_failed_cycle(target="quay"))
    assert ask("/health").status == 200


def test_metrics_in_the_format_that_is_asked_for(ask):
    text = ask("/metrics")
    assert text.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"\nmonitor_success 0.0\n" in text.body
    openmetrics = ask("/metrics", Accept="application/openmetrics-text; version=1.0.0", Accept_Encoding="gzip")
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert gzip.decompress(openmetrics.body).endswith(b"# EOF\n")


def test_metrics_can_be_chosen_by_name(ask):
    answer = ask("/metrics?name[]=registry_monitor_targets")
    assert answer.status == 200
    assert [line for line in answer.body.decode().splitlines() if not line.startswith("#")] == [
        "registry_monitor_targets 2.0"
    ]


def test_the_page_is_html_that_may_do_nothing_but_show_itself(ask, world):
    record_all_up(world)
    answer = ask("/")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {name: value for name, value in policy.items() if "sha256" not in value} == {
        "default-src": "'none'",
        "img-src": "data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    for kind in ("style", "script"):
        (text,) = re.findall(rb"<%b>(.*?)</%b>" % (kind.encode(), kind.encode()), answer.body, re.DOTALL)
        assert policy[f"{kind}-src"] == f"'sha256-{b64encode(sha256(text).digest()).decode()}'"


def test_the_page_links_to_the_rest(ask):
    assert all(b'href="%b"' % path in ask("/").body for path in (b"status", b"health", b"metrics"))


def test_the_page_is_compressed_for_whom_can_take_it(ask, world):
    record_all_up(world)
    answer = ask("/?target=quay", Accept_Encoding="gzip, br")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"<title>quay is up" in gzip.decompress(answer.body)
    assert "Content-Encoding" not in ask("/?target=quay").headers


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?target=quay", 200),
        ("?target=docker.io%2Facme%2Fcanary&cycle=1", 200),
        ("?target=nobody", 404),
        ("?target=", 404),
        ("?name=quay&verdict=up", 200),
        ("?name=%FF%00&verdict=nonsense&target=%3Cscript%3E", 404),
    ],
)
def test_the_page_of_what_is_asked_for(ask, query, status):
    answer = ask(f"/{query}")
    assert answer.status == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Content-Security-Policy" in answer.headers


@pytest.fixture
def kept(monkeypatch):
    """A page that is kept for longer than any machine takes for a test."""
    monkeypatch.setattr(web_pages, "PAGE_SECONDS", 1000.0)


def test_the_page_is_made_once_for_all_who_ask_soon_for_the_same(kept, serve, world):
    port = serve().port

    def page(query):
        return raw(port, f"GET /{query} HTTP/1.0\r\n\r\n".encode()).partition(b"\r\n\r\n")[2]

    before = page("")
    record_all_up(world)
    assert page("?nothing=known") == page("") == before
    assert b"quay is up" in page("?target=quay") != before


def test_whoever_has_the_page_already_is_sent_nothing(kept, ask, world):
    record_all_up(world)
    page = ask("/", Accept_Encoding="gzip")
    for known in (page.headers["ETag"], f'"other", W/{page.headers["ETag"]}', "*"):
        again = ask("/", Accept_Encoding="gzip", If_None_Match=known)
        assert (again.status, again.body) == (304, b"")
        for name in ("ETag", "Cache-Control", "Vary", "Content-Length"):
            assert again.headers[name] == page.headers[name]
    assert ask("/", Accept_Encoding="gzip", If_None_Match='"other"').status == 200
    assert ask("/", If_None_Match=page.headers["ETag"]).status == 200, "as it is without compression, it has another"
    assert ask("/?target=nobody", If_None_Match="*").status == 404
    assert ask("/status", If_None_Match="*").status == 200


@pytest.mark.parametrize("path", ["/status", "/health", "/metrics", "/-/healthy", "/-/ready"])
def test_a_slash_at_the_end_changes_nothing(ask, world, path):
    assert ask(f"{path}/").status == ask(path).status
    record_all_up(world)
    assert (ask(f"{path}/").status, ask(path).status) == (200, 200)


def test_it_is_ready_once_every_target_has_a_verdict_and_healthy_all_the_time(ask, world):
    assert (ask("/-/healthy").status, ask("/-/healthy").body) == (200, b"healthy\n")
    world.finish(an_up_cycle("quay"))
    waiting = ask("/-/ready")
    assert (waiting.status, waiting.body) == (503, b"no verdict yet on docker.io/acme/canary\n")
    world.finish(a_failed_cycle(target="docker.io/acme/canary"))
    assert (ask("/-/ready").status, ask("/-/ready").body) == (200, b"ready\n")
    assert ask("/-/healthy").status == 200


# What all answers have.


@pytest.mark.parametrize("path", ["/", "/status", "/health", "/metrics", "/metrics?name[]=up", "/nothing"])
def test_no_answer_is_cached_or_guessed_at_or_names_versions(ask, path):
    headers = ask(path).headers
    # What has a tag may be kept, and never shown without asking.
    assert headers["Cache-Control"] == ("no-cache" if path == "/" else "no-store")
    assert ("ETag" in headers) == (path == "/")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "registry-monitor"


@pytest.mark.parametrize("path", ["/", "/status", "/status?format=json", "/health", "/metrics?name[]=monitor_success"])
def test_head_is_get_without_a_body(ask, path):
    get, head = ask(path), ask(path, method="HEAD")
    assert (head.status, head.body) == (get.status, b"")
    assert abs(int(head.headers["Content-Length"]) - len(get.body)) < 20  # ages differ
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
@pytest.mark.parametrize("path", ["/", "/status", "/health", "/metrics"])
def test_other_methods_are_refused(ask, method, path):
    answer = ask(path, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/nothing", "/-/", "/status//", "/statusx", "/../etc/passwd", "/favicon.ico"])
def test_other_paths_are_not_found(ask, path):
    assert ask(path).status == 404


def test_too_many_parameters_are_refused(ask):
    assert ask("/status?" + "&".join(["target=quay"] * 101)).status == 400


def test_a_fault_in_an_answer_is_logged_and_tells_a_stranger_nothing(ask, world, monkeypatch, caplog, capfd):
    def broken():
        raise RuntimeError("s3cr3t")

    monkeypatch.setattr(world["quay"].record, "standing", broken)
    answer = ask("/status")
    assert (answer.status, answer.body) == (500, b"this is a fault in the monitor itself\n")
    assert ask("/health").status == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert capfd.readouterr().err == ""


# Clients that are slow, idle, broken or gone.


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/9\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505"),
        (b"GET / extra HTTP/1.1\r\n\r\n", b"400"),
        (b"POST /\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET /%zz%00 HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /\x00 HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /st\xe4tus HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics/%2e%2e/status HTTP/1.1\r\n\r\n", b"404"),
        (b"GET http://example.org HTTP/1.1\r\n\r\n", b"200"),
        (b"GET HTTP://user@example.org:1/health?format=json HTTP/1.1\r\n\r\n", b"200"),
        (b"GET http://example.org//nothing HTTP/1.1\r\n\r\n", b"404"),
        (b"GET //health HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /%68ealth HTTP/1.0\r\n\r\n", b"200"),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", b"404"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", b"404"),
        (b"G\x00T / HTTP/1.1\r\n\r\n", b"405"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"405"),
        (b"POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"z" * 900000, b"405"),
        (b"GET /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"200"),
        (b"GET /health HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n", b"200"),
    ],
)
def test_odd_and_broken_requests_get_one_answer(one_port, capfd, request_, status):
    answer = raw(one_port, request_)
    assert answer.startswith(b"HTTP/1.0 " + status + b" ")
    assert answer.count(b"HTTP/1.0") == 1
    assert b"Cache-Control: no-" in answer
    assert b"Python" not in answer
    assert b"WSGIServer" not in answer
    assert capfd.readouterr().err == ""


def test_http_0_9_is_answered_as_it_asks(one_port):
    assert raw(one_port, b"GET /health\r\n\r\n") == b"true\n"


@pytest.mark.parametrize("query", [b"", b"?name[]=monitor_success"])
def test_a_folded_header_puts_no_line_into_the_answer(serve, query):
    request = (
        b"GET /metrics" + query + b" HTTP/1.0\r\nAccept: application/openmetrics-text; version=2.\r\n X-Mine: 1\r\n\r\n"
    )
    head = raw(serve().port, request).split(b"\r\n\r\n")[0]
    assert b"200 OK" in head
    assert not [line for line in head.split(b"\r\n") if line.strip().startswith(b"X-Mine")]


def test_clients_have_ten_seconds_and_a_thousand_may_wait(serve):
    assert web_connections.REQUEST_SECONDS == 10.0
    listening = serve().socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    assert int.from_bytes(listening[28:32], sys.byteorder) == 1024  # tcpi_sacked: of a listening socket its backlog


def test_idle_clients_stop_nobody_and_are_left_in_silence(serve, monkeypatch, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(web_connections, "REQUEST_SECONDS", 0.3)
    port = serve().port
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    begun = time.monotonic()
    assert b"200 OK" in raw(port, b"GET /health HTTP/1.0\r\n\r\n")
    assert time.monotonic() - begun < 10.0  # one after the other, they would take 30
    for connection in idle:
        connection.settimeout(10)
        assert connection.recv(1) == b""  # the server has hung up
        connection.close()
    assert capfd.readouterr().err == ""


def test_a_client_that_is_gone_leaves_no_traceback(serve, world, capfd):
    port = serve().port
    world.watch.replace([a_target(f"t{number}") for number in range(300)])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset, not a farewell
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            connection.recv(10)
    assert b"200 OK" in raw(port, b"GET /health HTTP/1.0\r\n\r\n")
    for thread in threading.enumerate():
        if thread.name.startswith("Thread-") and "process_request" in thread.name:
            thread.join(10)
    assert capfd.readouterr().err == ""


def test_a_client_that_reads_nothing_is_left(serve, world, monkeypatch, capfd):
    monkeypatch.setattr(web_connections, "ANSWER_SECONDS", 0.2)
    world.watch.replace([a_target(f"t{number}") for number in range(500)])
    port = serve().port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        connection.recv(1)
        for thread in threading.enumerate():
            if "process_request" in thread.name:
                thread.join(10)
                assert not thread.is_alive()
    assert capfd.readouterr().err == ""


# Where it listens.


def test_an_address_in_use_is_told_in_a_sentence(serve):
    port = serve().port
    with pytest.raises(ListenError, match=rf"^can't listen on 127\.0\.0\.1:{port}: Address already in use$"):
        serve(port=port)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])
def test_an_address_that_is_not_ours_is_told_in_a_sentence(serve, host):
    with pytest.raises(ListenError, match=rf"^can't listen on {host}:8000: \S"):
        serve(host=host, port=8000)


def test_all_interfaces_are_those_of_both_families(serve):
    port = serve(host="").port
    assert b"200 OK" in raw(port, b"GET /health HTTP/1.0\r\n\r\n")
    if web._all_interfaces() == "::":
        with socket.create_connection(("::1", port), timeout=10) as connection:
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            assert b"200 OK" in connection.recv(65536)


def test_without_ipv6_all_interfaces_are_those_of_ipv4(monkeypatch):
    def no_ipv6(*_):
        raise OSError(97, "Address family not supported by protocol")

    # Of this module alone: the servers of earlier tests may still be closing their connections.
    monkeypatch.setattr(web, "socket", SimpleNamespace(**vars(socket) | {"socket": no_ipv6}))
    assert web._all_interfaces() == "0.0.0.0"


def test_its_url_is_one_that_a_browser_on_this_host_can_open(serve):
    for host, named in (("127.0.0.1", "127.0.0.1"), ("", "localhost"), ("0.0.0.0", "localhost")):
        server = serve(host=host)
        assert server.url == f"http://{named}:{server.port}/"


def test_it_listens_on_an_ipv6_address(serve):
    if web._all_interfaces() != "::":
        with pytest.raises(ListenError, match=r"\[::1\]"):
            serve(host="::1")
        return
    server = serve(host="::1")
    assert server.url == f"http://[::1]:{server.port}/"
    with socket.create_connection(("::1", server.port), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b"200 OK" in connection.recv(65536)


def test_it_listens_no_more_once_closed(serve):
    one = serve()
    one.close()
    with pytest.raises(ConnectionRefusedError):
        raw(one.port, b"GET / HTTP/1.0\r\n\r\n")


def test_it_names_the_targets_as_they_are_now(ask, world):
    """The list is asked for at each request, so that a reload shows at once."""
    reference = parse_reference("quay.io/acme/new")
    assert ask("/status?target=new").status == 404
    world.watch.replace([a_target("new", reference=str(reference))])
    assert ask("/status?target=new").status == 503
