"""Docker: the docker CLI, one method a verb. Builds each argv, and hands what docker printed to those who read it.

    DockerError    a docker command failed: which, why (a `Failure`), and what it printed

What it prints when it works is read by `lib.docker.answers`, what it prints when it fails by `lib.failure`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from lib.command import Command, CommandError, Completed, Ending, Runner
from lib.docker.answers import (
    CACHE_RECORD,
    Answer,
    BuildContainer,
    Built,
    CacheRecord,
    Image,
    Pulled,
    Pushed,
    Removed,
    build_container,
    last_lines,
    only_waited,
    read_answer,
    read_build_containers,
    read_built,
    read_cache_records,
    read_image_ids,
    read_images,
    read_pulled,
    read_pushed,
    read_removed,
    read_store,
)
from lib.failure import Failure, Reason, classify
from lib.secret import Secret

_NOTHING = "[]"
_DESCRIBE = ("image", "inspect", "--format", "{{json .}}")
#: The last two are said of an image that is just being removed, by either image store.
_NO_SUCH_IMAGE = re.compile(
    r"no such (?:image|object)|image not known|layer does not exist|content digest \S+ not found", re.IGNORECASE
)

#: What a list fails with as somebody else asks for one (20.10), or removes an image (containerd's store).
_ONCE_MORE = re.compile(r"disk usage operation is already running|content digest \S+ not found", re.IGNORECASE)
_PAUSE_SECONDS = 0.1

#: What docker says of a container that is gone, and of one that somebody else removes just now.
_GOING = re.compile(r"no such container|removal of container \S+ is already in progress", re.IGNORECASE)

#: How many images are described at once: as many as are sure to stay whole in what is kept of a command's output.
_MOST_DESCRIBED = 10

_A = TypeVar("_A", bound=Answer)


class BuiltBy(StrEnum):
    """What builds an image."""

    CLASSIC = "classic"
    BUILDKIT = "buildkit"
    BUILDAH = "buildah"


class DockerError(Exception):
    """A docker command failed.

    Attributes:
        failure: why.
        answer: how long it took and what it printed.
        deadline_passed: whether it was ended by us for that.
    """

    def __init__(self, failure: Failure, answer: Answer | None = None, *, deadline_passed: bool = False) -> None:
        """Given why, how far the command came (None: it was never started), and whether we ended it, hold them."""
        super().__init__(failure.detail)
        self.failure = failure
        self.answer = answer or Answer(seconds=0.0)
        self.deadline_passed = deadline_passed


@dataclass(frozen=True, slots=True)
class Docker:
    """The docker CLI, as one target uses it.

    Attributes:
        runner: what runs a command.
        program: name or path of the CLI.
        env: the environment of each command, `DOCKER_CONFIG` apart.
        config: the private Docker config folder of the target.
        secret: what is blanked wherever docker's own output holds it.
        cleanup: its commands remove what the monitor made, and also run while the monitor is being stopped.
        builder: what builds its images; the environment is to say the same.
        build_flags: what that builder is told besides.
    """

    runner: Runner
    program: str
    env: Mapping[str, str]
    config: Path
    secret: Secret | None = None
    cleanup: bool = False
    builder: BuiltBy = BuiltBy.CLASSIC
    build_flags: tuple[str, ...] = ("--force-rm",)

    def with_secret(self, secret: Secret) -> Docker:
        """Given a password, return the CLI that blanks it in all that docker prints."""
        return replace(self, secret=secret)

    def for_cleanup(self) -> Docker:
        """Return the CLI whose commands also run while the monitor is being stopped."""
        return replace(self, cleanup=True)

    def version(self, deadline: float) -> tuple[str, str]:
        """Return the versions of client and server. Raise DockerError where the daemon does not answer."""
        completed = self._run("version", ("--format", "{{.Client.Version}} {{.Server.Version}}"), deadline)
        client, _, server = completed.stdout.strip().partition(" ")
        return client, server

    def client_version(self, deadline: float) -> None:
        """Have the CLI name its version, for which it needs no daemon. Raise DockerError where it does not."""
        completed = self._complete("version", ("--version",), deadline)
        if not completed.ok:
            raise self._failed("version", completed)

    def store(self, deadline: float) -> str:
        """Return where the daemon keeps its images, in words. Raise DockerError."""
        completed = self._run("info", ("--format", "{{.Driver}} {{json .DriverStatus}}"), deadline)
        return read_store(completed.stdout)

    def build_help(self, deadline: float) -> str:
        """Return what `docker build` says of itself, for which it needs no daemon. Raise DockerError."""
        return self._run("build", ("--help",), deadline).stdout

    def login(self, host: str, username: str, password: Secret, deadline: float) -> Answer:
        """Log in to a registry, with the password on standard input. Raise DockerError."""
        completed = self._run("login", ("--username", username, "--password-stdin", host), deadline, stdin=password)
        return self._blanked(read_answer(completed), completed)

    def pull(self, reference: str, deadline: float) -> Pulled:
        """Pull an image, and return what was moved. Raise DockerError."""
        completed = self._run("pull", (reference,), deadline)
        return self._blanked(read_pulled(completed), completed)

    def build(self, context: Path, reference: str, deadline: float) -> Built:
        """Build an image from a folder with a Dockerfile, and give it a name.

        Raise DockerError, also where docker names no image.
        """
        flags = ("--quiet", "--no-cache", *self.build_flags, "--network", "none", "--tag", reference)
        completed = self._run("build", (*flags, str(context)), deadline)
        built = read_built(completed)
        if built is None:
            detail = "docker build succeeded, but named no image"
            raise self._error(Failure(Reason.BUILD, detail), completed)
        return self._blanked(built, completed)

    def push(self, reference: str, deadline: float) -> Pushed:
        """Push an image, and return the digest that the registry acknowledged.

        Raise DockerError, also where docker names no digest.
        """
        completed = self._run("push", (reference,), deadline)
        pushed = read_pushed(completed)
        if pushed is None:
            detail = "docker push succeeded, but named no digest that the registry acknowledged"
            raise self._error(Failure(Reason.UNCLASSIFIED, detail), completed)
        return self._blanked(pushed, completed)

    def rmi(self, references: Sequence[str], deadline: float) -> Removed:
        """Remove names of images, and each image with its last name. Raise DockerError."""
        completed = self._run("rmi", tuple(references), deadline)
        return self._blanked(read_removed(completed), completed)

    def remove_ours(self, references: Sequence[str], deadline: float) -> Removed:
        """Remove images that a monitor built, even where a build that was ended by force holds them. Raise DockerError.

        Given all names of an image, or its ID.
        """
        return self.rmi(references, deadline)

    def tag(self, source: str, reference: str, deadline: float) -> Answer:
        """Give an image another name. Raise DockerError."""
        completed = self._run("tag", (source, reference), deadline)
        return self._blanked(read_answer(completed), completed)

    def find(self, references: Sequence[str], deadline: float) -> dict[str, Image]:
        """Given names or IDs of images, return those that exist, each under what it was asked by. Raise DockerError."""
        found: list[Image] = []
        for some in _batched(references, _MOST_DESCRIBED):
            completed = self._complete("inspect", (*_DESCRIBE, *some), deadline)
            if not completed.ok and not _only_missing(completed):
                raise self._failed("inspect", completed)
            found += read_images(completed.stdout)
        return {asked: image for asked in references for image in found if image.is_called(asked)}

    def describe(self, reference: str, deadline: float) -> Image | None:
        """Given the name or ID of an image, return it; None where docker answers that there is none to describe.

        Raise DockerError, also where it does not exist or can't be understood.
        """
        completed = self._complete("inspect", (*_DESCRIBE, reference), deadline)
        if not completed.ok:
            raise self._failed("inspect", completed)
        if completed.stdout.strip() == _NOTHING:
            return None
        for image in read_images(completed.stdout):
            return image
        detail = f"docker image inspect {reference} gave no description that can be read"
        raise self._error(Failure(Reason.DAEMON, detail), completed)

    def whole_name(self, reference: str) -> str:
        """Given the name of an image, return it as it has to stand in a Dockerfile."""
        return reference

    def images_with(self, labels: Mapping[str, str | None], deadline: float) -> tuple[str, ...]:
        """Given labels (None: any value), return the IDs of all images with them, newest first. Raise DockerError."""
        wanted = (name if value is None else f"{name}={value}" for name, value in labels.items())
        filters = [argument for label in wanted for argument in ("--filter", f"label={label}")]
        completed = self._list("images", ("--all", "--quiet", "--no-trunc", *filters), deadline)
        return tuple(dict.fromkeys(read_image_ids(completed.stdout)))

    def build_containers(self, labels: Sequence[str], deadline: float) -> tuple[BuildContainer, ...]:
        """Given labels, return the containers with the first of them in which the classic builder set labels.

        A daemon that dies meanwhile leaves such a one. It was never started, and nobody could start it: its command is
        a comment. Another CLI than this one may have built by it. Raise DockerError.
        """
        if self.builder is BuiltBy.BUILDAH:
            return ()  # there is no daemon
        filters = ("--filter", f"label={labels[0]}", "--filter", "status=created", "--filter", "status=dead")
        shown = ("--all", "--no-trunc", *filters, "--format", build_container(labels))
        return tuple(read_build_containers(self._list("ps", shown, deadline).stdout, labels))

    def rm(self, container_id: str, deadline: float) -> None:
        """Remove a container that does not run, with its volumes without a name. Raise DockerError where it stays."""
        completed = self._complete("rm", ("rm", "--volumes", container_id), deadline)
        if not completed.ok and not _GOING.search(completed.stderr):
            raise self._failed("rm", completed)

    def environment(self) -> dict[str, str]:
        """Return the whole environment of each command."""
        return {**self.env, "DOCKER_CONFIG": str(self.config)}

    def cache_records_since(self, moment: datetime, deadline: float) -> tuple[CacheRecord, ...]:
        """Given a moment, return the build cache's records that were made since, to the second. Raise DockerError."""
        return self._cache_records(f'ge .CreatedAt "{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"', deadline)

    def cache_records_with(self, text: str, deadline: float) -> tuple[CacheRecord, ...]:
        """Given a text without quotes, return the build cache's records whose description has it. Raise DockerError."""
        return self._cache_records(f'gt (len (split .Description "{text}")) 1', deadline)

    def prune(self, records: Iterable[CacheRecord], deadline: float) -> None:
        """Remove records of the build cache, all that are not in use, and no others. Raise DockerError."""
        # The filter is a regular expression. All at once, since a record can be a parent of another.
        ids = "|".join(record.record_id for record in records)
        self._run("builder", ("prune", "--all", "--force", "--filter", f"id={ids}"), deadline)

    def _cache_records(self, condition: str, deadline: float) -> tuple[CacheRecord, ...]:
        """Given a condition in words of Go's templates, return the records that it holds for."""
        template = f"{{{{range .BuildCache}}}}{{{{if {condition}}}}}{CACHE_RECORD}{{{{println}}}}{{{{end}}}}{{{{end}}}}"
        completed = self._list("system", ("df", "--verbose", "--format", template), deadline)
        return tuple(read_cache_records(completed.stdout))

    def _list(self, verb: str, arguments: Sequence[str], deadline: float) -> Completed:
        """Run a command that lists what there is, as `_run()` does; once more where somebody came in between."""
        ends, left = time.monotonic() + deadline, deadline
        while True:
            completed = self._complete(verb, (verb, *arguments), left)
            if completed.ok:
                return completed
            left = ends - time.monotonic() - _PAUSE_SECONDS
            if left <= 0 or not _ONCE_MORE.search(completed.stderr):
                raise self._failed(verb, completed)
            time.sleep(_PAUSE_SECONDS)

    def _run(self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None) -> Completed:
        """Run `docker VERB ARGUMENTS`, and return what came of it. Raise DockerError where it failed."""
        completed = self._complete(verb, (verb, *arguments), deadline, stdin)
        if not completed.ok:
            raise self._failed(verb, completed)
        return completed

    def _complete(self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None) -> Completed:
        command = Command(
            argv=(self.program, *arguments),
            env=self.environment(),
            deadline=deadline,
            stdin=stdin,
            cleanup=self.cleanup,
        )
        try:
            return self.runner(command)
        except CommandError as error:
            raise DockerError(Failure(Reason.CLI, f"docker {verb} could not be run: {error}")) from None

    def _failed(self, verb: str, completed: Completed) -> DockerError:
        if completed.ending is Ending.DEADLINE:
            # What it says once it was told to end is about that, and can blame what is not to blame.
            completed = replace(completed, stderr="")
            failure = _too_slow(verb, completed)
        else:
            failure = classify(verb, completed.exit_code, completed.stdout, completed.stderr)
        return self._error(failure, completed)

    def _error(self, failure: Failure, completed: Completed) -> DockerError:
        detail = self.secret.blanked_in(failure.detail) if self.secret else failure.detail
        answer = self._blanked(read_answer(completed), completed)
        ended_by_us = completed.ending is Ending.DEADLINE
        return DockerError(replace(failure, detail=detail), answer, deadline_passed=ended_by_us)

    def _blanked(self, answer: _A, completed: Completed) -> _A:
        """Given an answer and the command, return it with the password blanked in the lines for people.

        Only there: what is read of it, digests and references, has to stay as it is. And blanked before the text is cut
        into lines, which lose their trailing spaces: a password can have some.
        """
        if not self.secret:
            return answer
        blanked = self.secret.blanked_in
        shown = replace(completed, stdout=blanked(completed.stdout), stderr=blanked(completed.stderr))
        return replace(answer, output=last_lines(shown))


def _batched(references: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Given references, return them by so many at a time."""
    for start in range(0, len(references), size):
        yield references[start : start + size]


def _too_slow(verb: str, completed: Completed) -> Failure:
    """Given a verb, and the command that passed its deadline, return why."""
    last = next(reversed(last_lines(completed)), None)
    said = f"the last it printed: {last}" if last else "it printed nothing"
    ended = f"docker {verb} passed its deadline, and was ended after {completed.seconds:.1f} s"
    if only_waited(completed.stdout):
        # The engine moves three layers down and five up at a time, of all its clients together.
        slots = (
            "it only waited for the engine, whose transfers for others took all of max-concurrent-downloads/-uploads"
        )
        return Failure(Reason.DAEMON, f"{ended}; {slots}")
    return Failure(Reason.TIMEOUT, f"{ended}; {said}")


def _only_missing(completed: Completed) -> bool:
    errors = [line for line in completed.stderr.splitlines() if line.strip()]
    return completed.ending is Ending.ITSELF and bool(errors) and all(_NO_SUCH_IMAGE.search(line) for line in errors)
