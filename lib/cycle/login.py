"""Login: the step that logs in to the registry, with the password as it is now."""

from __future__ import annotations

from lib.cycle.steps import Steps
from lib.failure import Failure, Reason
from lib.result import StepName
from lib.target import Target


def log_in(target: Target, steps: Steps) -> None:
    """Given a target and the steps of its cycle, log in, if the target has credentials. Raise StepFailed.

    From then on the steps' CLI blanks the password.
    """
    credentials = target.credentials
    if credentials is None:
        return
    try:
        password = credentials.read_password()
    except ValueError as error:
        steps.fail(StepName.LOGIN, Failure(Reason.CREDENTIAL_HELPER, f"the password file {error}"))
    docker = steps.docker = steps.docker.with_secret(password)
    host = target.reference.host
    steps.run(StepName.LOGIN, lambda deadline: docker.login(host, credentials.username, password, deadline))
