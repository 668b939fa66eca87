"""What docker printed is read as it is, judged as it is, and shown without secrets."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest

from lib.command import Completed, Ending
from lib.docker import Docker, DockerError
from lib.docker.cli import judged
from lib.docker.printed import OUTPUT_LINES, Printed
from lib.failure import Reason
from lib.secret import Secret
from tests.unit.support import HOST

NAME = f"{HOST}/acme/canary:latest"
PRESIGNED = "https://store.example/b?X-Amz-Signature=5ec"


def test_it_is_there_as_it_was_and_shown_without_secrets():
    """A secret that stands across lines, or that is known, is in none of what is shown; the rest is."""
    printed = Printed.by(Completed(1, f"see {PRESIGNED}", "hun\nter2 \nend", 0.5), [Secret("hunter2 ")])

    assert (printed.stdout, printed.stderr) == (f"see {PRESIGNED}", "hun\nter2 \nend")
    assert (printed.shown.stdout, printed.shown.stderr) == ("see https://store.example/b?<secret>", "<secret> \nend")
    assert (printed.exit_code, printed.seconds, printed.ending) == (1, 0.5, Ending.ITSELF)
    assert printed.last_lines() == ("see https://store.example/b?<secret>", "<secret>", "end")


def test_its_last_lines_are_those_of_a_terminal():
    """Without empty ones, the error after the progress, and not more than are kept."""
    printed = Printed.by(Completed(1, "progress \n\n" * OUTPUT_LINES, "error\n", 0.5))

    assert printed.last_lines() == ("progress",) * (OUTPUT_LINES - 1) + ("error",)


@pytest.mark.parametrize(
    ("stderr", "secret", "reason", "detail"),
    [
        ("denied: no access with denied", "denied", Reason.DENIED, "<secret>: no access with <secret>"),
        (f'Get "{PRESIGNED}": EOF', "", Reason.RESET, 'Get "https://store.example/b?<secret>": EOF'),
        ("denied: not you", "other", Reason.DENIED, "denied: not you"),
        (
            "error getting credentials - err: exit status 1, out: `5\nec\n`",
            "",
            Reason.CREDENTIAL_HELPER,
            "error getting credentials - err: exit status 1, out: `<secret>",
        ),
    ],
)
def test_it_is_judged_by_all_that_it_said(stderr, secret, reason, detail):
    """A password that is a word of docker's changes no verdict, and what is shown has no secret."""
    failure = judged("push", Printed.by(Completed(1, "", stderr, 1.0), [Secret(secret)]))

    assert failure.reason is reason
    assert failure.detail.startswith(detail)


def test_a_stored_login_is_blanked_without_being_named(tmp_path):
    """Those of the config folder are known when a command runs there, including what docker itself put there since."""
    auth = b64encode(b"u:hunter2").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"other.example": {"auth": auth}}}))
    said = Completed(1, "", f"denied: neither hunter2 nor {auth}\n", 1.0)

    with pytest.raises(DockerError) as raised:
        Docker(lambda _: said, "docker", {}, tmp_path).pull(NAME, 5)

    shown = "denied: neither <secret> nor <secret>"
    assert (raised.value.failure.detail, raised.value.answer.output) == (shown, (shown,))


def test_what_it_printed_last_before_its_deadline_is_blanked():
    """A passed deadline is reported with the last line."""
    hung = Completed(-15, f"asking {PRESIGNED}\n", "", 5.0, Ending.DEADLINE)

    with pytest.raises(DockerError) as raised:
        Docker(lambda _: hung, "docker", {}, Path("/config")).pull(NAME, 5)

    assert raised.value.failure.detail.endswith(
        "the last thing that it printed: asking https://store.example/b?<secret>"
    )
