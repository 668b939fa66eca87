"""The server under clients that are slow, idle, broken or very many: it answers, in bounded memory and in silence."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import pytest

from lib.web import connections as web_connections
from lib.web import server as web_server
from tests.unit.served import ASK, a_certificate, connected, files_at_most, raw, served, trusting

METRICS = b"GET /metrics HTTP/1.0\r\n\r\n"
#: The beginning of a TLS handshake that is 512 bytes long.
HALF_A_HELLO = bytes.fromhex("16030102000100 01fc0303")
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A web configuration file for TLS."""
    folder = tmp_path_factory.mktemp("tls")
    a_certificate(folder, "server")
    path = folder / "web.yml"
    path.write_text(TLS)
    return path


@pytest.fixture
def idle():
    """Keep connections open until the test is over."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


def seconds_to(ask, *arguments):
    begun = time.monotonic()
    assert ask(*arguments).startswith(b"HTTP/1.0 200 ")
    return time.monotonic() - begun


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def until(condition):
    """Wait for a condition, and fail if it does not come."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_thousand_idle_clients_with_tls_and_a_thousand_without_stop_no_answer(secure, idle, capfd):
    """One in twenty of those with TLS has ended its handshake, the others have not begun it."""
    context = trusting(secure.parent / "server.crt")
    with files_at_most(8192), served(secure) as with_tls, served() as without:
        before, threads = resident_bytes(), threading.active_count()
        for number in range(1000):
            idle(connected(without.port))
            idle(connected(with_tls.port, context if number % 20 == 0 else None))
        assert seconds_to(raw, with_tls.port, METRICS, context) < web_connections.REQUEST_SECONDS / 2
        assert seconds_to(raw, without.port, METRICS) < web_connections.REQUEST_SECONDS / 2
        grown = resident_bytes() - before
        assert threading.active_count() - threads <= 2 * web_connections.MOST_CONNECTIONS + 2
        assert grown < 100 * 2**20
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("is_secure", "sent"),
    [(False, b""), (False, b"GET /metrics HTTP/1.1\r\nX: y\r\n"), (False, b"G"), (True, b""), (True, HALF_A_HELLO)],
)
def test_as_many_slow_clients_as_there_may_be_stop_no_answer(secure, idle, is_secure, sent):
    context = trusting(secure.parent / "server.crt") if is_secure else None
    with served(secure if is_secure else None) as web:
        slow = [idle(connected(web.port)) for _ in range(web_connections.MOST_CONNECTIONS + 10)]
        for client in slow:
            with contextlib.suppress(OSError):  # the oldest are gone already
                client.sendall(sent)
        assert seconds_to(raw, web.port, METRICS, context) < web_connections.REQUEST_SECONDS / 2


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_request_that_comes_in_drops_is_given_up(monkeypatch, secure, idle, is_secure):
    """With a deadline for each read, every drop would restart it."""
    monkeypatch.setattr(web_connections, "REQUEST_SECONDS", 0.5)
    with served(secure if is_secure else None) as web:
        client = idle(connected(web.port))
        begun = time.monotonic()
        drops = itertools.chain(HALF_A_HELLO, itertools.repeat(0))
        while not len(web.connections) or time.monotonic() - begun < 0.4:
            client.sendall(bytes([next(drops)]) if is_secure else b"X")
            time.sleep(0.05)
        until(lambda: not len(web.connections))
        assert time.monotonic() - begun < 5


def test_a_client_that_reads_in_drops_is_given_up(monkeypatch, secure, idle):
    monkeypatch.setattr(web_connections, "ANSWER_SECONDS", 0.5)
    with served(secure, targets=300) as web:
        client = idle(connected(web.port, trusting(secure.parent / "server.crt")))
        client.sendall(METRICS)
        client.recv(1)
        begun = time.monotonic()
        # The answer is larger than all buffers between us: a thread of the server is tied to it, until it isn't.
        until(lambda: not len(web.connections))
        assert time.monotonic() - begun < 5


def test_without_file_descriptors_the_oldest_idle_one_makes_room(idle, capfd):
    with files_at_most(1024), served() as web:
        clients = [idle(connected(web.port)) for _ in range(20)]
        until(lambda: len(web.connections) == 20)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        # One is left, for the client; the server has none to accept it with.
        with files_at_most(lowest_free + 1):
            assert seconds_to(raw, web.port, ASK) < 5
        until(lambda: clients[0].recv(1) == b"")
    assert capfd.readouterr().err == ""


def test_without_file_descriptors_it_does_not_try_all_the_time(monkeypatch, idle):
    tries = []

    class Full(socket.socket):
        def accept(self):
            tries.append(time.monotonic())
            raise OSError(errno.EMFILE, "Too many open files")

    with served() as web:
        server, listening = web, web.socket
        monkeypatch.setattr(server, "socket", idle(Full(fileno=os.dup(listening.fileno()))))
        begun = time.monotonic()
        for _ in range(2):
            with pytest.raises(OSError, match="Too many"):
                server.get_request()
        assert time.monotonic() - begun >= 2 * web_server._NO_ROOM_SECONDS
        monkeypatch.setattr(server, "socket", listening)


def test_without_threads_a_client_is_sent_away_and_the_next_one_answered(monkeypatch, caplog, capfd):
    with served() as web:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            assert raw(web.port, b"") == b""
        assert seconds_to(raw, web.port, ASK) < 5
    assert [record.message for record in caplog.records] == [
        "a connection could not be answered: there are no more threads"
    ]
    assert capfd.readouterr().err == ""


def no_thread(_):
    raise RuntimeError("can't start new thread")


# If the client is gone in the middle of it, wrap_socket() leaves its object to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("is_secure", [False, True])
def test_a_client_that_breaks_off_leaves_no_trace(secure, is_secure, capfd):
    with served(secure if is_secure else None, targets=300) as web:
        for sent in (b"", b"\x16\x03", b"GET", METRICS):
            with connected(web.port) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no farewell
                client.sendall(sent)
        until(lambda: not len(web.connections))
        context = trusting(secure.parent / "server.crt") if is_secure else None
        assert seconds_to(raw, web.port, ASK, context) < 5
    assert capfd.readouterr().err == ""


def test_no_connection_stays_once_it_was_answered(secure):
    context = trusting(secure.parent / "server.crt")
    with served(secure) as web:
        assert web.url == f"https://127.0.0.1:{web.port}/"
        files = open_files()
        for _ in range(30):
            assert raw(web.port, ASK, context)
        until(lambda: not len(web.connections))
        assert open_files() <= files


def test_a_body_that_is_too_long_does_not_take_the_answer_away(secure):
    """A client that still sends while the other side closes gets a reset, and loses what it has not read yet."""
    request = b"POST /status HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"z" * 900000
    with served(secure) as web:
        answer = raw(web.port, request, trusting(secure.parent / "server.crt"))
    assert answer.startswith(b"HTTP/1.0 405 ")


def test_no_request_starts_or_writes_anything(tmp_path, monkeypatch):
    """Seen by the interpreter itself: files that are opened to be written, processes, sockets to elsewhere."""
    seen = []
    watching = threading.Event()

    def watch(event, arguments):
        if watching.is_set() and (
            event in {"subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove", "os.rename"}
            or (event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        ):
            seen.append((event, arguments))

    sys.addaudithook(watch)
    with served() as web:
        raw(web.port, ASK)
        watching.set()
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
            for path in ("/", "/status", "/status?format=json", "/health", "/metrics", "/metrics?name[]=up", "/x"):
                raw(web.port, f"{method} {path} HTTP/1.0\r\n\r\n".encode())
        watching.clear()
    assert seen == []
