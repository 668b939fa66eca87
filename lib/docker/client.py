"""Client: what the `docker` program is, docker's own CLI or podman, and by what it shall build."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass, fields, replace

from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.environment import builder_environment
from lib.docker.podman import Podman
from lib.target import Builder

_log = logging.getLogger(__name__)

_HELP_SECONDS = 5.0
_PODMAN = re.compile(r"^\s*podman(?:-remote)? build\b", re.MULTILINE)
_BUILDX = re.compile(r"^Usage:\s+docker buildx build\b", re.MULTILINE)

#: Without it buildx puts a second manifest beside the image, which tells of the build.
_PROVENANCE = "--provenance"


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a docker program is.

    Attributes:
        builder: what it builds by.
        flags: what that builder is told besides.
    """

    builder: BuiltBy
    flags: tuple[str, ...]


class Client:
    """The docker program, asked once for each way to build.

    Attributes:
        faults: what it said instead, by the builder that was wanted.
    """

    def __init__(self) -> None:
        self.faults: dict[Builder, str] = {}
        self._known: dict[Builder, _Kind] = {}
        self._lock = threading.Lock()

    def equipped(self, docker: Docker, wanted: Builder) -> Docker:
        """Given the CLI, and the builder that a target wants, return the CLI as it builds by that one, or is podman.

        What it can do is read from its own help. One that can't be asked is taken for docker's own with the wanted
        builder, and is asked again the next time: what keeps it from answering is told by the cycle's own commands.
        """
        with self._lock:
            try:
                kind = self._known.get(wanted) or _recognise(docker, wanted)
                self._known[wanted] = kind
                self.faults.pop(wanted, None)
            except DockerError as error:
                self.faults[wanted] = error.failure.detail
                kind = _BUILDKIT if wanted is Builder.BUILDKIT else _CLASSIC
        same = {field.name: getattr(docker, field.name) for field in fields(docker)}
        same |= {"env": _environment(docker, kind.builder), "builder": kind.builder, "build_flags": kind.flags}
        return Podman(**same) if kind.builder is BuiltBy.BUILDAH else Docker(**same)


_CLASSIC = _Kind(BuiltBy.CLASSIC, ("--force-rm",))
_BUILDKIT = _Kind(BuiltBy.BUILDKIT, ())
_BUILDAH = _Kind(BuiltBy.BUILDAH, ("--force-rm",))


def _recognise(docker: Docker, wanted: Builder) -> _Kind:
    """Given the CLI and the builder that is wanted, return what it is. Raise DockerError where it can't be asked."""
    if wanted is not Builder.BUILDKIT:
        text = _help(docker, BuiltBy.CLASSIC)
        if _PODMAN.search(text):
            return _BUILDAH
        if wanted is Builder.CLASSIC or not _BUILDX.search(text):
            return _CLASSIC
    text = _help(docker, BuiltBy.BUILDKIT)
    if _PODMAN.search(text):
        return _BUILDAH
    return _Kind(BuiltBy.BUILDKIT, ("--provenance=false",)) if _PROVENANCE in text else _BUILDKIT


def _help(docker: Docker, builder: BuiltBy) -> str:
    return replace(docker, env=_environment(docker, builder)).build_help(_HELP_SECONDS)


def _environment(docker: Docker, builder: BuiltBy) -> dict[str, str]:
    return builder_environment(docker.env, Builder.BUILDKIT if builder is BuiltBy.BUILDKIT else Builder.CLASSIC)
