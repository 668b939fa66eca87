"""Docker hides a credential helper that fails; so it is asked itself."""

from __future__ import annotations

import json

import pytest

from lib.command import CommandError, Completed, Ending
from lib.docker.keychain import why_no_login

HOST = "registry.example:5000"
STORE = {"credsStore": "lab"}
LOCKED = Completed(1, "the keychain is locked\n", "", 0.1)


class Helper:
    """Runs as told, and keeps what was run."""

    def __init__(self, outcome):
        self.outcome = outcome
        self.ran = []

    def __call__(self, command):
        self.ran.append(command)
        if isinstance(self.outcome, CommandError):
            raise self.outcome
        return self.outcome


@pytest.fixture
def ask(tmp_path):
    """Given what a helper does, a Docker configuration and a host, ask for the login there."""

    def ask(helper, shape, host=HOST):
        (tmp_path / "config.json").write_text(shape if isinstance(shape, str) else json.dumps(shape))
        return why_no_login(helper, {"PATH": "/bin"}, tmp_path, host)

    return ask


@pytest.mark.parametrize(
    ("shape", "host", "program", "server"),
    [
        (STORE, HOST, "docker-credential-lab", HOST),
        ({"credHelpers": {HOST: "ecr-login"}, "credsStore": "lab"}, HOST, "docker-credential-ecr-login", HOST),
        (STORE, "docker.io", "docker-credential-lab", "https://index.docker.io/v1/"),
    ],
)
def test_the_helper_is_asked_as_docker_asks(ask, tmp_path, shape, host, program, server):
    """By `get`, with the registry on standard input; a host's own helper goes before the store of all."""
    helper = Helper(LOCKED)
    ask(helper, shape, host)

    (command,) = helper.ran
    assert (command.argv, command.stdin.reveal()) == ((program, "get"), server)
    assert command.env == {"PATH": "/bin", "DOCKER_CONFIG": str(tmp_path)}


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (LOCKED, "the credential helper docker-credential-lab gives no login: the keychain is locked"),
        (
            Completed(1, "", "no key\n", 0.1),
            "the credential helper docker-credential-lab gives no login: no key",
        ),
        (Completed(3, "", "", 0.1), "the credential helper docker-credential-lab gives no login: exit code 3"),
        (
            CommandError("docker-credential-lab: not found"),
            "the credential helper can't be run: docker-credential-lab: not found",
        ),
    ],
)
def test_a_helper_that_fails_is_told_with_its_words(ask, outcome, why):
    """What it says, or else what it exits with, or why it can't be run."""
    assert ask(Helper(outcome), STORE) == why


def test_a_helper_that_passes_its_deadline_gives_no_login(ask):
    """Though it may have exited well when it was ended."""
    assert ask(Helper(Completed(0, "", "", 5.0, Ending.DEADLINE)), STORE) is not None


@pytest.mark.parametrize(
    "outcome",
    [
        Completed(0, '{"Username":"u","Secret":"hunter2"}', "", 0.1),
        Completed(1, "credentials not found in native keychain\n", "", 0.1),
    ],
)
def test_a_helper_that_works_is_not_to_blame(ask, outcome):
    """Be it that it gives a login, or that it has none for this registry."""
    assert ask(Helper(outcome), STORE) is None


@pytest.mark.parametrize(
    "shape", [{}, {"credHelpers": {"other.example": "lab"}}, {"credsStore": 1}, {"credsStore": "a/../b"}, [], "no JSON"]
)
def test_without_a_helper_nothing_is_run(ask, shape):
    """Stored logins need none."""
    helper = Helper(LOCKED)

    assert ask(helper, shape) is None
    assert helper.ran == []


def test_without_a_configuration_nothing_is_run(tmp_path):
    """Its folder may be empty."""
    assert why_no_login(Helper(LOCKED), {}, tmp_path, HOST) is None
