"""Strangers: what those without a login can do with a target's repository.

It is tried right after a cycle that was up: the registry has just proved that it works, has the image and accepts a
push, and nothing of the image is left on the host. So a refusal is a refusal, and a success is a success. Anything else
leaves the last finding as it was.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from uuid import uuid4

from lib.command import Stopped
from lib.cycle import CycleRunner, judgement
from lib.cycle.build_cache import marks_for
from lib.cycle.payload import Labels, write_context
from lib.cycle.steps import reason_of, upkeep_seconds
from lib.docker import Docker, DockerError
from lib.docker.answers import DockerAnswer, Pushed
from lib.docker.environment import forget_logins, prepare_config
from lib.failure import Failure, Reason, Verdict
from lib.result import Cycle
from lib.target import StrangersMay, Target

_log = logging.getLogger(__name__)

#: The label of a stranger's image, beside those of all our images.
_PAYLOAD_BYTES = 1024


class _Action(StrEnum):
    """What strangers try."""

    PULL = "pull"
    PUSH = "push"


#: The reasons that mean that strangers are kept out. An image that the registry gave to us a moment ago, and does not
#: find now, is hidden from them.
_REFUSALS = {
    _Action.PULL: frozenset({Reason.UNAUTHORIZED, Reason.DENIED, Reason.NOT_FOUND}),
    _Action.PUSH: frozenset({Reason.UNAUTHORIZED, Reason.DENIED}),
}

#: What is logged about an unwanted finding, with what to do, by what strangers tried and whether it worked.
_UNWANTED = {
    (_Action.PULL, True): (
        "strangers can pull the test image: anybody can read this repository",
        (
            "Make this repository private, or take the right to pull from anonymous users; until then, treat what is"
            " in it as published. If it is meant to be public, remove `expect-private`, or set `anonymous` to pull."
        ),
    ),
    (_Action.PULL, False): (
        "strangers can't pull the test image: nobody can read this repository without a login",
        (
            "Make this repository public, or give anonymous users the right to pull. If it is meant to be private, set"
            " `anonymous` to refused."
        ),
    ),
    (_Action.PUSH, True): (
        "strangers can push: anybody can replace what is in this repository",
        (
            "Take the right to push from anonymous users, and compare what is in the repository with what you put"
            " there. Then delete the tag that was pushed: it stays in the registry."
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class _Tried:
    """The outcome of a try.

    Attributes:
        works: whether strangers can do it. fields: further fields of the log.
    """

    works: bool
    fields: dict[str, str]


def pull_every(target: Target) -> float:
    """Given a target, return how often a pull without a login is tried: if both options ask, the shorter interval."""
    if target.anonymous is None:
        return target.expect_private_every
    return min(target.anonymous_every, target.expect_private_every) if target.expect_private else target.anonymous_every


class Strangers:
    """Tries now and then what strangers can do with one target's repository."""

    def __init__(self, runner: CycleRunner, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Given what the cycles of the target share, and a clock in seconds that never jumps."""
        self._runner = runner
        self._target = runner.target
        self._monotonic = monotonic
        self._docker, self._stranger = (
            runner.for_builder(one, runner.target.builder) for one in (runner.docker, runner.anonymous)
        )
        self._last: dict[_Action, float] = {}
        self._ends = 0.0
        self._name = self._target.stranger_reference.familiar
        # An image with that name on this host waits, as one with the test image's name does.
        target = replace(self._target, reference=self._target.stranger_reference)
        self._housekeeping = replace(runner.housekeeping, target=target)

    def check(self, cycle: Cycle, before: StrangersMay) -> StrangersMay:
        """Given the cycle that has just ended, and the findings so far, try what is due; return the findings now.

        Raise Stopped if the monitor is being stopped meanwhile.
        """
        if cycle.verdict is not Verdict.UP:
            return before
        target, found = self._target, before
        self._ends = self._monotonic() + target.cycle_timeout
        digest = cycle.pushed_digest or cycle.pulled_digest
        wanted = target.strangers_may
        if wanted.pull is not None and digest and self._is_due(_Action.PULL, pull_every(target)):
            # By its digest: no name of an image of the host is touched.
            name = target.reference.at(digest)
            found = replace(found, pull=self._find_out(_Action.PULL, lambda: self._pull(name), before.pull))
        if wanted.push is not None and self._is_due(_Action.PUSH, target.anonymous_every):
            found = replace(found, push=self._find_out(_Action.PUSH, self._push, before.push))
        return found

    def _is_due(self, action: _Action, every: float) -> bool:
        now = self._monotonic()
        if now - self._last.get(action, float("-inf")) < every:
            return False
        self._last[action] = now
        return True

    def _find_out(self, action: _Action, attempt: Callable[[], _Tried], before: bool | None) -> bool | None:  # noqa: FBT001  it is the value
        """Given what to try, what tries it, and the finding so far, return whether it works, and log if that is new.

        If that could not be found out, return the finding so far.
        """
        try:
            tried = attempt()
        except DockerError as error:
            what = "pull the test image" if action is _Action.PULL else "push"
            _log.warning(
                f"could not find out whether strangers can {what}",
                extra={"target": self._target.name, "detail": error.failure.detail},
            )
            return before
        fields = {"target": self._target.name, "repository": self._target.reference.repository} | tried.fields
        if tried.works == getattr(self._target.strangers_may, action):
            if before not in (None, tried.works):
                result = "works" if tried.works else "is refused"
                _log.info(f"strangers: a {action} without a login {result} again, as it should", extra=fields)
        elif tried.works != before or (action is _Action.PULL and self._target.expect_private):
            message, advice = _UNWANTED[action, tried.works]
            _log.error(message, extra=fields | {"advice": advice})
        return tried.works

    def _pull(self, name: str) -> _Tried:
        """Given the name by digest of what was just pushed, pull it as a stranger. Raise DockerError, and Stopped."""
        housekeeping = self._runner.housekeeping
        if self._stranger.find((name,), upkeep_seconds(self._target)):
            raise DockerError(Failure(Reason.WARM, "the image is still on this host"))
        # However the pull ends, something of it may be there.
        housekeeping.expect_leftovers()
        try:
            tried = self._try(_Action.PULL, self._stranger.pull, name)
        except Stopped:
            # There will be no next cycle before which the rest would be removed.
            housekeeping.expect_leftovers(late=True)
            housekeeping.restore(self._stranger.for_cleanup(), is_last=True)
            housekeeping.take_away(self._stranger.for_cleanup(), name)
            raise
        if tried.works:
            housekeeping.take_away(self._stranger.for_cleanup(), name)
        return tried

    def _push(self) -> _Tried:
        """Push a small image as a stranger. Raise DockerError, and Stopped."""
        runner, context = self._runner, self._runner.workspace / "stranger"
        docker = self._docker
        is_last = runner.is_only
        try:
            self._housekeeping.prepare(docker)
            docker = self._log_in(docker)
            self._look(docker)
            self._housekeeping.expect_leftovers()
            self._build(docker)
            return self._try(_Action.PUSH, self._stranger.push, self._name)
        except DockerError as error:
            self._housekeeping.expect_leftovers(late=error.deadline_passed)
            raise
        except BaseException:
            is_last = True
            self._housekeeping.expect_leftovers(late=True)
            raise
        finally:
            forget_logins(docker.config)
            shutil.rmtree(context, ignore_errors=True)
            self._housekeeping.restore(docker.for_cleanup(), is_last=is_last)

    def _try(self, action: _Action, command: Callable[[str, float], DockerAnswer], name: str) -> _Tried:
        """Given what to try, and its docker command with the image's name, return whether a stranger may do that.

        Raise DockerError if it ended in neither way.
        """
        try:
            answer = command(name, self._deadline())
        except DockerError as error:
            # If docker had to try again, the registry was not well: that docker then had no token says nothing.
            if error.failure.reason in _REFUSALS[action] and not error.answer.retries:
                return _Tried(works=False, fields={"detail": error.failure.detail})
            raise
        digest = {"pushed": name, "digest": answer.digest} if isinstance(answer, Pushed) else {}
        return _Tried(works=True, fields=digest)

    def _deadline(self) -> float:
        """Return the seconds that the next command has. Raise DockerError if there are none left.

        Everything that is tried in one turn has as much time as a cycle.
        """
        left = self._ends - self._monotonic()
        if left <= 0:
            limit = f"{self._target.cycle_timeout:g} s (cycle-timeout)"
            raise DockerError(Failure(Reason.TIMEOUT, f"what was tried before took all of {limit}"))
        return min(self._target.step_timeout, left)

    def _log_in(self, docker: Docker) -> Docker:
        """Given the CLI, log in as the cycle did, and return the CLI that blanks the password. Raise DockerError."""
        target = self._target
        try:
            prepare_config(docker.config, target.registry, target.docker_config)
            password = target.credentials.read_password() if target.credentials else None
        except (OSError, ValueError) as error:
            raise DockerError(Failure(Reason.CREDENTIAL_HELPER, f"the logins can't be used: {error}")) from None
        if target.credentials and password:
            docker = docker.with_secret(password)
            docker.login(target.registry, target.credentials.username, password, self._deadline())
        return docker

    def _look(self, docker: Docker) -> None:
        """Given the CLI, make sure that only a monitor's image would be replaced. Raise DockerError if not."""
        try:
            pulled = docker.pull(self._name, self._deadline())
        except DockerError as error:
            if error.failure.not_there:
                return
            raise
        if judgement.is_new_here(pulled):
            self._housekeeping.expect_pulled(pulled.digest)
        image = docker.describe(self._name, upkeep_seconds(self._target))
        if image is None:
            return
        if judgement.is_removable(pulled, image):
            self._housekeeping.remove_test_image(docker)
        if Labels.from_dict(image.labels) is None and not self._target.overwrite:
            raise DockerError(judgement.foreign(self._name))

    def _build(self, docker: Docker) -> None:
        """Given the CLI, build what a stranger is to push. Raise DockerError."""
        folder = self._runner.workspace / "stranger"
        labels = Labels(self._target.name, self._runner.instance, uuid4().hex, datetime.now(UTC))
        try:
            folder.mkdir(mode=0o700)
            context = write_context(
                folder,
                docker.whole_name("scratch"),
                1,
                _PAYLOAD_BYTES,
                labels,
                marks_for(docker),
                more_labels=dict(self._target.image_labels),
            )
        except OSError as error:
            detail = f"the image for it can't be written: {error}"
            raise DockerError(Failure(reason_of(error, Reason.BUILD), detail)) from None
        with self._housekeeping.building(docker, context) as marked:
            built = marked.build(folder, self._name, self._deadline(), context_name=context.name)
        if built.by_podman:
            # It keeps an image for the labels, which `rmi` does not mention, and which carries the labels.
            self._housekeeping.expect_leftovers()
