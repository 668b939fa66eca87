"""A terminal of its own, with the monitor's `once` at it."""

from __future__ import annotations

import codecs
import os
import subprocess
import termios
from contextlib import suppress
from types import TracebackType
from typing import Self

from lab.monitor import PROGRAM, Surroundings
from lab.screen import Screen


class Session:
    """The monitor at a terminal of its own, as a shell would start it. A context manager, which reads it to its end.

    Attributes:
        code: its exit code, at the end.
        text: what it wrote to the terminal so far.
    """

    code: int

    def __init__(self, engine: Surroundings, *options: str, columns: int = 80, height: int = 24, **env: str) -> None:
        """Given an engine, the monitor's options, the terminal's size, and what its environment is to have besides,
        start it.
        """
        self._size = (columns, height)
        self._people, self._program = os.openpty()
        termios.tcsetwinsize(self._program, (height, columns))
        # The terminal gives it SIGINT for Control-C.
        argv = ["setsid", "--ctty", *PROGRAM, "-once", *options]
        env = {**engine.env, "TERM": "xterm-256color", **env}
        terminal = self._program
        self._process = subprocess.Popen(argv, env=env, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(self._program)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.read_until(None)
            self.code = self._process.wait()
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._people)

    def read_until(self, awaited: str | None) -> None:
        """Read what it writes until a text was in it, or, given None, to its end."""
        with suppress(OSError):  # the program's end of the terminal is closed
            while awaited is None or awaited not in self.text:
                self.text += self._decoder.decode(os.read(self._people, 4096))

    def press(self, key: bytes) -> None:
        """Given what a key sends, press it."""
        os.write(self._people, key)

    def screen(self) -> Screen:
        """Return the terminal with what was written to it so far."""
        # The terminal itself puts a carriage return before each line feed, and echoes what is pressed.
        screen = Screen(*self._size)
        screen.feed(self.text)
        return screen
