"""Answers: what docker prints when it works, read. The only module that knows these words."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lib.command import Completed

#: How many of a command's last lines are kept for people to read.
OUTPUT_LINES = 12

_DIGEST = r"sha256:[0-9a-f]{64}"
_PUSHED = re.compile(rf"^\S+: digest: ({_DIGEST}) size: \d+", re.MULTILINE)
_PUSHED_LAYER = re.compile(r"^[0-9a-f]{12}: (Pushed|Mounted|Layer already exists)\b", re.MULTILINE)
_PULLED = re.compile(rf"^Digest: ({_DIGEST})", re.MULTILINE)
_MOVED = re.compile(r"^([0-9a-f]{12}): (?:Pull complete|Download complete)", re.MULTILINE)
_ALREADY = re.compile(r"^([0-9a-f]{12}): Already exists", re.MULTILINE)
_STATE = re.compile(r"^([0-9a-f]{12}): (.+)$", re.MULTILINE)
_UP_TO_DATE = re.compile(r"^Status: Image is up to date", re.MULTILINE)
_BUILT = re.compile(r"^(?:Successfully built )?((?:sha256:)?[0-9a-f]{12,64})\s*$", re.MULTILINE)
_DELETED = re.compile(r"^Deleted: (\S+)", re.MULTILINE)
_BARE_ID = re.compile(r"[0-9a-f]{64}")
_CONTAINERD = "io.containerd.snapshotter"
_SHORT_ID = re.compile(r"[0-9a-f]{4,64}")

#: The command of a container in which the classic builder sets labels, as docker prints it: a comment, for no shell.
_LABELLING = re.compile(r"'#\(nop\) ' 'LABEL registry-monitor\.")

#: The form, a Go template, in which docker is asked for the records of the build cache.
CACHE_RECORD = "{{.ID}} {{.CreatedAt}} {{.Shared}} {{.Size}} {{.Description}}"
_CACHE_RECORD = re.compile(
    r"^(?P<id>\w+) (?P<created>[\d-]+ [\d:]+(?:\.\d{1,6})?)\d* \+0000 UTC (?P<shared>true|false)"
    r" (?P<number>[\d.]+)(?P<unit>B|[kMGT]B) (?P<description>.*)$",
    re.MULTILINE,
)
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

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


@dataclass(frozen=True, slots=True)
class BuildContainer:
    """A container that the classic builder made for a `LABEL`, and that never ran.

    Attributes:
        container_id: its ID.
        labels: those that were asked for, empty where it has none of that name.
    """

    container_id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A record of BuildKit's cache, as docker describes it.

    Attributes:
        record_id: its ID.
        created: when the daemon made it.
        is_shared: an image has it, too.
        size_bytes: how much it holds, as far as docker tells: three digits of it.
        description: how BuildKit came to it.
    """

    record_id: str
    created: datetime
    is_shared: bool
    size_bytes: int
    description: str


def read_answer(completed: Completed) -> Answer:
    """Given a command that ended, return how long it took, how often docker tried again, and its last lines."""
    return Answer(**_common(completed))


def read_pulled(completed: Completed) -> Pulled:
    """Given a pull that worked, return what it moved."""
    moved = set(_MOVED.findall(completed.stdout))
    already = set(_ALREADY.findall(completed.stdout))
    return Pulled(
        **_common(completed),
        digest=_last(_PULLED, completed.stdout),
        moved=len(moved - already),
        already=len(already),
        up_to_date=_UP_TO_DATE.search(completed.stdout) is not None,
    )


def read_built(completed: Completed) -> Built | None:
    """Given a build that worked, return the image's ID; None where docker named none."""
    image_id = _last(_BUILT, completed.stdout)
    return Built(**_common(completed), image_id=_whole_id(image_id)) if image_id is not None else None


def read_pushed(completed: Completed) -> Pushed | None:
    """Given a push that worked, return the digest that the registry acknowledged; None where docker named none."""
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


def read_removed(completed: Completed) -> Removed:
    """Given a removal that worked, return what it deleted."""
    return Removed(**_common(completed), deleted=tuple(map(_whole_id, _DELETED.findall(completed.stdout))))


def read_images(text: str) -> Iterator[Image]:
    """Given descriptions of images, return them: one JSON object a line, as docker has it, or podman's one list."""
    # At line feeds, and at no other sign that Python takes for a line's end: labels can hold those.
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
    )


def read_image_ids(text: str) -> Iterator[str]:
    """Given a list of images' whole IDs, one a line, return them."""
    for line in text.splitlines():
        if re.fullmatch(_DIGEST, line.strip()):
            yield line.strip()


def read_build_containers(text: str, labels: Sequence[str]) -> Iterator[BuildContainer]:
    """Given a list of containers, one a line in the form of `build_container()`, and labels, return the builder's."""
    for line in text.split("\n"):
        try:
            container_id, command, *values = json.loads(line)
            is_builders = _LABELLING.search(command) is not None
            of_labels = dict(zip(labels, values, strict=True))
        except (ValueError, TypeError):
            continue
        if is_builders:
            yield BuildContainer(container_id, of_labels)


def build_container(labels: Sequence[str]) -> str:
    """Given labels, return the template by which docker tells what `read_build_containers()` reads."""
    values = "".join(f',{{{{json (.Label "{label}")}}}}' for label in labels)
    return f"[{{{{json .ID}}}},{{{{json .Command}}}}{values}]"


def read_cache_records(text: str) -> Iterator[CacheRecord]:
    """Given records of the build cache, one a line in the form of `CACHE_RECORD`, return them."""
    for found in _CACHE_RECORD.finditer(text):
        number, unit = found["number"], found["unit"]
        yield CacheRecord(
            record_id=found["id"],
            created=datetime.fromisoformat(found["created"]).replace(tzinfo=UTC),
            is_shared=found["shared"] == "true",
            size_bytes=round(float(number) * _UNITS[unit]),
            description=found["description"],
        )


def read_store(text: str) -> str:
    """Given a daemon's storage driver and what that says of itself, return where it keeps its images, in words."""
    driver, _, status = text.strip().partition(" ")
    return f"containerd ({driver})" if _CONTAINERD in status else driver


def only_waited(text: str) -> bool:
    """Given what an unfinished transfer printed, return whether each of its layers only waited for the engine."""
    states = dict(_STATE.findall(text))
    return bool(states) and set(states.values()) == {"Waiting"}


def last_lines(completed: Completed) -> tuple[str, ...]:
    """Given a command that ended, return its last lines, as on a terminal."""
    # Standard output holds the progress, standard error the error: that comes last.
    lines = [line.rstrip() for text in (completed.stdout, completed.stderr) for line in text.splitlines()]
    return tuple([line for line in lines if line][-OUTPUT_LINES:])


def _count_retries(text: str) -> int:
    """Given what docker printed, return how often it tried again: each countdown once."""
    counts: dict[str, int] = {}
    retries = 0
    for layer, seconds in _RETRYING.findall(text):
        if counts.get(layer) != int(seconds) + 1:
            retries += 1
        counts[layer] = int(seconds)
    return retries


def _common(completed: Completed) -> dict[str, Any]:
    retries = _count_retries(completed.stdout) + _count_retries(completed.stderr)
    return {"seconds": completed.seconds, "retries": retries, "output": last_lines(completed)}


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return str(found[-1]) if found else None


def _whole_id(text: str) -> str:
    """Given an ID, return it with its algorithm, which podman leaves out."""
    return f"sha256:{text}" if _BARE_ID.fullmatch(text) else text


def _familiar(name: str) -> str:
    """Given the full name of an image, return it as docker prints it."""
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name
