"""The site: where everything is measured, on one engine and one registry."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lab.daemon import LabError
from lab.engine import Engine
from lab.registry import Registry
from lab.session import Lab

PLAIN_SCRIPT = Path(__file__).with_name("plain.sh")


@dataclass(frozen=True, slots=True)
class Payload:
    """What is moved in a cycle: by default, the monitor's own defaults.

    Attributes:
        size: bytes in all.
        layers: over which they are spread.
    """

    size: int = 64 * 1024
    layers: int = 1


class Site:
    """An engine, and a registry that lets everybody in, for as long as the lab lasts.

    Attributes:
        folder: the site's own.
        engine: the engine.
        registry: the registry.
    """

    def __init__(self, lab: Lab) -> None:
        """Given a lab, start both in it."""
        self._numbers = count(1)
        self.folder = lab.folder / "site"
        self.engine = lab.enter(Engine(self.folder / "engine"))
        self.registry = lab.enter(Registry(self.folder / "registry"))

    def new_folder(self) -> Path:
        """Return a new folder."""
        folder = self.folder / f"folder-{next(self._numbers)}"
        folder.mkdir()
        return folder

    def new_repository(self) -> str:
        """Return the full name of a repository that nobody has used."""
        return f"{self.registry.host}/bench/r{next(self._numbers)}"


class PlainScript:
    """Cycles of the plain script, in a repository of their own."""

    def __init__(self, site: Site, payload: Payload) -> None:
        """Given a site, and what is moved."""
        self._engine = site.engine
        self._argv = ("sh", str(PLAIN_SCRIPT), *plain_arguments(site.new_repository(), payload, site.new_folder()))

    def __call__(self) -> None:
        """Run a cycle. Raise LabError if it fails."""
        done = subprocess.run(self._argv, env=self._engine.env, capture_output=True, check=False)
        if done.returncode:
            raise LabError(f"the plain script failed: {done.stderr.decode(errors='replace')}")


def plain_arguments(repository: str, payload: Payload, folder: Path) -> tuple[str, str, str, str]:
    """Given a repository, what is moved and a folder, return the arguments of the plain script."""
    return f"{repository}:latest", str(payload.size), str(payload.layers), str(folder)
