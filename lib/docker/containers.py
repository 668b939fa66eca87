"""The containers in which the classic builder sets labels: how docker lists them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: The command of a container in which the classic builder sets labels, as docker prints it: a comment, not for a shell.
_LABELLING = re.compile(r"'#\(nop\) ' 'LABEL registry-monitor\.")

#: The states of a container that never ran, or that can no longer be started. An engine without such a state (podman's)
#: refuses them as a filter.
_IDLE = ("Created", "Dead")


@dataclass(frozen=True, slots=True)
class BuildContainer:
    """A container that the classic builder made for a `LABEL`, and that never ran.

    Attributes:
        container_id: its ID.
        labels: the values of the requested labels, empty for those that it lacks.
    """

    container_id: str
    labels: Mapping[str, str]


def read_build_containers(text: str, labels: Sequence[str]) -> Iterator[BuildContainer]:
    """Given containers, one a line by the template of `build_container()`, and labels, return the builder's."""
    for line in text.split("\n"):
        try:
            container_id, status, command, *values = json.loads(line)
            is_builders = status.startswith(_IDLE) and _LABELLING.search(command) is not None
            of_labels = dict(zip(labels, values, strict=True))
        except (ValueError, TypeError, AttributeError):
            continue
        if is_builders:
            yield BuildContainer(container_id, of_labels)


def build_container(labels: Sequence[str]) -> str:
    """Given labels, return the template for what `read_build_containers()` reads."""
    values = "".join(f',{{{{json (.Label "{label}")}}}}' for label in labels)
    return f"[{{{{json .ID}}}},{{{{json .Status}}}},{{{{json .Command}}}}{values}]"
