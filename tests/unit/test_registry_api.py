"""The registry's API: what is asked, by which way, and who gets to see a login."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from lib.docker.keychain import Login
from lib.reference import parse_repository
from lib.registry_api import ERRORS, RegistryApi, connection
from lib.registry_api.certificates import not_after
from lib.registry_api.challenge import Challenge, challenge_of, token_url
from lib.registry_api.connection import RefusedError, is_loopback
from lib.registry_api.found import RateLimit
from lib.secret import Secret
from tests.unit.fake_api import FakeApi, Says, leading
from tests.unit.served import a_certificate

LOGIN = Login("monitor", Secret("hunter2"))
BASIC = f"Basic {b64encode(b'monitor:hunter2').decode()}"
DIGEST = f"sha256:{64 * 'a'}"
LAYER = f"sha256:{64 * 'b'}"
IMAGE = json.dumps({"schemaVersion": 2, "layers": [{"digest": "sha256:base"}, {"digest": LAYER}]}).encode()


@pytest.fixture(autouse=True)
def _on_this_machine(monkeypatch, tmp_path):
    """No proxy and no certificates of the machine that this runs on."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(connection, "CERTIFICATES", tmp_path / "certs.d")


def api(host, login=None):
    return RegistryApi(parse_repository(f"{host}/acme/canary"), login)


def asking_for_basic(asked):
    """A registry that wants name and password."""
    if asked.authorization == BASIC:
        return Says(202 if asked.method == "DELETE" else 200)
    return Says(401, {"WWW-Authenticate": 'Basic realm="here"'})


# --- the login ---


def test_name_and_password_are_sent_once_they_are_asked_for():
    with FakeApi(asking_for_basic) as fake:
        api(fake.host, LOGIN).delete(DIGEST)
    assert fake.lines() == [f"DELETE /v2/acme/canary/manifests/{DIGEST}"] * 2
    assert [asked.authorization for asked in fake.asked] == [None, BASIC]


def test_what_was_learned_of_the_login_serves_the_next_request():
    with FakeApi(asking_for_basic) as fake:
        one = api(fake.host, LOGIN)
        one.delete(DIGEST)
        one.rate_limit()
    assert [asked.authorization for asked in fake.asked] == [None, BASIC, BASIC]


@pytest.mark.parametrize("login", [None, Login("monitor", Secret("wrong"))])
def test_who_has_no_login_or_a_wrong_one_is_refused_and_does_not_try_again(login):
    with (
        FakeApi(asking_for_basic) as fake,
        pytest.raises(RefusedError, match=r"answered 401 when asked to delete") as raised,
    ):
        api(fake.host, login).delete(DIGEST)
    assert raised.value.status == 401
    assert len(fake.asked) == (1 if login is None else 2)


def token_server(key):
    """A token server that lets the login in, and those without one, and gives the token under a key."""

    def answers(asked):
        scopes = "+".join(parse_qs(urlsplit(asked.path).query).get("scope", ()))
        if asked.authorization not in (None, BASIC):
            return Says(401)
        return Says(body=json.dumps({key: f"{'known' if asked.authorization else 'anyone'}:{scopes}"}).encode())

    return FakeApi(answers)


def asking_for_token(tokens, actions):
    """A registry that wants a server's token, by method and scope."""

    def answers(asked):
        scope = f"repository:acme/canary:{actions[asked.method]}"
        if asked.authorization == f"Bearer known:{scope}":
            return Says(202 if asked.method == "DELETE" else 200)
        realm = f'Bearer realm="http://{tokens.host}/token?own=1",service="a \\"quoted\\", service",scope="{scope}"'
        return Says(401, {"WWW-Authenticate": realm})

    return FakeApi(answers)


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_token_is_fetched_where_and_for_what_the_registry_says(key):
    """Another one, if the next request needs it for something else."""
    with token_server(key) as tokens, asking_for_token(tokens, {"HEAD": "pull", "DELETE": "pull,delete"}) as fake:
        one = api(fake.host, LOGIN)
        one.rate_limit()
        one.delete(DIGEST)
        assert [parse_qs(urlsplit(asked.path).query) for asked in tokens.asked] == [
            {"own": ["1"], "service": ['a "quoted", service'], "scope": [f"repository:acme/canary:{actions}"]}
            for actions in ("pull", "pull,delete")
        ]
    assert [asked.authorization for asked in tokens.asked] == [BASIC, BASIC]
    assert {secret.reveal() for secret in one.secrets} >= {"hunter2", "known:repository:acme/canary:pull"}


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        (Says(401), "answered 401 when asked for a token"),
        (Says(body=b"{}"), "gave no token"),
        (Says(body=b'{"token": "a\\r\\nX-Injected: b"}'), "gave no token"),
        (Says(body=b"<html>"), "Expecting value"),
        (Says(body=b'{"token": "t"}' + bytes(5 * 1024**2)), "gave more than"),
    ],
)
def test_a_token_server_that_does_not_give_one_is_named(says, fault):
    with (
        FakeApi(lambda _: says) as tokens,
        asking_for_token(tokens, {"HEAD": "pull"}) as fake,
        pytest.raises(ERRORS, match=fault),
    ):
        api(fake.host, LOGIN).rate_limit()


