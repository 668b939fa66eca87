"""Podman in docker's place: the verbs that it takes or answers differently. The only module that knows its words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lib.docker.answers import Pulled, Pushed, Removed, read_answer
from lib.docker.cli import Cli, Dialect, DockerError, for_platforms
from lib.docker.phases import phases_between
from lib.docker.printed import Printed
from lib.failure import Failure, Reason, Scope

# Every layer of an image is copied, from the registry or from podman's own store.
_COPIED = re.compile(r"^Copying blob (?:sha256:)?([0-9a-f]{12})", re.MULTILINE)
_COPIED_ALL = re.compile(r"Copying config ")
_APPLYING = re.compile(r'time="[^"]*" level=debug msg="Applying tar in ')
_DOWNLOADED = re.compile(r'msg="Downloading \S+/blobs/sha256:([0-9a-f]{12})')
_LOGGED = re.compile(r"^time=\"[^\"]*\" level=(?:debug|info|warning) .*\n", re.MULTILINE)
_ID = re.compile(r"sha256:[0-9a-f]+|[0-9a-f]{4,64}")
_HOLDER = re.compile(r"image used by ([0-9a-f]{64}): image is in use by a container")
_WHOLE_ID = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

#: What the names of the store's folders begin with; and the part of an image that is written last.
_STORE = "{{.Store.GraphRoot}}/{{.Store.GraphDriverName}}"
_MANIFEST = "manifest"


class Podman(Dialect):
    """Podman's peculiarities: no daemon, builds of its own, by buildah, and exit code 125 for everything."""

    wrong_usage = None

    def whole_name(self, reference: str) -> str:
        """Given an image's name in docker's form, or an ID, return it in podman's form: the name with its registry.

        For a name without a registry, podman would look up in its configuration which one is meant.
        """
        if reference == "scratch" or _ID.fullmatch(reference):
            return reference
        first, slash, _ = reference.partition("/")
        if slash and (first == "localhost" or "." in first or ":" in first):
            return reference
        return f"docker.io/{reference}" if slash else f"docker.io/library/{reference}"

    def environment(self, config: Path) -> Mapping[str, str]:
        """Given the private config folder, make podman keep logins there: otherwise it would use the user's own."""
        return {"REGISTRY_AUTH_FILE": str(config / "config.json")}

    def without_log(self, completed: Printed) -> Printed:
        """Given a command that ended, return it without what podman only logged."""
        return replace(completed, stderr=_LOGGED.sub("", completed.stderr))

    def version(self, podman: Cli, deadline: float) -> tuple[str, str]:
        """Return the versions of client and server, which are the same program. Raise DockerError."""
        version = f"podman {podman.run('version', ('--format', '{{.Client.Version}}'), deadline).stdout.strip()}"
        return version, version

    def store(self, podman: Cli, deadline: float) -> str:
        """Return where podman keeps its images, in words. Raise DockerError."""
        driver = podman.run("info", ("--format", "{{.Store.GraphDriverName}}"), deadline).stdout.strip()
        return f"containers/storage ({driver})"

    def now(self, podman: Cli, deadline: float) -> datetime:  # noqa: ARG002  podman has no engine with another clock
        """Return this host's time."""
        return datetime.now(UTC)

    def pull(self, podman: Cli, name: str, deadline: float, platform: str | None) -> Pulled:
        """Pull an image, and return what was moved, with the digest that podman then knows it by. Raise DockerError."""
        # Only its debug log distinguishes a layer that it downloaded from one that it had.
        arguments = ("--log-level=debug", "pull", *for_platforms(platform), name)
        completed = podman.complete_with_log("pull", arguments, deadline)
        downloaded, copied = (set(found.findall(completed.stderr)) for found in (_DOWNLOADED, _COPIED))
        # It says when it begins to unpack a layer, but not when it has all of them. With a single layer that is the
        # same.
        one_layer = len(_APPLYING.findall(completed.stderr)) == 1
        phases = phases_between(_COPIED, _APPLYING, completed) if one_layer else None
        completed = self.without_log(completed)
        if not completed.ok:
            raise podman.failed("pull", completed)
        common = read_answer(completed)
        return Pulled(
            seconds=common.seconds,
            retries=common.retries,
            output=common.output,
            phases=phases,
            digest=_digest(podman, name, deadline),
            moved=len(copied & downloaded),
            already=len(copied - downloaded),
        )

    def push(self, podman: Cli, name: str, deadline: float) -> Pushed:
        """Push an image, and return the digest that the registry acknowledged.

        Raise DockerError, also if podman notes no digest.
        """
        note = podman.config / "pushed-digest"
        completed = podman.run("push", ("--digestfile", str(note), name), deadline)
        try:
            digest = _DIGEST.search(note.read_text(encoding="utf-8"))
            note.unlink()
        except OSError:
            digest = None
        if digest is None:
            detail = "podman push succeeded, but noted no digest that the registry acknowledged"
            raise podman.error(Failure(Reason.UNCLASSIFIED, detail, explicit_scope=Scope.HOST), completed)
        common = read_answer(completed)
        phases = phases_between(_COPIED, _COPIED_ALL, completed)
        return Pushed(common.seconds, common.retries, common.output, phases, digest[0])

    def remove_ours(self, podman: Cli, remove: Callable[[], Removed], deadline: float) -> Removed:
        """Given what removes images that a monitor built, do it. Raise DockerError.

        A killed build leaves the container that it worked in, which holds the image below its next layer. No user could
        start such a container, or build on an image of ours in the seconds that it lives.
        """
        removed: set[str] = set()
        while True:
            try:
                return remove()
            except DockerError as error:
                holder = _HOLDER.search(error.failure.detail)
                if holder is None or holder[1] in removed or holder[1] not in _working_containers(podman, deadline):
                    raise
            podman.run("rm", ("--force", holder[1]), deadline)
            removed.add(holder[1])

    def marking(self, mark: str) -> tuple[str, ...]:
        """Given a mark, return the flags by which a build sets it on the containers that it works in: they have no
        labels, and nothing that runs in them would look up a host.
        """
        return ("--add-host", f"{mark}:127.0.0.1")

    def remove_marked(self, podman: Cli, marks: Collection[str], deadline: float) -> None:
        """Given marks, remove the containers that builds with them worked in. Raise DockerError."""
        for note in _store(podman, "containers", deadline).glob("*/userdata/buildah.json"):
            with suppress(OSError):  # its build has ended
                text = note.read_text(encoding="utf-8", errors="replace")
                container = note.parent.parent.name
                if _WHOLE_ID.fullmatch(container) and any(f'"{mark}:' in text for mark in marks):
                    podman.run("rm", ("--force", container), deadline)

    def unfinished(self, podman: Cli, deadline: float) -> dict[str, datetime]:
        """Return the images that were not finished, with when they were begun. No podman command says that: it is read
        from the store's own list. Raise DockerError.
        """
        folder = _store(podman, "images", deadline)
        try:
            listed = json.loads((folder / "images.json").read_text(encoding="utf-8"))
            return {
                image["id"]: _begun(folder / image["id"], datetime.fromisoformat(image["created"]))
                for image in listed
                if _WHOLE_ID.fullmatch(image["id"]) and _MANIFEST not in (image.get("big-data-names") or ())
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}  # the store is on another host, or of another kind


PODMAN = Podman()


def _digest(podman: Cli, name: str, deadline: float) -> str | None:
    found = _DIGEST.search(podman.run("image", ("inspect", "--format", "{{.Digest}}", name), deadline).stdout)
    return found[0] if found else None


def _store(podman: Cli, kind: str, deadline: float) -> Path:
    """Return the folder in which the store keeps its notes of one kind of thing. Raise DockerError."""
    return Path(f"{podman.run('info', ('--format', _STORE), deadline).stdout.strip()}-{kind}")


def _begun(folder: Path, created: datetime) -> datetime:
    """Given the folder of an image, and when it was built, here or elsewhere, return when writing it here began, as far
    as that is known: its folder is made a moment later.
    """
    with suppress(FileNotFoundError):
        return max(created, datetime.fromtimestamp(folder.stat().st_mtime, UTC))
    return created


def _working_containers(podman: Cli, deadline: float) -> set[str]:
    """Return the IDs of the containers that podman itself did not make: those of builds."""
    listed = podman.run("ps", ("--all", "--external", "--no-trunc", "--format", "{{.ID}} {{.Status}}"), deadline)
    return {line.partition(" ")[0] for line in listed.stdout.splitlines() if line.endswith(" Storage")}
