"""Who may read: TLS, client certificates and logins over real sockets, and the rules after a file has changed."""

from __future__ import annotations

import base64
import itertools
import logging
import os
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import bcrypt
import pytest

from lib.web.access import Access
from lib.web.config import WebConfigError, read_web_config
from lib.web.login import Admission, Login
from tests.unit.served import ASK, a_certificate, connected, raw, served, trusting

PASSWORD = "hunter2:ä"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
CLIENTS = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n"
USERS = f"basic_auth_users:\n  alice: {HASH}\n"

_ticks = itertools.count(1)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = tmp_path_factory.mktemp("certificates")
    a_certificate(made, "server")
    a_certificate(made, "renewed")
    a_certificate(made, "client", "clientAuth", "DNS:prometheus,IP:10.0.0.1,IP:::1,email:a@b,URI:spiffe://x/y")
    a_certificate(made, "stranger", "clientAuth")
    return made


@pytest.fixture
def folder(certificates, tmp_path):
    """A folder with the certificates, in which a test may change them."""
    for file in certificates.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def write(folder):
    """Write a file so that it differs from before, however coarse the file system's clock; return its path."""

    def write(text, name="web.yml"):
        path = folder / name
        path.write_text(text)
        os.utime(path, (next(_ticks), 0))
        return path

    return write


def basic(name, password):
    encoded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return f"GET /health HTTP/1.0\r\nAuthorization: Basic {encoded}\r\n\r\n".encode()


def status(port, request=ASK, context=None):
    return raw(port, request, context).split(b" ", 2)[1]


# TLS.


def test_tls_and_nothing_but_tls(write, folder, capfd):
    with served(write(TLS)) as web:
        assert raw(web.port, ASK, trusting(folder / "server.crt")).endswith(b"\r\n\r\ntrue\n")
        assert raw(web.port, ASK) == b"HTTP/1.0 400 Bad Request\r\n\r\nthis port speaks HTTPS\n"
        with pytest.raises(ssl.SSLCertVerificationError):
            connected(web.port, trusting(folder / "renewed.crt"))
    assert capfd.readouterr().err == ""


def test_versions_are_those_that_are_allowed(write, folder):
    with served(write(TLS + "  min_version: TLS13\n")) as web:
        context = trusting(folder / "server.crt")
        with connected(web.port, context) as connection:
            assert connection.version() == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            connected(web.port, context)


