"""Docker: the docker CLI, one method a verb. Builds each argv, and reads what docker prints when it works.

    DockerError    a docker command failed: which, why (a `Failure`), and what it printed

What a failed command's words mean is `lib.failure`'s to say; that there are words at all is told here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lib.command import Command, CommandError, Completed, Ending, Runner
from lib.failure import Failure, Reason, classify
from lib.secret import Secret

#: How many of a command's last lines are kept for people to read.
OUTPUT_LINES = 12

_DIGEST = r"sha256:[0-9a-f]{64}"
_PUSHED = re.compile(rf"^\S+: digest: ({_DIGEST}) size: \d+", re.MULTILINE)
_PULLED = re.compile(rf"^Digest: ({_DIGEST})", re.MULTILINE)
_MOVED = re.compile(r"^([0-9a-f]{12}): (?:Pull complete|Download complete)", re.MULTILINE)
_ALREADY = re.compile(r"^([0-9a-f]{12}): Already exists", re.MULTILINE)
_UP_TO_DATE = re.compile(r"^Status: Image is up to date", re.MULTILINE)
_BUILT = re.compile(r"^(?:Successfully built )?((?:sha256:)?[0-9a-f]{12,64})\s*$", re.MULTILINE)
_DELETED = re.compile(r"^Deleted: (\S+)", re.MULTILINE)
_SHORT_ID = re.compile(r"[0-9a-f]{4,64}")
_NOTHING = "[]"
_DESCRIBE = ("image", "inspect", "--format", "{{json .}}")
_NO_SUCH_IMAGE = re.compile(r"no such (?:image|object)|image not known", re.IGNORECASE)

#: How many images are described at once: as many as are sure to stay whole in what is kept of a command's output.
_MOST_DESCRIBED = 10

# docker counts a retry down each second, on a line a layer: "1a2b3c4d5e6f: Retrying in 5 seconds". A retry begins where
# the count stands at its highest: where it did not just go down by one.
_RETRYING = re.compile(r"^(\S+): Retrying in (\d+) seconds?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a docker command that worked.

    Attributes:
        seconds: from spawn to exit.
        retries: how often docker itself tried again.
        output: its last lines.
    """

    seconds: float
    retries: int = 0
    output: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pulled(Answer):
    """A pull.

    Attributes:
        digest: what the registry gave; None where docker named none.
        moved: layers that came over the network.
        already: layers that the engine said it had.
        up_to_date: the very image was there before under this name.
    """

    digest: str | None = None
    moved: int = 0
    already: int = 0
    up_to_date: bool = False


@dataclass(frozen=True, slots=True)
class Pushed(Answer):
    """A push: with the digest that the registry acknowledged."""

    digest: str = ""


@dataclass(frozen=True, slots=True)
class Built(Answer):
    """A build: with the image's ID."""

    image_id: str = ""


