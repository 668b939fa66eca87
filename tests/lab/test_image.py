"""The image: built for real from the Dockerfile, and run as the README says.

Its base is a stand-in, since the test must not need a public registry: a Debian root of the same suite, made by
mmdebstrap and imported under the base's name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import direct
from lab.daemon import await_true
from lab.engine import Engine
from lab.engines import NEWEST, DebianDocker, Debians
from lab.folder import remove
from lab.port import Port
from lab.root import make_root
from lab.target import PASSWORD, USER
from lib import __version__

# The first test waits for a whole Debian and its packages.
pytestmark = pytest.mark.timeout(600)

_ROOT = Path(__file__).resolve().parents[2]
_IMAGE = "registry-monitor"
_BASE, _SUITE = re.search(r"^FROM (debian:(\w+)-slim) ", (_ROOT / "Dockerfile").read_text(), re.MULTILINE).groups()
_BUILD_SECONDS = 400
_WAIT_SECONDS = 60
_STOP_SECONDS = 10

#: The archive of a file system without a file.
_EMPTY_ARCHIVE = bytes(1024)

#: What slim images leave out, now and when packages are installed. They also keep dpkg from waiting for the disk.
_LEFT_OUT = ("doc", "info", "lintian", "locale", "man")
_ORIGIN = {"SOURCE": "https://git.example/registry-monitor", "REVISION": "0123abc"}
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@pytest.fixture(scope="module", params=["here", pytest.param(NEWEST, marks=pytest.mark.everything)])
def engine(session_lab, request):
    """A private dockerd of this module's own: the images here are large, and go with it.

    It is this machine's, which builds with the classic builder, or the newest, which builds with BuildKit.
    """
    folder = session_lab.folder / f"image-{request.param}"
    if request.param == "here":
        engine = Engine(folder)
    else:
        engine = DebianDocker(Debians(session_lab.folder).root(NEWEST), folder, containerd_store=True)
    with engine:
        yield engine


@pytest.fixture(scope="module", autouse=True)
def _image(engine, session_lab):
    """The image, built."""
    root = session_lab.folder / "root"
    make_root(root, _SUITE)
    _slim(root)
    archive = subprocess.run(["tar", "--directory", root, "--create", "."], stdout=subprocess.PIPE, check=True).stdout
    remove(root)
    engine.docker("import", "-", _BASE, stdin=archive)
    proxies = [f"--build-arg={name}={value}" for name, value in os.environ.items() if name.lower() in _PROXIES]
    origin = [f"--build-arg={name}={value}" for name, value in _ORIGIN.items()]
    engine.docker("build", "--network=host", *proxies, *origin, f"--tag={_IMAGE}", str(_ROOT), seconds=_BUILD_SECONDS)


@pytest.fixture
def run(engine):
    """Given options of `docker run` and of the monitor, run a container to its end as the README says."""

    def run(options, monitor, check=True):
        return engine.docker("run", "--rm", *_mounted(engine), *options, _IMAGE, *monitor, check=check)

    return run


def _mounted(engine):
    # The engine has no bridge: instead of a published port, its containers have the host's network.
    return ("--network=host", f"--volume={engine.host.removeprefix('unix://')}:/var/run/docker.sock")


def _slim(root):
    """Given a root, make it like the base image."""
    excluded = [f"path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    (root / "etc/dpkg/dpkg.cfg.d/slim").write_text("\n".join(["force-unsafe-io", *excluded, ""]))
    for path in (
        *(root / "usr/share" / name for name in _LEFT_OUT),
        root / "var/cache/apt",
        root / "var/lib/apt/lists",
    ):
        shutil.rmtree(path, ignore_errors=True)


def _target(registry, repository):
    """Return the original's command line."""
    return [
        f"-username={USER}",
        f"-password={PASSWORD}",
        f"-registry-host={registry.host}",
        f"-repository={repository}",
    ]


def _privileged():
    """Return `--privileged`, or its equivalent if this machine lacks a capability to give."""
    status = Path("/proc/self/status").read_text()
    bounding = int(re.search(r"^CapBnd:\s*(\w+)", status, re.MULTILINE)[1], 16)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    if bounding == 2 ** (last + 1) - 1:
        return ["--privileged"]
    return ["--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"]


