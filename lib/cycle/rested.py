"""Rested images with docker: each is pushed once, for good, and pulled again by checks.

Both work like a cycle of a further target with a tag of its own and fewer steps: logins, deadlines, whom to blame and
what may stay on the host are the same as a cycle's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime

from lib.cycle import CycleRunner, PushingCycle, judgement
from lib.cycle.payload import Labels
from lib.docker import DockerError
from lib.docker.answers import Image, Pulled
from lib.docker.buildx import builds_index
from lib.failure import Failure, Reason, Scope
from lib.rested import PLATFORMS, Kind, RestedImage
from lib.result import Cycle, Push, Step, StepName
from lib.target import Builder


@dataclass(frozen=True, slots=True)
class RestedResult:
    """The result of a push or a check.

    Attributes:
        digest, created: what is in the registry since the push, and when it was made; None if that is not known.
        failure: why it failed, None if it did not.
        kind: what it is made of.
    """

    digest: str | None
    created: datetime | None
    failure: Failure | None
    kind: Kind


class RestedRunner:
    """Pushes and checks the rested images of one target, one at a time, never while its cycle runs."""

    def __init__(self, shared: CycleRunner) -> None:
        """Given what runs the target's cycles."""
        self._shared = shared
        self._shared_by_tag: dict[str, CycleRunner] = {}

    @property
    def is_only(self) -> bool:
        """Whether the target has one turn only."""
        return self._shared.is_only

    def push(self, image: RestedImage) -> RestedResult:
        """Push an image, unless the tag shows that this was already done: a process can end before it has noted that.

        An image that was pushed before is pushed again, whatever is left of it. Raise Stopped.
        """
        return self._run(_Push(self._beside(image), image))

    def check(self, image: RestedImage) -> RestedResult:
        """Pull a pushed image, and compare it with what was pushed. Raise Stopped."""
        return self._run(_Check(self._beside(image), image))

    def _beside(self, image: RestedImage) -> CycleRunner:
        """Given an image, return what runs a cycle of it, with local images of its own to look after."""
        if image.tag not in self._shared_by_tag:
            layers = image.kind.layers
            target = replace(
                self._shared.target,
                reference=replace(self._shared.target.reference, tag=image.tag),
                base_image=None,
                base_layer_id=None,
                # One of them may make a registry let it expire.
                image_labels=(),
                payload_layers=layers,
                payload_bytes=max(layers, self._shared.target.payload_bytes),
            )
            housekeeping = replace(self._shared.housekeeping, target=target)
            self._shared_by_tag[image.tag] = replace(
                self._shared, target=target, housekeeping=housekeeping, observer=_Nobody()
            )
        return self._shared_by_tag[image.tag]

    def _run(self, action: _Push | _Check) -> RestedResult:
        # Anything that appears late is found by its labels, before and after the next cycle.
        try:
            cycle = action.run()
        except BaseException:
            self._shared.housekeeping.expect_leftovers(late=True)
            raise
        return action.result(cycle, self._shared)


class _Nobody:
    """An observer of the steps of rested images: they are not steps of a cycle."""

    def step_started(self, step: StepName) -> None:
        pass

    def step_finished(self, step: Step) -> None:
        pass


class _Rested(PushingCycle):
    """A push or a check under way."""

    def __init__(self, shared: CycleRunner, image: RestedImage) -> None:
        super().__init__(shared)
        self.image = image
        self.kind = image.kind
        self.platform: str | None = None
        self.created: datetime | None = None
        self.steps.last_push = None
        if image.digest is not None and image.created is not None:
            self.steps.last_push = Push(image.digest, "", "", "", image.created)

    def result(self, cycle: Cycle, shared: CycleRunner) -> RestedResult:
        """Given this cycle, and the target's last one, return the result."""
        failure = cycle.failed.failure if cycle.failed else None
        if failure is not None and failure.scope in (Scope.HOST, Scope.NETWORK):
            shared.housekeeping.expect_leftovers(late=True)
        if failure is not None and self.platform is not None:
            failure = replace(failure, detail=f"{self.platform}: {failure.detail}")
        return RestedResult(self.pushed_digest, self.created, failure, self.kind)


@dataclass(frozen=True, slots=True)
class _Found:
    """An image of ours, to be pushed under a tag."""

    digest: str
    labels: Labels
    architecture: str

    def is_for(self, platform: str) -> bool:
        """Given a platform, return whether it is for that."""
        return platform.endswith(f"/{self.architecture}")


