"""A small world: the monitor against a fake docker that keeps an engine and all registries in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.lab.test_cycle import MONITOR

DOCKER = Path(__file__).resolve().parents[1] / "fakes" / "small_world"


class SmallWorld:
    """The fake docker's folder, and what a monitor needs to use it. `lab.monitor.Monitor` takes it for an engine.

    Attributes:
        folder: what is in this world.
        env: the environment of the monitor.
        options: the options that every monitor of this world has.
    """

    def __init__(self, folder, *options):
        folder.mkdir()
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "SMALL_WORLD": str(folder), "HOME": str(folder), "TMPDIR": str(folder)}
        self.options = (f"-docker={DOCKER}", "-payload-size=1KiB", *options)

    def start(self, log, *options):
        """Start a monitor that prints into a file, and return it at once."""
        return subprocess.Popen(
            [sys.executable, str(MONITOR), "-listen=127.0.0.1:0", *self.options, *options],
            env=self.env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def log(self):
        """Return what was done in this world, a list of words a line: see `tests/fakes/small_world`."""
        file = self.folder / "log"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def pushes(self):
        """Return the digests of all pushes, in their order."""
        return [digest for verb, _, _, *digest in self.log() if verb == "push"]

    def acted_upon(self):
        """Return the digests pushed to each name, in their order, and the place of the last that was acted upon.

        A monitor that removes the image after the push, as the next step of its cycle, has acted upon the push. One
        that was killed between may not even have seen that the registry acknowledged it.
        """
        pushes, last, open_pushes = {}, {}, {}
        for verb, parent, name, *digest in self.log():
            if verb == "push":
                pushes.setdefault(name, []).append(digest[0])
                open_pushes[name] = parent
            elif open_pushes.pop(name, None) == parent:
                last[name] = len(pushes[name]) - 1
        return pushes, last