@pytest.mark.parametrize(
    "realm", ["http://tokens.example/token", "ftp://127.0.0.1/token", "token", "https://user:pw@/"]
)
def test_no_login_is_sent_to_a_token_server_without_tls_nor_to_what_is_none(realm):
    def answers(_):
        return Says(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'})

    with FakeApi(answers) as fake, pytest.raises(ValueError, match=r"TLS|tokens|can't be one"):
        api(fake.host, LOGIN).rate_limit()


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ((), None),
        (("Negotiate",), None),
        (('Basic realm="a"', 'Bearer realm="b"'), Challenge(is_bearer=True, realm="b")),
        (("bearer realm=https://t/,service=s",), Challenge(is_bearer=True, realm="https://t/", service="s")),
    ],
)
def test_a_challenge_is_read_as_servers_write_it(headers, challenge):
    assert challenge_of(headers) == challenge


@given(st.text())
def test_no_header_and_no_realm_breaks_anything(text):
    challenge = challenge_of((f"Bearer {text}", text))
    assert challenge is None or challenge.is_bearer or text
    try:
        token_url(Challenge(is_bearer=True, realm=text))
    except ValueError:
        return


# --- the way ---


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "localhost", "localhost:5000"])
def test_this_machine_is_what_docker_takes_for_it(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["quay.io", "10.0.0.1", "127.0.0.1.example", "localhost.example", "[::2]:5000", ""])
def test_all_else_is_not_this_machine(host):
    assert not is_loopback(host)


def test_nothing_is_sent_without_tls_but_on_this_machine():
    with pytest.raises(ValueError, match="without TLS"), connection.connect("10.0.0.1:80", scheme="http"):
        pass


@pytest.fixture
def certificate(tmp_path):
    return a_certificate(tmp_path, "registry", sans="DNS:registry.example,IP:127.0.0.1")


def ends(certificate):
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()