def test_a_cipher_suite_and_a_curve_are_those_that_are_chosen(write, folder):
    suite = "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n"
    with served(write(TLS + suite + "  curve_preferences: [CurveP384]\n")) as web:
        context = trusting(folder / "server.crt")
        with connected(web.port, context) as connection:
            assert connection.cipher()[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
        context.set_ecdh_curve("prime256v1")
        with pytest.raises(ssl.SSLError):
            connected(web.port, context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("client", "is_let_in"), [(None, False), ("stranger", False), ("client", True)])
def test_a_client_certificate_is_required_and_verified(write, folder, version, client, is_let_in):
    context = trusting(folder / "server.crt", client and folder / f"{client}.crt")
    context.maximum_version = version
    with served(write(TLS + CLIENTS)) as web:
        if is_let_in:
            assert status(web.port, ASK, context) == b"200"
        else:
            with pytest.raises(ssl.SSLError):
                raw(web.port, ASK, context)


def test_a_client_certificate_may_be_left_out_where_it_is_verified_if_given(write, folder):
    with served(write(TLS + CLIENTS.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"))) as web:
        assert status(web.port, ASK, trusting(folder / "server.crt")) == b"200"
        with pytest.raises(ssl.SSLError):
            raw(web.port, ASK, trusting(folder / "server.crt", folder / "stranger.crt"))


@pytest.mark.parametrize("name", ["prometheus", "10.0.0.1", "::1", "a@b", "spiffe://x/y"])
def test_a_client_certificate_needs_one_of_the_names(write, folder, name):
    context = trusting(folder / "server.crt", folder / "client.crt")
    with served(write(f'{TLS}{CLIENTS}  client_allowed_sans: ["another", "{name}"]\n')) as web:
        assert status(web.port, ASK, context) == b"200"


def test_a_client_certificate_without_one_of_the_names_gets_no_answer(write, folder):
    context = trusting(folder / "server.crt", folder / "client.crt")
    with served(write(f"{TLS}{CLIENTS}  client_allowed_sans: [Prometheus, 0.0.0.1]\n")) as web:
        assert raw(web.port, ASK, context) == b""


def test_headers_are_on_every_answer(write):
    path = write("http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n")
    with served(path) as web:
        for request in (ASK, b"GET /nothing HTTP/1.0\r\n\r\n", b"POST / HTTP/1.0\r\n\r\n", b"nonsense\r\n\r\n"):
            answer = raw(web.port, request)
            assert answer.count(b"X-Frame-Options: deny\r\n") == 1
            assert answer.count(b"X-Content-Type-Options: nosniff\r\n") == 1


# Logins.


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The port of a server that asks for name and password."""
    path = tmp_path_factory.mktemp("guarded") / "web.yml"
    path.write_text(USERS)
    with served(path) as web:
        yield web.port


@pytest.mark.parametrize("path", ["/", "/status", "/health", "/metrics", "/metrics?name[]=up", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_nothing_is_told_without_a_login(guarded, path, method):
    head, _, body = raw(guarded, f"{method} {path} HTTP/1.0\r\n\r\n".encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 401 ")
    assert b'WWW-Authenticate: Basic realm="registry-monitor", charset="UTF-8"' in head.split(b"\r\n")
    assert body == (b"" if method == "HEAD" else b"name and password are needed\n")


def test_http_0_9_tells_nothing_without_a_login_either(guarded):
    assert raw(guarded, b"GET /metrics\r\n\r\n") == b"name and password are needed\n"


def test_whoever_logs_in_may_read(guarded):
    assert status(guarded, basic("alice", PASSWORD)) == b"200"
    assert status(guarded, basic("alice", PASSWORD)) == b"200"
    assert status(guarded, basic("alice", PASSWORD).replace(b"Basic", b"bAsIc")) == b"200"


@pytest.mark.parametrize(
    "header",
    [
        basic("alice", "hunter2"),
        basic("alice", ""),
        basic("alice", "x" * 5000),
        basic("alice", "a\0b"),
        basic("Alice", PASSWORD),
        basic("", PASSWORD),
        b"GET / HTTP/1.0\r\nAuthorization: Basic\r\n\r\n",
        b"GET / HTTP/1.0\r\nAuthorization: Basic ====\r\n\r\n",
        b"GET / HTTP/1.0\r\nAuthorization: Basic YWxpY2U=\r\n\r\n",
        b"GET / HTTP/1.0\r\nAuthorization: Basic //79/zp4\r\n\r\n",
        b"GET / HTTP/1.0\r\nAuthorization: Basic \xe4\r\n\r\n",
        b"GET / HTTP/1.0\r\nAuthorization: Bearer YWxpY2U6aHVudGVyMg==\r\n\r\n",
    ],
)
def test_a_login_that_is_not_good_is_refused(guarded, capfd, header):
    assert status(guarded, header) == b"401"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("admission", "code"), [(Admission.BUSY, b"503"), (Admission.EXHAUSTED, b"429")])
def test_too_many_logins_are_told_to_come_again(guarded, monkeypatch, admission, code):
    monkeypatch.setattr(Login, "admit", lambda *_: admission)
    answer = raw(guarded, basic("alice", PASSWORD))
    assert answer.startswith(b"HTTP/1.0 %b " % code)
    assert b"\r\nRetry-After: " in answer


# Files that change.


def test_a_renewed_certificate_is_used_for_the_next_handshake(write, folder):
    with served(write(TLS)) as web:
        assert status(web.port, ASK, trusting(folder / "server.crt")) == b"200"
        for suffix in (".crt", ".key"):
            os.replace(folder / f"renewed{suffix}", folder / f"server{suffix}")  # noqa: PTH105  as certbot does
        assert status(web.port, ASK, trusting(folder / "server.crt")) == b"200"


def test_a_broken_file_changes_nothing_is_logged_once_and_mended_by_another(write, folder, caplog):
    caplog.set_level(logging.INFO)
    context = trusting(folder / "server.crt")
    with served(write(TLS)) as web:
        write((folder / "renewed.crt").read_text(), "server.crt")  # its key is to follow
        assert [status(web.port, ASK, context) for _ in range(3)] == [b"200"] * 3
        assert [(record.levelname, record.message) for record in caplog.records] == [
            ("ERROR", "the web configuration stays as it was")
        ]
        assert caplog.records[0].detail.endswith("server.key are not a certificate and its key: key values mismatch")
        write((folder / "renewed.key").read_text(), "server.key")
        assert status(web.port, ASK, trusting(folder / "server.crt")) == b"200"
        assert caplog.records[1].message == "the web configuration was read again"


def test_a_file_that_was_missing_is_found_once_it_is_there(write, folder):
    with served(write(TLS)) as web:
        write(TLS.replace("server.", "later."))
        assert status(web.port, ASK, trusting(folder / "server.crt")) == b"200"
        for suffix in (".crt", ".key"):
            os.replace(folder / f"renewed{suffix}", folder / f"later{suffix}")  # noqa: PTH105  the same
        assert status(web.port, ASK, trusting(folder / "later.crt")) == b"200"


def test_users_come_and_go(write):
    with served(write(USERS)) as web:
        assert status(web.port, basic("alice", PASSWORD)) == b"200"
        write(USERS.replace("alice", "bob"))
        assert status(web.port, basic("alice", PASSWORD)) == b"401"
        assert status(web.port, basic("bob", PASSWORD)) == b"200"


def test_tls_and_login_can_be_added(write, folder):
    with served(write("http_server_config: {}\n")) as web:
        assert status(web.port) == b"200"
        write(TLS + USERS)
        assert status(web.port, ASK, trusting(folder / "server.crt")) == b"401"


@pytest.mark.parametrize(
    ("after", "told"),
    [
        ("", ":1: is empty"),
        (USERS, ": no longer has `tls_server_config`: that takes a restart"),
        (TLS, ": no longer asks clients for a certificate: that takes a restart"),
        (TLS + CLIENTS, ": no longer has `basic_auth_users`: that takes a restart"),
        (TLS + USERS, ": no longer asks clients for a certificate: that takes a restart"),
    ],
    # Not by their texts: a hash has another salt in each worker.
    ids=["nothing", "no TLS", "no login", "clients, no login", "no clients"],
)
def test_no_change_opens_a_door(write, caplog, after, told):
    access = Access(write(TLS + CLIENTS + USERS))
    before = access.rules()
    path = write(after)
    assert access.rules() is before
    assert [record.detail for record in caplog.records] == [f"{path}{told}"]


def test_a_file_that_did_not_change_is_not_read_again(write, monkeypatch):
    access = Access(write(TLS))
    monkeypatch.setattr("lib.web.access.read_web_config", None)
    assert access.rules() is access.rules()


def test_no_connection_waits_for_one_that_reads_the_files(write, monkeypatch):
    access = Access(write(USERS))
    before = access.rules()
    asked, may_end = threading.Event(), threading.Event()

    def slowly(path):
        asked.set()
        assert may_end.wait(30)
        return read_web_config(path)

    monkeypatch.setattr("lib.web.access.read_web_config", slowly)
    write(USERS.replace("alice", "bob"))
    with ThreadPoolExecutor(1) as reader:
        after = reader.submit(access.rules)
        assert asked.wait(30)
        during = access.rules()
        may_end.set()
        assert during is before
        assert list(after.result(30).config.users) == ["bob"]
    assert access.rules() is after.result()


def test_a_faulty_file_is_no_beginning(write):
    with (
        pytest.raises(WebConfigError, match=r"web\.yml:1: rate_limit: is not offered here"),
        served(write("rate_limit: 1")),
    ):
        pass
