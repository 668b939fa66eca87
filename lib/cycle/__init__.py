"""One cycle: one pass over a target. The steps in their order, up to the first that fails; then the host as it was."""

from __future__ import annotations

import errno
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from lib.command import Stopped
from lib.cycle import judgement
from lib.cycle.base import Base, is_base, named_base, tagged_base, tell_of_push
from lib.cycle.build_cache import Traces, new_padding
from lib.cycle.housekeeping import Housekeeping, remove_images
from lib.cycle.payload import Labels, write_context
from lib.cycle.propagation import pull_until_shown
from lib.cycle.steps import Observer, StepFailed, Steps
from lib.docker import BuiltBy, Docker
from lib.docker.answers import Image, Pulled, Removed
from lib.docker.environment import forget_logins, prepare_config
from lib.failure import Failure, Reason, Scope, Verdict
from lib.reference import Reference
from lib.result import Cycle, Push, StepName
from lib.target import Target

#: Pushes that were given up and may still be published: a registry that fails for a year would otherwise fill memory.
_MOST_GIVEN_UP = 1000

__all__ = ["CycleRunner", "Memory", "Observer", "Stopped"]


class Memory(Protocol):
    """What must outlive a cycle."""

    def last_push(self, reference: str) -> Push | None:
        """Given repository and tag, return the last push that the registry acknowledged, None where there is none."""

    def pushed(self, reference: str, push: Push) -> None:
        """Keep a push that the registry acknowledged, for good."""

    def forget(self, reference: str) -> None:
        """Forget what was pushed: the registry has lost it, and that was told."""

    def is_ours(self, instance: str) -> bool:
        """Given an instance from an image's label, return whether it is this monitor, now or before a restart."""


@dataclass
class CycleRunner:
    """What all cycles of one target share.

    Attributes:
        target: the target.
        docker: the CLI, in a private Docker config folder of the target's.
        anonymous: the same, in one without logins.
        housekeeping: the target's local images.
        workspace: a private folder for the payload.
        memory: what was pushed.
        observer: who is told of each step.
        instance: this process's instance.
        is_only: there will be no second cycle, before which more could be cleaned up.
        given_up: tokens of pushes that were begun and never acknowledged: a registry can publish one much later.
        equipped: makes the CLI the one that builds as the target wants it, or podman.
    """

    target: Target
    docker: Docker
    anonymous: Docker
    housekeeping: Housekeeping
    workspace: Path
    memory: Memory
    observer: Observer
    instance: str
    is_only: bool = False
    given_up: deque[str] = field(default_factory=lambda: deque(maxlen=_MOST_GIVEN_UP))
    equipped: Callable[[Docker], Docker] = lambda docker: docker

    def __call__(self) -> Cycle:
        """Run one cycle, and return what came of it. Raise Stopped where the monitor is being stopped meanwhile."""
        return _Pass(self).run()


