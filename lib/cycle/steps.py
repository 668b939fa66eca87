"""Steps: runs, measures and notes the steps of one cycle, each within its deadline, and finds whom to blame.

Before the registry or the network gets the blame for a deadline or a broken connection, the daemon is asked whether it
still answers: a sick daemon brings the same about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol, TypeVar

from lib.docker import Docker, DockerError
from lib.docker.answers import Answer
from lib.docker.keychain import why_no_login
from lib.failure import Failure, Reason, Scope
from lib.result import Outcome, Step, StepName
from lib.target import Target

#: How long the daemon has to answer when it is asked whether it is there, and the CLI when it is asked for itself.
ASK_SECONDS = 3.0
_ASK_CLI_SECONDS = 2.0

#: Deadline of each docker command that is no step: the step's own, where that is shorter.
_UPKEEP_SECONDS = 20.0

#: Reasons that a sick daemon brings about, too. In a login it can be any: without a daemon, newer CLIs try themselves.
_DAEMON_IN_DOUBT = frozenset({Reason.TIMEOUT, Reason.RESET, Reason.REFUSED, Reason.UNCLASSIFIED})

#: Scopes of those whom a command that never leaves the host can't meet.
_OUTSIDE = frozenset({Scope.REGISTRY, Scope.CREDENTIALS, Scope.NETWORK})

_A = TypeVar("_A", bound=Answer)


class Observer(Protocol):
    """Whoever wants to know how a cycle gets on."""

    def step_started(self, target: Target, step: StepName) -> None:
        """A step's command is about to be run."""

    def step_finished(self, target: Target, step: Step) -> None:
        """A step has come to its end."""


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        """Given them."""
        self._observers = observers

    def step_started(self, target: Target, step: StepName) -> None:
        """Tell them all."""
        for observer in self._observers:
            observer.step_started(target, step)

    def step_finished(self, target: Target, step: Step) -> None:
        """Tell them all."""
        for observer in self._observers:
            observer.step_finished(target, step)


class StepFailed(Exception):  # noqa: N818  it ends a cycle, and never leaves it
    """A step failed, and is noted.

    Attributes:
        failure: why.
    """

    def __init__(self, failure: Failure) -> None:
        """Given why."""
        super().__init__(failure.detail)
        self.failure = failure


