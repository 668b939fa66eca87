"""A host whose disk is slow: that shows as unpacking, and nobody else is blamed for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.engine import Engine
from lab.folder import unmount
from lab.monitor import once
from lab.target import login

pytestmark = pytest.mark.everything

_CGROUPS = next(path for path in (Path("/sys/fs/cgroup/blkio"), Path("/sys/fs/cgroup")) if path.is_dir())

_PAYLOAD_MIB, _MIB_PER_SECOND = 3, 1

#: Puts a program's files, except temporary ones, on a disk that a control group can slow down.
_ENTER = 'echo $$ > "$1/cgroup.procs"; export DOCKER_TMPDIR="$2"; shift 2; exec "$@"'


@pytest.fixture
def group():
    """A control group that can hold a disk's writers back, and is gone afterwards."""
    if _CGROUPS.name == "cgroup":  # the second version
        (_CGROUPS / "cgroup.subtree_control").write_text("+io")
    group = _CGROUPS / f"registry-monitor-lab-{os.getpid()}"
    group.mkdir()
    yield group
    for process in (group / "cgroup.procs").read_text().split():
        (_CGROUPS / "cgroup.procs").write_text(process)
    group.rmdir()


@pytest.fixture
def disk(session_lab):
    """The folder of an engine that has its images on a disk of their own, on which nothing is written behind."""
    folder = session_lab.folder / "slow-disk"
    data, image = folder / "data", session_lab.folder / "slow-disk.ext4"
    data.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(2 * 1024**3)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop,sync", str(image), str(data)], check=True)
    yield folder
    unmount(data)
    image.unlink()


def throttle(group, folder, bytes_per_second):
    """Given a control group, a folder on a disk, and a speed, limit the group's writes to that disk."""
    device = f"{os.major(folder.stat().st_dev)}:{os.minor(folder.stat().st_dev)}"
    first_version = group / "blkio.throttle.write_bps_device"
    if first_version.exists():
        first_version.write_text(f"{device} {bytes_per_second}")
    else:
        (group / "io.max").write_text(f"{device} wbps={bytes_per_second or 'max'}")


def test_a_slow_disk_grows_only_what_unpacks(disk, group, repository, tmp_path):
    """Both pulls of a cycle say so."""
    enter = ("sh", "-c", _ENTER, "sh", str(group), str(tmp_path))
    options = (*login(repository), f"-state-dir={tmp_path / 'state'}", f"-payload-size={_PAYLOAD_MIB}MiB")
    with Engine(disk, dockerd=(*enter, "dockerd")) as engine:
        once(engine, *options)
        throttle(group, disk / "data", _MIB_PER_SECOND * 1024**2)
        code, (cycle,), errors = once(engine, *options)
        throttle(group, disk / "data", 0)

    assert (code, cycle["verdict"]) == (0, "up"), errors
    phases = {step["step"]: step["phases"] for step in cycle["steps"]}
    for step in ("pull", "pull_back"):
        unpack = phases[step].pop("unpack")
        assert unpack > 0.8 * _PAYLOAD_MIB / _MIB_PER_SECOND
        assert sum(phases[step].values()) < unpack
