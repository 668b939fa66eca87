"""Podman in docker's place: the verbs that it takes or answers otherwise. The only module that knows its words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib.command import Completed
from lib.docker import Docker, DockerError
from lib.docker.answers import Answer, Built, Image, Pulled, Pushed, Removed, read_answer
from lib.failure import Failure, Reason
from lib.secret import Secret

# Every layer of an image is copied, from the registry or from podman's own store.
_COPIED = re.compile(r"^Copying blob (?:sha256:)?([0-9a-f]{12})", re.MULTILINE)
_DOWNLOADED = re.compile(r'msg="Downloading \S+/blobs/sha256:([0-9a-f]{12})')
_LOGGED = re.compile(r"^time=\"[^\"]*\" level=(?:debug|info|warning) .*\n", re.MULTILINE)
_ID = re.compile(r"sha256:[0-9a-f]+|[0-9a-f]{4,64}")
_HOLDER = re.compile(r"image used by ([0-9a-f]{64}): image is in use by a container")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Podman(Docker):
    """podman, as one target uses it: there is no daemon, and it builds by itself, by buildah."""

    def environment(self) -> dict[str, str]:
        """Return the whole environment of each command: podman keeps logins elsewhere unless it is told where."""
        return {**Docker.environment(self), "REGISTRY_AUTH_FILE": str(self.config / "config.json")}

    def version(self, deadline: float) -> tuple[str, str]:
        """Return the versions of client and server, which are the same program. Raise DockerError."""
        version = f"podman {self._run('version', ('--format', '{{.Client.Version}}'), deadline).stdout.strip()}"
        return version, version

    def store(self, deadline: float) -> str:
        """Return where podman keeps its images, in words. Raise DockerError."""
        driver = self._run("info", ("--format", "{{.Store.GraphDriverName}}"), deadline).stdout.strip()
        return f"containers/storage ({driver})"

    def pull(self, reference: str, deadline: float) -> Pulled:
        """Pull an image, and return what was moved, with the digest that podman then knows it by. Raise DockerError."""
        name = _whole_name(reference)
        # Only its debug log tells a layer that it downloaded from one that it had.
        completed = self._complete_with_log("pull", ("--log-level=debug", "pull", name), deadline)
        downloaded, copied = (set(found.findall(completed.stderr)) for found in (_DOWNLOADED, _COPIED))
        completed = _without_log(completed)
        if not completed.ok:
            raise self._failed("pull", completed)
        common = read_answer(completed)
        answer = Pulled(
            seconds=common.seconds,
            retries=common.retries,
            output=common.output,
            digest=self._digest(name, deadline),
            moved=len(copied & downloaded),
            already=len(copied - downloaded),
        )
        return self._blanked(answer, completed)

    def push(self, reference: str, deadline: float) -> Pushed:
        """Push an image, and return the digest that the registry acknowledged.

        Raise DockerError, also where podman notes no digest.
        """
        note = self.config / "pushed-digest"
        completed = self._run("push", ("--digestfile", str(note), _whole_name(reference)), deadline)
        try:
            digest = _DIGEST.search(note.read_text(encoding="utf-8"))
            note.unlink()
        except OSError:
            digest = None
        if digest is None:
            detail = "podman push succeeded, but noted no digest that the registry acknowledged"
            raise self._error(Failure(Reason.UNCLASSIFIED, detail), completed)
        common = read_answer(completed)
        answer = Pushed(common.seconds, common.retries, common.output, digest[0])
        return self._blanked(answer, completed)

    def build(self, context: Path, reference: str, deadline: float) -> Built:
        """Build an image from a folder with a Dockerfile, and give it a name. Raise DockerError."""
        return Docker.build(self, context, _whole_name(reference), deadline)

    def rmi(self, references: Sequence[str], deadline: float) -> Removed:
        """Remove names of images, and each image with its last name. Raise DockerError."""
        return Docker.rmi(self, tuple(map(_whole_name, references)), deadline)

    def remove_ours(self, references: Sequence[str], deadline: float) -> Removed:
        """Remove images that a monitor built. Raise DockerError.

        A build that was ended by force leaves the container that it worked in, which holds the image below its next
        layer. No user could start such a one, nor build on an image of ours in the seconds that it lives.
        """
        removed: set[str] = set()
        while True:
            try:
                return self.rmi(references, deadline)
            except DockerError as error:
                holder = _HOLDER.search(error.failure.detail)
                if holder is None or holder[1] in removed or holder[1] not in self._working_containers(deadline):
                    raise
            self._run("rm", ("--force", holder[1]), deadline)
            removed.add(holder[1])

    def tag(self, source: str, reference: str, deadline: float) -> Answer:
        """Give an image another name. Raise DockerError."""
        return Docker.tag(self, _whole_name(source), _whole_name(reference), deadline)

    def find(self, references: Sequence[str], deadline: float) -> dict[str, Image]:
        """Given names or IDs of images, return those that exist, each under what it was asked by. Raise DockerError."""
        asked = {_whole_name(reference): reference for reference in references}
        return {asked[name]: image for name, image in Docker.find(self, tuple(asked), deadline).items()}

    def describe(self, reference: str, deadline: float) -> Image | None:
        """Given the name or ID of an image, return it. Raise DockerError where it does not exist."""
        return Docker.describe(self, _whole_name(reference), deadline)

    def whole_name(self, reference: str) -> str:
        """Given the name of an image as docker has it, return it as podman does: with its registry."""
        return _whole_name(reference)

    def _complete(self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None) -> Completed:
        return _without_log(self._complete_with_log(verb, arguments, deadline, stdin))

    def _complete_with_log(
        self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None
    ) -> Completed:
        # By its name: a class with slots is made anew, and a bare super() would still mean the first one.
        return super(Podman, self)._complete(verb, arguments, deadline, stdin)

    def _working_containers(self, deadline: float) -> set[str]:
        """Return the IDs of the containers that podman itself did not make: those of builds."""
        listed = self._run("ps", ("--all", "--external", "--no-trunc", "--format", "{{.ID}} {{.Status}}"), deadline)
        return {line.partition(" ")[0] for line in listed.stdout.splitlines() if line.endswith(" Storage")}

    def _digest(self, name: str, deadline: float) -> str | None:
        inspected = self._run("image", ("inspect", "--format", "{{.Digest}}", name), deadline)
        found = _DIGEST.search(inspected.stdout)
        return found[0] if found else None


def _without_log(completed: Completed) -> Completed:
    """Given a command that ended, return it without what podman only logged."""
    return replace(completed, stderr=_LOGGED.sub("", completed.stderr))


def _whole_name(reference: str) -> str:
    """Given an image's name as docker has it, or an ID, return the same as podman has it: the name with its registry.

    Of a name without one podman would look up in its configuration which one is meant.
    """
    if reference == "scratch" or _ID.fullmatch(reference):
        return reference
    first, slash, _ = reference.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return reference
    return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"
