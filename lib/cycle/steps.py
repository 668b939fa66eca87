"""Steps: runs, measures and notes the steps of one cycle, each within its deadline, and finds out whom to blame.

Before the registry or the network is blamed for a deadline or a broken connection, the daemon is asked whether it still
answers: a sick daemon causes the same. So does a host that did not run, or had no time left for the step.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NoReturn, TypeVar

from lib.blanking import without_secrets
from lib.cycle.circumstances import in_circumstances
from lib.cycle.starvation import Pulse, why_short
from lib.cycle.transfers import Transfers
from lib.docker import Docker, DockerError
from lib.docker.answers import DockerAnswer
from lib.docker.environment import prepare_config
from lib.docker.keychain import HelperAnswer, ask_helper
from lib.failure import Failure, Reason, Scope
from lib.progress import Observer
from lib.result import Outcome, Push, Step, StepName
from lib.target import Target

#: How long the daemon has to answer when asked whether it is there, and the CLI when asked about itself.
ASK_SECONDS = 3.0
_ASK_CLI_SECONDS = 2.0

#: Deadline of each docker command that is not a step: a step's, if that is shorter.
_UPKEEP_SECONDS = 20.0

#: Reasons that a sick daemon causes, too. In a login it can be any: without a daemon, newer CLIs log in themselves.
_DAEMON_IN_DOUBT = frozenset({Reason.TIMEOUT, Reason.RESET, Reason.REFUSED, Reason.UNCLASSIFIED})

#: Reasons that a host that did not run causes, too: what waited for it gave up, or its connections are dead.
_TIME_IN_DOUBT = frozenset({Reason.TIMEOUT, Reason.RESET, Reason.DNS, Reason.UNREACHABLE})

#: Scopes that a command that never leaves the host can't have.
_OUTSIDE = frozenset({Scope.REGISTRY, Scope.CREDENTIALS, Scope.NETWORK})

_A = TypeVar("_A", bound=DockerAnswer)


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
        done: those that have ended so far, in their order.
        docker: the CLI to ask the daemon with.
        last_push: the last push before this cycle, None if there was none.
        pulse: whether this host runs meanwhile; the caller has to take it.
    """

    def __init__(self, target: Target, observer: Observer, docker: Docker, transfers: Transfers | None = None) -> None:
        """Given the target, the observer of its steps, the CLI to ask the daemon with, and the transfers of all
        targets. The cycle begins now.
        """
        self.done: list[Step] = []
        self.last_push: Push | None = None
        self._target = target
        self._observer = observer
        self.docker = docker
        self._logins: list[Path] = []
        self._under_way: StepName | None = None
        self._begun = time.monotonic()
        self._transfers = transfers or Transfers()
        self.pulse = Pulse(docker, ASK_SECONDS, target.step_timeout)

    def docker_answers(self) -> bool:
        """Return whether docker works; ask only if the last step casts doubt on that."""
        if not self.done or self.done[-1].reason not in (Reason.DAEMON, Reason.CLI):
            return True
        try:
            self.docker.for_cleanup().version(ASK_SECONDS)
        except DockerError:
            return False
        return True

    @property
    def upkeep_seconds(self) -> float:
        """The deadline of a docker command that is not a step."""
        return upkeep_seconds(self._target)

    def run(
        self, name: StepName, action: Callable[[float], _A], judge: Callable[[_A], Failure | None] | None = None
    ) -> _A:
        """Run one step.

        Given its name, its docker command (which takes its deadline in seconds) and what judges that command's answer,
        return the answer. Raise StepFailed if the command failed or was judged a failure.
        """
        answer = self.run_unless(_never, name, action, judge)
        if answer is None:
            raise AssertionError("a step is skipped only if that is accepted")
        return answer

    def run_unless(
        self,
        accepted: Callable[[Failure], bool],
        name: StepName,
        action: Callable[[float], _A],
        judge: Callable[[_A], Failure | None] | None = None,
    ) -> _A | None:
        """Run one step whose command may fail in an accepted way: then the step is skipped.

        Given what accepts a failure, and as for `run()`, return the answer; None if the step is skipped. Raise
        StepFailed.
        """
        self.begin(name)
        given = self._deadline()
        try:
            if given <= 0:
                raise self._came_too_late(name)
            with self._transfers.noted(name, self._target.registry):
                answer = action(given)
        except DockerError as error:
            if not accepted(error.failure):
                self._fail(name, self._blame(name, error, given), error.answer)
            self._note(Step(name, Outcome.SKIPPED, error.answer.seconds, retries=error.answer.retries))
            return None
        if judge is not None:
            self._judge(name, judge, answer)
        ok = Step(name, Outcome.OK, answer.seconds, retries=answer.retries, output=answer.output, spent=answer.phases)
        self._note(ok)
        return answer

    def begin(self, name: StepName) -> None:
        """Given a step, report it as under way even before its command: preparing that on this host can take longer
        than the command. The step's seconds are the command's.
        """
        if self._under_way is not name:
            self._under_way = name
            self._observer.step_started(name)

    @contextmanager
    def preparing(self, name: StepName) -> Iterator[None]:
        """Run what a step needs before it begins: docker commands that never leave the host.

        Given the step's name. Raise StepFailed if one fails.
        """
        try:
            yield
        except DockerError as error:
            self.fail(name, self._blame_host(error), error.answer)

    def prepare_logins(self, name: StepName, docker: Docker, host: str, source: Path | None) -> None:
        """Given a step, the CLI, a registry and a folder with logins to take, prepare the CLI's config folder.

        Raise StepFailed.
        """
        try:
            prepare_config(docker.config, host, source)
            self._logins.append(docker.config / "config.json")
        except (OSError, ValueError) as error:
            detail = f"the logins in {source or docker.config} can't be used: {error}"
            self.fail(name, Failure(reason_of(error, Reason.CREDENTIAL_HELPER), detail))

    def fail(self, name: StepName, failure: Failure, answer: DockerAnswer | None = None) -> NoReturn:
        """Note a step as failed before it began. Given its name, why, and how long preparing took. Raise StepFailed."""
        self.begin(name)
        self._fail(name, failure, answer or DockerAnswer(seconds=0.0))

    def _fail(self, name: StepName, failure: Failure, answer: DockerAnswer) -> NoReturn:
        login = self._helper.secrets
        failure = replace(failure, detail=without_secrets(failure.detail, login))
        self._note(
            Step(
                name=name,
                outcome=Outcome.FAILED,
                seconds=answer.seconds,
                failure=failure,
                retries=answer.retries,
                output=tuple(without_secrets("\n".join(answer.output), login).splitlines()),
            )
        )
        raise StepFailed(failure)

    def _deadline(self) -> float:
        return min(self._target.step_timeout, self._target.cycle_timeout - (time.monotonic() - self._begun))

    def _came_too_late(self, name: StepName) -> DockerError:
        # A previous step that the network held up would have been ended itself: so this host's work took the time
        # since.
        detail = f"the cycle's deadline of {self._target.cycle_timeout:g} s passed before docker {name} began"
        return DockerError(Failure(Reason.STARVED, f"{detail}: work on this host took the time"))

    def _judge(self, name: StepName, judge: Callable[[_A], Failure | None], answer: _A) -> None:
        try:
            failure = judge(answer)
        except DockerError as error:  # it had to ask docker more, and got no answer
            failure = self._blame_host(error)
        if failure is not None:
            self._fail(name, failure, answer)

    # Whose fault it is.

    def _blame(self, name: StepName, error: DockerError, given: float) -> Failure:
        """Given a step's name, how its command failed, and its deadline, return whose fault that really is."""
        if name in _LOCAL_STEPS and error.deadline_passed:
            return self._blame_host(error, _LOCAL_STEPS[name])
        failure = error.failure
        if failure.reason in _DAEMON_IN_DOUBT or (name is StepName.LOGIN and failure.scope is not Scope.HOST):
            failure = self._blame_docker(failure) or failure
        if failure.scope is Scope.CREDENTIALS and not all(path.exists() for path in self._logins):
            return Failure(Reason.CLI, f"{failure.detail}; the logins were removed from this host meanwhile")
        if failure.reason in _TIME_IN_DOUBT:
            failure = self._blame_time(error, name, given) or failure
        failure = in_circumstances(failure, name, error.answer.retries, self.done, self._target, self.last_push)
        if failure.scope is Scope.CREDENTIALS:
            why = self._helper.why_none
            failure = Failure(Reason.CREDENTIAL_HELPER, f"{failure.detail}; {why}") if why else failure
        if name is StepName.BASE and failure.scope in _OUTSIDE and not self._target.base_is_ours:
            return Failure(Reason.BASE_IMAGE, failure.detail)
        return failure

    def _blame_host(self, error: DockerError, reason: Reason = Reason.DAEMON) -> Failure:
        """Given how a command failed that never leaves the host, and the reason if all else is fine, judge it."""
        if error.failure.scope not in _OUTSIDE:
            return error.failure
        return self._blame_docker(error.failure) or self._blame_time(error) or Failure(reason, error.failure.detail)

    def _blame_time(self, error: DockerError, name: StepName | None = None, given: float = 0.0) -> Failure | None:
        """Given how a command failed, and for a step that uses the network, that step and its deadline, return this
        host's failure if the host did not run, or left the step too little time.
        """
        target = self._target
        why = self.pulse.why_starved(error.answer.seconds)
        if why is None and name is not None and error.deadline_passed:
            why = self._transfers.why_waited(name, target.registry, error, self.docker, ASK_SECONDS)
            why = why or why_short(target, self.done, given)
        return Failure(Reason.STARVED, f"{error.failure.detail}; {why}") if why else None

    def _blame_docker(self, failure: Failure) -> Failure | None:
        """Given a failure that is blamed on others, ask docker itself; return the failure if it is docker's."""
        try:
            self.docker.version(ASK_SECONDS)
        except DockerError as error:
            if error.failure.scope is Scope.HOST:
                return _with_words(error.failure.reason, failure, error)
        else:
            return None
        try:
            self.docker.client_version(_ASK_CLI_SECONDS)
        except DockerError as error:
            return _with_words(Reason.CLI, failure, error)
        return Failure(Reason.DAEMON, f"{failure.detail}; and the docker daemon does not answer")

    @cached_property
    def _helper(self) -> HelperAnswer:
        """The credential helper's answer, if one is involved: asked at most once, as a step fails."""
        if self._target.docker_config is None:
            return HelperAnswer()
        return ask_helper(self.docker.runner, self.docker.env, self.docker.config, self._target.registry)

    def _note(self, step: Step) -> None:
        self.done.append(step)
        self._under_way = None
        self._observer.step_finished(step)


#: The steps that never leave the host, and what it means when one of them takes too long.
_LOCAL_STEPS = {StepName.BUILD: Reason.BUILD, StepName.RMI: Reason.DAEMON}


def upkeep_seconds(target: Target) -> float:
    """Given a target, return the deadline of a docker command that is not a step."""
    return min(_UPKEEP_SECONDS, target.step_timeout)


def reason_of(error: Exception, otherwise: Reason) -> Reason:
    """Given why something was not written, return the reason: a full disk, or else the given one."""
    takes_no_more = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    return Reason.DISK_FULL if takes_no_more else otherwise


def _with_words(reason: Reason, failure: Failure, error: DockerError) -> Failure:
    return Failure(reason, f"{failure.detail}; and docker itself does not work: {error.failure.detail}")


def _never(_: Failure) -> bool:
    return False
