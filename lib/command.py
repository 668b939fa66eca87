"""Running one external command: argv, standard input, environment, deadline -> Completed.

    CommandError        the command never ran: not found, not executable, no more processes
    Stopped             the monitor is being stopped: nothing new is run

The only importer of `sh`. What runs is decided elsewhere (`lib.docker`); here is decided how it is run and how it ends:
in a session of its own, so that its whole process group can be ended; by a timer of ours, since `sh`'s own kills one
process only and falsifies the time; and with the last part of its output kept, where the error is.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from traceback import walk_tb
from typing import IO, Any, Protocol, cast

import sh

from lib.secret import Secret

#: At INFO `sh` logs every argv, at DEBUG the first bytes of standard input.
logging.getLogger("sh").setLevel(logging.WARNING)

#: What is kept of each output stream: enough for the description of an image with a hundred layers.
TAIL_BYTES = 256 * 1024

#: How long a process group has to end after SIGTERM before it gets SIGKILL.
GRACE_SECONDS = 1.0

_CHUNK_BYTES = 64 * 1024

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Ending(StrEnum):
    """How a process came to its end."""

    ITSELF = "itself"
    DEADLINE = "deadline"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Command:
    """One command to run.

    Attributes:
        argv: program and arguments; no shell ever sees them.
        env: the whole environment of the child.
        deadline: seconds after which its process group is ended.
        stdin: what is written to its standard input, which is then closed; None for an empty one.
        cleanup: it removes what the monitor made, and so it also runs while the monitor is being stopped.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    deadline: float
    stdin: Secret | None = None
    cleanup: bool = False


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran and ended.

    Attributes:
        exit_code: what it exited with; minus the signal's number where a signal ended it.
        stdout, stderr: the last part of what it printed, decoded.
        seconds: from when the process became this program to its exit.
        ending: whether it ended by itself or was ended by us, and why.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    ending: Ending = Ending.ITSELF

    @property
    def ok(self) -> bool:
        """Whether it succeeded. An exit code 0 after our own kill is no success."""
        return self.exit_code == 0 and self.ending is Ending.ITSELF


class CommandError(Exception):
    """A command could not be started at all. Its text says which and why, and holds no argument."""


class Stopped(Exception):  # noqa: N818  it is no error: somebody asked for it
    """The monitor is being stopped, and the command was not run or was ended for that."""


class Runner(Protocol):
    """Whatever runs a command."""

    def __call__(self, command: Command) -> Completed:
        """Given a command, run it to its end and return what came of it. Raise CommandError or Stopped."""


class ShRunner:
    """Runs commands through `sh`, any number side by side, and ends them all when the monitor stops."""

    def __init__(self) -> None:
        self._running: set[_Running] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def __call__(self, command: Command) -> Completed:
        """Given a command, run it to its end and return what came of it.

        Raise CommandError where it can't be started, and Stopped where `stop()` came before its end.
        """
        running = _Running(command)
        with self._admitted(running):
            completed = running.wait()
        if completed.ending is Ending.STOPPED:
            raise Stopped
        return completed

    def stop(self) -> None:
        """End every running command but those that clean up, and run no more of them."""
        with self._lock:
            self._stopping = True
            running = [one for one in self._running if not one.command.cleanup]
        for one in running:
            one.end(Ending.STOPPED)

    @contextmanager
    def _admitted(self, running: _Running) -> Iterator[None]:
        # Spawning happens under the lock, so that stop() meets each command either not begun or with a group to end.
        with self._lock:
            if self._stopping and not running.command.cleanup:
                raise Stopped
            running.spawn()
            self._running.add(running)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(running)


