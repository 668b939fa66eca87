"""The lab as a whole: a folder, and whatever was started in it, ended in reverse order."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TypeVar

from lab.daemon import LabError
from lab.folder import new_folder, remove, remove_dead

_T = TypeVar("_T")

#: What ends a program without letting it clean up, unless it says otherwise.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Lab:
    """A context manager that holds everything that a demo, a test run or a benchmark starts.

    Ended by an exception, SIGINT, SIGTERM or SIGHUP, it cleans up as well; the signals arrive as KeyboardInterrupt.

    Attributes:
        folder: the lab's own; it and all that is below it are gone at the end. Its path is short.
    """

    folder: Path

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise LabError("the lab starts a Docker engine, and so must be run as root")
        remove_dead()
        with ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                for number in _ENDING:
                    stack.callback(signal.signal, number, signal.signal(number, _interrupt))
            self.folder, lock = new_folder()
            stack.callback(os.close, lock)
            stack.callback(remove, self.folder)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def enter(self, started: AbstractContextManager[_T]) -> _T:
        """Given a context manager (an Engine, a Registry), enter it until the lab ends, and return its value."""
        return self._stack.enter_context(started)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
