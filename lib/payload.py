"""The payload: what the test image holds, and the context that docker builds it from.

A folder with a generated Dockerfile and one file of fresh random bytes a layer: random, so that nothing on the way can
have it already, and nothing can compress it away.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

LABEL_PREFIX = "registry-monitor."
TARGET_LABEL = LABEL_PREFIX + "target"
INSTANCE_LABEL = LABEL_PREFIX + "instance"
TOKEN_LABEL = LABEL_PREFIX + "token"
CREATED_LABEL = LABEL_PREFIX + "created"

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


def write_context(folder: Path, base: str, layers: int, payload_bytes: int, labels: Labels) -> None:
    """Given an empty folder, what to build on, and how much, write the context of a build into it.

    The payload is spread evenly over its layers, the first ones one byte larger where that does not go out. Raise
    OSError where it can't be written.
    """
    lines = [f"FROM {base}"]
    # First, so that the images between also carry them: a build that is cut off leaves those behind.
    # And all at once: an image with some of them would not be known for one of ours.
    lines.append(
        " ".join(["LABEL", *(f"{_quoted(name)}={_quoted(value)}" for name, value in labels.to_dict().items())])
    )
    for number in range(layers):
        name = f"payload-{number}"
        share = payload_bytes // layers + (number < payload_bytes % layers)
        _write_random(folder / name, share)
        lines.append(f"COPY {name} /registry-monitor/{name}")
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for start in range(0, size, _CHUNK_BYTES):
            file.write(os.urandom(min(_CHUNK_BYTES, size - start)))


def _quoted(text: str) -> str:
    """Given a text without control characters, return it as a double-quoted word of a Dockerfile."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
