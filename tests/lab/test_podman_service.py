"""Docker's own CLI on podman's socket: whole cycles, and nothing left of them."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from lab.archive import file_system
from lab.daemon import await_true
from lab.engines import NEWEST, OLDER
from lab.monitor import SOON, Monitor, once
from lab.podman_service import PodmanService
from lab.target import PASSWORD, USER

# The first test of another Debian's waits for that.
pytestmark = pytest.mark.timeout(600)

_CYCLES = 3


def holdings(service):
    """Given podman's service, return its images with their names, and all containers, its own too."""
    images = service.podman.docker("images", "--all", "--no-trunc", "--format={{.ID}} {{.Repository}}:{{.Tag}}").stdout
    return images + service.podman.docker("ps", "--all", "--external", "--no-trunc", "--format={{.ID}}").stdout


_OTHERS = [pytest.param(suite, marks=pytest.mark.everything) for suite in (OLDER, NEWEST)]


@pytest.fixture(scope="module", params=["", *_OTHERS])
def podman(request, session_lab, debians):
    """The service, and a docker CLI: this machine's, or another Debian's."""
    folder = session_lab.folder / f"podman-{request.param}"
    root = debians.root(request.param) if request.param else None
    with PodmanService(folder, root=root) as podman:
        yield podman


@pytest.fixture
def options(registry, repository, tmp_path):
    """The options of a target. It finds its login: podman's service makes one by TLS only."""
    auth = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    return (f"-repository={repository}", f"-docker-config={tmp_path}", "-payload-layers=2")


def test_every_cycle_is_up_and_leaves_nothing(podman, options):
    """The images that podman keeps of each step of a build go as well; the log says what cycles run on."""
    before = holdings(podman)
    more = ("-payload-size=64KiB", "-run-test-every=100ms", "-log-format=json")
    with Monitor(podman.folder, podman, *options, *more) as monitor:
        await_true(lambda: monitor.successes() >= _CYCLES, 3 * SOON, f"{_CYCLES} cycles")
        assert monitor.get("/health")[0] == 200
        (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
        monitor.stop()

    assert target["last_cycle"]["pulled_digest"] == target["last_cycle"]["pushed_digest"]
    events = [json.loads(line) for line in monitor.log.read_text().splitlines()]
    # Its version takes podman seconds on a busy machine, which is logged as well.
    failures = {"cycle failed", "could not clean up everything that this monitor made; it tries again later"}
    assert [event for event in events if event["msg"] in failures] == []
    assert holdings(podman) == before
    (of_engine,) = (event for event in events if event["msg"] == "docker")
    assert of_engine["server"].startswith("podman ")


def test_what_was_here_before_a_pull_stays(podman, options, repository, tmp_path):
    """It is noticed that nothing was moved, though podman counts the image's own ID as one more moved layer."""
    podman.docker("import", "-", repository, stdin=file_system("somebody's"))
    podman.docker(f"--config={tmp_path}", "push", repository)
    before = holdings(podman)

    code, (cycle,), _ = once(podman, *options[:2], "-read-only")

    assert (code, cycle["reason"]) == (3, "warm")
    assert holdings(podman) == before


@pytest.mark.everything
def test_a_build_that_is_stopped_leaves_nothing(podman, options):
    """Podman ends it when nobody waits for it any more."""
    before = holdings(podman)
    more = ("-payload-layers=8", "-payload-size=64MiB")
    with Monitor(podman.folder, podman, *options[:2], *more) as monitor:
        await_true(lambda: len(holdings(podman).splitlines()) > len(before.splitlines()) + 1, 3 * SOON, "a build")
        assert monitor.stop() == 0
    await_true(lambda: holdings(podman) == before, SOON, "nothing to be left")
