"""The base: the image that the test image is built on. It is not the monitor's, and stays as it is."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace

from lib.cycle.steps import Steps
from lib.docker import Docker
from lib.docker.answers import Image, Pulled, Pushed
from lib.failure import Failure, Reason
from lib.reference import Reference
from lib.result import StepName
from lib.target import Target

_log = logging.getLogger(__name__)

#: Under this name, a base image that has only an ID gets a tag: BuildKit can't build on an ID.
_LOCAL_REPOSITORY = "registry-monitor-base"


@dataclass(frozen=True, slots=True)
class Base:
    """What to build on.

    Attributes:
        name: what FROM names.
        layers: how many layers it has.
        borrowed: `name` is a tag of ours on an image that also has others, and is removed again.
        labels: the names of its labels.
    """

    name: str = "scratch"
    layers: int = 0
    borrowed: bool = False
    labels: tuple[str, ...] = ()

    @property
    def blanked_labels(self) -> dict[str, str]:
        """Its labels, empty. Otherwise they would be the test image's too, and some tell a registry to let an image
        expire, to refuse another under its tag, or whose it is.
        """
        return {label: "" for label in self.labels if label and label.isprintable()}


def find_base(target: Target, steps: Steps, docker: Docker, anonymous: Docker) -> Base:
    """Given a target, the steps of its cycle, and the CLI with and without logins, return what to build on.

    Raise StepFailed.
    """
    if target.base_image is not None:
        return _pulled_base(target, target.base_image, steps, docker, anonymous)
    if target.base_layer_id is not None:
        return _local_base(target.reference, target.base_layer_id, steps, docker)
    return Base()


def _pulled_base(target: Target, wanted: Reference, steps: Steps, docker: Docker, anonymous: Docker) -> Base:
    base = Base(wanted.familiar)
    puller = docker
    if target.public_base:
        puller = anonymous
        steps.prepare_logins(StepName.BASE, puller, wanted.host, None)

    def judge(_: Pulled) -> None:
        nonlocal base
        image = docker.describe(base.name, steps.upkeep_seconds)
        if image is not None:
            base = replace(base, layers=image.layers, labels=tuple(image.labels))

    steps.run(StepName.BASE, lambda deadline: puller.pull(base.name, deadline), judge)
    return base


def _local_base(test_image: Reference, wanted: str, steps: Steps, docker: Docker) -> Base:
    """Given the test image's name, and a local image's ID or the digest of one in its repository, find that image."""
    base = Base()
    name = test_image.at(wanted)
    with steps.preparing(StepName.BASE):
        for image in docker.find((wanted, name), steps.upkeep_seconds).values():
            return _tagged(image, test_image, docker, steps.upkeep_seconds)
    if not wanted.startswith("sha256:"):
        detail = f"no local image has the ID {wanted}: pull or load it, or name it by `base-image`"
        steps.fail(StepName.BASE, Failure(Reason.BASE_IMAGE, detail))

    def judge(_: Pulled) -> Failure | None:
        nonlocal base
        image = docker.describe(name, steps.upkeep_seconds)
        if image is None:
            return Failure(Reason.BASE_IMAGE, f"{name} was pulled, and docker says that it is not there")
        base = _tagged(image, test_image, docker, steps.upkeep_seconds)
        return None

    steps.run(StepName.BASE, lambda deadline: docker.pull(name, deadline), judge)
    return base


def _tagged(image: Image, test_image: Reference, docker: Docker, deadline: float) -> Base:
    """Given a local image and the test image's name, give the former a tag to build on, and return it as a base.

    Each test image has its own tag, so that no cycle removes another's. If the image has no other name, the tag stays:
    removing it would remove the image. Raise DockerError.
    """
    name = f"{_LOCAL_REPOSITORY}/{hashlib.sha256(test_image.familiar.encode()).hexdigest()[:16]}:local"
    docker.tag(image.image_id, name, deadline)
    others = [tag for tag in image.tags if not tag.startswith(f"{_LOCAL_REPOSITORY}/")]
    return Base(name, image.layers, borrowed=bool(others or image.digests), labels=tuple(image.labels))


def log_push(target: str, base: Base, pushed: Pushed) -> None:
    """Given a target's name, its base and a push onto that, log what the push moved, and what it did not have to move.

    If a push moved more layers than the payload's, its time includes the base's.
    """
    if base.layers:
        _log.debug(
            "pushed onto a base",
            extra={
                "target": target,
                "base_layers": base.layers,
                "layers_moved": pushed.moved,
                "layers_mounted": pushed.mounted,
                "layers_already_there": pushed.already,
            },
        )


def is_base(image: Image, digest: str | None, wanted: str | None) -> bool:
    """Given an image, its digest, and the `base-layer-id` of a target, return whether that names this image."""
    if wanted is None:
        return False
    return digest == wanted or image.image_id.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:"))
