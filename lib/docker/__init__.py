"""Docker: the docker CLI, one method for each verb. Builds each argv, and passes what docker printed to its readers.

`lib.docker.answers` reads what it prints when it works, `lib.failure` what it prints when it fails. How a command is
run is decided in `lib.docker.cli`; podman's peculiarities are in `lib.docker.podman`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path

from lib.command import Ending
from lib.docker.answers import (
    Built,
    DockerAnswer,
    Image,
    Pulled,
    Pushed,
    Removed,
    read_answer,
    read_built,
    read_image_ids,
    read_images,
    read_removed,
    read_repositories,
)
from lib.docker.buildx import only_in_the_engine
from lib.docker.cli import DOCKER, GOING, Cli, Dialect, DockerError, for_platforms
from lib.docker.containers import BuildContainer, build_container, read_build_containers
from lib.docker.printed import Printed
from lib.failure import Failure, Reason
from lib.secret import Secret

__all__ = ["BuiltBy", "Docker", "DockerError"]

_NOTHING = "[]"
_DESCRIBE = ("image", "inspect", "--format", "{{json .}}")
_NO_SUCH_IMAGE = re.compile(rf"no such (?:image|object)|image not known|{GOING}", re.IGNORECASE)

#: What docker says of a container that is gone, or that somebody else is just removing.
_CONTAINER_GOING = re.compile(r"no such container|removal of container \S+ is already in progress", re.IGNORECASE)

#: How many images are described at once: as many as are certain to fit into the part of the output that is kept.
_MOST_DESCRIBED = 10


class BuiltBy(StrEnum):
    """What can build an image."""

    CLASSIC = "classic"
    BUILDKIT = "buildkit"
    BUILDAH = "buildah"


@dataclass(frozen=True, slots=True)
class Docker(Cli):
    """The docker CLI, as one target uses it, with its verbs.

    Attributes:
        dialect: as Cli has it; docker's own unless another one is given.
        builder: what builds its images; the environment has to name the same.
        build_flags: further flags for that builder.
        names_contexts: it takes contexts by name, and its cache says what came from which.
        with_buildx: it is reached through the CLI's plugin buildx.
    """

    dialect: Dialect = DOCKER
    builder: BuiltBy = BuiltBy.CLASSIC
    build_flags: tuple[str, ...] = ("--force-rm",)
    names_contexts: bool = False
    with_buildx: bool = False

    def with_secret(self, secret: Secret) -> Docker:
        """Given a password, return the CLI that blanks it in everything that docker prints."""
        return replace(self, secrets=(*self.secrets, secret))

    def for_cleanup(self) -> Docker:
        """Return the CLI whose commands also run while the monitor is being stopped."""
        return replace(self, cleanup=True)

    def version(self, deadline: float) -> tuple[str, str]:
        """Return the versions of client and server. Raise DockerError, also if the daemon does not answer."""
        return self.dialect.version(self, deadline)

    def client_version(self, deadline: float) -> None:
        """Ask the CLI for its version, for which it needs no daemon. Raise DockerError if it gives none."""
        completed = self.complete("version", ("--version",), deadline)
        if not completed.ok:
            raise self.failed("version", completed)

    def store(self, deadline: float) -> str:
        """Return where images are kept, in words. Raise DockerError."""
        return self.dialect.store(self, deadline)

    def now(self, deadline: float) -> datetime:
        """Return the engine's time. Raise DockerError, also if it does not say."""
        return self.dialect.now(self, deadline)

    def build_help(self, deadline: float) -> str:
        """Return the help of `docker build`, for which it needs no daemon. Raise DockerError."""
        return self.run("build", ("--help",), deadline).stdout

    def login(self, host: str, username: str, password: Secret, deadline: float) -> DockerAnswer:
        """Log in to a registry, with the password on standard input. Raise DockerError."""
        completed = self.run("login", ("--username", username, "--password-stdin", host), deadline, password.as_line())
        return read_answer(completed)

    def pull(self, reference: str, deadline: float, platform: str | None = None) -> Pulled:
        """Pull an image, from an index the one for a platform, and return what was moved. Raise DockerError."""
        pulled = self.dialect.pull(self, self.whole_name(reference), deadline, platform)
        if not pulled.by_podman:
            return pulled
        image = self.find((reference,), deadline).get(reference)
        return replace(pulled, digest=image.digest_under(reference) if image else None)

    def build(
        self, context: Path, reference: str, deadline: float, platforms: Sequence[str] = (), context_name: str = ""
    ) -> Built:
        """Build an image, or an index with one for each platform, from a folder with a Dockerfile, and give it a name.

        Given also the name, if there is one, by which the Dockerfile copies from that folder. Raise DockerError, also
        if docker prints no image's ID.
        """
        named = ("--build-context", f"{context_name}={context}") if context_name else ()
        flags = ("--quiet", "--no-cache", *self.build_flags, *for_platforms(*platforms), "--network", "none", *named)
        if self.with_buildx:
            only_in_the_engine(self, deadline)
        completed = self.run("build", (*flags, "--tag", self.whole_name(reference), str(context)), deadline)
        built = read_built(completed)
        if built is None:
            detail = "docker build succeeded, but named no image"
            raise self.error(Failure(Reason.BUILD, detail), completed)
        return built

    def push(self, reference: str, deadline: float) -> Pushed:
        """Push an image, and return the digest that the registry acknowledged.

        Raise DockerError, also if no digest is printed.
        """
        return self.dialect.push(self, self.whole_name(reference), deadline)

    def rmi(self, references: Sequence[str], deadline: float) -> Removed:
        """Remove names of images, and each image with its last name. Raise DockerError."""
        completed = self.run("rmi", tuple(map(self.whole_name, references)), deadline)
        return read_removed(completed)

    def remove_ours(self, references: Sequence[str], deadline: float) -> Removed:
        """Remove images that a monitor built, even if the remains of a killed build hold them. Raise DockerError.

        Given all names of an image, or its ID.
        """
        return self.dialect.remove_ours(self, partial(self.rmi, references, deadline), deadline)

    def tag(self, source: str, reference: str, deadline: float) -> DockerAnswer:
        """Give an image another name. Raise DockerError."""
        completed = self.run("tag", (self.whole_name(source), self.whole_name(reference)), deadline)
        return read_answer(completed)

    def find(self, references: Sequence[str], deadline: float) -> dict[str, Image]:
        """Given names or IDs of images, return those that exist, each under the given name or ID. Raise DockerError."""
        names = {self.whole_name(reference): reference for reference in references}
        found: list[Image] = []
        for some in _batched(tuple(names), _MOST_DESCRIBED):
            completed = self.complete("inspect", (*_DESCRIBE, *some), deadline)
            if not completed.ok and not _only_missing(completed):
                raise self.failed("inspect", completed)
            found += read_images(completed.stdout)
        return {asked: image for name, asked in names.items() for image in found if image.is_called(name)}

    def describe(self, reference: str, deadline: float) -> Image | None:
        """Given the name or ID of an image, return it; None if docker answers that there is none to describe. Raise
        DockerError, also if it does not exist or its description can't be read.
        """
        completed = self.complete("inspect", (*_DESCRIBE, self.whole_name(reference)), deadline)
        if not completed.ok:
            raise self.failed("inspect", completed)
        if completed.stdout.strip() == _NOTHING:
            return None
        for image in read_images(completed.stdout):
            return image
        detail = f"docker image inspect {reference} gave no description that can be read"
        raise self.error(Failure(Reason.DAEMON, detail), completed)

    def whole_name(self, reference: str) -> str:
        """Given the name or ID of an image, return it as it has to be written on a command line or in a Dockerfile."""
        return self.dialect.whole_name(reference)

    def images_with(self, labels: Mapping[str, str | None], deadline: float) -> tuple[str, ...]:
        """Given labels (None: any value), return the IDs of all images with them, newest first. Raise DockerError."""
        wanted = (name if value is None else f"{name}={value}" for name, value in labels.items())
        filters = [argument for label in wanted for argument in ("--filter", f"label={label}")]
        completed = self.listed("images", ("--all", "--quiet", "--no-trunc", *filters), deadline)
        return tuple(dict.fromkeys(read_image_ids(completed.stdout)))

    def repositories(self, deadline: float) -> dict[str, frozenset[str]]:
        """Return the IDs of all images, each with the repositories in which it has names. Raise DockerError."""
        shown = ("--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}")
        return read_repositories(self.listed("images", shown, deadline).stdout)

    def marked(self, mark: str) -> Docker:
        """Given a mark, return the CLI whose builds set it on their working containers, if those could outlive them."""
        return replace(self, build_flags=(*self.build_flags, *self.dialect.marking(mark)))

    def remove_marked(self, marks: Collection[str], deadline: float) -> None:
        """Given marks of builds that have ended, remove the containers that they worked in. Raise DockerError."""
        self.dialect.remove_marked(self, marks, deadline)

    def unfinished(self, deadline: float) -> dict[str, datetime]:
        """Return the IDs of images that were begun and not finished, or not yet, each with when it was begun; none if
        images are always finished. Raise DockerError.
        """
        return self.dialect.unfinished(self, deadline)

    def build_containers(self, labels: Sequence[str], deadline: float) -> tuple[BuildContainer, ...]:
        """Given labels, return the containers with the first of them in which the classic builder set labels.

        A daemon that dies during a build leaves such a container. It was never started, and nobody could start it: its
        command is a comment. A different CLI may have built in it. Raise DockerError.
        """
        if self.builder is BuiltBy.BUILDAH:
            return ()  # there is no daemon
        shown = ("--all", "--no-trunc", "--filter", f"label={labels[0]}", "--format", build_container(labels))
        return tuple(read_build_containers(self.listed("ps", shown, deadline).stdout, labels))

    def rm(self, container_id: str, deadline: float) -> None:
        """Remove a container that does not run, with its anonymous volumes. Raise DockerError if it stays."""
        completed = self.complete("rm", ("rm", "--volumes", container_id), deadline)
        if not completed.ok and not _CONTAINER_GOING.search(completed.stderr):
            raise self.failed("rm", completed)


def _batched(references: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(references), size):
        yield references[start : start + size]


def _only_missing(completed: Printed) -> bool:
    errors = [line for line in completed.stderr.splitlines() if line.strip()]
    return completed.ending is Ending.ITSELF and bool(errors) and all(_NO_SUCH_IMAGE.search(line) for line in errors)