class Steps:
    """The steps of one cycle.

    Attributes:
        done: those that came to their end so far, in their order.
    """

    def __init__(self, target: Target, observer: Observer, docker: Docker) -> None:
        """Given the target, who is told of each step, and the CLI to ask the daemon with: the cycle begins now."""
        self.done: list[Step] = []
        self._target = target
        self._observer = observer
        self._docker = docker
        self._begun = time.monotonic()

    def docker_answers(self) -> bool:
        """Return whether docker works, asked for it only where the last step casts a doubt on that."""
        if not self.done or self.done[-1].reason not in (Reason.DAEMON, Reason.CLI):
            return True
        try:
            self._docker.for_cleanup().version(ASK_SECONDS)
        except DockerError:
            return False
        return True

    @property
    def upkeep_seconds(self) -> float:
        """The deadline of a docker command that is no step."""
        return upkeep_seconds(self._target)

    def run(
        self, name: StepName, action: Callable[[float], _A], judge: Callable[[_A], Failure | None] | None = None
    ) -> _A:
        """Run one step.

        Given its name, its docker command (which takes its deadline in seconds) and what judges that command's answer,
        return the answer. Raise StepFailed where the command failed or was judged a failure.
        """
        answer = self.run_unless(_never, name, action, judge)
        if answer is None:
            raise AssertionError("a step is skipped only where that is accepted")
        return answer

    def run_unless(
        self,
        accepted: Callable[[Failure], bool],
        name: StepName,
        action: Callable[[float], _A],
        judge: Callable[[_A], Failure | None] | None = None,
    ) -> _A | None:
        """Run one step whose command may fail in an accepted way, which makes it a skipped one.

        Given what accepts a failure, and as for `run()`, return the answer; None where the step is skipped. Raise
        StepFailed.
        """
        self._observer.step_started(self._target, name)
        try:
            answer = action(self._deadline(name))
        except DockerError as error:
            if not accepted(error.failure):
                self._fail(name, self._blame(name, error), error.answer)
            self._note(Step(name, Outcome.SKIPPED, error.answer.seconds, retries=error.answer.retries))
            return None
        if judge is not None:
            self._judge(name, judge, answer)
        self._note(Step(name, Outcome.OK, answer.seconds, retries=answer.retries, output=answer.output))
        return answer

    @contextmanager
    def preparing(self, name: StepName) -> Iterator[None]:
        """Run what a step needs before it begins: docker commands that never leave the host.

        Given the step's name. Raise StepFailed where one fails.
        """
        try:
            yield
        except DockerError as error:
            self.fail(name, self._blame_host(error), error.answer)

    def fail(self, name: StepName, failure: Failure, answer: Answer | None = None) -> NoReturn:
        """Note a step as failed before it began. Given its name, why, and what took how long. Raise StepFailed."""
        self._observer.step_started(self._target, name)
        self._fail(name, failure, answer or Answer(seconds=0.0))

    def _fail(self, name: StepName, failure: Failure, answer: Answer) -> NoReturn:
        self._note(
            Step(
                name=name,
                outcome=Outcome.FAILED,
                seconds=answer.seconds,
                reason=failure.reason,
                scope=failure.scope,
                detail=failure.detail,
                retries=answer.retries,
                output=answer.output,
            )
        )
        raise StepFailed(failure)

    def _deadline(self, name: StepName) -> float:
        left = self._target.cycle_timeout - (time.monotonic() - self._begun)
        if left <= 0:
            detail = f"the cycle's deadline of {self._target.cycle_timeout:g} s passed before docker {name} began"
            raise DockerError(Failure(Reason.TIMEOUT, detail))
        return min(self._target.step_timeout, left)

    def _judge(self, name: StepName, judge: Callable[[_A], Failure | None], answer: _A) -> None:
        try:
            failure = judge(answer)
        except DockerError as error:  # it had to ask docker more, and did not get an answer
            failure = self._blame_host(error)
        if failure is not None:
            self._fail(name, failure, answer)

    # Whose fault it is.

    def _blame(self, name: StepName, error: DockerError) -> Failure:
        """Given a step's name and how its command failed, return whose fault that really is."""
        if name in _LOCAL_STEPS and error.deadline_passed:
            return self._blame_host(error, _LOCAL_STEPS[name])
        failure = error.failure
        if failure.reason in _DAEMON_IN_DOUBT or (name is StepName.LOGIN and failure.scope is not Scope.HOST):
            failure = self._blame_docker(failure) or failure
        if failure.scope is Scope.CREDENTIALS and self._target.docker_config is not None:
            failure = self._blame_keychain(failure) or failure
        if name is StepName.BASE and failure.scope in _OUTSIDE and not self._target.base_is_ours:
            return Failure(Reason.BASE_IMAGE, failure.detail)
        return failure

    def _blame_host(self, error: DockerError, reason: Reason = Reason.DAEMON) -> Failure:
        """Given how a command failed that never leaves the host, and the reason where all else is well, judge it."""
        if error.failure.scope not in _OUTSIDE:
            return error.failure
        return self._blame_docker(error.failure) or Failure(reason, error.failure.detail)

    def _blame_docker(self, failure: Failure) -> Failure | None:
        """Given a failure that others are to blame for, ask docker itself; return the failure if it is docker's."""
        try:
            self._docker.version(ASK_SECONDS)
        except DockerError as error:
            if error.failure.scope is Scope.HOST:
                return _with_words(error.failure.reason, failure, error)
        else:
            return None
        try:
            self._docker.client_version(_ASK_CLI_SECONDS)
        except DockerError as error:
            return _with_words(Reason.CLI, failure, error)
        return Failure(Reason.DAEMON, f"{failure.detail}; and the docker daemon does not answer")

    def _blame_keychain(self, failure: Failure) -> Failure | None:
        """Given a refusal by the registry, return it as the credential helper's failure if that gave no login."""
        docker = self._docker
        why = why_no_login(docker.runner, docker.env, docker.config, self._target.registry)
        return Failure(Reason.CREDENTIAL_HELPER, f"{failure.detail}; {why}") if why else None

    def _note(self, step: Step) -> None:
        self.done.append(step)
        self._observer.step_finished(self._target, step)


#: The steps that never leave the host, and what it means when one of them takes too long.
_LOCAL_STEPS = {StepName.BUILD: Reason.BUILD, StepName.RMI: Reason.DAEMON}


def upkeep_seconds(target: Target) -> float:
    """Given a target, return the deadline of a docker command that is no step."""
    return min(_UPKEEP_SECONDS, target.step_timeout)


def _with_words(reason: Reason, failure: Failure, error: DockerError) -> Failure:
    return Failure(reason, f"{failure.detail}; and docker itself does not work: {error.failure.detail}")


def _never(_: Failure) -> bool:
    return False
