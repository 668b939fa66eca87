"""The start of the server: the first connection that is accepted gets the answer that all later ones get."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
from prometheus_client import exposition

from lib.web import start
from lib.web.app import ListenError
from tests.unit.served import a_certificate, raw, served

#: Of each test; there are eight.
STARTS = 10

# None of these is an ephemeral port: who asks for one of those without pause may be connected to himself. Each process
# of tests has a hundred of its own, or one would be answered by the other's server.
PORTS = itertools.count(20000 + os.getpid() % 120 * 100)

REQUESTS = (
    b"GET /health HTTP/1.0\r\n\r\n",
    b"GET /status?format=json HTTP/1.1\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"OPTIONS /metrics HTTP/1.0\r\n\r\n",
    b"GET /favicon.ico HTTP/1.0\r\n\r\n",
    b"POST /metrics HTTP/1.0\r\n\r\n",
    b"not HTTP at all\r\n\r\n",
)

# Asks one port after the other without pause, and prints what came over the first connection that was accepted.
CLIENT = """
import json, socket, sys

def first_answer(port, request):
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            continue
        with connection:
            connection.settimeout(30)
            connection.sendall(request)
            try:
                return b"".join(iter(lambda: connection.recv(65536), b""))
            except OSError as error:
                return repr(error).encode()

for line in sys.stdin:
    port, request = json.loads(line)
    print("asking", flush=True)
    print(json.dumps(first_answer(port, request.encode()).decode()), flush=True)
"""


class Client:
    """A process that asks without pause."""

    def __init__(self, process):
        self._process = process

    def ask(self, port, request):
        self._process.stdin.write(json.dumps([port, request.decode()]) + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def answer(self):
        return json.loads(self._process.stdout.readline()).encode()


@pytest.fixture(scope="module")
def client():
    with subprocess.Popen(
        (sys.executable, "-c", CLIENT), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Client(process)
        process.stdin.close()


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A web configuration file for TLS."""
    folder = tmp_path_factory.mktemp("tls")
    a_certificate(folder, "server")
    path = folder / "web.yml"
    path.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    return path


@contextmanager
def served_while_asked(client, request, web_config=None):
    """Serve on a port that the client has asked for since before."""
    for port in PORTS:
        client.ask(port, request)
        try:
            with served(web_config, port=port) as web:
                yield web
                return
        except ListenError:
            client.answer()  # somebody else's


def undated(answer):
    return re.sub(rb"\r\nDate: [^\r]*", b"", answer)


def first_answers_are_right(client, request, web_config=None):
    for _ in range(STARTS):
        with served_while_asked(client, request, web_config) as web:
            assert undated(client.answer()) == undated(raw(web.port, request))


@pytest.mark.parametrize("request_", REQUESTS)
def test_the_first_answer_is_like_every_later_one(client, request_):
    """Even to a client that has asked without pause since before there was a server."""
    first_answers_are_right(client, request_)


def test_no_first_answer_is_without_the_encryption_that_is_asked_for(client, secure):
    first_answers_are_right(client, b"GET /metrics HTTP/1.0\r\n\r\n", secure)


def test_with_a_library_that_starts_another_class_nothing_is_served(monkeypatch):
    """As another version of prometheus_client might."""
    theirs, started = exposition.ThreadingWSGIServer, []

    def start_theirs(*arguments):
        monkeypatch.setattr(exposition, "ThreadingWSGIServer", theirs)
        started.extend(exposition.start_wsgi_server(*arguments))
        return started

    monkeypatch.setattr(exposition, "start_http_server", start_theirs)
    with pytest.raises(TypeError, match="another class than ours"):
        start.start_server(0, "127.0.0.1")
    server, thread = started
    thread.join(10)
    assert not thread.is_alive()
    assert server.socket.fileno() == -1
