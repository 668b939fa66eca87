"""Roots, and the archives that are kept of them: mmdebstrap is asked once, and nothing half made is ever used."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab.daemon import LabError
from lab.root import Finish, make_root

#: Makes a root as small as can be, and logs that; it fails if a file says so.
_MMDEBSTRAP = """#!/bin/sh
for archive; do case $archive in /*) break ;; esac; done
echo >>{log}
root=$(mktemp -d)
mkdir -p "$root/etc/apt/apt.conf.d"
echo made >"$root/made"
tar --create --file "$archive" --directory "$root" .
rm -r "$root"
[ ! -e {fails} ] || {{ echo 'E: the moon is in the way'; exit 1; }}
"""


@pytest.fixture
def mmdebstrap(tmp_path, monkeypatch):
    """Return how often mmdebstrap was asked, as a function; `fails` in the same folder makes it fail."""
    program = tmp_path / "programs" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(_MMDEBSTRAP.format(log=tmp_path / "log", fails=tmp_path / "fails"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return lambda: len((tmp_path / "log").read_text().splitlines())


def test_a_root_is_made_once_and_then_kept(mmdebstrap, tmp_path):
    """By its suite and its packages, in whatever order."""
    for number, packages in enumerate((("a", "b"), ("b", "a"), ("a",), ())):
        make_root(tmp_path / f"root-{number}", "trixie", *packages, cache=tmp_path / "cache")
        assert (tmp_path / f"root-{number}" / "made").read_text() == "made\n"

    assert mmdebstrap() == 3
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_what_else_is_done_to_a_root_is_done_once_and_kept_with_it(mmdebstrap, tmp_path):
    """If it depends on something else, it is done again; it finds the machine's ways to packages there."""

    def finish(root):
        assert (root / "etc/pip.conf").exists()
        (root / "finished").touch()

    for number, source in enumerate((b"1", b"1", b"2")):
        root = tmp_path / f"root-{number}"
        make_root(root, "trixie", cache=tmp_path / "cache", finish=Finish(finish, source))
        assert (root / "finished").exists()
    make_root(tmp_path / "plain", "trixie", cache=tmp_path / "cache")

    assert not (tmp_path / "plain" / "finished").exists()
    assert mmdebstrap() == 3


def test_side_by_side_one_makes_it_and_the_others_wait(mmdebstrap, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: make_root(tmp_path / f"root-{n}", "trixie", cache=tmp_path / "cache"), range(4)))

    assert mmdebstrap() == 1
    assert all((tmp_path / f"root-{number}" / "made").exists() for number in range(4))


def test_what_failed_or_was_left_half_made_is_not_kept(mmdebstrap, tmp_path):
    (tmp_path / "fails").touch()
    with pytest.raises(LabError, match="the moon is in the way"):
        make_root(tmp_path / "root-0", "trixie", cache=tmp_path / "cache")
    (tmp_path / "fails").unlink()
    (lock,) = (tmp_path / "cache").glob("*.lock")
    lock.with_suffix(".unfinished").write_bytes(b"killed in the middle")
    for number in (1, 2):
        make_root(tmp_path / f"root-{number}", "trixie", cache=tmp_path / "cache")

    assert mmdebstrap() == 2
    assert {file.suffix for file in (tmp_path / "cache").iterdir()} == {".lock", ".tar"}


def test_one_that_is_a_week_old_is_made_again(mmdebstrap, tmp_path):
    """What is tested is what users get now."""
    make_root(tmp_path / "root-0", "trixie", cache=tmp_path / "cache")
    (archive,) = (tmp_path / "cache").glob("*.tar")
    week = 7 * 24 * 3600
    os.utime(archive, (time.time() - week, time.time() - week))
    make_root(tmp_path / "root-1", "trixie", cache=tmp_path / "cache")

    assert mmdebstrap() == 2