@contextmanager
def _service(engine, options, monitor):
    """Given options of `docker run` and of the monitor, run it in the background; yield the container's name."""
    name = "monitor"
    engine.docker("run", "--detach", f"--name={name}", *options, _IMAGE, *monitor)
    try:
        yield name
    finally:
        engine.docker("rm", "--force", name)


def _get(port, path):
    try:
        return direct.get(f"http://127.0.0.1:{port}{path}", 5)
    except OSError:
        return None, ""


def _check(engine, name):
    """Run the container's health check, and return its exit code and what it printed."""
    test = json.loads(engine.docker("inspect", "--format={{json .Config.Healthcheck.Test}}", name).stdout)
    assert test[0] == "CMD"
    checked = engine.docker("exec", name, *test[1:], check=False)
    return checked.returncode, checked.stdout


def test_it_says_its_version_in_words_and_as_a_label_and_where_it_comes_from(docker, run):
    assert run([], ["-version"]).stdout == f"registry-monitor {__version__}\n"
    labels = json.loads(docker("inspect", "--format={{json .Config.Labels}}", _IMAGE).stdout)
    found = {name.rpartition(".")[2]: value for name, value in labels.items() if name.startswith("org.opencontainers.")}
    assert (
        found.items()
        >= {
            "version": __version__,
            "source": _ORIGIN["SOURCE"],
            "documentation": f"{_ORIGIN['SOURCE']}#readme",
            "revision": _ORIGIN["REVISION"],
        }.items()
    )


def test_it_holds_a_client_but_no_daemon_no_pip_and_no_leavings_of_apt(run):
    script = "command -v docker; command -v dockerd containerd pip pip3; ls /var/lib/apt/lists /var/cache/apt"
    assert run(["--entrypoint=sh"], ["-c", script], check=False).stdout.split() == [
        "/usr/bin/docker",
        "/var/cache/apt:",
        "/var/lib/apt/lists:",
    ]


def test_one_cycle_is_up_and_leaves_the_host_as_it_was(run, registry, repository, snapshot):
    before = snapshot()
    once = run([], [*_target(registry, repository), "-once", "-output=json"])
    (cycle,) = json.loads(once.stdout)["cycles"]
    assert cycle["verdict"] == "up"
    assert len(registry.blobs_put(repository.partition("/")[2])) >= 2  # the payload and the image's configuration
    assert snapshot() == before


def test_it_needs_neither_root_nor_a_writable_file_system(engine, run, registry, repository):
    group = Path(engine.host.removeprefix("unix://")).stat().st_gid
    confined = [
        f"--user=65534:{group}",
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ]
    assert run(confined, [*_target(registry, repository), "-once"]).stdout


@pytest.mark.parametrize("privileged", [True, False])
def test_the_originals_command_line_serves_and_stops_cleanly(privileged, engine, registry, repository, snapshot):
    base = engine.docker("import", "-", "somebody/base:1", stdin=_EMPTY_ARCHIVE).stdout.strip()
    before = snapshot()
    with Port() as port:
        # Where the original publishes a port, another address is asked for here.
        options = ["--env=UNDER_DOCKER=true", *_mounted(engine), *(_privileged() if privileged else [])]
        monitor = [*_target(registry, repository), f"-base-layer-id={base}", f"-listen=127.0.0.1:{port.number}"]
        with _service(engine, options, monitor) as name:
            await_true(lambda: _get(port.number, "/status")[0] == 200, _WAIT_SECONDS, "/status to be 200")
            assert _get(port.number, "/health") == (200, "true\n")
            assert _check(engine, name) == (0, "true\n")
            started = time.monotonic()
            engine.docker("stop", f"--time={_STOP_SECONDS * 2}", name)
            assert time.monotonic() - started < _STOP_SECONDS
            assert engine.docker("inspect", "--format={{.State.ExitCode}}", name).stdout.strip() == "0"
    assert snapshot() == before
    engine.docker("rmi", "somebody/base:1")


def test_without_the_hosts_socket_it_is_unhealthy_and_says_why(engine, repository):
    with Port() as port:
        options = ["--network=host", f"--env=REGISTRY_MONITOR_LISTEN=127.0.0.1:{port.number}"]
        with _service(engine, options, [f"-repository={repository}"]) as name:
            await_true(lambda: "daemon" in _get(port.number, "/health")[1], _WAIT_SECONDS, "/health to name the daemon")
            code, said = _check(engine, name)
    assert code == 1
    assert said.startswith("false\ndocker can't be used (daemon): ")
