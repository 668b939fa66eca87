"""The base: what the test image is built on. It is not the monitor's, and stays as it is."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

from lib.docker import Docker
from lib.docker.answers import Image, Pushed

_log = logging.getLogger(__name__)

#: Below this name a base image that has an ID only gets a tag: BuildKit can't build on an ID.
_LOCAL_REPOSITORY = "registry-monitor-base"


@dataclass(frozen=True, slots=True)
class Base:
    """What to build on.

    Attributes:
        name: what stands behind FROM.
        layers: how many layers it has.
        borrowed: `name` is a tag of ours on an image that also has others, and is taken away again.
    """

    name: str = "scratch"
    layers: int = 0
    borrowed: bool = False


def named_base(docker: Docker, name: str, deadline: float) -> Base:
    """Given the name of a local image, return it as a base. Raise DockerError."""
    image = docker.describe(name, deadline)
    return Base(name, image.layers if image else 0)


def tagged_base(docker: Docker, image: Image, reference: str, deadline: float) -> Base:
    """Given a local image and the test image's name, give the former a tag to build on, and return it as a base.

    The tag is one for each test image, so that no cycle takes another's away. Where the image has no other name the tag
    stays: taking it away would remove the image. Raise DockerError.
    """
    name = f"{_LOCAL_REPOSITORY}/{hashlib.sha256(reference.encode()).hexdigest()[:16]}:local"
    docker.tag(image.image_id, name, deadline)
    others = [tag for tag in image.tags if not tag.startswith(f"{_LOCAL_REPOSITORY}/")]
    return Base(name, image.layers, borrowed=bool(others or image.digests))


def tell_of_push(target: str, base: Base, pushed: Pushed) -> None:
    """Given a target's name, its base and a push onto that, log what the push moved, and what it had not to.

    A push that moved more layers than the payload's took its time for the base, too.
    """
    if base.layers:
        _log.info(
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
    """Given an image, its digest, and the `base-layer-id` of a target, return whether that names this very image."""
    if wanted is None:
        return False
    return digest == wanted or image.image_id.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:"))
