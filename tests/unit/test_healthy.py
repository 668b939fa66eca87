"""The container's health check, for a monitor with and without TLS, logins and client certificates."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from lib.options import parse_options
from lib.web.config import WebConfig, read_web_config
from tests.unit.served import a_certificate, served

USERS = f"basic_auth_users: {{alice: $2y$04${'a' * 53}}}\n"
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
CLIENTS = TLS.replace("}", ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: server.crt}")


@pytest.fixture(scope="module")
def healthy():
    spec = spec_from_file_location("healthy", Path(__file__).resolve().parents[2] / "deploy/docker/healthy.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("healthy")
    a_certificate(made, "server")
    return made


def options_of(port, path=None):
    flags = [f"-web-config={path}"] if path else []
    return parse_options(["-repository=quay.io/acme/canary", f"-listen=127.0.0.1:{port}", *flags], {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TLS, "true\n"),
        (USERS, "alive: it asks for name and password\n"),
        (TLS + USERS, "alive: it asks for name and password\n"),
        (CLIENTS, "alive: it asks for a client certificate\n"),
        (CLIENTS.replace("}", ", max_version: TLS12}"), "alive: it asks for a client certificate\n"),
    ],
)
def test_a_monitor_that_answers_is_healthy_whatever_it_asks_for(healthy, folder, text, told):
    path = folder / "web.yml"
    path.write_text(text)
    with served(path) as web:
        assert healthy.ask(options_of(web.port, path), read_web_config(path)) == (True, told)


def test_without_a_web_configuration_it_is_plain_http(healthy):
    with served() as web:
        assert healthy.ask(options_of(web.port), WebConfig()) == (True, "true\n")


def test_a_login_that_nobody_configured_is_no_health(healthy, folder):
    path = folder / "users.yml"
    path.write_text(USERS)
    with served(path) as web:
        assert healthy.ask(options_of(web.port), WebConfig()) == (False, "name and password are needed\n")


def test_a_monitor_that_does_not_listen_is_not_healthy(healthy, folder):
    with served() as web:
        web.close()
        assert healthy.ask(options_of(web.port), WebConfig()) == (False, "[Errno 111] Connection refused\n")


def test_one_that_speaks_no_tls_where_it_should_is_not_healthy(healthy, folder):
    path = folder / "clients.yml"
    path.write_text(CLIENTS)
    with served() as web:
        is_healthy, _ = healthy.ask(options_of(web.port, path), read_web_config(path))
    assert not is_healthy
