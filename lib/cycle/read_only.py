"""A cycle of a read-only target: login, pull, rmi. What it pulls is somebody's image, or a replica of a test image."""

from __future__ import annotations

from lib.cycle.brought import Brought
from lib.cycle.in_progress import CycleInProgress, Shared
from lib.cycle.judgement import is_new_here
from lib.cycle.payload import Labels
from lib.cycle.replica import Replica
from lib.docker import Docker
from lib.docker.answers import Image, Pulled
from lib.failure import Failure, Reason, Scope
from lib.result import StepName


class ReadOnlyCycle(CycleInProgress):
    """A cycle under way that only pulls."""

    def __init__(self, shared: Shared) -> None:
        """Given what all cycles of its target share."""
        super().__init__(shared)
        seconds = self.steps.upkeep_seconds
        self.brought = Brought(self.housekeeping, shared.workspace, shared.left, shared.pulled, seconds)
        self.replica = Replica(self.target, self.pushes) if self.target.replica_of else None

    def _prepare_host(self) -> None:
        self.brought.remove_leftover(self.docker)
        super()._prepare_host()
        self.brought.expect(self.docker)

    def _test(self) -> None:
        self.steps.run(StepName.PULL, self._pull, self._judge)

        def is_gone(failure: Failure) -> bool:
            return failure.not_there  # somebody else removed it first

        self.steps.run_unless(is_gone, StepName.RMI, lambda deadline: self.docker.rmi((self.reference,), deadline))

    def _pull(self, deadline: float) -> Pulled:
        if self.replica is None:
            return self.docker.pull(self.reference, deadline)
        with self.replica.excusing_a_source_that_has_not_pushed():
            return self.docker.pull(self.reference, deadline)

    def _judge(self, pulled: Pulled) -> Failure | None:
        self.pulled_digest = pulled.digest
        self.brought.is_new = is_new_here(pulled)
        image = self.docker.describe(self.reference, self.steps.upkeep_seconds)
        return self._judge_content(pulled, image) or self._judge_transfer(pulled, image)

    def _judge_content(self, pulled: Pulled, image: Image | None) -> Failure | None:
        if self.replica is not None:
            self.replication_lag, failure = self.replica.judge(pulled.digest, image)
            return failure
        if image is not None and (labels := Labels.from_dict(image.labels)) is not None:
            # It may be another name for what another target of this monitor pushes: then they take turns from now on.
            self.pushes.recognise(labels.token)
        wanted = self.target.expect_digest
        if wanted is None or pulled.digest == wanted or self._is_known_by(wanted, image):
            return None
        shown = pulled.digest or "an image without a digest"
        return Failure(Reason.INTEGRITY, f"the registry gave {shown}, and expect-digest is {wanted}")

    def _is_known_by(self, digest: str, image: Image | None) -> bool:
        """Given a digest and the pulled image, return whether it has that digest after all: podman names an index's
        image by that image's own digest first.
        """
        name = self.target.reference.at(digest)
        return image is not None and image.is_called(name) and image.image_id not in self.brought.before

    def _judge_transfer(self, pulled: Pulled, image: Image | None) -> Failure | None:
        was_here = pulled.up_to_date or (image is not None and image.image_id in self.brought.before)
        if pulled.moved and not was_here:
            return None
        had = "the image already" if was_here else "all of its layers already"
        return Failure(
            Reason.WARM, f"this host had {had}, and it stays as it was: this pull proves nothing about the registry"
        )

    def _remove_images(self, docker: Docker) -> None:
        pull = next((step for step in self.steps.done if step.name is StepName.PULL), None)
        # A pull that was ended by force can still come about in the engine.
        late = pull is None or (pull.scope in (Scope.HOST, Scope.NETWORK) and pull.reason is not Reason.WARM)
        self.brought.settle(docker, late=late)
