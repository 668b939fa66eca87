"""The payload: the content of the test image, and the context that docker builds it from.

That is a folder with a generated Dockerfile and one file of fresh random bytes for each layer: random, so that nothing
on the way can have it already, or compress it away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from types import MappingProxyType

from lib.target import LABEL_PREFIX

TARGET_LABEL = LABEL_PREFIX + "target"
INSTANCE_LABEL = LABEL_PREFIX + "instance"
TOKEN_LABEL = LABEL_PREFIX + "token"
CREATED_LABEL = LABEL_PREFIX + "created"
KIND_LABEL = LABEL_PREFIX + "kind"
LABELS = (INSTANCE_LABEL, TARGET_LABEL, TOKEN_LABEL, CREATED_LABEL)

#: The payload's place in an image: a folder for each instance, and in it one for each cycle. By that, and by the name
#: of the context, which says the same, cycles tell their records in BuildKit's cache from others'.
PAYLOAD_ROOT = "/registry-monitor/"
CONTEXT_ROOT = "registry-monitor-"
_MADE_BY = re.compile(
    rf"(?:{PAYLOAD_ROOT}|{CONTEXT_ROOT})(?P<instance>[0-9a-f]{{32}})[/-][0-9a-f]{{32}}(?:/payload-\d+|$)"
)

#: The size of what BuildKit reads first, if only its size tells it from others'. Nobody else's Dockerfile is exactly as
#: large. It consists of comments, in files of which BuildKit, unlike with a Dockerfile, keeps no copy in its history.
MARKED_BYTES = 66 * 4096
_COMMENT_LINE = f"#{'-' * 62}\n"

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Labels:
    """What every image of ours says about itself.

    Attributes:
        target: the target's name.
        instance: random, one per process.
        token: random, one per cycle.
        created: when the image was made.
        kind: of a rested image, what it is made of; else empty.
    """

    target: str
    instance: str
    token: str
    created: datetime
    kind: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the labels in docker's form."""
        labels = {
            TARGET_LABEL: self.target,
            INSTANCE_LABEL: self.instance,
            TOKEN_LABEL: self.token,
            CREATED_LABEL: self.created.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        return labels | ({KIND_LABEL: self.kind} if self.kind else {})

    @classmethod
    def from_dict(cls, labels: Mapping[str, str]) -> Labels | None:
        """Given an image's labels, return those of a monitor; None if it is not a monitor's image."""
        try:
            created = datetime.fromisoformat(labels[CREATED_LABEL])
            found = cls(
                labels[TARGET_LABEL], labels[INSTANCE_LABEL], labels[TOKEN_LABEL], created, labels.get(KIND_LABEL, "")
            )
        except (KeyError, ValueError):
            return None
        return found if created.tzinfo is not None else None


class Marks(Enum):
    """How to tell what is sent for a build from what others send."""

    NONE = "not at all"
    SIZE = "what is read first by its size"
    NAME = "that, and the payload by its context's name"


@dataclass(frozen=True, slots=True)
class Context:
    """What an image is built from.

    Attributes:
        folder: the payload's folder in the image; no other build has the same.
        layer_bytes: the size of each layer of payload.
        name: the name of the context that has the payload; empty if that is the one without a name.
    """

    folder: str
    layer_bytes: tuple[int, ...]
    name: str = ""


def instance_in(text: str) -> str | None:
    """Given a text with the path of a payload in an image, or with the name of a context, return whose it is; None if
    there is neither.
    """
    found = _MADE_BY.search(text)
    return found["instance"] if found else None


def write_context(
    folder: Path,
    base: str,
    layers: int,
    payload_bytes: int,
    labels: Labels,
    marks: Marks = Marks.NONE,
    *,
    is_index: bool = False,
    more_labels: Mapping[str, str] = MappingProxyType({}),
) -> Context:
    """Given an empty folder, what to build on, and how much, write the context of a build into it, and return it.

    The payload is spread evenly over its layers, the first ones one byte larger if it does not divide evenly. It is all
    in the folder, whatever the name of the context. For an index, each platform has the payload under a name of its
    own, so that platforms share no layers. Raise OSError if it can't be written.
    """
    lines = [f"FROM {base}"]
    # First, so that intermediate images carry them, too: a build that is cut off leaves those behind. And all at once:
    # an image with only some of them would not be recognised as ours.
    every = {**more_labels, **labels.to_dict()}
    lines.append(" ".join(["LABEL", *(f"{_quoted(name)}={_quoted(value)}" for name, value in every.items())]))
    if is_index:
        lines.append("ARG TARGETARCH")
    suffix = "-$TARGETARCH" if is_index else ""
    place = f"{PAYLOAD_ROOT}{labels.instance}/{labels.token}/"
    name = f"{CONTEXT_ROOT}{labels.instance}-{labels.token}" if marks is Marks.NAME else ""
    copy = f"COPY --from={name}" if name else "COPY"
    shares = tuple(payload_bytes // layers + (number < payload_bytes % layers) for number in range(layers))
    for number, share in enumerate(shares):
        _write_random(folder / f"payload-{number}", share)
        lines.append(f"{copy} payload-{number} {place}payload-{number}{suffix}")
    dockerfile = "\n".join([*lines, ""])
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    if marks is not Marks.NONE:
        # It is read with the Dockerfile, and counts with it.
        rest = max(0, MARKED_BYTES - len(dockerfile.encode()))
        (folder / "Dockerfile.dockerignore").write_text(_comment(rest), encoding="utf-8")
    if marks is Marks.SIZE:
        # BuildKit of 20.10 reads that as well, separately.
        (folder / ".dockerignore").write_text(_comment(MARKED_BYTES), encoding="utf-8")
    return Context(place, shares, name)


def _comment(size: int) -> str:
    whole, rest = divmod(size, len(_COMMENT_LINE))
    return _COMMENT_LINE * whole + "#" * rest


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _CHUNK_BYTES):
            file.write(os.urandom(min(_CHUNK_BYTES, size - start)))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
