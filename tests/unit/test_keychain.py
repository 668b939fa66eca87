"""Docker hides a failing credential helper; so the helper itself is asked."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from lib.command import CommandError, Completed, Ending
from lib.docker.keychain import HelperAnswer, ask_helper, plain_login, stored_logins

HOST = "registry.example:5000"
STORE = {"credsStore": "lab"}
NO_LOGIN = "the credential helper docker-credential-lab gives no login: "
LOCKED = Completed(1, "the keychain is locked\n", "", 0.1)


class Helper:
    """Gives a prepared result, and keeps what was run."""

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
        return ask_helper(helper, {"PATH": "/bin"}, tmp_path, host)

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
    """By `get`, with the registry on standard input; a host's own helper precedes the store for all hosts."""
    helper = Helper(LOCKED)
    ask(helper, shape, host)

    (command,) = helper.ran
    assert (command.argv, command.stdin.reveal()) == ((program, "get"), server)
    assert command.env == {"PATH": "/bin", "DOCKER_CONFIG": str(tmp_path)}


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (LOCKED, f"{NO_LOGIN}exit code 1, out: `<secret> keychain is locked`"),
        (Completed(1, '{"Username":"u","Secret":"hunter2"}', "", 0.1), f"{NO_LOGIN}exit code 1, out: `<secret>`"),
        (Completed(1, "hunter2\n", "no key: hunter2", 0.1), f"{NO_LOGIN}no key: <secret>, out: `<secret>`"),
        (Completed(1, "", "no key\n", 0.1), f"{NO_LOGIN}no key"),
        (Completed(3, "", "", 0.1), f"{NO_LOGIN}exit code 3"),
        (
            CommandError("docker-credential-lab: not found"),
            "the credential helper can't be run: docker-credential-lab: not found",
        ),
    ],
)
def test_a_helper_that_fails_is_told_with_its_words(ask, outcome, why):
    """On standard error, or else its exit code, or why it can't be run; standard output can have a login."""
    assert ask(Helper(outcome), STORE).why_none == why


def test_a_helper_that_passes_its_deadline_gives_no_login(ask):
    """Even if it exited with 0 when it was ended."""
    assert ask(Helper(Completed(0, "", "", 5.0, Ending.DEADLINE)), STORE).why_none is not None


@pytest.mark.parametrize(
    "outcome",
    [
        Completed(0, '{"Username":"u","Secret":"hunter2"}', "", 0.1),
        Completed(1, "credentials not found in native keychain\n", "", 0.1),
    ],
)
def test_a_helper_that_works_is_not_to_blame(ask, outcome):
    """Whether it gives a login, or has none for this registry."""
    assert ask(Helper(outcome), STORE).why_none is None


@pytest.mark.parametrize(
    "shape", [{}, {"credHelpers": {"other.example": "lab"}}, {"credsStore": 1}, {"credsStore": "a/../b"}, [], "no JSON"]
)
def test_without_a_helper_nothing_is_run(ask, shape):
    """Stored logins need none."""
    helper = Helper(LOCKED)

    assert ask(helper, shape) == HelperAnswer()
    assert helper.ran == []


def test_without_a_configuration_nothing_is_run(tmp_path):
    """Its folder may be empty."""
    assert ask_helper(Helper(LOCKED), {}, tmp_path, HOST) == HelperAnswer()


def test_what_a_helper_gives_is_a_secret(ask):
    """What it prints as a login, and whatever else it prints, except the registry's name."""
    login = ask(Helper(Completed(0, f'{{"ServerURL":"{HOST}","Username":"u1","Secret":"hunter2"}}', "", 0.1)), STORE)
    words = ask(Helper(Completed(1, "hunter2 \n\n[]x\n", "", 0.1)), STORE)

    assert [secret.reveal() for secret in login.secrets] == ["u1", "hunter2"]
    assert [secret.reveal() for secret in words.secrets] == ["hunter2", "[]x"]


def test_the_logins_of_a_configuration_are_secrets(tmp_path):
    """Those of all hosts, in every way in which docker keeps one."""
    auths = {
        "a.example": {"auth": b64encode(b"u:pass:1").decode()},
        "b.example": {"auth": "no base64", "identitytoken": "i2", "registrytoken": "r3", "username": "u"},
        "c.example": {"username": "u", "password": "p4", "auth": ""},
        "d.example": {},
        "e.example": None,
        "f.example": {"auth": 5},
    }
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))

    found = [secret.reveal() for secret in stored_logins(tmp_path)]

    assert found == [auths["a.example"]["auth"], "pass:1", "no base64", "i2", "r3", "p4"]


@pytest.mark.parametrize("shape", [None, "{", "[]", "{}", '{"auths": null}', '{"auths": []}', '"x"'])
def test_a_configuration_that_has_no_logins_has_no_secrets(tmp_path, shape):
    """Whether it is missing, or not what it should be."""
    if shape is not None:
        (tmp_path / "config.json").write_text(shape)

    assert list(stored_logins(tmp_path)) == []


AUTH = b64encode(b"user:pass:word").decode()


@pytest.mark.parametrize(
    ("shape", "host", "login"),
    [
        ({"auths": {HOST: {"auth": AUTH}}}, HOST, ("user", "pass:word")),
        ({"auths": {"https://index.docker.io/v1/": {"auth": AUTH}}}, "docker.io", ("user", "pass:word")),
        ({"auths": {"other.example": {"auth": AUTH}}}, HOST, None),
        ({"auths": {HOST: {}}, "credsStore": "lab"}, HOST, None),
        ({"auths": {HOST: {"auth": AUTH, "identitytoken": "t"}}}, HOST, None),
        ({"auths": {HOST: {"auth": b64encode(b"user").decode()}}}, HOST, None),
        ({"auths": {HOST: {"auth": "no base64"}}}, HOST, None),
        ({"auths": []}, HOST, None),
        ([], HOST, None),
    ],
)
def test_a_login_in_plain_text_is_found_and_no_other_is(tmp_path, shape, host, login):
    (tmp_path / "config.json").write_text(json.dumps(shape))
    found = plain_login(tmp_path, host)
    assert login == (found and (found.username, found.password.reveal()))


def test_without_a_docker_configuration_there_is_no_login(tmp_path):
    assert plain_login(tmp_path, HOST) is None
