"""Ending: which exit code the program ends with, and in which words. The one place that decides that.

    CantRun    the options, the configuration or the host's set-up don't allow it: exit code 2
    NotNow     it can't run here now, and that may pass: exit code 4

`once` has codes of its own for its verdicts (`lib.once`), which a fault of our own never ends with: whatever else is
raised ends with 4, and never as a traceback, which can hold what must not be shown.
"""

from __future__ import annotations

import signal
from pathlib import Path
from traceback import walk_tb

USAGE, NOT_NOW, BY_SIGNAL = 2, 4, 128


class CantRun(Exception):  # noqa: N818  it is a state, not a fault
    """The program can't do what it is asked to. Its text says what is wrong and what to do.

    Attributes:
        exit_code: the program's.
    """

    exit_code = USAGE


class NotNow(CantRun):
    """The program can't run here now; a service manager may try again. Its text says what is wrong and what to do."""

    exit_code = NOT_NOW


def ended_by(error: BaseException) -> tuple[int, str]:
    """Given the exception that ended the program, return its exit code, and the message for the user, if any."""
    if isinstance(error, NotNow):
        words = str(error)
    elif isinstance(error, CantRun):
        return error.exit_code, str(error)
    elif isinstance(error, KeyboardInterrupt):
        return BY_SIGNAL + signal.SIGINT, ""
    elif isinstance(error, (OSError, MemoryError, ImportError)):
        words = f"it can't run here now: {str(error) or type(error).__name__}"
    elif type(error) is RuntimeError and "thread" in str(error):
        words = f"{error}; raise the limit on processes of this user, service or container"
    else:  # the exception's text can quote a value, and so a password
        words = f"this is a fault in the monitor itself: {type(error).__name__} ({where(error)})"
    return NOT_NOW, f"registry-monitor: {words}"


def where(error: BaseException) -> str:
    """Given an exception, return the file and the line where it was raised."""
    places = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return places[-1] if places else "nowhere"