@dataclass(frozen=True, slots=True)
class Removed(Answer):
    """A removal: with what it deleted (images and layers), beyond taking names away."""

    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """A local image, as docker describes it.

    Attributes:
        image_id: its ID.
        tags: its names, as docker prints them.
        digests: its names by digest.
        labels: its labels.
        comment: the commit message.
        command: what it runs.
        layers: how many layers it has.
    """

    image_id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    command: tuple[str, ...] = ()
    layers: int = 0

    def is_called(self, asked: str) -> bool:
        """Given a name, ID or beginning of an ID, return whether docker finds this image by it."""
        bare_id = self.image_id.removeprefix("sha256:")
        return (
            _familiar(asked) in (*self.tags, *self.digests)
            or asked == self.image_id
            or (_SHORT_ID.fullmatch(asked) is not None and bare_id.startswith(asked))
        )


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
    """

    runner: Runner
    program: str
    env: Mapping[str, str]
    config: Path
    secret: Secret | None = None
    cleanup: bool = False

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

    def login(self, host: str, username: str, password: Secret, deadline: float) -> Answer:
        """Log in to a registry, with the password on standard input. Raise DockerError."""
        completed = self._run("login", ("--username", username, "--password-stdin", host), deadline, stdin=password)
        return self._answer(completed)

    def pull(self, reference: str, deadline: float) -> Pulled:
        """Pull an image, and return what was moved. Raise DockerError."""
        completed = self._run("pull", (reference,), deadline)
        moved = set(_MOVED.findall(completed.stdout))
        already = set(_ALREADY.findall(completed.stdout))
        return Pulled(
            **_fields(self._answer(completed)),
            digest=_last(_PULLED, completed.stdout),
            moved=len(moved - already),
            already=len(already),
            up_to_date=_UP_TO_DATE.search(completed.stdout) is not None,
        )

    def build(self, context: Path, reference: str, deadline: float) -> Built:
        """Build an image from a folder with a Dockerfile, and give it a name.

        Raise DockerError, also where docker names no image.
        """
        arguments = ("--quiet", "--no-cache", "--force-rm", "--network", "none", "--tag", reference, str(context))
        completed = self._run("build", arguments, deadline)
        image_id = _last(_BUILT, completed.stdout)
        if image_id is None:
            detail = "docker build succeeded, but named no image"
            raise DockerError(Failure(Reason.BUILD, detail), self._answer(completed))
        return Built(**_fields(self._answer(completed)), image_id=image_id)

    def push(self, reference: str, deadline: float) -> Pushed:
        """Push an image, and return the digest that the registry acknowledged.

        Raise DockerError, also where docker names no digest.
        """
        completed = self._run("push", (reference,), deadline)
        digest = _last(_PUSHED, completed.stdout)
        if digest is None:
            detail = "docker push succeeded, but named no digest that the registry acknowledged"
            raise DockerError(Failure(Reason.UNCLASSIFIED, detail), self._answer(completed))
        return Pushed(**_fields(self._answer(completed)), digest=digest)

    def rmi(self, references: Sequence[str], deadline: float) -> Removed:
        """Remove names of images, and each image with its last name. Raise DockerError."""
        completed = self._run("rmi", tuple(references), deadline)
        return Removed(**_fields(self._answer(completed)), deleted=tuple(_DELETED.findall(completed.stdout)))

    def tag(self, source: str, reference: str, deadline: float) -> Answer:
        """Give an image another name. Raise DockerError."""
        return self._answer(self._run("tag", (source, reference), deadline))

    def find(self, references: Sequence[str], deadline: float) -> dict[str, Image]:
        """Given names or IDs of images, return those that exist, each under what it was asked by. Raise DockerError."""
        found: list[Image] = []
        for some in _batched(references, _MOST_DESCRIBED):
            completed = self._complete("inspect", (*_DESCRIBE, *some), deadline)
            if not completed.ok and not _only_missing(completed):
                raise self._failed("inspect", completed)
            found += _images(completed.stdout)
        return {asked: image for asked in references for image in found if image.is_called(asked)}

    def describe(self, reference: str, deadline: float) -> Image | None:
        """Given the name or ID of an image, return it; None where docker says that it describes nothing.

        Raise DockerError, also where it does not exist or can't be understood.
        """
        completed = self._complete("inspect", (*_DESCRIBE, reference), deadline)
        if not completed.ok:
            raise self._failed("inspect", completed)
        if completed.stdout.strip() == _NOTHING:
            return None
        for image in _images(completed.stdout):
            return image
        detail = f"docker image inspect {reference} gave no description that can be read"
        raise DockerError(Failure(Reason.DAEMON, detail), self._answer(completed))

    def images_with(self, labels: Mapping[str, str | None], deadline: float) -> tuple[str, ...]:
        """Given labels (None: any value), return the IDs of all images with them, newest first. Raise DockerError."""
        wanted = (name if value is None else f"{name}={value}" for name, value in labels.items())
        filters = [argument for label in wanted for argument in ("--filter", f"label={label}")]
        completed = self._run("images", ("--all", "--quiet", "--no-trunc", *filters), deadline)
        return tuple(dict.fromkeys(_image_ids(completed.stdout)))

    def _run(self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None) -> Completed:
        """Run `docker VERB ARGUMENTS`, and return what came of it. Raise DockerError where it failed."""
        completed = self._complete(verb, (verb, *arguments), deadline, stdin)
        if not completed.ok:
            raise self._failed(verb, completed)
        return completed

    def _complete(self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None) -> Completed:
        command = Command(
            argv=(self.program, *arguments),
            env={**self.env, "DOCKER_CONFIG": str(self.config)},
            deadline=deadline,
            stdin=stdin,
            cleanup=self.cleanup,
        )
        try:
            return self.runner(command)
        except CommandError as error:
            raise DockerError(Failure(Reason.CLI, f"docker {verb} could not be run: {error}")) from None

    def _failed(self, verb: str, completed: Completed) -> DockerError:
        deadline_passed = completed.ending is Ending.DEADLINE
        if deadline_passed:
            # What it says once it was told to end is about that, and can blame what is not to blame.
            completed = replace(completed, stderr="")
            failure = Failure(Reason.TIMEOUT, _last_words(verb, completed))
        else:
            failure = classify(verb, completed.exit_code, completed.stdout, completed.stderr)
        failure = replace(failure, detail=self._blanked(failure.detail))
        return DockerError(failure, self._answer(completed), deadline_passed=deadline_passed)

    def _answer(self, completed: Completed) -> Answer:
        retries = _count_retries(completed.stdout) + _count_retries(completed.stderr)
        # Blanked before it is cut into lines: a line loses its trailing spaces, and a password can have some.
        blanked = replace(completed, stdout=self._blanked(completed.stdout), stderr=self._blanked(completed.stderr))
        return Answer(completed.seconds, retries, _last_lines(blanked))

    def _blanked(self, text: str) -> str:
        return self.secret.blanked_in(text) if self.secret else text


def _batched(references: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Given references, return them by so many at a time."""
    for start in range(0, len(references), size):
        yield references[start : start + size]


