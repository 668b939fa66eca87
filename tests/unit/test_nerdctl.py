"""nerdctl is recognised before anything runs, and refused as wrong configuration."""

from __future__ import annotations

import os

import pytest

from lib.ending import USAGE
from monitor import main
from tests.unit.support import HOST

TARGET = f"-repository={HOST}/lab/canary"
#: What nerdctl 2 prints; the first releases printed the same.
NERDCTL = "nerdctl version 2.0.3"


@pytest.fixture
def program(tmp_path):
    """Given what it prints as its version, return a program to give as `docker`."""

    def program(version, name="docker"):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\n[ "$*" = --version ] && [ -z "$REGISTRY_MONITOR_PASSWORD" ] && echo "{version}"\n')
        path.chmod(0o755)
        return str(path)

    return program


@pytest.mark.parametrize("mode", ["-check-config", "-once", "-loglevel=info"])
@pytest.mark.parametrize("name", ["nerdctl", "docker"])
def test_nerdctl_is_wrong_configuration_under_any_name(program, capsys, mode, name):
    """Exit code 2 with a sentence that says what it lacks, before any cycle; it gets no password."""
    docker = program(NERDCTL, name)
    env = {"PATH": os.environ["PATH"], "REGISTRY_MONITOR_PASSWORD": "secret", "REGISTRY_MONITOR_USERNAME": "monitor"}

    assert main([TARGET, f"-docker={docker}", mode], env) == USAGE

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"docker: {docker} can't be used: it is nerdctl, which lacks what a cycle needs: ")
    assert said.err.endswith("use docker's own CLI, or podman\n")


@pytest.mark.parametrize("version", ["Docker version 28.2.2, build e6534b4", "podman version 5.4.2", ""])
def test_what_is_not_nerdctl_is_not_refused(program, capsys, version):
    """If a program does not answer, the cycles report that."""
    assert main([TARGET, f"-docker={program(version)}", "-check-config"], {"PATH": os.environ["PATH"]}) == 0
    assert capsys.readouterr().err == ""


def test_a_program_that_is_not_there_is_for_the_cycles_to_tell_of(capsys):
    assert main([TARGET, "-docker=/not/there", "-check-config"], {}) == 0
    assert capsys.readouterr().err == ""
