"""Ways in: to the engine, and from there to a registry, as the users of both have them."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from lab.credential_helper import CredentialHelper
from lab.daemon import await_true
from lab.misbehaviour import answer
from lab.monitor import NO_WAY, SOON, Monitor, failed, once
from lab.outpost import NAMED, NAMED_IPV6, Outpost
from lab.registry import Registry
from lab.target import PASSWORD, USER, login

SMALL = "-payload-size=64KiB"


@pytest.fixture(scope="module")
def outpost(session_lab):
    """An engine of its own for these tests."""
    with Outpost(session_lab.folder / "outpost") as outpost:
        yield outpost


# --- to the engine ---


def test_an_engine_is_reached_over_tls(outpost):
    """DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH reach the CLI."""
    env = {"DOCKER_HOST": outpost.tcp, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(outpost.certificates)}

    with outpost.registry(NAMED) as host:
        code, (cycle,), _ = once(outpost.engine, *login(f"{host}/tests/over-tls"), SMALL, env=env)

    assert (code, cycle["verdict"]) == (0, "up")


def test_an_engine_that_does_not_know_the_client_is_the_hosts_affair(outpost):
    """A client certificate that the engine does not trust says nothing about the registry."""
    env = {"DOCKER_HOST": outpost.tcp, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(outpost.stranger)}

    with outpost.registry(NAMED) as host:
        code, (cycle,), _ = once(outpost.engine, *login(f"{host}/tests/stranger"), SMALL, env=env)

    assert (code, *failed(cycle)) == (3, "login", "daemon", "host")


def test_the_users_current_context_is_the_engine(outpost, tmp_path):
    """A context with TLS, chosen by `docker context use`, is used though the config folder is a private one."""
    env = {name: value for name, value in outpost.engine.env.items() if name != "DOCKER_HOST"}
    env["DOCKER_CONFIG"] = str(tmp_path)
    folder = outpost.certificates
    endpoint = f"host={outpost.tcp},ca={folder}/ca.pem,cert={folder}/cert.pem,key={folder}/key.pem"
    for command in (("create", "outpost", "--docker", endpoint), ("use", "outpost")):
        subprocess.run(["docker", "context", *command], env=env, check=True, capture_output=True)
    before = sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    with outpost.registry(NAMED) as host:
        here = Surroundings(env)
        code, (cycle,), _ = once(here, *login(f"{host}/tests/context"), SMALL)

    assert (code, cycle["verdict"]) == (0, "up")
    assert sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) == before


class Surroundings:
    """An environment to run a monitor in, instead of an engine's."""

    def __init__(self, env):
        self.env = env


# --- from the engine to the registry ---


def test_the_daemons_proxy_is_gone_through(outpost):
    """Every connection to the registry is a tunnel; a proxy that is down, or refuses, gets the blame."""
    with outpost.registry() as host:
        options = (*login(f"{host}/tests/proxied"), SMALL)
        up = once(outpost.engine, *options)[0]
        tunnels = set(outpost.tunnels)
        with outpost.proxy.refusing():
            _, (down,), _ = once(outpost.engine, *options)
        with outpost.proxy.rule(answer(403), "CONNECT"):
            _, (forbidden,), _ = once(outpost.engine, *options)
        with outpost.proxy.rule(answer(407, headers={"Proxy-Authenticate": "Basic"}), "CONNECT"):
            _, (unknown,), _ = once(outpost.engine, *options)
        again = once(outpost.engine, *options)[0]

    assert (up, again) == (0, 0)
    assert tunnels == {host}
    for cycle in (down, forbidden, unknown):
        assert (cycle["verdict"], *failed(cycle)) == ("down", "login", "proxy", "network")
    assert outpost.proxy.host in down["detail"]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_private_authority_is_trusted_through_certs_d(outpost, trusted):
    """/etc/docker/certs.d/HOST:PORT/ca.crt is enough, and without it TLS fails."""
    with outpost.registry(NAMED, trusted=trusted) as host:
        _, (cycle,), _ = once(outpost.engine, *login(f"{host}/tests/private-authority"), SMALL)

    assert cycle["verdict"] == "up" if trusted else failed(cycle) == ("login", "tls", "network")


def test_a_registry_that_wants_a_clients_certificate_gets_it(outpost):
    """client.cert and client.key beside ca.crt let docker in; without them TLS fails.

    In TLS 1.3 a server refuses only after the client's first request: its alert is lost to docker if the connection is
    reset before that is read.
    """
    with outpost.registry(NAMED, clients=True) as host:
        options = (*login(f"{host}/tests/client-certificate"), SMALL)
        _, (without,), _ = once(outpost.engine, *options)
        outpost.give_client_certificate(host)
        code, (cycle,), _ = once(outpost.engine, *options)

    assert failed(without) in {("login", "tls", "network"), ("login", "reset", "network")}
    assert (code, cycle["verdict"]) == (0, "up")


def test_a_registry_is_reached_over_ipv6(outpost):
    """By its name; an engine too old for an address in brackets says so itself, and that is reported."""
    with outpost.registry(NAMED_IPV6) as host:
        code, (cycle,), _ = once(outpost.engine, *login(f"{host}/tests/ipv6"), SMALL)
        bracketed = f"[::1]:{host.rpartition(':')[2]}"
        _, (by_address,), _ = once(outpost.engine, f"-repository={bracketed}/tests/ipv6")

    assert (code, cycle["verdict"]) == (0, "up")
    assert by_address["registry"] == bracketed
    assert failed(by_address) == ("pull", "reference", "config")