class _Running:
    """One command on its way."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._ending = Ending.ITSELF
        self._stdout = _Tail()
        self._stderr = _Tail()
        self._timers: list[threading.Timer] = []
        self._is_over = False
        self._lock = threading.Lock()

    def spawn(self) -> None:
        """Start the process and its deadline. Raise CommandError where it can't be started."""
        program, *arguments = self.command.argv
        path = _find(program, self.command.env)
        stdin = self.command.stdin
        began = time.monotonic()
        try:
            with open(os.devnull, "rb") as empty:  # noqa: PTH123  a plain descriptor is all that is wanted
                self._sh = sh.Command(path)(
                    *arguments,
                    _in=empty if stdin is None else stdin.reveal().encode(),
                    _out=cast("IO[bytes]", self._stdout),
                    _err=cast("IO[bytes]", self._stderr),
                    _out_bufsize=_CHUNK_BYTES,
                    _err_bufsize=_CHUNK_BYTES,
                    _env=dict(self.command.env),
                    _bg=True,
                    _bg_exc=False,
                    _new_session=True,
                    _preexec_fn=_die_with_monitor,
                    _tty_out=False,
                    _no_pipe=True,
                    _no_out=True,
                    _no_err=True,
                    _close_fds=False,  # ours are all close-on-exec (PEP 446); listing them costs time at each call
                    _ok_code=_EVERY_CODE,
                )
        except sh.CommandNotFound:
            raise CommandError(f"{program}: not found") from None
        except sh.ForkException as error:
            _close_what_sh_leaves(error)
            # The original exception holds a traceback of the child, and with it the whole argv.
            raise CommandError(f"{program}: could not be started: {_last_words(error)}") from None
        except OSError as error:
            _close_what_sh_opened(error)
            raise CommandError(f"{program}: could not be started: {error.strerror or error}") from None
        self._started = max(began, _moment_of(self._sh.process.started))
        self._after(self.command.deadline, self.end, Ending.DEADLINE)

    def wait(self) -> Completed:
        """Return what came of it, once it has ended."""
        # Waiting without reaping gives the moment of the exit itself; `sh` then reaps, and waits for its own threads.
        # Where one of those was quicker to reap, this moment is that one.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self._sh.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - self._started
        # Nothing that it started outlives it, nor keeps its output open, for whose end `sh` would wait.
        self._signal(signal.SIGKILL, is_over=True)
        for timer in self._timers:
            timer.cancel()
        self._sh.wait()
        return Completed(
            exit_code=self._sh.exit_code,
            stdout=str(self._stdout),
            stderr=str(self._stderr),
            seconds=seconds,
            ending=self._ending,
        )

    def end(self, why: Ending) -> None:
        """End its whole process group: SIGTERM, then SIGKILL where that does not do."""
        self._ending = why
        self._signal(signal.SIGTERM)
        self._after(GRACE_SECONDS, self._signal, signal.SIGKILL)

    def _after(self, seconds: float, call: Callable[..., None], argument: Any) -> None:
        timer = threading.Timer(seconds, call, [argument])
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _signal(self, number: signal.Signals, *, is_over: bool = False) -> None:
        """Send a signal to its group, unless that is over: its number can be another's by then."""
        with self._lock:
            if not self._is_over:
                self._is_over = is_over
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._sh.pgid, number)


#: `sh` raises exceptions with the whole argv for codes that it does not expect: let it expect them all.
_EVERY_CODE = tuple(range(-255, 256))


class _Tail:
    """The last part of what a process prints: a file to `sh`."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._length = 0

    def write(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._length += len(chunk)
        while self._length - len(self._chunks[0]) >= TAIL_BYTES:
            self._length -= len(self._chunks.popleft())

    def __str__(self) -> str:
        return b"".join(self._chunks)[-TAIL_BYTES:].decode(errors="replace")


def _moment_of(time_of_day: float) -> float:
    """Given a moment that is just over, in seconds since 1970, return it by the monotonic clock.

    `sh` notes by the time of day when a child has become its program, some milliseconds after the fork and some before
    it returns. Should the clock be set in between, the moment is now at the latest.
    """
    return time.monotonic() - max(0.0, time.time() - time_of_day)


def _die_with_monitor() -> None:
    """Have the kernel end the process that calls this when the thread that forked it is gone (prctl(2)).

    After a `kill -9` of the monitor its docker would go on, and leave images after the next start has cleaned up.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _find(program: str, env: Mapping[str, str]) -> str:
    """Given a program's name or path, return its path. Raise CommandError where there is none to run."""
    search_path = env.get("PATH", "")
    path = shutil.which(program, path=search_path)
    if path is not None:
        return path
    if shutil.which(program, mode=os.F_OK, path=search_path) is not None:
        raise CommandError(f"{program}: not executable by this user")
    where = "" if os.sep in program else f" on PATH ({search_path or 'which is empty'})"
    raise CommandError(f"{program}: not found{where}")


def _close_what_sh_leaves(error: sh.ForkException) -> None:
    """Given how a program could not be executed, close the pipes and reap the child that `sh` 2.4 then forgets."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return
    left = traceback.tb_frame.f_locals
    child = left["self"]
    pipes = (left["session_pipe_read"], left["session_pipe_write"], child._stdout_parent_fd, child._stderr_parent_fd)  # noqa: SLF001
    for pipe in (*pipes, child._stdin_parent_fd):  # noqa: SLF001  nothing else knows them
        if pipe is not None:
            os.close(pipe)
    os.waitpid(child.pid, 0)


def _close_what_sh_opened(error: OSError) -> None:
    """Given why there could be no child (no more descriptors or processes), close what `sh` 2.4 opened for it by then.

    It also leaves Python without its garbage collection.
    """
    gc.enable()
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_code.co_qualname == "OProc.__init__":
            opened = {**vars(frame.f_locals["self"]), **frame.f_locals}
            for name in _OPENED_BY_SH:
                if opened.get(name) is not None:
                    os.close(opened[name])


#: In `OProc.__init__`, as attributes and as variables.
_OPENED_BY_SH = (
    *(f"_{stream}_{side}_fd" for stream in ("stdin", "stdout", "stderr") for side in ("parent", "child")),
    *(f"{pipe}_pipe_{end}" for pipe in ("session", "exc") for end in ("read", "write")),
)


def _last_words(error: Exception) -> str:
    """Given an exception, return the last line of its text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
