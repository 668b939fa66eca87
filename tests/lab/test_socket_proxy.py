"""Socket proxies: docs/socket-proxies.md lists what a monitor asks of the engine's API, all of it and nothing else."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from lab.archive import file_system
from lab.daemon import await_true
from lab.engines import OLDER, DebianDocker
from lab.monitor import QUICK, SOON, Monitor, once
from lab.socket_proxy import SocketProxy
from lab.target import PASSWORD, USER, login

# A setup may wait for a whole Debian.
pytestmark = pytest.mark.timeout(600)

_ROW = re.compile(r"^\| `([A-Z]+ /\S+)` \| ([^|]+) \|", re.MULTILINE)
_DOCUMENT = Path(__file__).parents[2] / "docs" / "socket-proxies.md"
_DEBIANS_CLI = Path("/usr/bin/docker")
_CYCLES = 4
_numbers = count(1)


@dataclass(frozen=True)
class Listed:
    """A request that the document lists, and what needs it."""

    request: str
    needed_by: frozenset[str]

    def __str__(self):
        return self.request

    def is_meant_by(self, request):
        """Given a request, return whether it is this one."""
        return re.fullmatch(self.request.replace("NAME", ".+").replace("ID", "[^/]+"), request)


LISTED = [
    Listed(request, frozenset(who.strip() for who in needed_by.split(",")))
    for request, needed_by in _ROW.findall(_DOCUMENT.read_text(encoding="utf-8"))
]
ALWAYS = {"every command", "every cycle"}
CLASSIC, OLD = "the classic builder", "BuildKit of 20.10"

#: The builder of each setup, and what of the document is for it.
SETUPS = {
    "newer CLI": ("classic", {CLASSIC}),
    "Debian's CLI": ("auto", {CLASSIC}),
    OLD: ("buildkit", {"BuildKit", OLD}),
    "buildx": ("buildkit", {"BuildKit", "BuildKit by buildx"}),
}


class Behind:
    """An engine behind a proxy, for a monitor.

    Attributes:
        folder: a folder of its own.
        env: the environment that leads through the proxy.
    """

    def __init__(self, engine, folder, name="newer CLI"):
        folder.mkdir()
        self.folder = folder
        self._engine = Path(engine.host.removeprefix("unix://"))
        self._gate = folder / "gate.sock"
        self.env = engine.env | {"DOCKER_HOST": f"unix://{self._gate}"}
        if name in ("Debian's CLI", OLD):
            (folder / "docker").symlink_to(_DEBIANS_CLI)
            self.env["PATH"] = os.pathsep.join((str(folder), self.env["PATH"]))

    def proxy(self, refuses):
        return SocketProxy(self._gate, self._engine, refuses)


@pytest.fixture
def folder(session_lab):
    """A folder of this test's own, which does not exist yet, and whose path is short."""
    return session_lab.folder / f"proxy-{next(_numbers)}"


@pytest.fixture
def behind(engine, folder):
    """The engine that all tests have, behind a proxy."""
    return Behind(engine, folder)


@pytest.fixture
def somebodys(docker, repository):
    """Somebody's image that has the test image's name."""
    image = docker("import", "-", repository, stdin=file_system("somebody's")).stdout.strip()
    yield image
    docker("rmi", "--force", repository, image, check=False)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.everything) if name in ("Debian's CLI", "buildx") else name
        for name in SETUPS
    ],
)
def test_what_is_listed_is_enough_and_no_more_than_that(engine, debians, session_lab, registry, folder, name):
    """A service works behind a proxy that allows just what is needed; the log says once what it does without."""
    builder, own = SETUPS[name]
    if name == "buildx":
        engine = session_lab.enter(DebianDocker(debians.root(OLDER), session_lab.folder / "proxy-engine"))
    behind = Behind(engine, folder, name)
    needed = [listed for listed in LISTED if listed.needed_by & (ALWAYS | own | {"the service"})]
    also = [listed for listed in LISTED if "some cycles" in listed.needed_by]
    shape = {
        "run-test-every": "100ms",
        "payload-size": "64KiB",
        "builder": builder,
        "username": USER,
        "password": PASSWORD,
        "targets": [{"repository": f"{registry.host}/{folder.name}/{number}"} for number in range(2)],
    }
    (folder / "config.yml").write_text(json.dumps(shape))  # JSON is YAML

    def refuses(request):
        return not any(listed.is_meant_by(request) for listed in (*needed, *also))

    options = (f"-config={folder / 'config.yml'}", "-log-format=json")
    with behind.proxy(refuses) as proxy, Monitor(folder, behind, *options) as monitor:
        await_true(lambda: monitor.successes() >= _CYCLES, 3 * SOON, f"{_CYCLES} cycles")
        assert monitor.get("/health")[0] == 200
        monitor.stop()

    lacked = [listed for listed in LISTED if listed.needed_by == {"nothing"}]
    assert [one for one in proxy.refused if not any(listed.is_meant_by(one) for listed in lacked)] == []
    assert [str(listed) for listed in needed if not any(map(listed.is_meant_by, proxy.passed))] == []
    troubles = [event["detail"].rpartition("; refused: ")[2].partition(",")[0] for event in monitor.troubles()]
    assert sorted(troubles) == ["GET /containers/json", "GET /info"]


#: What has to be there for a cycle, and the setup that asks for it.
REQUIRED = [
    (listed, name)
    for who, name in (({"every cycle", "some cycles", CLASSIC}, "newer CLI"), (SETUPS[OLD][1], OLD))
    for listed in LISTED
    if listed.needed_by & who and (name != OLD or CLASSIC not in listed.needed_by)
]
_QUICK = {"GET /images/json", "POST /build"}


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        pytest.param(*one, marks=[] if str(one[0]) in _QUICK else pytest.mark.everything, id=str(one[0]))
        for one in REQUIRED
    ],
)
def test_a_needed_request_that_is_refused_is_named(engine, folder, repository, somebodys, listed, name):
    """The proxy's words do not say which request it was: the failure does, and it is this host's."""
    behind = Behind(engine, folder, name)
    with behind.proxy(listed.is_meant_by) as proxy:
        code, (cycle,), _ = once(behind, *login(repository), *QUICK, f"-builder={SETUPS[name][0]}")

    assert proxy.refused
    assert (code, cycle["reason"], cycle["scope"]) == (3, "daemon", "host")
    assert cycle["detail"].endswith(f"; refused: {listed}, or HEAD /_ping before it")


@pytest.mark.everything
def test_a_monitor_that_may_not_ask_for_the_version_judges_and_says_that_it_is_not_well(behind, repository):
    """Nothing but /health needs it, while no cycle shows that the engine is there."""
    with (
        behind.proxy("GET /version".__eq__),
        Monitor(behind.folder, behind, *login(repository), *QUICK, "-run-test-every=1h") as monitor,
    ):
        monitor.await_status(200)
        await_true(lambda: monitor.get("/health")[0] == 503, SOON, "/health to be 503")
        assert "refused: GET /version, " in monitor.get("/health")[1]