class _Push(_Rested):
    def __init__(self, shared: CycleRunner, image: RestedImage) -> None:
        super().__init__(shared, image)
        self._found: _Found | None = None

    def _prepare_host(self) -> None:
        self._choose_kind()
        super()._prepare_host()

    def _choose_kind(self) -> None:
        """Choose the kind that its number stands for, if the engine can hold that. Raise DockerError."""
        if Kind.of(self.image.number) is Kind.INDEX:
            builder, seconds = self.target.builder, self.steps.upkeep_seconds
            if builder is not Builder.CLASSIC and builds_index(self.docker, PLATFORMS, seconds):
                # The classic builder knows only one platform. What a dead process left of such a build is found by this
                # one, too.
                self.docker = self.steps.docker = self.shared.for_builder(self.docker, Builder.BUILDKIT)
                self.kind, self.platforms = Kind.INDEX, PLATFORMS
            else:
                self.kind = Kind.SINGLE
        self.labels = replace(self.labels, kind=str(self.kind))

    def _test(self) -> None:
        # A lost one is pushed again on request: whatever is left of it does not matter.
        self.steps.run_unless(
            lambda failure: failure.not_there or (self.image.digest is not None and failure.scope is Scope.REGISTRY),
            StepName.PULL,
            self._pull_test_image,
            self._judge_there,
        )
        if self._is_pushed():
            return
        self._build()
        self.is_ours_to_remove = True
        pushed = self.steps.run(StepName.PUSH, lambda deadline: self.docker.push(self.reference, deadline))
        self.pushed_digest, self.created = pushed.digest, self.labels.created

    def _judge_there(self, pulled: Pulled) -> Failure | None:
        """Judge what the tag shows, remove it from this host, and note it if it is what was pushed."""
        image = self.docker.describe(self.reference, self.steps.upkeep_seconds)
        if image is None:
            return None
        if judgement.is_removable(pulled, image):
            self.housekeeping.remove_test_image(self.docker)
        labels = Labels.from_dict(image.labels)
        if labels is not None and self.pushes.is_ours(labels.instance):
            is_newer = self.image.created is None or labels.created > self.image.created
            if pulled.digest is not None and is_newer:
                self._found = _Found(pulled.digest, labels, image.architecture)
            return None
        if self.target.overwrite:
            return None
        return judgement.foreign(self.reference) if labels is None else _of_another(self.reference, labels)

    def _is_pushed(self) -> bool:
        """Return whether the tag shows all of what was pushed; then note that. Raise StepFailed.

        Docker 26.1 pushes the images of an index under the index's tag, one after the other, and then the index. So a
        push that was cut off can leave one of them there.
        """
        if self._found is None:
            return False
        first = self._found
        kind = next((kind for kind in Kind if kind == first.labels.kind), self.kind)
        for platform in kind.platforms:
            if platform is None or self._found.is_for(platform):
                continue
            self.platform, self._found = platform, None
            self.steps.run_unless(
                lambda failure: failure.not_there or failure.reason is Reason.INTEGRITY,  # another platform's
                StepName.PULL,
                lambda deadline: self._pull_test_image(deadline, self.platform),
                self._judge_there,
            )
            self.platform = None
            if self._found is None or not self._found.is_for(platform):
                return False
        self.pushed_digest, self.created, self.kind = first.digest, first.labels.created, kind
        return True


class _Check(_Rested):
    def _test(self) -> None:
        for platform in self.kind.platforms:
            if self.is_ours_to_remove:  # the previous platform's
                self.housekeeping.remove_test_image(self.docker)
                self.is_ours_to_remove = False
            self.platform = platform
            self.steps.run(StepName.PULL, self._pull_by_tag_or_digest, self._judge)

    def _pull_by_tag_or_digest(self, deadline: float) -> Pulled:
        """Pull it by its tag. If that is lost, try the digest, and make the error say which of both is gone."""
        begun = time.monotonic()
        try:
            return self._pull_test_image(deadline, self.platform)
        except DockerError as error:
            if not error.failure.not_there or self.image.digest is None:
                raise
            name = self.target.reference.at(self.image.digest)
            said = f"{error.failure.detail}; {self._try_digest(name, begun + deadline)}"
            raise DockerError(replace(error.failure, detail=said), error.answer) from None

    def _try_digest(self, name: str, ends: float) -> str:
        """Given its name by digest, and the deadline for all of it, pull it, for each platform, and remove it again;
        return the result, in words.
        """
        self.housekeeping.expect_leftovers()
        for platform in self.kind.platforms:
            try:
                self.docker.pull(name, ends - time.monotonic(), platform)
            except DockerError as error:
                which = f", {platform}" if platform else ""
                why = f"{error.failure.reason}{which}"
                return f"it can't be pulled by its digest either ({why}): {error.failure.detail}"
            self.housekeeping.take_away(self.docker.for_cleanup(), name)
        return f"the tag is gone, and the image is still there by its digest {self.image.digest}"

    def _judge(self, pulled: Pulled) -> Failure | None:
        if pulled.digest != self.image.digest:
            image = self.docker.describe(self.reference, self.steps.upkeep_seconds)
            self.is_ours_to_remove = image is None or judgement.is_removable(pulled, image)
            if not self._is_in_index(image):
                return self._judge_other(pulled.digest, image)
        self.is_ours_to_remove = True
        return judgement.judge_transfer(pulled, self.target.payload_layers, 0)

    def _is_in_index(self, image: Image | None) -> bool:
        """Given the pulled image, return whether it is the index's: podman names that by its own digest first."""
        if self.platform is None or image is None or self.image.digest is None:
            return False
        return image.is_called(self.target.reference.at(self.image.digest))

    def _judge_other(self, digest: str | None, image: Image | None) -> Failure:
        """Given what the tag shows instead of the image, return that as a failure."""
        labels = Labels.from_dict(image.labels) if image else None
        if labels is not None and not self.pushes.is_ours(labels.instance):
            return _of_another(self.reference, labels)
        is_older = labels is not None and self.image.created is not None and labels.created < self.image.created
        instead = f"an older image of ours, {digest}" if is_older else digest or "an image without a digest"
        return Failure(
            Reason.STALE if is_older else Reason.INTEGRITY,
            f"the registry gave {instead} for {self.reference}, but {self.image.digest} was pushed",
        )


def _of_another(reference: str, labels: Labels) -> Failure:
    return Failure(
        Reason.FOREIGN,
        f"{reference} holds a rested image of another monitor (target {labels.target!r}), or of this one before its"
        " state-dir was lost, and nothing is pushed over it: give each monitor a tag or repository of its own, or"
        " delete this tag",
    )