def _familiar(name: str) -> str:
    """Given the full name of an image, return it as docker prints it."""
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name


def _fields(answer: Answer) -> dict[str, Any]:
    return {"seconds": answer.seconds, "retries": answer.retries, "output": answer.output}


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return str(found[-1]) if found else None


def _last_lines(completed: Completed) -> tuple[str, ...]:
    # Standard output holds the progress, standard error the error: it comes last, as on a terminal.
    lines = [line.rstrip() for text in (completed.stdout, completed.stderr) for line in text.splitlines()]
    return tuple([line for line in lines if line][-OUTPUT_LINES:])


def _last_words(verb: str, completed: Completed) -> str:
    last = next(reversed(_last_lines(completed)), None)
    said = f"the last it printed: {last}" if last else "it printed nothing"
    return f"docker {verb} passed its deadline, and was ended after {completed.seconds:.1f} s; {said}"


def _count_retries(text: str) -> int:
    """Given what docker printed, return how often it tried again: each countdown once."""
    counts: dict[str, int] = {}
    retries = 0
    for layer, seconds in _RETRYING.findall(text):
        if counts.get(layer) != int(seconds) + 1:
            retries += 1
        counts[layer] = int(seconds)
    return retries


def _only_missing(completed: Completed) -> bool:
    errors = [line for line in completed.stderr.splitlines() if line.strip()]
    return completed.ending is Ending.ITSELF and bool(errors) and all(_NO_SUCH_IMAGE.search(line) for line in errors)


def _images(text: str) -> Iterator[Image]:
    """Given descriptions of images, one JSON object a line, return them."""
    for line in text.split("\n"):  # and no other sign that Python takes for a line's end: labels can hold those
        try:
            shape = json.loads(line)
        except ValueError:
            continue
        if isinstance(shape, dict) and isinstance(shape.get("Id"), str):
            yield _image(shape)


def _image(shape: dict[str, Any]) -> Image:
    config = shape.get("Config") or {}
    return Image(
        image_id=shape["Id"],
        tags=tuple(shape.get("RepoTags") or ()),
        digests=tuple(shape.get("RepoDigests") or ()),
        labels=config.get("Labels") or {},
        comment=shape.get("Comment") or "",
        command=tuple(config.get("Cmd") or ()),
        layers=len((shape.get("RootFS") or {}).get("Layers") or ()),
    )


def _image_ids(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if re.fullmatch(_DIGEST, line.strip()):
            yield line.strip()
