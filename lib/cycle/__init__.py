"""One cycle: one pass over a target. The steps in their order, up to the first failure; then the host as it was."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from uuid import uuid4

from lib.cycle import judgement
from lib.cycle.base import Base, find_base, is_base, log_push
from lib.cycle.build_cache import marks_for
from lib.cycle.in_progress import CycleInProgress, Shared
from lib.cycle.loss import forgotten_if_lost
from lib.cycle.payload import Labels, write_context
from lib.cycle.propagation import POLL_SECONDS, pull_until_shown
from lib.cycle.read_only import ReadOnlyCycle
from lib.cycle.removal import remove_images
from lib.cycle.steps import reason_of
from lib.docker import BuiltBy, Docker
from lib.docker.answers import Pulled, Removed
from lib.failure import Failure, Reason
from lib.result import Cycle, Push, StepName


@dataclass
class CycleRunner(Shared):
    """Runs one cycle of a target after the other."""

    def __call__(self) -> Cycle:
        """Run one cycle, and return it. Raise Stopped if the monitor is being stopped meanwhile."""
        return (ReadOnlyCycle if self.target.read_only else PushingCycle)(self).run()

    @property
    def staying(self) -> tuple[str, ...]:
        """Why images of its cycles stay on this host, in docker's words; empty if none does."""
        return self.housekeeping.leftovers.staying_for(self.target.name)

    def close(self) -> None:
        """Remove what the cycles shared; there will be no more."""
        shutil.rmtree(self.workspace, ignore_errors=True)


class PushingCycle(CycleInProgress):
    """One cycle under way that pushes and pulls back."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self.labels = Labels(self.target.name, shared.instance, uuid4().hex, self.started)
        self.base = Base()
        self.platforms: tuple[str, ...] = ()
        self.pushed_at = 0.0
        self.layers_removed = 0
        self.is_ours_to_remove = False

    def _test(self) -> None:
        self._pull()
        self.base = find_base(self.target, self.steps, self.docker, self.anonymous)
        image_id = self._build()
        push = self._push(image_id)
        self._rmi(image_id)
        self._pull_back(push)

    # The steps, in their order.

    def _pull(self) -> None:
        last = self.pushes.last

        def is_empty(failure: Failure) -> bool:
            return failure.not_there and last is None

        with forgotten_if_lost(self.pushes):
            self.steps.run_unless(
                is_empty, StepName.PULL, self._pull_test_image, lambda pulled: self._judge_found(pulled, last)
            )

    def _build(self) -> str:
        self.steps.begin(StepName.BUILD)
        try:
            self.context.mkdir(mode=0o700)
            context = write_context(
                self.context,
                self.docker.whole_name(self.base.name),
                self.target.payload_layers,
                self.target.payload_bytes,
                self.labels,
                marks_for(self.docker),
                is_index=bool(self.platforms),
                more_labels=self.base.blanked_labels | dict(self.target.image_labels),
            )
        except OSError as error:
            detail = f"the payload can't be written: {error}"
            self.steps.fail(StepName.BUILD, Failure(reason_of(error, Reason.BUILD), detail))
        with self.housekeeping.building(self.docker, context) as docker:
            built = self.steps.run(
                StepName.BUILD,
                lambda deadline: docker.build(self.context, self.reference, deadline, self.platforms, context.name),
            )
        if built.by_podman:
            # It keeps an image for the labels, which `rmi` does not mention, and which carries the labels.
            self.housekeeping.expect_leftovers()
        return built.image_id

    def _push(self, image_id: str) -> Push:
        labels = self.labels
        self.pushes.begin(labels.token)
        pushed = self.steps.run(StepName.PUSH, lambda deadline: self.docker.push(self.reference, deadline))
        push = Push(pushed.digest, image_id, labels.token, labels.instance, labels.created)
        self.pushed_at = time.monotonic()
        self.pushes.pushed(push)
        self.pushed_digest = push.digest
        log_push(self.target.name, self.base, pushed)
        return push

    def _rmi(self, image_id: str) -> None:
        def judge(removed: Removed) -> Failure | None:
            if image_id not in removed.deleted:
                # Somebody gave our image another name meanwhile. That is removed too; otherwise nothing would have to
                # be moved.
                seconds = self.steps.upkeep_seconds
                remove_images(self.docker, self.docker.find((image_id,), seconds).values(), seconds)
            self.layers_removed = self.housekeeping.remove_footprint(self.docker)
            return None

        with self.housekeeping.alone(self.docker):
            self.steps.run(StepName.RMI, lambda deadline: self.docker.rmi((self.reference,), deadline), judge)

    def _pull_back(self, push: Push) -> None:
        def judge(pulled: Pulled) -> Failure | None:
            self.pulled_digest = pulled.digest
            image = other = None
            if pulled.digest != push.digest:
                image, other = self._look_at(pulled)
            self.is_ours_to_remove = image is None or judgement.is_removable(pulled, image)
            if other is not None:
                return judgement.shared_with(other)
            return judgement.judge_pulled_back(
                pulled.digest, image, push, self.pushes.is_ours, self.pushes.given_up
            ) or self._judge_transfer(pulled)

        def pull(deadline: float) -> Pulled:
            patience = min(self.target.propagation_timeout, deadline)
            return pull_until_shown(
                self._pull_test_image,
                lambda: self.housekeeping.remove_test_image(self.docker),
                push.digest,
                patience,
                deadline,
                waited,
            )

        def waited(seconds: float) -> None:
            if self.target.propagation_timeout:
                # If the first pull shows it, it was not late: the removal from this host took the time.
                self.propagation_lag = time.monotonic() - self.pushed_at if seconds >= POLL_SECONDS else 0.0

        with forgotten_if_lost(self.pushes):
            self.steps.run(StepName.PULL_BACK, pull, judge)

    # What the steps need besides.

    def _judge_found(self, pulled: Pulled, last: Push | None) -> Failure | None:
        """Judge what the first pull brought, and remove it, as far as the monitor may."""
        if last is not None and pulled.digest == last.digest:
            self.housekeeping.remove_test_image(self.docker)
            return None
        image, other = self._look_at(pulled)
        if image is None:  # then there is nothing to overwrite
            return None
        wanted_base = is_base(image, pulled.digest, self.target.base_layer_id)
        if judgement.is_removable(pulled, image) and not wanted_base:
            self.housekeeping.remove_test_image(self.docker)
        if Labels.from_dict(image.labels) is not None:
            if other is not None:
                return None
            return judgement.judge_found(image, pulled.digest, last, self.pushes.is_ours, self.pushes.given_up)
        if self.target.overwrite or wanted_base or judgement.made_by_original(image):
            return None
        return judgement.foreign(self.reference)

    def _judge_transfer(self, pulled: Pulled) -> Failure | None:
        """Given the pull of what was pushed, say whether it proves a transfer; if not, also what is known about why."""
        layers = self.target.payload_layers
        failure = judgement.judge_transfer(pulled, layers, self.base.layers)
        if failure is None or self.docker.builder is not BuiltBy.BUILDKIT:
            return failure
        found = f"in BuildKit's cache {self.layers_removed} of the {layers} layers were found, and removed"
        return replace(failure, detail=f"{failure.detail}; {found}")

    def _remove_images(self, docker: Docker) -> None:
        if self.is_ours_to_remove:
            self.housekeeping.remove_test_image(docker)
        if self.base.borrowed:
            self.housekeeping.take_away(docker, self.base.name)