def test_a_repository_may_be_deep_below_a_port(engine, registry):
    """A path of several parts, and a port, are kept apart from host and tag."""
    path = "team/a.b/c__d/canary"

    code, (cycle,), _ = once(engine, *login(f"{registry.host}/{path}"), "-tag=v1", SMALL)

    assert (code, cycle["verdict"]) == (0, "up")
    assert (cycle["registry"], cycle["repository"], cycle["tag"]) == (registry.host, f"{registry.host}/{path}", "v1")
    assert registry.manifests_put(path) == ["v1"]


# --- Docker Hub, as the lab plays it ---

#: The real one is not asked from here.
ELSEWHERE = {"HTTPS_PROXY": NO_WAY}


@pytest.mark.parametrize("repository", ["acme/canary", "docker.io/acme/canary", "index.docker.io/acme/canary"])
def test_docker_hubs_short_names_are_its_own(outpost, repository):
    """Each is the hub's repository; the push goes to the hub, the pulls through the engine's mirror of it."""
    before = len(outpost.hub.manifests_put("acme/canary"))
    options = (f"-repository={repository}", "-registry-host=docker.io", f"-username={USER}", f"-password={PASSWORD}")

    code, (cycle,), told = once(outpost.engine, *options, SMALL, env=ELSEWHERE)

    assert (code, cycle["verdict"]) == (0, "up")
    # The monitor's own way does not lead there, which changes nothing.
    assert told.count("registry API: certificates can't be read") == told.count("registry API: the rate") == 1
    assert (cycle["registry"], cycle["repository"]) == ("docker.io", "docker.io/acme/canary")
    assert outpost.hub.manifests_put("acme/canary")[before:] == ["latest"]
    assert outpost.mirror.blobs_got("acme/canary")


def test_a_mirror_that_is_down_is_passed_by(outpost):
    """The hub is then asked itself, in the same pull."""
    outpost.mirror.stop()
    try:
        code, (cycle,), _ = once(
            *(outpost.engine, "-repository=acme/direct", f"-username={USER}", f"-password={PASSWORD}", SMALL),
            env=ELSEWHERE,
        )
    finally:
        outpost.mirror.start()

    assert (code, cycle["verdict"]) == (0, "up")
    assert outpost.hub.blobs_got("acme/direct")


# --- logins ---


@pytest.fixture
def keychain(engine, tmp_path):
    """A credential helper, and the environment that finds it."""
    helper = CredentialHelper.make(tmp_path / "keychain")
    return helper, {"PATH": os.pathsep.join((str(helper.folder), engine.env["PATH"]))}


@pytest.fixture
def config(tmp_path):
    """Given a Docker configuration, write it to a folder of its own, and return the option that names it."""

    def write(shape):
        folder = tmp_path / "docker-config"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(shape))
        return f"-docker-config={folder}"

    return write


@pytest.mark.parametrize("for_one_host", [False, True])
def test_a_credential_helper_gives_the_login(engine, registry, repository, keychain, config, for_one_host):
    """Be it the store of all logins or the helper of one host: it is asked, and nothing in it is changed."""
    helper, env = keychain
    helper.keep(registry.host, USER, PASSWORD)
    before = helper.logins()
    shape = {"credHelpers": {registry.host: helper.name}} if for_one_host else {"credsStore": helper.name}

    code, (cycle,), told = once(engine, f"-repository={repository}", config(shape), SMALL, env=env)

    assert (code, cycle["verdict"]) == (0, "up")
    assert "get" in helper.asked()
    assert set(helper.asked()) <= {"get", "list"}
    assert helper.logins() == before
    assert PASSWORD not in json.dumps(cycle) + told


def test_a_login_of_our_own_does_not_reach_the_users_helper(engine, registry, repository, keychain):
    """Username and password stay in the private folder, though a helper is on PATH that docker would like to use."""
    helper, env = keychain

    code, _, _ = once(engine, *login(repository), SMALL, env=env)

    assert code == 0
    assert helper.asked() == []


@pytest.mark.parametrize("fault", ["locked", "missing"])
def test_a_credential_helper_that_fails_is_the_configurations_fault(
    engine, registry, repository, keychain, config, fault
):
    """A keychain that nobody unlocked, or a helper that is not on PATH, says nothing of the registry."""
    helper, env = keychain
    helper.keep(registry.host, USER, PASSWORD)
    helper.lock()
    option = config({"credsStore": helper.name})

    code, (cycle,), _ = once(engine, f"-repository={repository}", option, env=env if fault == "locked" else {})

    assert (code, *failed(cycle)) == (3, "pull", "credential_helper", "config")
    assert ("locked" if fault == "locked" else "docker-credential-lab") in cycle["detail"]


def test_a_password_that_changes_is_read_again(engine, tmp_path):
    """Between the registry's change and the file's it is down; then up again, without a restart."""
    password = tmp_path / "password"
    password.write_text("old\n")
    with Registry(tmp_path / "registry", users={USER: "old"}) as registry:
        repository = f"{registry.host}/tests/password"
        options = (f"-repository={repository}", f"-username={USER}", f"-password-file={password}")
        with Monitor(tmp_path, engine, *options, SMALL, "-run-test-every=200ms") as monitor:
            await_true(lambda: monitor.verdict() == (200, "up", None), SOON, "the old password to be let in")
            registry.set_users({USER: "new"})
            await_true(lambda: monitor.verdict() == (503, "down", "unauthorized"), SOON, "it to be refused")
            password.write_text("new\n")
            await_true(lambda: monitor.verdict() == (200, "up", None), SOON, "the new password to be let in")
            assert monitor.stop() == 0
