"""Podman's service: podman behind docker's API, on a socket of its own, with a docker CLI that speaks to it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from lab.daemon import Program
from lab.engine import Engine
from lab.engines import Podman

_CLI = Path("usr/bin/docker")


class PodmanService(Engine):
    """A context manager, as any `Engine`.

    Attributes:
        podman: the podman that answers, which is a program of its own as well.
    """

    def __init__(self, folder: Path, *, root: Path | None = None) -> None:
        """Given its folder, which must not exist, and the root of another Debian whose podman and docker CLI these are,
        this machine's by default, prepare it.
        """
        super().__init__(folder)
        self.podman = Podman(folder / "podman", root=root)
        self._root = root
        self.host = f"unix://{self.podman.folder / 'docker.sock'}"
        self.env["DOCKER_HOST"] = self.host

    def prepare(self, held: ExitStack) -> None:
        """Have podman's settings in place, and the CLI."""
        held.enter_context(self.podman)
        (self.folder / "config").mkdir()
        if self._root is not None:
            self.programs.mkdir()
            (self.programs / "docker").symlink_to(self._root / _CLI)

    def program(self) -> Program:
        """Return podman's command."""
        argv = (str(self.podman.programs / "docker"), "system", "service", "--time=0", self.host)
        log = self.folder / "podman.log"
        return Program(argv, self.podman.env, log=log, output=log)
