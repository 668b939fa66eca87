"""Docker Hub: a schedule that breaks its limits gets a warning, with the figure, and whose limit that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.options.hub import hub_warnings
from lib.reference import parse_reference
from lib.secret import Secret
from lib.target import Anonymous, Credentials
from tests.unit.examples import a_target

ACME = Credentials("acme", Secret("secret"))


def hub(name="hub", **options):
    return a_target(name, reference=f"docker.io/acme/{name}:canary", **{"watch_certificates": False} | options)


def test_the_default_schedule_is_too_much_for_a_personal_account():
    (warning,) = hub_warnings([hub(credentials=ACME)])
    assert warning == (
        "Docker Hub: 360 pulls in 6 hours with the account acme, made by hub; a personal account has 200, a paid one"
        " has no limit: let run-test-every be 1.8 times as long"
    )


@pytest.mark.parametrize(
    ("options", "pulls"),
    [
        ({"run_every": 60.0}, 720),
        ({"run_every": 432.0}, None),
        ({"run_every": 431.0}, 100),
        ({"run_every": 432.0, "watch_certificates": True}, 106),
        ({"run_every": 217.0, "read_only": True}, None),
        ({"run_every": 200.0, "read_only": True}, 108),
        ({"run_every": 432.0, "base_image": parse_reference("alpine:3")}, None),
        ({"run_every": 600.0, "anonymous": Anonymous.PULL, "anonymous_every": 700.0}, 103),
        ({"run_every": 600.0, "anonymous": Anonymous.PULL, "anonymous_every": 1.0}, 108),
        ({"run_every": 600.0, "anonymous": Anonymous.REFUSED, "anonymous_every": 1.0}, None),
        ({"run_every": 600.0, "cold_images": 3, "cold_every": 600.0}, 108),
    ],
)
def test_what_a_target_pulls_without_a_login_counts_by_address(options, pulls):
    warnings = list(hub_warnings([hub(**options)]))
    assert [warning.split(",")[0] for warning in warnings] == (
        [f"Docker Hub: {pulls} pulls in 6 hours without a login"] if pulls else []
    )


def test_pulls_of_one_account_are_added_up_and_others_are_not():
    other = Credentials("other", Secret("secret"))
    targets = [hub(f"t{number}", run_every=432.0, credentials=ACME) for number in range(5)]
    targets += [hub("o", run_every=432.0, credentials=other), hub("stored", docker_config=Path("/stored"))]
    warnings = list(hub_warnings(targets))
    assert [warning.split(";")[0] for warning in warnings] == [
        "Docker Hub: 500 pulls in 6 hours with the account acme, made by t0, t1, t2 and 2 more",
        "Docker Hub: 360 pulls in 6 hours with the login in /stored, made by stored",
    ]
    assert "2.5 times" in warnings[0]


def test_other_registries_are_none_of_its_business():
    assert not list(hub_warnings([a_target(run_every=0.1)]))
