"""Answers: reads what docker prints when it works. Only this module and `lib.docker.phases` know these words."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lib.docker.phases import Phases
from lib.docker.printed import Printed

_DIGEST = r"sha256:[0-9a-f]{64}"
_PUSHED = re.compile(rf"^\S+: digest: ({_DIGEST}) size: \d+", re.MULTILINE)
_PUSHED_LAYER = re.compile(r"^[0-9a-f]{12}: (Pushed|Mounted|Layer already exists)\b", re.MULTILINE)
_PULLED = re.compile(rf"^Digest: ({_DIGEST})", re.MULTILINE)
_MOVED = re.compile(r"^([0-9a-f]{12}): (?:Pull complete|Download complete)", re.MULTILINE)
_ALREADY = re.compile(r"^([0-9a-f]{12}): Already exists", re.MULTILINE)
_STATE = re.compile(r"^([0-9a-f]{12}): (.+)$", re.MULTILINE)
_STATUS = re.compile(r"^Status: ", re.MULTILINE)
_UP_TO_DATE = re.compile(r"^Status: Image is up to date", re.MULTILINE)
_BUILT = re.compile(r"^(?:Successfully built )?((?:sha256:)?[0-9a-f]{12,64})\s*$", re.MULTILINE)
_DELETED = re.compile(r"^Deleted: (\S+)", re.MULTILINE)
_BARE_ID = re.compile(r"[0-9a-f]{64}")
_STORE = re.compile(r"(?P<driver>[\w-]+) (?P<status>\[.*\]|null)$", re.MULTILINE)
CONTAINERD_STORE = "containerd"  # how the words for that image store begin
_SHORT_ID = re.compile(r"[0-9a-f]{4,64}")
_TIME = re.compile(r"(?P<second>\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-5]\d)(?:\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)")

# docker counts down to a retry each second, on a line for each layer: "1a2b3c4d5e6f: Retrying in 5 seconds". A retry
# begins when the count is at its highest: when it did not just go down by one.
_RETRYING = re.compile(r"^(\S+): Retrying in (\d+) seconds?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DockerAnswer:
    """The answer of a docker command that worked.

    Attributes:
        seconds: from spawn to exit.
        retries: how often docker itself tried again.
        output: its last lines, without secrets.
        phases: how its seconds were spent, as `lib.docker.phases` computes it; None if that is not known.
    """

    seconds: float
    retries: int = 0
    output: tuple[str, ...] = ()
    phases: Phases | None = None


@dataclass(frozen=True, slots=True)
class Pulled(DockerAnswer):
    """A pull.

    Attributes:
        digest: the digest that the registry gave; None if docker printed none. moved: layers that came over the
            network. already: layers that the engine said it had. up_to_date: the same image was there before under this
            name. by_podman: podman's service pulled it for docker's CLI: it prints neither a status nor a digest.
    """

    digest: str | None = None
    moved: int = 0
    already: int = 0
    up_to_date: bool = False
    by_podman: bool = False


@dataclass(frozen=True, slots=True)
class Pushed(DockerAnswer):
    """A push.

    Attributes:
        digest: the digest that the registry acknowledged.
        moved: layers that went over the network.
        mounted: layers that the registry took from another repository of its own.
        already: layers that were in the repository before.
    """

    digest: str = ""
    moved: int = 0
    mounted: int = 0
    already: int = 0


@dataclass(frozen=True, slots=True)
class Built(DockerAnswer):
    """A build.

    Attributes:
        image_id: the image's ID.
        by_podman: podman built it, whichever CLI asked: docker prints an ID with its algorithm, podman without.
    """

    image_id: str = ""
    by_podman: bool = False


@dataclass(frozen=True, slots=True)
class Removed(DockerAnswer):
    """A removal: the images and layers that it deleted, apart from names."""

    deleted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """A local image, as docker describes it.

    Attributes:
        image_id: its ID.
        tags: its names, as docker prints them. digests: its names by digest. labels: its labels. comment: the commit
            message. command: the command that it runs.
        layers: how many layers it has.
        parent: the ID of the image that it was built on here, empty if docker knows none. architecture: the
            architecture that it is for.
    """

    image_id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    command: tuple[str, ...] = ()
    layers: int = 0
    parent: str = ""
    architecture: str = ""

    def is_called(self, asked: str) -> bool:
        """Given a name, ID or beginning of an ID, return whether docker finds this image by it."""
        bare_id = self.image_id.removeprefix("sha256:")
        return (
            _familiar(asked) in (*self.tags, *self.digests)
            or asked == self.image_id
            or (_SHORT_ID.fullmatch(asked) is not None and bare_id.startswith(asked))
        )

    def digest_under(self, name: str) -> str | None:
        """Given a name of this image, return its digest in that repository; None if it has none there, or several."""
        path, at, _ = _familiar(name).partition("@")
        repository = path if at or "/" in path.rpartition(":")[2] else path.rpartition(":")[0]
        digests = [digest for place, _, digest in (name.partition("@") for name in self.digests) if place == repository]
        return digests[0] if len(digests) == 1 else None


def read_answer(completed: Printed) -> DockerAnswer:
    """Given a command that ended, return its duration, docker's retries, and its last lines."""
    return DockerAnswer(**_common(completed))


