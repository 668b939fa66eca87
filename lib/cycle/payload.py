"""The payload: what the test image holds, and the context that docker builds it from.

A folder with a generated Dockerfile and one file of fresh random bytes a layer: random, so that nothing on the way can
have it already, and nothing can compress it away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LABEL_PREFIX = "registry-monitor."
TARGET_LABEL = LABEL_PREFIX + "target"
INSTANCE_LABEL = LABEL_PREFIX + "instance"
TOKEN_LABEL = LABEL_PREFIX + "token"
CREATED_LABEL = LABEL_PREFIX + "created"
LABELS = (INSTANCE_LABEL, TARGET_LABEL, TOKEN_LABEL, CREATED_LABEL)

#: Below it, in an image, is the payload: a folder an instance, and in it one a cycle. Cycles tell their records of
#: BuildKit's cache from others' by that.
PAYLOAD_ROOT = "/registry-monitor/"
_PAYLOAD_PATH = re.compile(rf"{PAYLOAD_ROOT}(?P<instance>[0-9a-f]{{32}})/[0-9a-f]{{32}}/payload-\d+")

_COMMENT = f"# {'-' * 61}\n"

_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Labels:
    """What every image of ours says of itself.

    Attributes:
        target: the target's name.
        instance: random, one per process.
        token: random, one per cycle.
        created: when the image was made.
    """

    target: str
    instance: str
    token: str
    created: datetime

    def to_dict(self) -> dict[str, str]:
        """Return the labels as docker has them."""
        return {
            TARGET_LABEL: self.target,
            INSTANCE_LABEL: self.instance,
            TOKEN_LABEL: self.token,
            CREATED_LABEL: self.created.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }

    @classmethod
    def from_dict(cls, labels: Mapping[str, str]) -> Labels | None:
        """Given an image's labels, return those of a monitor; None where it is not a monitor's image."""
        try:
            created = datetime.fromisoformat(labels[CREATED_LABEL])
            found = cls(labels[TARGET_LABEL], labels[INSTANCE_LABEL], labels[TOKEN_LABEL], created)
        except (KeyError, ValueError):
            return None
        return found if created.tzinfo is not None else None


@dataclass(frozen=True, slots=True)
class Context:
    """What an image is built from.

    Attributes:
        folder: where the payload is in the image; no other build has the same.
        layer_bytes: the size of each layer of payload.
        dockerfile_bytes, ignore_bytes: the sizes of Dockerfile and .dockerignore.
    """

    folder: str
    layer_bytes: tuple[int, ...]
    dockerfile_bytes: int
    ignore_bytes: int = 0


def instance_in(text: str) -> str | None:
    """Given a text with the path of a payload in an image, return whose payload that is; None where there is none."""
    found = _PAYLOAD_PATH.search(text)
    return found["instance"] if found else None


def write_context(
    folder: Path, base: str, layers: int, payload_bytes: int, labels: Labels, padding_bytes: int = 0
) -> Context:
    """Given an empty folder, what to build on, and how much, write the context of a build into it, and return it.

    The payload is spread evenly over its layers, the first ones one byte larger where that does not go out. With
    padding, the Dockerfile is so much longer, and there is a .dockerignore of that length. Raise OSError where it can't
    be written.
    """
    lines = [f"FROM {base}"]
    # First, so that the images between also carry them: a build that is cut off leaves those behind.
    # And all at once: an image with some of them would not be known for one of ours.
    lines.append(
        " ".join(["LABEL", *(f"{_quoted(name)}={_quoted(value)}" for name, value in labels.to_dict().items())])
    )
    place = f"{PAYLOAD_ROOT}{labels.instance}/{labels.token}/"
    shares = tuple(payload_bytes // layers + (number < payload_bytes % layers) for number in range(layers))
    for number, share in enumerate(shares):
        name = f"payload-{number}"
        _write_random(folder / name, share)
        lines.append(f"COPY {name} {place}{name}")
    padding = _COMMENT * (padding_bytes // len(_COMMENT))
    dockerfile = "\n".join([*lines, padding])
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    if padding:
        (folder / ".dockerignore").write_text(padding, encoding="utf-8")
    return Context(place, shares, len(dockerfile.encode()), len(padding))


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _CHUNK_BYTES):
            file.write(os.urandom(min(_CHUNK_BYTES, size - start)))


def _quoted(text: str) -> str:
    """Given a text without control characters, return it as a double-quoted word of a Dockerfile."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
