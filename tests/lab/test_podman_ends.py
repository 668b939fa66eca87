"""podman that is ended in the middle of an image: until that is removed, podman lists nothing to anybody."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lab import engine_table
from lab.daemon import LabError, await_true
from lab.folder import processes
from lab.holdings import holdings
from lab.monitor import SOON, Monitor, once
from lab.target import login

# The first test of another Debian's waits for that.
pytestmark = [pytest.mark.everything, pytest.mark.timeout(900)]

SHAPE = ("-payload-size=64KiB", "-payload-layers=8", "-run-test-every=100ms", "-retry-every=100ms")
#: How long it may take to catch an image half written: newer versions of podman write most of it at once.
_PATIENCE = 240.0
_CELLS = [cell for cell in engine_table.engines() if cell.name in {"podman", "trixie-podman", "forky-podman"}]


@pytest.fixture(scope="module", params=_CELLS, ids=lambda cell: cell.name)
def podman(request, debians, session_lab):
    """The podman."""
    with request.param.start(session_lab.folder / f"ends-{request.param.name}", debians) as podman:
        yield podman


def unfinished(podman):
    """Return the IDs of images without a manifest."""
    listed = podman.data / "overlay-images/images.json"
    images = json.loads(listed.read_text()) if listed.exists() else []
    return {image["id"] for image in images if "manifest" not in (image.get("big-data-names") or ())}


def running(podman, verb):
    """Return the processes that build, or pull."""
    found = []
    for pid in processes(podman.folder):
        with suppress(OSError):
            if f"\0{verb}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def kill(pids):
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_in_the_middle_of_an_image(podman, verb, end=None):
    """Given `build` or `pull`, and what ends that, kill by default, do it as soon as there is an image without an end
    that was not there before. Return the IDs of those that stay so: often it came to its end before podman did.
    """
    before, deadline = unfinished(podman), time.monotonic() + _PATIENCE
    pids = []
    while not pids or unfinished(podman) <= before:
        pids = [pid for pid in pids if Path(f"/proc/{pid}").exists()] or running(podman, verb)
        if time.monotonic() > deadline:
            raise LabError(f"waited {_PATIENCE:g} s for podman to write an image")
    (end or (lambda: kill(pids)))()
    await_true(lambda: not set(pids) & set(running(podman, verb)), SOON, "podman to end")
    left = unfinished(podman) - before
    # Before it has a folder, nothing shows when its pull began.
    for image in left if verb == "pull" else ():
        if not (podman.data / "overlay-images" / image).exists():
            podman.docker("rmi", image, check=False)
    return left & unfinished(podman)


@pytest.mark.parametrize("verb", ["build", "pull"])
def test_what_a_killed_monitor_left_in_the_middle_goes_with_the_next_start(podman, repository, tmp_path, verb):
    options, before, left = (*login(repository), *SHAPE), holdings(podman), set()
    while not left:
        with Monitor(tmp_path, podman, *options) as monitor:
            left = kill_in_the_middle_of_an_image(podman, verb, monitor.kill)

    assert once(podman, *options)[0] == 0
    assert holdings(podman) == before
    assert not list(podman.folder.glob("tmp/**/writing-*"))


@pytest.mark.parametrize("verb", ["build", "pull"])
def test_what_a_killed_podman_left_in_the_middle_goes_with_the_end_of_the_cycle(podman, repository, tmp_path, verb):
    """The cycles after it are up."""
    options, before, left = (*login(repository), *SHAPE), holdings(podman), set()
    with Monitor(tmp_path, podman, *options) as monitor:
        while not left:
            left = kill_in_the_middle_of_an_image(podman, verb)
        await_true(lambda: not left & unfinished(podman), _PATIENCE, "the image to go")
        # A cycle of so many layers takes it 20 s on a busy machine.
        await_true(lambda: monitor.get("/status")[0] == 200, _PATIENCE, "/status to be 200")
        assert monitor.stop() == 0

    assert once(podman, *options)[0] == 0  # if the stop had too little time, it finishes that
    assert holdings(podman) == before
