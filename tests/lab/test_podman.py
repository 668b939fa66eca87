"""podman against a registry of odd answers: it exits with 125 for everything, and its words are judged as docker's."""

from __future__ import annotations

import pytest

from lab.engines import Podman
from lab.faults.outside import HTML, error
from lab.faults.speakers import XML
from lab.misbehaviour import answer, cut, downloading, flipped, plain, reset, silence
from lab.monitor import failed, once
from lab.port import on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lab.target import PASSWORD, USER

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def podman(session_lab):
    """The podman of this machine, in docker's place."""
    with Podman(session_lab.folder / "podman-odd") as podman:
        yield podman


@pytest.fixture(scope="module")
def way(session_lab):
    """A proxy in front of a registry that answers in its place."""
    with Registry(session_lab.folder / "registry-odd", users={USER: PASSWORD}) as registry:
        name, _, port = registry.host.rpartition(":")
        with Proxy(on_loopback, (name, int(port)), plain) as proxy:
            yield proxy


LOGIN = ("GET", "/v2/$")
PUT = ("PUT", "/manifests/")
UPLOAD = ("POST", "/blobs/uploads/")
GET = ("GET", "/manifests/")
BLOB = ("GET", "/blobs/")

ODD = {
    "401": (LOGIN, answer(401, error("UNAUTHORIZED", "bad login")), ("login", "unauthorized", "credentials")),
    "403": (LOGIN, answer(403, error("DENIED", "no access")), ("login", "denied", "credentials")),
    "login: 503": (LOGIN, answer(503), ("login", "server_error", "registry")),
    "login: 429": (
        LOGIN,
        answer(429, error("TOOMANYREQUESTS", "slow down"), headers={"Retry-After": "1"}),
        ("login", "rate_limited", "registry"),
    ),
    "login: never answered": (LOGIN, silence, ("login", "timeout", "network")),
    "login: reset": (LOGIN, reset, ("login", "reset", "network")),
    "push: 403": (UPLOAD, answer(403, error("DENIED", "no access")), ("push", "denied", "credentials")),
    "push: 405": (UPLOAD, answer(405, error("UNSUPPORTED", "read-only")), ("push", "rejected", "registry")),
    "push: 413": (PUT, answer(413, HTML, "text/html"), ("push", "rejected", "registry")),
    "push: 500": (PUT, answer(500, error("UNKNOWN", "unknown error")), ("push", "server_error", "registry")),
    "push: 502 in HTML": (PUT, answer(502, HTML, "text/html"), ("push", "server_error", "registry")),
    "push: words of this host": (
        PUT,
        answer(500, error("UNKNOWN", "open /storage/x: no space left on device")),
        ("push", "server_error", "registry"),
    ),
    "pull back: 404": (GET, answer(404, error("MANIFEST_UNKNOWN", "unknown")), ("pull_back", "not_found", "registry")),
    "broken JSON": (GET, answer(200, b'{"schema', "application/json"), ("pull", "server_error", "registry")),
    "pull back: XML of a store": (BLOB, answer(403, XML, "application/xml"), ("pull_back", "server_error", "registry")),
    "pull back: blob lost": (
        BLOB,
        answer(404, error("BLOB_UNKNOWN", "unknown")),
        ("pull_back", "server_error", "registry"),
    ),
    "pull back: a bit flipped": (BLOB, downloading(flipped(300)), ("pull_back", "integrity", "registry")),
    "pull back: closed": (BLOB, downloading(cut(100)), ("pull_back", "reset", "network")),
}


#: Those that take no time: podman itself tries again, and some it tries long.
QUICK = ("403", "push: 500", "push: words of this host", "pull back: XML of a store", "pull back: blob lost")


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[] if what in QUICK else pytest.mark.everything) for what in ODD]
)
def test_an_odd_answer_is_judged_as_from_docker(podman, way, what):
    """By its words, not by the exit code; and the next cycle is up."""
    request, action, expected = ODD[what]
    repository = f"{way.host}/tests/odd-{list(ODD).index(what)}"
    options = (f"-repository={repository}", f"-username={USER}", f"-password={PASSWORD}", "-payload-size=64KiB")

    with way.rule(action, *request):
        _, (cycle,), _ = once(podman, *options, "-step-timeout=15s")

    assert (failed(cycle), cycle["verdict"]) == (expected, "down"), cycle["detail"]
    assert once(podman, *options)[0] == 0
