"""Circumstances: what a cycle knows besides docker's words changes the blame, or is said in the detail."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.cycle.circumstances import in_circumstances
from lib.failure import Failure, Reason
from lib.result import Outcome, Push, Step, StepName
from lib.secret import Secret
from lib.target import Credentials, Target
from tests.unit.support import MADE, REFERENCE

WITH_LOGIN = Target("lab", REFERENCE, Credentials("me", Secret("secret")))
WITH_STORED_LOGIN = Target("lab", REFERENCE, docker_config=Path("/logins"))
WITHOUT_LOGIN = Target("lab", REFERENCE)
LOGIN, PULL, NOTHING_THERE = (
    Step(StepName.LOGIN, Outcome.OK, 0.1),
    Step(StepName.PULL, Outcome.OK, 0.1),
    Step(StepName.PULL, Outcome.SKIPPED, 0.1),
)
BASE = Step(StepName.BASE, Outcome.OK, 0.1)
PUSHED = Push("sha256:1", "sha256:2", "token", "me", MADE)
REFUSED = Failure(Reason.DENIED, "docker's words")
HIDDEN = replace(REFUSED, not_there=True)


def known(failure, name=StepName.PUSH, *, retries=0, done=(LOGIN,), target=WITH_LOGIN, last=None):
    return in_circumstances(failure, name, retries, done, target, last)


@pytest.mark.parametrize("reason", [Reason.DENIED, Reason.UNAUTHORIZED])
@pytest.mark.parametrize("name", [StepName.PULL, StepName.PUSH, StepName.PULL_BACK])
@pytest.mark.parametrize(("done", "target"), [((LOGIN,), WITH_LOGIN), ((PULL,), WITH_STORED_LOGIN)])
def test_a_refusal_after_retries_is_a_registry_that_was_away(reason, name, done, target):
    """A registry that does not answer when docker asks how to log in later gets no login: the login is not to blame."""
    failure = known(Failure(reason, "docker's words"), name, retries=2, done=done, target=target)

    assert failure.reason is Reason.SERVER_ERROR
    assert failure.detail.startswith("docker's words; docker had to try again 2 times, and this cycle's ")


@pytest.mark.parametrize(
    ("name", "retries", "done", "target"),
    [
        (StepName.PUSH, 0, (LOGIN,), WITH_LOGIN),
        (StepName.PULL, 3, (), WITH_STORED_LOGIN),
        (StepName.PUSH, 3, (NOTHING_THERE, BASE), WITH_STORED_LOGIN),
        (StepName.BASE, 3, (LOGIN, PULL), WITH_LOGIN),
        (StepName.LOGIN, 3, (), WITH_LOGIN),
    ],
    ids=["no retries", "nothing before", "nothing that had a login", "another registry", "the login itself"],
)
def test_a_refusal_without_such_evidence_stands(name, retries, done, target):
    """It takes both: retries in this step, and the same login that worked in this cycle."""
    assert known(REFUSED, name, retries=retries, done=done, target=target) == REFUSED


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in (Reason.DENIED, Reason.UNAUTHORIZED)])
def test_retries_change_no_other_reason(reason):
    """Only a refusal can be a lost login."""
    failure = Failure(reason, "docker's words")
    assert known(failure, retries=5) == failure


def test_where_nobody_can_tell_a_deleted_repository_the_last_push_is_named():
    """Some registries say the same of what is gone and what is forbidden: people should know that it was there."""
    failure = known(HIDDEN, StepName.PULL, last=PUSHED)

    assert failure.detail == "docker's words; this monitor pushed here before, last at 2026-11-24 08:30:00 UTC"
    assert "deleted the repository" in failure.advice
    assert failure.not_there
    assert known(REFUSED, StepName.PULL, last=PUSHED) == REFUSED


def test_a_target_without_any_login_is_said_to_have_none():
    """The advice is to set one, not to check one that is not there."""
    failure = known(Failure(Reason.UNAUTHORIZED, "no basic auth credentials"), done=(), target=WITHOUT_LOGIN)

    assert failure.detail == "no basic auth credentials; this target has no login"
    assert "`username` and `password-file`" in failure.advice
    assert known(REFUSED, target=WITH_STORED_LOGIN).advice == Reason.DENIED.advice


def test_a_short_limit_is_named():
    """A step-timeout below docker's own patience may be all that is wrong; docker's own timeouts are not ours."""
    late = Failure(Reason.TIMEOUT, "docker push passed its deadline, and was ended after 6.0 s")
    failure = known(late, target=replace(WITH_LOGIN, step_timeout=6.0))

    assert failure.detail == f"{late.detail}; the limit is step-timeout=6s"
    assert "`step-timeout`" in failure.advice
    assert known(late) == late
    docker_s = Failure(Reason.TIMEOUT, "dial tcp 192.0.2.1:443: i/o timeout")
    assert known(docker_s, target=replace(WITH_LOGIN, step_timeout=6.0)) == docker_s
