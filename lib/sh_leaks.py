"""What `sh` leaks if it can't start a program, and its repair, which looks into the frames of `sh`.

The known version is 2.4.0. There is no other way to reach what it leaves: only its own frame refers to it.

- If a program can't be executed (ForkException): both ends of the pipe that carries the session's number, our ends of
  the child's streams, and the child itself, as a zombie.
- If there are no more descriptors or processes (OSError from pipe(2), dup(2) or fork(2)): everything that it had opened
  for the child, and Python's garbage collection stays off.
- If there are no more threads (RuntimeError, once the program runs): the program, which nobody waits for, and our ends
  of its streams. A thread that writes to its standard input may have been started before, and closes that. If there are
  none when a program ends, `wait()` raises after it was reaped, and before all its output was read.

With another version nothing is done: all this leaks, but no descriptor is closed that already belongs to somebody else.
`tests/unit/test_sh_leaks.py` fails if the installed version is not this one, and shows what an unknown one leaks.
"""

from __future__ import annotations

import gc
import os
import signal
from contextlib import suppress
from traceback import walk_tb
from typing import Any

import sh

KNOWN_VERSION = "2.4.0"

#: How long `sh` itself continues reading the output of a program that has ended.
_READING_SECONDS = 2.0

# In `OProc.__init__`, as attributes of the object and as variables of the method.
_STREAMS = ("_stdin_parent_fd", "_stdout_parent_fd", "_stderr_parent_fd")
_OURS = (*_STREAMS, "session_pipe_read", "session_pipe_write")
_THE_CHILDS = ("_stdin_child_fd", "_stdout_child_fd", "_stderr_child_fd", "exc_pipe_read", "exc_pipe_write")


def clean_up_after(error: sh.ForkException | OSError | RuntimeError) -> None:
    """Given why `sh` could not start a program, close what it left open, end the child if there is one, and reap it."""
    if sh.__version__ != KNOWN_VERSION:
        return
    gc.enable()
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_code.co_qualname == "OProc.__init__":
            left = {**vars(frame.f_locals["self"]), **frame.f_locals}
            if isinstance(error, RuntimeError):
                _end(frame.f_locals["self"])
                names: tuple[str, ...] = _STREAMS if left.get("_input_thread") is None else _STREAMS[1:]
            else:
                # After the fork `sh` has closed the child's ends itself.
                names = _OURS if isinstance(error, sh.ForkException) else (*_OURS, *_THE_CHILDS)
            for name in names:
                if left.get(name) is not None:
                    os.close(left[name])
            if isinstance(error, sh.ForkException):
                os.waitpid(left["pid"], 0)


def wait_for(command: sh.RunningCommand) -> int:
    """Given a program that has ended with all that it started, wait until its output is read; return its exit code."""
    process: Any = command.process
    try:
        command.wait()
    except RuntimeError:  # there is no thread for the timer that would end the reading if somebody kept the output open
        if sh.__version__ != KNOWN_VERSION:
            raise
        process._output_thread.join(_READING_SECONDS)  # noqa: SLF001  see above
        process._stop_output_event.set()  # noqa: SLF001  the same
        process._output_thread.join()  # noqa: SLF001  the same
    return int(process.exit_code)


def last_words_of(error: Exception) -> str:
    """Given an exception, return the last line of its text, without the number of an OSError."""
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _end(process: Any) -> None:
    """Given a running program, as an object of `sh`, end it with its process group, and reap it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pgid, signal.SIGKILL)
    with suppress(ChildProcessError):  # the thread that writes to it may have reaped it
        os.waitpid(process.pid, 0)
    input_thread = vars(process).get("_input_thread")
    if input_thread is not None:
        input_thread.join()
