"""lab/setup.sh: what it installs, and what it says if it can't."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    """A project with a space in its path, which requires nothing but needs an environment."""
    clone = tmp_path / "a clone"
    (clone / "lab").mkdir(parents=True)
    shutil.copy(_ROOT / "lab" / "setup.sh", clone / "lab")
    (clone / "requirements.txt").write_text("# nothing\n")
    return clone


def _setup(clone, *arguments, env=None, cwd="/"):
    return subprocess.Popen(
        ["/bin/sh", clone / "lab" / "setup.sh", *arguments],
        env=env,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _assert_has_pip(clone):
    subprocess.run([clone / ".venv" / "bin" / "python", "-m", "pip", "--version"], check=True, capture_output=True)


def test_two_side_by_side_make_one_environment_and_later_ones_do_what_is_left_to_do(clone):
    both = [_setup(clone, "requirements.txt") for _ in range(2)]
    said = "".join(one.communicate()[1] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert said.count("making .venv") == 1
    assert said.count("installing requirements.txt") == 1
    _assert_has_pip(clone)

    third = _setup(clone, "requirements.txt", cwd=clone / "lab")
    assert third.communicate() == ("", "")
    assert third.returncode == 0

    (clone / "requirements.txt").write_text("# changed\n")
    fourth = _setup(clone, "requirements.txt")
    assert fourth.communicate() == ("", "setup: installing requirements.txt\n")

    (clone / "requirements.txt").write_text("sh==2.4.0  # without a hash\n")
    for _ in range(2):
        refused = _setup(clone, "requirements.txt")
        assert "--require-hashes" in refused.communicate()[1]
        assert refused.returncode != 0


def test_an_environment_whose_python_is_gone_is_made_anew(clone):
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nowhere/python")
    setup = _setup(clone)
    assert "making .venv" in setup.communicate()[1]
    _assert_has_pip(clone)


def test_where_it_cannot_install_it_says_what_is_missing(clone, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("dirname", "id", "sed"):
        (tools / name).symlink_to(shutil.which(name))
    # dockerd and its like are found in the system's folders, whatever PATH says; docker and its like are not.
    setup = _setup(clone, env=os.environ | {"PATH": str(tools)})
    said = setup.communicate()[1]
    assert setup.returncode == 1
    for program in ("docker (its command line)", "docker-registry", "htpasswd", "flock"):
        assert f"\n    {program}" in said
    assert not (clone / ".venv").exists()
