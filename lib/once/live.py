"""LiveDisplay: what is drawn at the bottom of a terminal, and stays intact whatever is printed above it meanwhile."""

from __future__ import annotations

import logging
import os
from io import TextIOBase
from typing import IO, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from lib.streams import as_long_as_it_is_read

#: Each takes a few milliseconds, which are lost to the steps that are measured meanwhile.
_FRAMES_PER_SECOND = 8


class LiveDisplay(Live):
    """rich's live display of something, from start() to stop(), for as long as its terminal is there.

    What is logged to that very terminal appears above it, too.
    """

    def __init__(self, drawn: RenderableType, console: Console) -> None:
        """Given what to draw, rendered again for each frame, and the console to draw on."""
        super().__init__(
            drawn,
            console=console,
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._moved: list[tuple[logging.StreamHandler[TextIO], TextIO]] = []

    def start(self, refresh: bool = False) -> None:  # noqa: FBT001, FBT002  as rich has it
        """Begin to draw."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.FileHandler):
                continue  # without a stream if its file is closed
            if isinstance(handler, logging.StreamHandler) and _are_one(handler.stream, self.console.file):
                self._moved.append((handler, handler.stream))
                handler.setStream(_Above(self))
        with as_long_as_it_is_read(self.console.file):
            super().start(refresh)

    def stop(self) -> None:
        """Erase what is drawn, and leave the terminal as it was."""
        with as_long_as_it_is_read(self.console.file):
            super().stop()
        while self._moved:
            handler, stream = self._moved.pop()
            handler.setStream(stream)

    def refresh(self) -> None:
        """Draw the current state."""
        with as_long_as_it_is_read(self.console.file):
            super().refresh()

    def print(self, *told: RenderableType, soft_wrap: bool = False) -> None:
        """Given a text, print it above what is drawn, if anything is.

        With rich's own print, another thread could draw in between, and erase as many lines as it had drawn before.
        """
        with self._lock, as_long_as_it_is_read(self.console.file):
            self.console.print(*told, sep="\n", soft_wrap=soft_wrap)


class _Above(TextIOBase):
    """A stream for logs: its lines appear above what is drawn."""

    def __init__(self, live: LiveDisplay) -> None:
        self._live = live

    def write(self, text: str) -> int:
        self._live.print(Text(text.removesuffix("\n")), soft_wrap=True)
        return len(text)


def _are_one(stream: IO[str], terminal: IO[str]) -> bool:
    try:
        return stream.isatty() and os.fstat(stream.fileno()).st_rdev == os.fstat(terminal.fileno()).st_rdev
    except (OSError, ValueError):
        return False  # one is not a file, or closed
