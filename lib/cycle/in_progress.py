"""A cycle in progress: what every cycle does, whatever its steps: prepare the host, log in, pull, restore the host."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lib.command import Stopped
from lib.cycle import judgement
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.login import log_in
from lib.cycle.payload import Labels
from lib.cycle.steps import StepFailed, Steps
from lib.cycle.transfers import Transfers
from lib.docker import Docker, DockerError
from lib.docker.answers import Image, Pulled
from lib.docker.environment import forget_logins
from lib.failure import Scope
from lib.history.pushes import Pushes
from lib.progress import Observer
from lib.result import Cycle, StepName
from lib.target import Builder, Target


@dataclass
class Shared:
    """What all cycles of one target share.

    Attributes:
        target: the target.
        docker: the CLI, in a private Docker config folder of the target's.
        anonymous: the same, in one without logins.
        housekeeping: the target's local images.
        workspace: a private folder for the payload.
        pushes: what was pushed to its repository and tag.
        observer: who follows each step.
        instance: this process's instance.
        restore_folders: makes private folders again that somebody removed; raises DockerError.
        transfers: those of all targets. is_only: there will be no second cycle before which more could be cleaned up.
        for_builder: given the CLI and the wanted builder, returns the CLI set up for it, or as podman. left: the notes
            that dead instances left about pulls that they began, by name. pulled: the names of the images that
            read-only cycles of all targets have on the host at the moment.
    """

    target: Target
    docker: Docker
    anonymous: Docker
    housekeeping: Housekeeping
    workspace: Path
    pushes: Pushes
    observer: Observer
    instance: str
    restore_folders: Callable[[], None] = lambda: None
    transfers: Transfers = field(default_factory=Transfers)
    is_only: bool = False
    for_builder: Callable[[Docker, Builder], Docker] = lambda docker, _: docker
    left: dict[str, Path] = field(default_factory=dict)
    pulled: set[str] = field(default_factory=set)


class CycleInProgress(ABC):
    """One cycle under way."""

    def __init__(self, shared: Shared) -> None:
        """Given what all cycles of its target share."""
        self.shared = shared
        self.target = shared.target
        self.docker = shared.for_builder(shared.docker, self.target.builder)
        self.anonymous = shared.for_builder(shared.anonymous, self.target.builder)
        self.housekeeping = shared.housekeeping
        self.pushes = shared.pushes
        self.doors = shared.pushes.doors
        self.reference = self.target.reference.familiar
        self.context = shared.workspace / "context"
        self.started = datetime.now(UTC)
        self.steps = Steps(self.target, shared.observer, self.docker, shared.transfers)
        self.steps.last_push = self.pushes.last or self.pushes.lost
        self.pushed_digest: str | None = None
        self.pulled_digest: str | None = None
        self.propagation_lag: float | None = None
        self.replication_lag: float | None = None
        self.is_last = shared.is_only

    def run(self) -> Cycle:
        """Run it, and return the cycle. Raise Stopped if the monitor is being stopped meanwhile."""
        begun = time.monotonic()
        try:
            with self.steps.pulse.taken():
                self._prepare()
                self._login()
                self._test()
        except StepFailed as failed:
            # The effect of a command that was ended by force can still come about in the daemon.
            self.housekeeping.expect_leftovers(late=failed.failure.scope in (Scope.HOST, Scope.NETWORK))
        except BaseException as error:
            self.is_last = True
            self.housekeeping.expect_leftovers(late=not isinstance(error, Stopped) or error.was_cut_off)
            raise
        finally:
            seconds = time.monotonic() - begun
            self._clean_up()
        return self._cycle(seconds)

    @abstractmethod
    def _test(self) -> None:
        """Run the steps after the login. Raise StepFailed at the first that fails."""

    @abstractmethod
    def _remove_images(self, docker: Docker) -> None:
        """Remove what is left of its images. Given the CLI that also works while the monitor is being stopped."""

    def _cycle(self, seconds: float) -> Cycle:
        reference = self.target.reference
        return Cycle(
            target=self.target.name,
            repository=reference.repository,
            tag=reference.tag or "latest",
            started=self.started,
            seconds=seconds,
            steps=tuple(self.steps.done),
            pushed_digest=self.pushed_digest,
            pulled_digest=self.pulled_digest,
            payload_bytes=self.target.pushed_bytes,
            propagation_lag=self.propagation_lag,
            replication_lag=self.replication_lag,
        )

    # The steps that they all have, in their order.

    def _prepare(self) -> None:
        """Prepare the host. If that can't be done, the first step has failed before it began."""
        first = StepName.LOGIN if self.target.credentials else StepName.PULL
        with self.steps.preparing(first):
            self.shared.restore_folders()
        self.steps.prepare_logins(first, self.docker, self.target.reference.host, self.target.docker_config)
        with self.steps.preparing(first):
            self._prepare_host()

    def _prepare_host(self) -> None:
        """Make the test image's name free. Raise DockerError."""
        self.housekeeping.prepare(self.docker)

    def _login(self) -> None:
        try:
            log_in(self.target, self.steps)
        finally:
            self.docker = self.steps.docker  # it blanks the password, also after a login that failed

    # What the steps need besides.

    def _pull_test_image(self, deadline: float, platform: str | None = None) -> Pulled:
        pulled = self.docker.pull(self.reference, deadline, platform)
        if judgement.is_new_here(pulled):
            self.housekeeping.expect_pulled(pulled.digest)
        return pulled

    def _look_at(self, pulled: Pulled) -> tuple[Image | None, str | None]:
        """Given a pull, return the image that it brought, None if there is none; and the other target of this monitor
        that pushed it, None if none did, or if the two were known to be one when this cycle began: since then they take
        turns. Raise DockerError.
        """
        try:
            image = self.docker.describe(self.reference, self.steps.upkeep_seconds)
        except DockerError as error:
            # A cycle that reaches this tag by another name removes the image that it pushed with all names.
            other = self._new_door(self.pushes.token_of(pulled.digest)) if error.failure.not_there else None
            if other is None:
                raise
            return None, other
        labels = Labels.from_dict(image.labels) if image else None
        return image, self._new_door(labels.token if labels else None)

    def _new_door(self, token: str | None) -> str | None:
        other = self.pushes.recognise(token) if token else None
        return None if self.pushes.doors is self.doors else other

    def _clean_up(self) -> None:
        forget_logins(self.docker.config)
        shutil.rmtree(self.context, ignore_errors=True)
        if not self.steps.docker_answers():
            return  # nothing can be removed now, and each try would take its whole deadline
        docker = self.docker.for_cleanup()
        self._remove_images(docker)
        self.housekeeping.restore(docker, is_last=self.is_last)