def read_pulled(completed: Printed) -> Pulled:
    """Given a pull that worked, return what it moved."""
    moved = set(_MOVED.findall(completed.stdout))
    already = set(_ALREADY.findall(completed.stdout))
    by_podman = _STATUS.search(completed.stdout) is None
    if by_podman:
        # Its last line is about the image's own ID, as if that were a layer.
        moved.discard(_last(_MOVED, completed.stdout) or "")
    return Pulled(
        **_common(completed),
        digest=_last(_PULLED, completed.stdout),
        moved=len(moved - already),
        already=len(already),
        up_to_date=_UP_TO_DATE.search(completed.stdout) is not None,
        by_podman=by_podman,
    )


def read_built(completed: Printed) -> Built | None:
    """Given a build that worked, return the image's ID; None if docker printed none."""
    image_id = _last(_BUILT, completed.stdout)
    if image_id is None:
        return None
    is_bare = _BARE_ID.fullmatch(image_id) is not None
    return Built(**_common(completed), image_id=_whole_id(image_id), by_podman=is_bare)


def read_pushed(completed: Printed) -> Pushed | None:
    """Given a push that worked, return the digest that the registry acknowledged; None if docker printed none."""
    digest = _last(_PUSHED, completed.stdout)
    if digest is None:
        return None
    layers = Counter(_PUSHED_LAYER.findall(completed.stdout))
    return Pushed(
        **_common(completed),
        digest=digest,
        moved=layers["Pushed"],
        mounted=layers["Mounted"],
        already=layers["Layer already exists"],
    )


def read_removed(completed: Printed) -> Removed:
    """Given a removal that worked, return what it deleted."""
    return Removed(**_common(completed), deleted=tuple(map(_whole_id, _DELETED.findall(completed.stdout))))


def read_images(text: str) -> Iterator[Image]:
    """Given descriptions of images, return them: one JSON object a line, as from docker, or podman's one list."""
    # At line feeds only, not at other characters that Python takes for a line's end: labels can contain those.
    for document in [text] if text.startswith("[\n") else text.split("\n"):
        try:
            shapes = json.loads(document)
        except ValueError:
            continue
        for shape in shapes if isinstance(shapes, list) else [shapes]:
            if isinstance(shape, dict) and isinstance(shape.get("Id"), str):
                yield _image(shape)


def _image(shape: dict[str, Any]) -> Image:
    config = shape.get("Config") or {}
    return Image(
        image_id=_whole_id(shape["Id"]),
        tags=tuple(map(_familiar, shape.get("RepoTags") or ())),
        digests=tuple(map(_familiar, shape.get("RepoDigests") or ())),
        labels=config.get("Labels") or {},
        comment=shape.get("Comment") or "",
        command=tuple(config.get("Cmd") or ()),
        layers=len((shape.get("RootFS") or {}).get("Layers") or ()),
        parent=_whole_id(shape.get("Parent") or ""),
        architecture=shape.get("Architecture") or "",
    )


def read_image_ids(text: str) -> Iterator[str]:
    """Given a list of images' whole IDs, one a line, return them."""
    for line in text.splitlines():
        if re.fullmatch(_DIGEST, line.strip()):
            yield line.strip()


def read_repositories(text: str) -> dict[str, frozenset[str]]:
    """Given a list of images' whole IDs and repositories, one of each a line, return the repositories by ID."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        image_id, _, repository = line.strip().partition(" ")
        if re.fullmatch(_DIGEST, image_id):
            found.setdefault(image_id, set()).add(_familiar(repository))
    return {image_id: frozenset(repositories) for image_id, repositories in found.items()}


def read_store(text: str) -> str | None:
    """Given a daemon's storage driver and its status, return where it keeps its images, in words; None if it does not
    say.
    """
    found = _STORE.match(text)
    if found is None:
        return None
    return f"{CONTAINERD_STORE} ({found['driver']})" if "io.containerd." in found["status"] else found["driver"]


def read_time(text: str) -> datetime | None:
    """Given a time as docker prints it, return it, to the second; None if it is not a time."""
    found = _TIME.fullmatch(text.strip())
    try:
        return datetime.fromisoformat(found["second"] + found["zone"]) if found else None
    except ValueError:
        return None


def only_waited(text: str) -> bool:
    """Given what an unfinished transfer printed, return whether the engine calls each of its layers "Waiting"."""
    states = dict(_STATE.findall(text))
    return bool(states) and set(states.values()) == {"Waiting"}


def _count_retries(text: str) -> int:
    counts, retries = dict[str, int](), 0
    for layer, seconds in _RETRYING.findall(text):
        if counts.get(layer) != int(seconds) + 1:
            retries += 1
        counts[layer] = int(seconds)
    return retries


def _common(completed: Printed) -> dict[str, Any]:
    retries = _count_retries(completed.stdout) + _count_retries(completed.stderr)
    return {"seconds": completed.seconds, "retries": retries, "output": completed.last_lines()}


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return str(found[-1]) if found else None


def _whole_id(text: str) -> str:
    return f"sha256:{text}" if _BARE_ID.fullmatch(text) else text


def _familiar(name: str) -> str:
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name