class _Pass:
    """One cycle under way."""

    def __init__(self, shared: CycleRunner) -> None:
        self.shared = shared
        self.target = shared.target
        self.docker = shared.equipped(shared.docker)
        self.anonymous = shared.equipped(shared.anonymous)
        self.housekeeping = shared.housekeeping
        self.reference = self.target.reference.familiar
        self.labels = Labels(self.target.name, shared.instance, uuid4().hex, datetime.now(UTC))
        self.context = shared.workspace / "context"
        self.steps = Steps(self.target, shared.observer, self.docker)
        self.base = Base()
        self.pushed_digest: str | None = None
        self.pulled_digest: str | None = None
        self.layers_removed = 0
        self.is_ours_to_remove = False
        self.is_last = shared.is_only

    def run(self) -> Cycle:
        begun = time.monotonic()
        try:
            self._prepare()
            self._login()
            self._pull()
            self._find_base()
            image_id = self._build()
            push = self._push(image_id)
            self._rmi(image_id)
            self._pull_back(push)
        except StepFailed as failed:
            # What was ended by force can still come about in the daemon.
            self.housekeeping.expect_leftovers(late=failed.failure.scope in (Scope.HOST, Scope.NETWORK))
        except BaseException:
            self.is_last = True
            self.housekeeping.expect_leftovers(late=True)
            raise
        finally:
            seconds = time.monotonic() - begun
            self._clean_up()
        return self._cycle(seconds)

    def _cycle(self, seconds: float) -> Cycle:
        reference = self.target.reference
        last = self.steps.done[-1]
        return Cycle(
            target=self.target.name,
            registry=reference.host,
            repository=reference.repository,
            tag=reference.tag or "latest",
            started=self.labels.created,
            seconds=seconds,
            verdict=last.scope.verdict if last.scope is not None else Verdict.UP,
            steps=tuple(self.steps.done),
            pushed_digest=self.pushed_digest,
            pulled_digest=self.pulled_digest,
            payload_bytes=self.target.payload_bytes,
        )

    # The steps, in their order.

    def _prepare(self) -> None:
        """Make the host ready. Where that can't be done, the first step has failed before it began."""
        first = StepName.LOGIN if self.target.credentials else StepName.PULL
        self._prepare_logins(first, self.docker, self.target.reference.host, self.target.docker_config)
        with self.steps.preparing(first):
            self.housekeeping.prepare(self.docker)

    def _login(self) -> None:
        credentials = self.target.credentials
        if credentials is None:
            return
        try:
            password = credentials.read_password()
        except (OSError, ValueError) as error:
            detail = f"the password of {credentials.username} can't be read: {error}"
            self.steps.fail(StepName.LOGIN, Failure(Reason.CREDENTIAL_HELPER, detail))
        self.docker = self.docker.with_secret(password)
        host = self.target.reference.host
        self.steps.run(
            StepName.LOGIN, lambda deadline: self.docker.login(host, credentials.username, password, deadline)
        )

    def _pull(self) -> None:
        last = self.shared.memory.last_push(self.reference)

        def is_empty(failure: Failure) -> bool:
            return failure.not_there and last is None

        with self._learning_from_loss():
            self.steps.run_unless(
                is_empty, StepName.PULL, self._pull_test_image, lambda pulled: self._judge_found(pulled, last)
            )

    def _find_base(self) -> None:
        if self.target.base_image is not None:
            self._pull_base(self.target.base_image)
        elif self.target.base_layer_id is not None:
            self._find_base_layer(self.target.base_layer_id)

    def _pull_base(self, base: Reference) -> None:
        name = base.familiar
        docker = self.docker
        if self.target.public_base:
            docker = self.anonymous
            self._prepare_logins(StepName.BASE, docker, base.host, None)

        def judge(_: Pulled) -> None:
            self.base = named_base(self.docker, name, self.steps.upkeep_seconds)

        self.steps.run(StepName.BASE, lambda deadline: docker.pull(name, deadline), judge)

    def _find_base_layer(self, wanted: str) -> None:
        """Given the ID of a local image, or the digest of one in the repository, build on that."""
        name = self.target.reference.at(wanted)
        with self.steps.preparing(StepName.BASE):
            found = self.docker.find((wanted, name), self.steps.upkeep_seconds)
            if found:
                self._use_base(next(iter(found.values())))
                return
        if not wanted.startswith("sha256:"):
            detail = f"no local image has the ID {wanted}: pull or load it, or name it by `base-image`"
            self.steps.fail(StepName.BASE, Failure(Reason.BASE_IMAGE, detail))

        def judge(_: Pulled) -> Failure | None:
            image = self.docker.describe(name, self.steps.upkeep_seconds)
            if image is None:
                return Failure(Reason.BASE_IMAGE, f"{name} was pulled, and docker says that it is not there")
            self._use_base(image)
            return None

        self.steps.run(StepName.BASE, lambda deadline: self.docker.pull(name, deadline), judge)

    def _use_base(self, image: Image) -> None:
        self.base = tagged_base(self.docker, image, self.reference, self.steps.upkeep_seconds)

    def _build(self) -> str:
        with_buildkit = self.docker.builder is BuiltBy.BUILDKIT
        try:
            self.context.mkdir(mode=0o700)
            context = write_context(
                self.context,
                self.docker.whole_name(self.base.name),
                self.target.payload_layers,
                self.target.payload_bytes,
                self.labels,
                new_padding() if with_buildkit else 0,
            )
        except OSError as error:
            detail = f"the payload can't be written: {error}"
            self.steps.fail(StepName.BUILD, Failure(_reason_of(error, Reason.BUILD), detail))
        with self.housekeeping.alone(self.docker):
            began = datetime.now(UTC)
            try:
                built = self.steps.run(
                    StepName.BUILD, lambda deadline: self.docker.build(self.context, self.reference, deadline)
                )
            finally:
                if with_buildkit:
                    self.housekeeping.expect_traces(Traces(context, began, datetime.now(UTC)))
        if self.docker.builder is BuiltBy.BUILDAH:
            # It keeps an image for the labels, of which `rmi` says nothing, and which carries them.
            self.housekeeping.expect_leftovers()
        return built.image_id

    def _push(self, image_id: str) -> Push:
        labels = self.labels
        self.shared.given_up.append(labels.token)
        pushed = self.steps.run(StepName.PUSH, lambda deadline: self.docker.push(self.reference, deadline))
        self.shared.given_up.remove(labels.token)
        push = Push(pushed.digest, image_id, labels.token, labels.instance, labels.created)
        self.shared.memory.pushed(self.reference, push)
        self.pushed_digest = push.digest
        tell_of_push(self.target.name, self.base, pushed)
        return push

    def _rmi(self, image_id: str) -> None:
        def judge(removed: Removed) -> Failure | None:
            if image_id not in removed.deleted:
                # Somebody gave our image another name meanwhile. That goes too, or nothing would have to be moved.
                seconds = self.steps.upkeep_seconds
                remove_images(self.docker, self.docker.find((image_id,), seconds).values(), seconds)
            self.layers_removed = self.housekeeping.remove_traces(self.docker)
            return None

        with self.housekeeping.alone(self.docker):
            self.steps.run(StepName.RMI, lambda deadline: self.docker.rmi((self.reference,), deadline), judge)

    def _pull_back(self, push: Push) -> None:
        def judge(pulled: Pulled) -> Failure | None:
            self.pulled_digest = pulled.digest
            image = self._describe() if pulled.digest != push.digest else None
            self.is_ours_to_remove = image is None or _is_removable(pulled, image)
            return judgement.judge_pulled_back(
                pulled.digest, image, push, self.shared.memory.is_ours, self.shared.given_up
            ) or self._judge_transfer(pulled)

        def pull(deadline: float) -> Pulled:
            patience = min(self.target.propagation_timeout, deadline)
            return pull_until_shown(
                self._pull_test_image,
                lambda: self.housekeeping.remove_test_image(self.docker),
                push.digest,
                patience,
                deadline,
            )

        with self._learning_from_loss():
            self.steps.run(StepName.PULL_BACK, pull, judge)

    # What they ask for besides.

    def _prepare_logins(self, step: StepName, docker: Docker, host: str, source: Path | None) -> None:
        """Given a step, the CLI, a registry and a folder with logins to take, make the CLI's config folder ready."""
        try:
            prepare_config(docker.config, host, source)
        except (OSError, ValueError) as error:
            detail = f"the logins in {source or docker.config} can't be used: {error}"
            self.steps.fail(step, Failure(_reason_of(error, Reason.CREDENTIAL_HELPER), detail))

    @contextmanager
    def _learning_from_loss(self) -> Iterator[None]:
        """Where the registry lost or turned back what was pushed, forget that it was.

        This cycle tells of it; the next begins anew, or it would tell of nothing else for ever.
        """
        try:
            yield
        except StepFailed as failed:
            # An image that is not there on this host says nothing of the registry.
            lost = failed.failure.not_there and failed.failure.scope.verdict is Verdict.DOWN
            if lost or failed.failure.reason is Reason.STALE:
                self.shared.memory.forget(self.reference)
            raise

    def _pull_test_image(self, deadline: float) -> Pulled:
        pulled = self.docker.pull(self.reference, deadline)
        if _is_brought(pulled):
            self.housekeeping.expect_brought(pulled.digest)
        return pulled

    def _describe(self) -> Image | None:
        return self.docker.describe(self.reference, self.steps.upkeep_seconds)

    def _judge_found(self, pulled: Pulled, last: Push | None) -> Failure | None:
        """Judge what the first pull brought, and remove it, as far as it is the monitor's to remove."""
        if last is not None and pulled.digest == last.digest:
            self.housekeeping.remove_test_image(self.docker)
            return None
        image = self._describe()
        if image is None:  # docker answers that there is none: then there is none to overwrite
            return None
        wanted_base = is_base(image, pulled.digest, self.target.base_layer_id)
        if _is_removable(pulled, image) and not wanted_base:
            self.housekeeping.remove_test_image(self.docker)
        if Labels.from_dict(image.labels) is not None:
            return judgement.judge_found(image, pulled.digest, last, self.shared.memory.is_ours, self.shared.given_up)
        if self.target.overwrite or wanted_base or judgement.made_by_original(image):
            return None
        return judgement.foreign(self.reference)

    def _judge_transfer(self, pulled: Pulled) -> Failure | None:
        """Given the pull of what was pushed, say if it proves a transfer; if not, also what is known of the reason."""
        layers = self.target.payload_layers
        failure = judgement.judge_transfer(pulled, layers, self.base.layers)
        if failure is None or self.docker.builder is not BuiltBy.BUILDKIT:
            return failure
        found = f"in BuildKit's cache {self.layers_removed} of the {layers} layers were found, and removed"
        return replace(failure, detail=f"{failure.detail}; {found}")

    def _clean_up(self) -> None:
        forget_logins(self.docker.config)
        shutil.rmtree(self.context, ignore_errors=True)
        if not self.steps.docker_answers():
            return  # nothing can be removed now, and each try would take its whole deadline
        docker = self.docker.for_cleanup()
        if self.is_ours_to_remove:
            self.housekeeping.remove_test_image(docker)
        if self.base.borrowed:
            self.housekeeping.take_away(docker, self.base.name)
        self.housekeeping.restore(docker, is_last=self.is_last)


def _is_removable(pulled: Pulled, image: Image) -> bool:
    """Given a pull and the image that it brought, return whether taking its name away is the monitor's right.

    It is with an image of a monitor's; with one of which something was moved, as that was not here before; and with one
    that keeps another name.
    """
    return Labels.from_dict(image.labels) is not None or _is_brought(pulled) or len(image.tags) > 1


def _is_brought(pulled: Pulled) -> bool:
    """Given a pull, return whether what it gave was not on this host before."""
    return pulled.moved > 0 and not pulled.up_to_date


def _reason_of(error: Exception, otherwise: Reason) -> Reason:
    """Given why something was not written, return the reason: a disk that takes no more, or else the given one."""
    takes_no_more = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    return Reason.DISK_FULL if takes_no_more else otherwise
