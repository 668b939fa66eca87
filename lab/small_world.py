"""A small world: the monitor against a fake docker that keeps an engine and all registries in a folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import IO

from lab.monitor import NO_WAY, PROGRAM

#: The fake docker.
DOCKER = Path(__file__).with_suffix(".sh")


class SmallWorld:
    """The fake docker's folder, and what a monitor needs to use it. `lab.monitor.Monitor` takes it for an engine.

    Attributes:
        folder: what is in this world.
        env: the environment of the monitor.
        options: the options that every monitor of this world has.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        """Given a folder to make, and the options of every monitor of this world, make it."""
        folder.mkdir()
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "SMALL_WORLD": str(folder), "HOME": str(folder), "TMPDIR": str(folder)}
        # Its registries have names and no addresses: nobody outside must be asked for those.
        self.env["HTTPS_PROXY"] = NO_WAY
        self.options = (f"-docker={DOCKER}", "-payload-size=1KiB", *options)

    def start(self, log: IO[bytes], *options: str) -> subprocess.Popen[bytes]:
        """Given an open file and further options, start a monitor that prints into it, and return it at once."""
        return subprocess.Popen(
            [*PROGRAM, "-listen=127.0.0.1:0", *self.options, *options],
            env=self.env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def log(self) -> list[list[str]]:
        """Return what was done in this world, a list of words for each line of the fake docker's record."""
        file = self.folder / "log"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def pushes(self) -> list[str]:
        """Return the digests of all pushes, in their order."""
        return [digest for verb, _, _, *digests in self.log() if verb == "push" for digest in digests]

    def acted_upon(self) -> tuple[dict[str, list[str]], dict[str, int]]:
        """Return the digests pushed to each name, in their order, and the index of the last one that was acted upon.

        A monitor that removes the image after the push, as the next step of its cycle, has acted upon the push. One
        that was killed between may not even have seen that the registry acknowledged it.
        """
        pushes: dict[str, list[str]] = {}
        last: dict[str, int] = {}
        open_pushes: dict[str, str] = {}
        for verb, parent, name, *digest in self.log():
            if verb == "push":
                pushes.setdefault(name, []).append(digest[0])
                open_pushes[name] = parent
            elif open_pushes.pop(name, None) == parent:
                last[name] = len(pushes[name]) - 1
        return pushes, last