@pytest.fixture
def away(certificate, monkeypatch):
    """A registry with TLS that is not on this machine: `registry.example`, behind a proxy that wants a login."""
    with (
        FakeApi(asking_for_basic, certificate) as fake,
        leading({"registry.example:443": fake.address[1]}) as (proxy, tunnels),
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://who:p%40ss@{proxy}")
        fake.tunnels = tunnels
        yield fake


def test_no_login_is_sent_to_a_host_whose_certificate_does_not_verify(away):
    """Nor any request; when the certificate ends is read all the same, by a request without a login."""
    with pytest.raises(ssl.SSLCertVerificationError):
        api("registry.example", LOGIN).rate_limit()
    assert away.asked == []
    (found,) = api("registry.example", LOGIN).certificates()
    assert away.lines() == ["GET /v2/"]
    assert away.asked[0].authorization is None
    assert (found.host, found.role) == ("registry.example", "registry")


def test_authorities_of_docker_are_trusted(away, certificate):
    folder = connection.CERTIFICATES / "registry.example"
    folder.mkdir(parents=True)
    (folder / "broken.crt").write_text("no certificate")
    (folder / "ca.crt").write_bytes(certificate.read_bytes())
    assert api("registry.example", LOGIN).rate_limit() is None
    assert [asked.authorization for asked in away.asked] == [None, BASIC]
    assert [tunnel.path for tunnel in away.tunnels] == ["registry.example:443"] * 2
    assert {tunnel.headers["Proxy-Authorization"] for tunnel in away.tunnels} == {
        f"Basic {b64encode(b'who:p@ss').decode()}"
    }


def test_a_clients_certificate_of_docker_is_shown(tmp_path, monkeypatch):
    server, client = a_certificate(tmp_path, "registry"), a_certificate(tmp_path, "client", usage="clientAuth")
    monkeypatch.setattr(connection, "is_loopback", lambda _: False)
    with FakeApi(asking_for_basic, server) as fake:
        fake._server.socket.context.verify_mode = ssl.CERT_REQUIRED
        fake._server.socket.context.load_verify_locations(client)
        folder = connection.CERTIFICATES / fake.host
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes(server.read_bytes())
        with pytest.raises(ERRORS):
            api(fake.host, LOGIN).delete(DIGEST)
        for end, source in ((".cert", client), (".key", client.with_suffix(".key"))):
            (folder / f"client{end}").write_bytes(source.read_bytes())
        api(fake.host, LOGIN).delete(DIGEST)


@pytest.mark.parametrize("no_proxy", ["registry.example", "*"])
def test_no_proxy_is_heeded(away, monkeypatch, no_proxy):
    monkeypatch.setenv("NO_PROXY", no_proxy)
    with pytest.raises(ERRORS):
        list(api("registry.example").certificates())
    assert away.tunnels == []


@pytest.mark.parametrize("proxy", ["https://127.0.0.1:1", "socks5://127.0.0.1:1", "http://who:pass/word@127.0.0.1:1"])
def test_another_kind_of_proxy_is_told_and_not_its_login(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY is not the http:// URL of a proxy$"):
        list(api("registry.example").certificates())


def test_on_this_machine_tls_need_not_verify_and_needs_no_proxy(certificate, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with FakeApi(asking_for_basic, certificate) as fake:
        api(fake.host, LOGIN).delete(DIGEST)
    assert [asked.authorization for asked in fake.asked] == [None, BASIC]


def test_a_server_that_never_ends_its_answer_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = api(f"127.0.0.1:{server.getsockname()[1]}")
        failed = []

        def ask():
            try:
                one.rate_limit()
            except ERRORS as error:
                failed.append(error)

        def drip():
            for _ in range(2):  # TLS is tried first
                peer, _ = server.accept()
                with peer:
                    if peer.recv(65536).startswith(b"HEAD"):
                        peer.sendall(b"HTTP/1.1 ")
                        dripping.set()
                        assert not peer.recv(65536)

        dripping = threading.Event()
        threads = [threading.Thread(target=act) for act in (ask, drip)]
        for thread in threads:
            thread.start()
        assert dripping.wait(30)
        one.abandon()
        for thread in threads:
            thread.join(30)
    assert failed


# --- certificates ---


def test_registry_token_server_and_store_are_read_to_the_second(tmp_path):
    """The query of a store's URL, which lets anybody in, is sent nowhere else."""
    certificates = {name: a_certificate(tmp_path, name) for name in ("registry", "tokens", "store")}
    with (
        FakeApi(lambda _: Says(), certificates["store"]) as store,
        FakeApi(lambda _: Says(body=b'{"token": "t"}'), certificates["tokens"]) as tokens,
    ):

        def answers(asked):
            if asked.authorization != "Bearer t":
                return Says(401, {"WWW-Authenticate": f'Bearer realm="https://who@{tokens.host}/token"'})
            if "/manifests/" in asked.path:
                return Says(body=IMAGE)
            return Says(307, {"Location": f"https://{store.host}/blob?X-Amz-Signature=secret"})

        with FakeApi(answers, certificates["registry"]) as fake:
            one = api(fake.host, LOGIN)
            found = [*one.certificates(), *one.store_certificate()]
            hosts = [fake.host, tokens.host, store.host]
    assert [(each.host, each.role, each.expires) for each in found] == [
        (host, role, ends(certificates[name]))
        for host, (name, role) in zip(
            hosts, (("registry", "registry"), ("tokens", "token"), ("store", "store")), strict=True
        )
    ]
    assert store.asked == []
    assert fake.lines()[-1] == f"GET /v2/acme/canary/blobs/{LAYER}"
    assert fake.asked[-1].headers["Range"] == "bytes=0-0"


def test_plain_http_on_this_machine_has_no_certificate():
    with FakeApi(asking_for_basic) as fake:
        assert list(api(fake.host).certificates()) == []


INDEX = json.dumps({"manifests": [{"digest": DIGEST}]}).encode()


@pytest.mark.parametrize(
    ("manifests", "blob", "expected"),
    [
        ([Says(404)], None, 1),  # nothing was pushed yet
        ([Says(body=b'{"layers": []}')], None, 1),
        ([Says(body=b"[]")], None, 1),
        ([Says(body=b"7")], None, 1),
        ([Says(body=INDEX), Says(body=INDEX)], None, 2),
        ([Says(body=INDEX), Says(body=IMAGE)], Says(206), 3),  # the registry gives blobs itself
        ([Says(body=IMAGE)], Says(302, {"Location": "http://store.example/"}), 2),
    ],
)
def test_a_store_is_looked_for_no_further_than_it_shows(manifests, blob, expected):
    with FakeApi(lambda asked: manifests.pop(0) if "/manifests/" in asked.path else blob) as fake:
        assert list(api(fake.host).store_certificate()) == []
    assert len(fake.asked) == expected


@pytest.mark.parametrize("body", [b"<html>", 100_000 * b"[", b'{"layers": [{"digest": "../../evil"}]}'])
def test_a_manifest_that_is_none_is_a_value_error(body):
    with FakeApi(lambda _: Says(body=body)) as fake, pytest.raises(ValueError, match=r"."):
        list(api(fake.host).store_certificate())


@pytest.mark.parametrize(
    "location", ["https:///nowhere", "https://who:pass@:443/", f"https://{300 * 'a'}/", "https://a b/"]
)
def test_a_store_that_can_not_be_is_not_looked_for(location):
    def answers(asked):
        return Says(body=IMAGE) if "/manifests/" in asked.path else Says(307, {"Location": location})

    with FakeApi(answers) as fake, pytest.raises(ValueError, match="can't be one"):
        list(api(fake.host).store_certificate())


@pytest.mark.parametrize("year", [1990, 2026, 2049, 2050, 2120])
def test_the_end_of_a_certificate_is_read_from_its_der(year):
    """Up to 2049 it is written with two digits, from 2050 on with four."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "long " * 12)] * 4)
    after = datetime(year, 2, 28, 12, 34, 56, tzinfo=UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = built.not_valid_before(after - timedelta(days=1)).not_valid_after(after).sign(key, hashes.SHA256())
    der = made.public_bytes(Encoding.DER)
    assert not_after(der) == after.timestamp()
    for length in range(0, 200, 7):
        with pytest.raises(ValueError, match="the certificate can't be read"):
            not_after(der[:length])


@given(st.binary())
def test_what_is_no_certificate_is_a_value_error(der):
    with pytest.raises(ValueError, match="the certificate can't be read"):
        not_after(der)


# --- rate limits, deletions ---


@pytest.mark.parametrize(
    ("headers", "limit"),
    [
        ({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}, RateLimit(100, 76)),
        ({"RateLimit-Limit": "2000, 2000;window=60", "RateLimit-Remaining": "1999"}, RateLimit(2000, 1999)),
        ({"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "0"}, RateLimit(60, 0)),
        ({"X-RateLimit-Remaining": " 7"}, RateLimit(None, 7)),
        ({"RateLimit-Limit": "unlimited"}, None),
        ({"RateLimit-Limit": f"{99 * '9'}"}, None),
        ({}, None),
    ],
)
def test_a_rate_limit_is_read_as_registries_write_it(headers, limit):
    with FakeApi(lambda _: Says(200, headers)) as fake:
        assert api(fake.host).rate_limit() == limit
    assert fake.lines() == ["HEAD /v2/acme/canary/manifests/latest"]


def test_a_limit_that_is_used_up_is_read_from_the_refusal():
    with FakeApi(lambda _: Says(429, {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"})) as fake:
        assert api(fake.host).rate_limit() == RateLimit(100, 0)
        fake.answers = lambda _: Says(429)
        with pytest.raises(RefusedError, match="429"):
            api(fake.host).rate_limit()


@pytest.mark.parametrize("status", [307, 401, 403, 404, 405, 500])
def test_a_deletion_that_is_not_done_is_refused_and_no_redirect_is_followed(status):
    with FakeApi(lambda _: Says(status, {"Location": "/elsewhere"})) as fake, pytest.raises(RefusedError) as raised:
        api(fake.host).delete(DIGEST)
    assert raised.value.status == status
    assert len(fake.asked) == 1


def test_docker_hub_is_asked_where_its_api_is():
    assert RegistryApi(parse_repository("acme/canary")).host == "registry-1.docker.io"


def test_the_test_certificates_are_openssls(certificate):
    """So that the expected value is not read by the code under test."""
    said = subprocess.run(
        ("openssl", "x509", "-in", certificate, "-noout", "-enddate"), check=True, capture_output=True, text=True
    ).stdout
    assert ssl.cert_time_to_seconds(said.strip().partition("=")[2]) == ends(certificate)
