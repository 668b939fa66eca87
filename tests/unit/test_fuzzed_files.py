"""Configuration files of any kind, through the whole program: exit 0 or 2, no traceback, and docker is never called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.options.table import OPTIONS
from monitor import main

PROGRAM = Path(__file__).resolve().parents[2] / "monitor.py"
PLANTED = "hunter2-Zq9"

# The content of files: names and values that are nearly right, and whatever else YAML can hold.
keys = st.sampled_from([*(option.name for option in OPTIONS), "targets", "name", "repositry", "tag_", "-"]) | st.text()
values = st.one_of(
    st.sampled_from(
        ["quay.io/acme/canary", "localhost:5000/a", "2m", "1h30m", "0s", "64KiB", "100GiB", "true", "debug"]
    ),
    st.sampled_from(
        [":8000", "[::1]:1", "a\nb", "-rm", "/etc/passwd", "/dev/zero", "latest", "json", "auto", "\0", ""]
    ),
    st.integers(-5, 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.dates(),
    st.binary(max_size=4),
    st.text(max_size=8),
)
sections = st.dictionaries(keys, values | st.lists(values, max_size=2), max_size=6)
lists = st.lists(sections | values, max_size=4)
files = sections | st.builds(lambda top, targets: top | {"targets": targets}, sections, lists)

GOOD = f"""run-test-every: 1m
state-dir: /var/lib/monitor
targets:
  - name: quay
    repository: quay.io/acme/canary
    username: acme+robot
    password: {PLANTED}
  - repository: docker.io/acme/canary
    run-test-every: 10m
    payload-size: 256KiB
    expect-private: true
""".encode()
cuts = st.tuples(st.integers(0, len(GOOD)), st.integers(0, 20), st.binary(max_size=4))
damages = st.lists(cuts, min_size=1, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a `docker` in it that leaves a mark if it is asked for more than its version."""
    folder = tmp_path_factory.mktemp("fuzzed")
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$*" = --version ] || touch {folder}/called\n')
    docker.chmod(0o755)
    yield folder
    assert not (folder / "called").exists()


def written(folder, content):
    file = folder / "monitor.yml"
    file.write_bytes(content)
    return ["-check-config", f"-docker={folder / 'docker'}", f"-config={file}"]


def damaged(damages):
    content = GOOD
    for start, length, put_in in damages:
        content = content[:start] + put_in + content[start + length :]
    return content


def as_yaml(shape):
    return yaml.safe_dump(shape, allow_unicode=True).encode("utf-8", "replace")


many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(files)
def test_any_file_gives_0_or_2(folder, capsys, shape):
    assert main(written(folder, as_yaml(shape)), {}) in {0, 2}
    capsys.readouterr()


@many
@given(damages)
def test_any_damage_to_a_good_file_gives_0_or_2_and_no_password(folder, capsys, damages):
    content = damaged(damages)
    code = main(written(folder, content), {})
    told = "".join(capsys.readouterr())
    assert code in {0, 2}
    assert PLANTED not in told or b"password: " + PLANTED.encode() not in content


@settings(max_examples=25)
@given(files.map(as_yaml) | damages.map(damaged))
def test_the_program_itself_ends_without_a_traceback(folder, content):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *written(folder, content)], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 2}
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) is (done.returncode == 2)
