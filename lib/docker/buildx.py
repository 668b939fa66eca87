"""buildx: the CLI's plugin that builds with BuildKit, restricted to the engine's own BuildKit.

If the engine's endpoint does not let `POST /grpc` through, as with a socket proxy or podman's socket, buildx starts a
BuildKit in a container of its own: it pulls `moby/buildkit` from Docker Hub, and leaves a container and a volume. No
option prevents that, so buildx is asked beforehand what it would build with.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from lib.docker.answers import CONTAINERD_STORE
from lib.docker.cli import Cli, DockerError
from lib.docker.printed import Printed
from lib.failure import Failure, Reason

#: What `buildx inspect` says of the engine's own BuildKit, and not of one in a container.
_OWN_BUILDKIT = re.compile(r"^Driver:\s+docker$", re.MULTILINE)
#: What it says of the platform that it builds for by default.
_OWN_PLATFORM = re.compile(r"^Platforms:\s+([\w/]+)", re.MULTILINE)

_REQUEST = "POST /grpc"


def only_in_the_engine(docker: Cli, deadline: float) -> None:
    """Given the CLI, check that buildx would build with the engine's own BuildKit. Raise DockerError if not."""
    completed = _inspect(docker, deadline)
    if not completed.ok:
        raise docker.failed("buildx", completed)
    if not _OWN_BUILDKIT.search(completed.stdout):
        endpoint = docker.env.get("DOCKER_HOST", "the default socket")
        detail = (
            f"the engine's BuildKit can't be reached at {endpoint}, and nothing was built: buildx would start another"
            f" one in a container; refused: {_REQUEST}"
        )
        raise docker.error(Failure(Reason.DAEMON, detail, refused=_REQUEST), completed)


def builds_index(docker: Cli, platforms: Collection[str], deadline: float) -> bool:
    """Given the CLI and platforms, return whether the engine can hold an index of them all, its own BuildKit builds it,
    and its own platform is among them. Raise DockerError.
    """
    try:
        store = docker.dialect.store(docker, deadline)
    except DockerError as refusal:
        if refusal.failure.refused is None:
            raise
        return False
    if not store.startswith(CONTAINERD_STORE):
        return False
    completed = _inspect(docker, deadline)
    error = None if completed.ok else docker.failed("buildx", completed)
    if error is not None and error.failure.reason is not Reason.CLI:  # that is a CLI without buildx
        raise error
    platform = _OWN_PLATFORM.search(completed.stdout)
    return _OWN_BUILDKIT.search(completed.stdout) is not None and platform is not None and platform[1] in platforms


def _inspect(docker: Cli, deadline: float) -> Printed:
    """Ask buildx what it would build with, and return the result. Raise DockerError if it can't be asked."""
    return docker.complete("buildx", ("buildx", "inspect"), deadline)
