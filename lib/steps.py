"""Steps: runs, measures and notes the steps of one cycle, each within its deadline, and finds whom to blame.

Before the registry or the network gets the blame for a deadline or a broken connection, the daemon is asked whether it
still answers: a sick daemon brings the same about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol, TypeVar

from lib.docker import Answer, Docker, DockerError
from lib.failure import Failure, Reason, Scope
from lib.result import Outcome, Step, StepName
from lib.target import Target

#: How long the daemon has to answer when it is asked whether it is there.
ASK_SECONDS = 3.0

#: Reasons that a sick daemon brings about, too.
_DAEMON_IN_DOUBT = frozenset({Reason.TIMEOUT, Reason.RESET, Reason.REFUSED, Reason.UNCLASSIFIED})

#: Scopes that name another registry's fault where the base image comes from there.
_BLAMED_ON_BASE = frozenset({Scope.REGISTRY, Scope.CREDENTIALS, Scope.NETWORK})

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
    """A step failed, and is noted."""


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

    @property
    def daemon_is_gone(self) -> bool:
        """Whether the last step failed since docker itself does not work."""
        return bool(self.done) and self.done[-1].reason in (Reason.DAEMON, Reason.CLI)

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
                self.fail(name, self._blame(name, error.failure), error.answer)
            self._note(Step(name, Outcome.SKIPPED, error.answer.seconds, retries=error.answer.retries))
            return None
        if judge is not None:
            self._judge(name, judge, answer)
        self._note(Step(name, Outcome.OK, answer.seconds, retries=answer.retries, output=answer.output))
        return answer

    @contextmanager
    def upkeep(self, name: StepName) -> Iterator[None]:
        """Run unmeasured docker commands that a step needs. Given its name. Raise StepFailed where one fails."""
        try:
            yield
        except DockerError as error:
            self.fail(name, self._blame(name, error.failure), error.answer)

    def fail(self, name: StepName, failure: Failure, answer: Answer | None = None) -> NoReturn:
        """Note a step as failed. Given its name, why, and how far its command came. Raise StepFailed."""
        answer = answer or Answer(seconds=0.0)
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
        raise StepFailed

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
            failure = error.failure
        if failure is not None:
            self.fail(name, failure, answer)

    def _blame(self, name: StepName, failure: Failure) -> Failure:
        """Given a failed step's name and why docker said that it failed, return whose fault that really is."""
        if failure.reason in _DAEMON_IN_DOUBT:
            try:
                self._docker.version(ASK_SECONDS)
            except DockerError as error:
                detail = f"{failure.detail}; and the docker daemon does not answer: {error.failure.detail}"
                reason = error.failure.reason if error.failure.scope is Scope.HOST else Reason.DAEMON
                return Failure(reason, detail)
        if name is StepName.BASE and failure.scope in _BLAMED_ON_BASE and not self._target.base_is_ours:
            return Failure(Reason.BASE_IMAGE, failure.detail)
        return failure

    def _note(self, step: Step) -> None:
        self.done.append(step)
        self._observer.step_finished(self._target, step)


def _never(_: Failure) -> bool:
    return False
