"""Removal: images of monitors are removed with all their names, as far as docker lets us."""

from __future__ import annotations

from collections.abc import Iterable

from lib.docker import Docker, DockerError
from lib.docker.answers import Image
from lib.failure import Reason


def remove_images(docker: Docker, images: Iterable[Image], deadline: float) -> None:
    """Given images of ours, remove them with all their names. Raise DockerError if one stays."""
    for error in remove_what_goes(docker, images, deadline).values():
        raise error


def remove_what_goes(docker: Docker, images: Iterable[Image], deadline: float) -> dict[str, DockerError]:
    """Given images of ours, remove them with all their names. Return the IDs of those that stay, each with why.

    Raise DockerError if docker itself does not work.
    """
    # Those with a name first: intermediate images, which have none, go with them. The rest are children and parents in
    # an order that docker does not give, so we try again as long as something goes.
    left = sorted(images, key=lambda image: not image.tags)
    while left:
        errors: dict[str, DockerError] = {}
        for image in left:
            try:
                docker.remove_ours(_references_of(image), deadline)
            except DockerError as error:
                if is_broken(error):
                    raise
                errors[image.image_id] = error
        stayed = docker.find(tuple(errors), deadline) if errors else {}
        if len(stayed) == len(left):
            return {image.image_id: errors[image.image_id] for image in left}
        left = list(stayed.values())
    return {}


def _references_of(image: Image) -> tuple[str, ...]:
    """Given an image, return the name or ID to remove it by.

    That is its ID if possible: by now its name can be a newer image's, of another cycle. Docker refuses the ID for an
    image with several names.
    """
    repositories = {tag.rpartition(":")[0] for tag in image.tags} | {name.partition("@")[0] for name in image.digests}
    return (image.image_id,) if len(image.tags) < 2 and len(repositories) < 2 else (*image.tags, *image.digests)  # noqa: PLR2004  one


def is_broken(error: DockerError) -> bool:
    """Given how a local command failed, return whether docker itself does not work: then going on is pointless."""
    return error.deadline_passed or (
        error.failure.reason in (Reason.DAEMON, Reason.CLI) and not error.failure.not_there
    )
