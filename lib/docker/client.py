"""Client: what the `docker` program is, docker's own CLI or podman, and which builder it and its engine have."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace

from lib.command import Runner
from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.cli import DOCKER, Dialect
from lib.docker.environment import builder_environment
from lib.docker.nerdctl import is_nerdctl, refuse
from lib.docker.podman import PODMAN
from lib.failure import Reason
from lib.secret import Secret
from lib.target import Builder

_HELP_SECONDS = 5.0
_ENGINE_SECONDS = 10.0
_PODMAN = re.compile(r"^\s*podman(?:-remote)? build\b", re.MULTILINE)
_BUILDX = re.compile(r"^Usage:\s+docker buildx build\b", re.MULTILINE)

#: Without it buildx puts a second manifest beside the image, which describes the build.
_PROVENANCE = "--provenance"

#: Named contexts are in the CLI since buildx 0.8, in the engine since Docker 23, whose API version this is.
_NAMED_CONTEXT = "--build-context"
_API = re.compile(r"^1\.(?P<minor>\d+)$")
_API_WITH_NAMED_CONTEXT = 42

#: A Dockerfile with nothing to build, about which the classic builder complains.
_NOTHING_TO_BUILD = Secret("\n")
#: What an engine without that builder says, or a proxy that lets no request through to it. No engine up to 29 says in
#: advance which builders it has.
_NO_CLASSIC = re.compile(
    r"error response from daemon:.*(?:(?:classic|legacy) builder|builder version|invalid version|page not found"
    r"|not implemented|forbidden|method not allowed)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a docker program is.

    Attributes:
        builder: what it builds with. flags: further flags for that builder.
        dialect: whose words it takes and prints.
        runner: what runs its commands, if not the same as docker's.
        with_buildx: that builder is reached through buildx.
        names_contexts: it takes contexts by name.
    """

    builder: BuiltBy
    flags: tuple[str, ...]
    dialect: Dialect = DOCKER
    runner: Runner | None = None
    with_buildx: bool = False
    names_contexts: bool = False


class Client:
    """The docker program, asked once for each way to build.

    Attributes:
        faults: what it said instead, by the wanted builder.
    """

    def __init__(self) -> None:
        self.faults: dict[Builder, str] = {}
        self._known: dict[Builder, _Kind] = {}
        self._lock = threading.Lock()

    def for_builder(self, docker: Docker, wanted: Builder) -> Docker:
        """Given the CLI, and the builder that a target wants, return the CLI set up for that builder, or as podman.

        The CLI's help says what it can do; the engine is asked which builders it has. If they don't answer, they are
        assumed to be docker's own with the wanted builder, and asked again the next time: the cycle's own commands
        report why they don't answer.
        """
        with self._lock:
            try:
                kind = self._known.get(wanted) or _recognise(docker, wanted)
                self._known[wanted] = kind
                self.faults.pop(wanted, None)
            except DockerError as error:
                self.faults[wanted] = error.failure.detail
                kind = _BUILDKIT if wanted is Builder.BUILDKIT else _CLASSIC
        return replace(
            docker,
            env=_environment(docker, kind.builder),
            dialect=kind.dialect,
            builder=kind.builder,
            build_flags=kind.flags,
            runner=kind.runner or docker.runner,
            names_contexts=kind.names_contexts,
            with_buildx=kind.with_buildx,
        )


_CLASSIC = _Kind(BuiltBy.CLASSIC, ("--force-rm",))
_BUILDKIT = _Kind(BuiltBy.BUILDKIT, (), with_buildx=True)
_BUILDAH = _Kind(BuiltBy.BUILDAH, ("--force-rm",), PODMAN)
_NERDCTL = _Kind(BuiltBy.BUILDKIT, (), runner=refuse)


def _recognise(docker: Docker, wanted: Builder) -> _Kind:
    if wanted is not Builder.BUILDKIT:
        text = _help(docker, BuiltBy.CLASSIC)
        if (other := _other_program(text)) is not None:
            return other
        if wanted is Builder.CLASSIC or not (_BUILDX.search(text) or _lacks_classic(docker)):
            return _CLASSIC
    text = _help(docker, BuiltBy.BUILDKIT)
    if (other := _other_program(text)) is not None:
        return other
    return _Kind(
        BuiltBy.BUILDKIT,
        ("--provenance=false",) if _PROVENANCE in text else (),
        with_buildx=_BUILDX.search(text) is not None,
        names_contexts=_NAMED_CONTEXT in text and _engine_names_contexts(docker),
    )


def _other_program(text: str) -> _Kind | None:
    """Given a help text, return the program that it is of, None if it is docker's own."""
    if _PODMAN.search(text):
        return _BUILDAH
    return _NERDCTL if is_nerdctl(text) else None


def _lacks_classic(docker: Docker) -> bool:
    """Given the CLI, return whether the engine has no classic builder. Raise DockerError if it does not answer."""
    asking = replace(docker, env=_environment(docker, BuiltBy.CLASSIC))
    completed = asking.complete("build", ("build", "--quiet", "-"), _ENGINE_SECONDS, _NOTHING_TO_BUILD)
    if completed.ok:
        return False
    if _NO_CLASSIC.search(completed.stderr):
        return True
    error = asking.failed("build", completed)
    if error.deadline_passed or error.failure.reason in (Reason.DAEMON, Reason.CLI):
        raise error
    return False


def _engine_names_contexts(docker: Docker) -> bool:
    """Given the CLI, return whether the engine does, as far as it may be asked. Raise DockerError if it is away."""
    try:
        version = docker.run("version", ("--format", "{{.Server.APIVersion}}"), _ENGINE_SECONDS).stdout.strip()
    except DockerError as error:
        if error.failure.refused is None:
            raise
        return False
    found = _API.match(version)
    return found is not None and int(found["minor"]) >= _API_WITH_NAMED_CONTEXT


def _help(docker: Docker, builder: BuiltBy) -> str:
    return replace(docker, env=_environment(docker, builder)).build_help(_HELP_SECONDS)


def _environment(docker: Docker, builder: BuiltBy) -> dict[str, str]:
    return builder_environment(docker.env, Builder.BUILDKIT if builder is BuiltBy.BUILDKIT else Builder.CLASSIC)
