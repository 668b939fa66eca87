"""The metrics as a file, for those who don't scrape the monitor: node_exporter's textfile collector reads it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lib.progress import Listener
from lib.rested import RestedImage
from lib.result import Cycle
from lib.target import Target

_log = logging.getLogger(__name__)

#: How long after a failure to write it again.
_RETRY_SECONDS = 5.0
#: The shortest pause between two writes, in seconds, and as a multiple of the time that writing took.
_LEAST_PAUSE_SECONDS, _PAUSES = 0.2, 9

#: node_exporter's user has to be able to read it, whatever this process's umask is.
_MODE = 0o644


class MetricsFile(Listener):
    """Writes the metrics after each cycle: a listener. Cycles don't wait for it."""

    def __init__(self, path: Path | None, text: Callable[[], bytes]) -> None:
        """Given where to write (None: nowhere), and what returns the metrics."""
        self._path = path
        self._text = text
        self._is_failing = False
        self._due = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._write_again_and_again, name="metrics-file", daemon=True)

    def start(self) -> None:
        """Write now, and after each cycle from now on. Raise RuntimeError if no thread can be started."""
        if self._path is not None:
            self._due.set()
            self._thread.start()

    def stop(self) -> None:
        """Stop writing."""
        self._stopped.set()
        self._due.set()

    def cycle_finished(self, cycle: Cycle) -> None:  # noqa: ARG002  whichever it is
        """Have the metrics written soon."""
        self._due.set()

    def rested_finished(self, target: Target, image: RestedImage) -> None:  # noqa: ARG002  as above
        """Have the metrics written soon."""
        self._due.set()

    def write(self) -> bool:
        """Write the metrics. Return whether that worked: if not, that is logged once, and so is its end."""
        if self._path is None:
            return True
        try:
            _replace(self._path, self._text())
        except OSError as error:
            if not self._is_failing:
                fields = {"file": str(self._path), "detail": error.strerror or type(error).__name__}
                _log.error("the metrics can't be written; the monitor continues, and tries again", extra=fields)
            self._is_failing = True
            return False
        if self._is_failing:
            _log.info("the metrics can be written again", extra={"file": str(self._path)})
        self._is_failing = False
        return True

    def _write_again_and_again(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            self._due.wait()
            if self._stopped.is_set():
                return
            self._due.clear()
            begun = time.monotonic()
            if self.write():
                pause = max(_LEAST_PAUSE_SECONDS, _PAUSES * (time.monotonic() - begun))
            else:
                pause = _RETRY_SECONDS
                self._due.set()


def _replace(path: Path, content: bytes) -> None:
    """Given a path and its new content, replace the file whole, in one step. Raise OSError."""
    # In the same folder, so that it can be renamed; with a name that node_exporter ignores.
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Never through a link that somebody else put there who can also write to that folder.
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:
            os.fchmod(file.fileno(), _MODE)
            file.write(content)
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
