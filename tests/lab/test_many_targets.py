"""Many targets at once, on a real registry and in a small world: each gets its turn, and none disturbs another."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from lab.daemon import await_true
from lab.monitor import Monitor, once
from lab.small_world import SmallWorld
from lab.target import PASSWORD, USER, login
from lib.cycle.payload import INSTANCE_LABEL

SOON = 60


def config_of(folder, repository, targets, every):
    file = folder / "config.yml"
    names = "".join(f"  - {{name: t{number}, repository: {repository}-{number}}}\n" for number in range(targets))
    common = f"username: {USER}\npassword: {PASSWORD}\nrun-test-every: {every}\npayload-size: 1KiB\n"
    file.write_text(f"{common}targets:\n{names}")
    return f"-config={file}"


def numbers(monitor, series):
    """Return the numbers of a series by target."""
    lines = re.findall(rf'^{series}\{{target="([^"]+)"[^}}]*\}} (\S+)$', monitor.get("/metrics")[1], re.MULTILINE)
    return {target: float(number) for target, number in lines}


@pytest.mark.everything  # the engines' tests have eight targets side by side
def test_eight_targets_on_one_registry_keep_their_pace(engine, repository, tmp_path):
    """All are up, cycle after cycle; no cycle waits as long as an interval, and nothing is left of any."""
    begun = time.monotonic()
    assert once(engine, *login(repository))[0] == 0
    # A second, unless the machine is busy: eight targets leave half of two cores idle.
    every = max(8, math.ceil(4 * (time.monotonic() - begun)))
    with Monitor(tmp_path, engine, config_of(tmp_path, repository, 8, f"{every}s")) as monitor:
        succeeded = 'registry_monitor_steps_total{outcome="ok",step="pull_back"'
        await_true(lambda: monitor.get("/status")[0] == 200, SOON, "all to be up")
        first = numbers(monitor, "registry_monitor_last_success_timestamp_seconds")
        await_true(
            lambda: all(
                later > first[target]
                for target, later in numbers(monitor, "registry_monitor_last_success_timestamp_seconds").items()
            ),
            SOON,
            "another cycle of each",
        )
        assert "registry_monitor_failures_total{" not in monitor.get("/metrics")[1], succeeded
        assert max(numbers(monitor, "registry_monitor_cycle_lag_seconds").values()) < every
        assert monitor.stop() == 0

    assert engine.docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout == ""


class Impatient(Monitor):
    """A monitor that is asked without pause until it answers, so that its very first answer is seen.

    Attributes:
        first: HTTP status and text of that answer of /status.
    """

    def answers(self):
        ended = time.monotonic() + SOON
        while time.monotonic() < ended:
            try:
                self.first = self.get("/status?format=json")
            except OSError:
                continue
            return True
        return False


def test_every_target_is_there_from_the_first_answer_on(tmp_path):
    """Nobody who asks while it starts gets the answer that there are none, as a scrape after a restart would."""
    world = SmallWorld(tmp_path / "world")
    config = config_of(tmp_path, "registry.example/many", 1000, "1h")
    with Impatient(tmp_path, world, *world.options, config) as monitor:
        code, text = monitor.first
        assert (code, len(json.loads(text)["targets"])) == (503, 1000)
        assert monitor.stop() == 0


@pytest.mark.timeout(900)
@pytest.mark.everything
@pytest.mark.parametrize("targets", [100, 300])
def test_of_many_targets_none_is_starved(tmp_path, targets):
    """With fewer slots than there is work, each gets its turn all the same, and the port answers meanwhile."""
    world = SmallWorld(tmp_path / "world")
    config = config_of(tmp_path, "registry.example/many", targets, "1s")
    with Monitor(tmp_path, world, *world.options, config, f"-state-dir={tmp_path / 'state'}") as monitor:
        await_true(
            lambda: all(target["verdict"] for target in json.loads(monitor.get("/status?format=json")[1])["targets"]),
            SOON * 12,
            "a verdict of each",
        )
        done = numbers(monitor, "registry_monitor_cycle_duration_seconds_count")
        threads = len(list(Path(f"/proc/{monitor.pid}/task").iterdir()))
        assert len(done) == targets
        # The target that was due first goes first: none has two cycles more than another.
        assert max(done.values()) - min(done.values()) <= 2
        assert threads < targets + 40
        assert monitor.stop() == 0
    assert threading.active_count() < 50


def mixed(monitor, names):
    """Return the targets that show a cycle of a different repository; and how many show one at all."""
    targets = json.loads(monitor.get("/status?format=json")[1])["targets"]
    repositories = {name: f"registry.example/r{place}" for place, name in enumerate(names)}
    cycles = {target["target"]: target["last_cycle"] for target in targets if target["last_cycle"] is not None}
    return {name for name, cycle in cycles.items() if cycle["repository"] != repositories[name]}, len(cycles)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.everything)])
def test_reloads_without_end_that_swap_all_names_mix_nothing_up(tmp_path, seconds):
    """Every 50 ms, while cycles end: no target ever shows a cycle of another repository, not even after a restart."""
    chance = random.Random(seconds)
    names = [f"t{number}" for number in range(200)]
    file = tmp_path / "config.yml"

    def swap():
        chance.shuffle(names)
        targets = "".join(f"  - {{name: {name}, repository: registry.example/r{n}}}\n" for n, name in enumerate(names))
        (tmp_path / "next.yml").write_text(f"run-test-every: 100ms\ntargets:\n{targets}")
        (tmp_path / "next.yml").rename(file)

    swap()
    world = SmallWorld(tmp_path / "world")
    options = (*world.options, f"-config={file}", f"-state-dir={tmp_path / 'state'}", "-loglevel=error")
    with Monitor(tmp_path, world, *options) as monitor:
        reloaded = 'registry_monitor_target_info{registry="registry.example",repository="registry.example/r0"'
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            swap()
            os.kill(monitor.pid, signal.SIGHUP)
            time.sleep(0.05)
        await_true(
            lambda: f'{reloaded},tag="latest",target="{names[0]}"' in monitor.get("/metrics")[1], SOON, "a reload"
        )
        await_true(lambda: mixed(monitor, names)[1], SOON, "a verdict")
        assert mixed(monitor, names)[0] == set()
        assert monitor.stop() == 0
    swap()
    with Monitor(tmp_path, world, *options) as monitor:
        wrong, known = mixed(monitor, names)
        assert (wrong, known > 0) == (set(), True)
        assert monitor.stop() == 0
