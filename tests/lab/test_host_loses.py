"""What the monitor's host loses under it: its private folders, threads. Each is the host's fault, and comes back."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab.daemon import await_true
from lab.monitor import PROGRAM, QUICK, SOON, Monitor, once
from lab.small_world import SmallWorld
from lab.target import login

REPOSITORY = "-repository=127.0.0.1:5/small/world"

#: Where the kernel bounds the number of processes and threads: its first version has a folder for that alone.
_CGROUPS = next(path for path in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")) if path.is_dir())


@pytest.fixture
def world(tmp_path):
    """A world with a fake docker."""
    return SmallWorld(tmp_path / "world", REPOSITORY, *QUICK)


def descriptors(monitor):
    return len(list(Path(f"/proc/{monitor.pid}/fd").iterdir()))


def children(monitor):
    """Return the processes that a monitor has, including those that have ended and nobody waited for."""
    found = []
    for file in Path(f"/proc/{monitor.pid}/task").glob("*/children"):
        with suppress(OSError):
            found += file.read_text().split()
    return found


@contextmanager
def bounded():
    """Return a group of processes; those in it, with all that they start, are no more than its `pids.max`."""
    group = _CGROUPS / f"registry-monitor-lab-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        for process in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (_CGROUPS / "cgroup.procs").write_text(process)
        group.rmdir()


@pytest.fixture
def temporary(tmp_path):
    """The folder for temporary files, which a cleaner empties: a link to it."""
    (tmp_path / "disk").mkdir()
    folder = tmp_path / "temporary"
    folder.symlink_to(tmp_path / "disk")
    return folder


def lead(link, where):
    """Make a link lead elsewhere, in one step."""
    new = link.with_name("new")
    new.symlink_to(where)
    new.rename(link)


@pytest.fixture
def monitor(engine, repository, tmp_path, temporary):
    surroundings = SimpleNamespace(env={**engine.env, "TMPDIR": str(temporary)})
    with Monitor(tmp_path, surroundings, *login(repository), *QUICK) as monitor:
        monitor.await_status(200)
        yield monitor


def await_cycles(monitor, number):
    awaited = monitor.successes() + number
    await_true(lambda: monitor.successes() >= awaited, SOON, "cycles to be up")


def verdicts(monitor):
    return set(re.findall(r"verdict=(\w+)", monitor.log.read_text()))


def test_a_private_folder_that_is_swept_away_is_made_again(engine, repository, monitor, temporary):
    """At any moment of a cycle: never is the registry to blame. And another monitor that starts then does no harm."""
    (folder,) = temporary.iterdir()
    for round_ in range(5):
        time.sleep(round_ * 0.15)
        shutil.rmtree(folder, ignore_errors=True)
        await_cycles(monitor, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    code, (cycle,), _ = once(engine, *login(f"{repository}-of-another"), env={"TMPDIR": str(temporary)})
    assert (code, cycle["verdict"]) == (0, "up")
    assert folder.is_dir()
    await_cycles(monitor, 2)
    assert monitor.stop() == 0
    assert list(temporary.iterdir()) == []
    assert "somebody removed a private folder of this monitor; it is made again" in monitor.log.read_text()
    assert verdicts(monitor) <= {"up", "unknown"}


def test_without_a_folder_for_temporary_files_cycles_are_unknown_until_it_is_back(monitor, temporary):
    """What was in it is gone, and nobody can make another in its place: docker itself would."""
    disk = temporary.readlink()
    lead(temporary, "/dev/null/nowhere")
    shutil.rmtree(disk)
    await_true(lambda: monitor.verdict()[1] == "unknown", SOON, "the verdict to be unknown")
    await_true(lambda: "can't be made again" in monitor.get("/status")[1], SOON, "/status to say why")
    assert monitor.get("/health")[0] == 200
    disk.mkdir()
    lead(temporary, disk)
    monitor.await_status(200)
    assert monitor.stop() == 0
    assert list(temporary.iterdir()) == []
    assert verdicts(monitor) <= {"up", "unknown"}


def test_without_threads_a_program_that_runs_already_is_ended(world, tmp_path):
    """There are none to two more than it has between cycles: docker is forked, and then a thread can't be started."""
    with Monitor(tmp_path, world, *world.options) as monitor, bounded() as group:
        (group / "cgroup.procs").write_text(str(monitor.pid))
        monitor.await_status(200)
        used = descriptors(monitor)
        for more in range(3):
            idle = min(_sampled(lambda: int((group / "pids.current").read_text())))
            failed = failures(monitor)
            (group / "pids.max").write_text(str(idle + more))
            await_true(lambda: failures(monitor) > failed, SOON, "a cycle to fail")  # noqa: B023  at once
            (group / "pids.max").write_text("max")
            monitor.await_status(200)
        await_true(lambda: min(_sampled(lambda: descriptors(monitor))) <= used, SOON, "it to close all that it opened")
        await_true(lambda: children(monitor) == [], SOON, "all that it started to be reaped")
        assert monitor.stop() == 0
    log = monitor.log.read_text()
    assert "could not be started: can't start new thread" in log
    assert "Traceback" not in log
    assert "verdict=down" not in log


def failures(monitor):
    return monitor.log.read_text().count("verdict=unknown")


def test_without_threads_at_its_start_it_says_so_in_a_line(world):
    with bounded() as group:
        (group / "pids.max").write_text("1")
        enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
        argv = ["sh", "-c", enter, str(group), *PROGRAM, "-listen=127.0.0.1:0", *world.options]
        done = subprocess.run(argv, env=world.env, capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 1)
    assert done.stderr.splitlines()[-1] == (
        "registry-monitor: can't start new thread; raise the limit on processes of this user, service or container"
    )
    assert "Traceback" not in done.stderr
    assert not list(world.folder.glob("registry-monitor-*"))


def _sampled(look):
    """Return what is seen within some cycles."""
    seen = []
    for _ in range(100):
        seen.append(look())
        time.sleep(0.02)
    return seen
