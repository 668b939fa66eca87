"""Engines of every kind that users have: Docker of another Debian, with either image store, and podman under its name.

Another Debian's programs run in its root file system, where of this machine they see only the folder that they work in.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.engine import Engine, run_docker
from lab.environment import lab_environment
from lab.folder import remove
from lab.mounts import with_mounts
from lab.root import make_root

#: What another Debian needs to be an engine of its own.
PACKAGES = ("docker.io", "docker-cli", "docker-buildx", "podman", "iptables", "ca-certificates")

#: The Debians whose engines are tested, besides this machine's own, and what else the newest needs: to be reached over
#: ssh, and to run an engine without root.
OLDER, NEWEST = "trixie", "forky"
_FURTHER = {NEWEST: ("openssh-server", "iproute2", "rootlesskit", "slirp4netns", "uidmap")}

#: The configuration with which Docker keeps its images in containerd.
CONTAINERD_STORE = {"features": {"containerd-snapshotter": True}}

_COMMAND_SECONDS = 300.0
_CLI = Path("usr/bin/docker")
_BUILDX = Path("usr/libexec/docker/cli-plugins/docker-buildx")

#: Mounts what a program needs into a root, and a folder at its own path, in a mount namespace of its own, and becomes
#: the program. The mounts are gone when it ends, however that happens.
_SCRIPT = """
set -e
root=$1 folder=$2
shift 2
mount --bind "$root" "$root"  # docker asks that the root is a mount
for place in proc sys dev; do mount --rbind "/$place" "$root/$place"; done
mkdir -p "$root$folder"
mount --bind "$folder" "$root$folder"
cd "$root"
pivot_root . .  # and not chroot, in which the kernel lets nobody make a user namespace
umount --lazy .
exec "$@"
"""


def make_debian(folder: Path, suite: str) -> Path:
    """Given a folder that does not exist and the name of a Debian, make that Debian's root there, with its engines.

    Return the folder. Raise LabError if it can't be made.
    """
    make_root(folder, suite, *PACKAGES, *_FURTHER.get(suite, ()))
    return folder


class Debians:
    """Other Debians with their engines, each made when it is first asked for, once in a folder."""

    def __init__(self, folder: Path) -> None:
        """Given a folder that is there, to make them in."""
        self._folder = folder

    def root(self, suite: str) -> Path:
        """Given the name of a Debian, return its root. Raise LabError if it can't be made."""
        root = self._folder / suite
        return root if root.exists() else make_debian(root, suite)


def in_root(root: Path, folder: Path, argv: Sequence[str]) -> tuple[str, ...]:
    """Given a root, a folder that is seen in it at the same path, and a command, return the command that runs there.

    Its process is the given command's.
    """
    own = ("unshare", "--mount", "--propagation", "slave", "sh", "-c", _SCRIPT, "sh")
    return (*own, str(root), str(folder), *argv)


class DebianDocker(Engine):
    """The dockerd of another Debian, and its CLI with buildx. A context manager, as any `Engine`.

    Attributes:
        root: the root of that Debian.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        *,
        containerd_store: bool = False,
        settings: Mapping[str, object] | None = None,
        dockerd: Sequence[str] = ("dockerd",),
    ) -> None:
        """Given a root that `make_debian` made, its folder, which must not exist, in which of its two stores it keeps
        its images, what else stands in its daemon.json, and how it is started there, prepare an engine.
        """
        stored = CONTAINERD_STORE if containerd_store else {}
        super().__init__(folder, dockerd=in_root(root, folder, dockerd), settings={**stored, **(settings or {})})
        self.root = root

    def prepare(self, held: ExitStack) -> None:
        """Put its CLI, and the CLI's buildx, where its clients find them."""
        super().prepare(held)
        plugins = self.folder / "config" / "cli-plugins"
        for place, program in ((self.programs, _CLI), (plugins, _BUILDX)):
            place.mkdir(parents=True)
            (place / program.name).symlink_to(self.root / program)


class Podman:
    """podman in docker's place: there is no daemon. A context manager: on exit its folder is gone.

    Attributes:
        folder: where everything of it is.
        data: its own folder, with its images.
        programs: what is first on the PATH of its clients; `docker` there is podman.
        run_by: what its clients' command lines begin with: empty if they are run by root.
        env: the environment for a docker CLI, or a monitor, that shall work with it.
    """

    def __init__(self, folder: Path, *, root: Path | None = None) -> None:
        """Given its folder, which must not exist, and the root whose podman it is (this machine's by default)."""
        self.folder = folder
        self.data = folder / "data"
        self.programs = folder / "programs"
        self.run_by: tuple[str, ...] = ()
        self._root = root
        self.env = lab_environment(folder) | {
            "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "DOCKER_CONFIG": str(folder / "config"),
            "HOME": str(folder / "home"),
            # What clients have podman read is to be seen from its root, too.
            "TMPDIR": str(folder / "tmp"),
        }
        self.env["PATH"] = os.pathsep.join((str(self.programs), self.env["PATH"]))

    def __enter__(self) -> Self:
        for name in ("config", "containers", "home", "tmp"):
            (self.folder / name).mkdir(parents=True)
        storage = {"driver": "overlay", "graphroot": str(self.data), "runroot": str(self.folder / "run")}
        lines = [f"{key} = {json.dumps(value)}" for key, value in storage.items()]
        (self.folder / "storage.conf").write_text("\n".join(["[storage]", *lines]) + "\n")
        # As with docker: a registry on loopback needs no TLS.
        (self.folder / "registries.conf").write_text('[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n')
        self.programs.mkdir()
        program = self.programs / "docker"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(self._argv())} "$@"\n')
        program.chmod(0o755)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remove(self.folder)

    def _argv(self) -> tuple[str, ...]:
        """Return what podman's command begins with. What it keeps outside its settings it keeps in the folder, too."""
        if self._root is not None:
            return in_root(self._root, self.folder, ["podman"])
        return with_mounts({Path("/var/lib/containers"): self.folder / "containers"}, ["podman"])

    def docker(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Given the arguments of a docker command, run it to its end, and return the result.

        Raise LabError, with what it printed, if it fails, unless `check` is false.
        """
        argv = (*self.run_by, "docker", *arguments)
        return run_docker(argv, self.env, stdin, check=check, seconds=_COMMAND_SECONDS)
