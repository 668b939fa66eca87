"""Running one external command: argv, standard input, environment, deadline -> Completed.

    CommandError        the command never ran: not found, not executable, no more processes
    Stopped             the monitor is being stopped: nothing new is run

The only user of `sh`. What runs is decided in `lib.docker`; how it is run and how it ends is decided here: in a session
of its own, so that its whole process group can be ended; by a timer of ours, since the one of `sh` kills one process
only and falsifies the time; and with the last part of its output kept, which holds the error.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Protocol, cast

import sh

from lib.secret import Secret
from lib.sh_leaks import clean_up_after, last_words_of, wait_for
from lib.tail import Arrivals, Tail

#: At INFO `sh` logs every argv, at DEBUG the first bytes of standard input.
logging.getLogger("sh").setLevel(logging.WARNING)

#: How long a process group has to end after SIGTERM before it gets SIGKILL.
GRACE_SECONDS = 1.0

#: How `sh` passes on output. It takes these as buffer sizes: with the second one, output is read byte by byte.
_BY_THE_LINE, _AS_IT_COMES = 1, 0

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Ending(StrEnum):
    """How a process ended."""

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
        exit_code: its exit code; minus the signal's number if a signal ended it.
        stdout, stderr: the last part of what it printed, decoded.
        seconds: from the moment when the process became this program to its exit.
        ending: whether it ended by itself or was ended by us, and why.
        was_paused: before we ended it, somebody had stopped it (SIGSTOP), whether or not it continued since.
        arrivals: when the lines of either output came, by the clock of `seconds`.
    """

    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    ending: Ending = Ending.ITSELF
    was_paused: bool = False
    arrivals: tuple[Arrivals, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it succeeded. Exit code 0 after our own kill is not a success."""
        return self.exit_code == 0 and self.ending is Ending.ITSELF


class CommandError(Exception):
    """A command could not be started. Its text says which and why, and holds no argument."""


class Stopped(Exception):  # noqa: N818  not an error: somebody asked for it
    """The monitor is being stopped, and the command was not run or was ended for that.

    Attributes:
        was_cut_off: it was ended: its effect can still come about.
    """

    def __init__(self, *, was_cut_off: bool = False) -> None:
        super().__init__()
        self.was_cut_off = was_cut_off


class Runner(Protocol):
    """Whatever runs a command."""

    def __call__(self, command: Command) -> Completed:
        """Given a command, run it to its end and return the result. Raise CommandError or Stopped."""


class ShRunner:
    """Runs commands through `sh`, any number side by side, and ends them all when the monitor stops."""

    def __init__(self) -> None:
        self._running: set[_Running] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def __call__(self, command: Command) -> Completed:
        """Given a command, run it to its end and return the result.

        Raise CommandError if it can't be started, and Stopped if `stop()` was called before its end.
        """
        running = _Running(command)
        with self._admitted(running):
            completed = running.wait()
        if completed.ending is Ending.STOPPED:
            raise Stopped(was_cut_off=True)
        return completed

    def stop(self, patience: float = 0.0) -> None:
        """Start no more commands, and end all that run, except those that clean up.

        Given how many seconds those have to end by themselves: the effect of a command that is cut off can still come
        about later, that of one that ends cannot.
        """
        with self._lock:
            self._stopping = True
            running = [one for one in self._running if not one.command.cleanup]
        deadline = time.monotonic() + patience
        for one in running:
            one.end_unless_over(deadline - time.monotonic())

    @contextmanager
    def _admitted(self, running: _Running) -> Iterator[None]:
        # Spawning happens under the lock, so that stop() finds each command either not started or with a group to end.
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
    """One command under way."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._ending = Ending.ITSELF
        self._stdout, self._stderr = Tail(), Tail()
        self._is_to_end, self._is_over = threading.Event(), threading.Event()
        self._was_paused = False
        self._lock = threading.Lock()

    def spawn(self) -> None:
        """Start the process and its deadline. Raise CommandError if it can't be started."""
        program, *arguments = self.command.argv
        path = _find(program, self.command.env)
        stdin = self.command.stdin
        began = time.monotonic()
        try:
            with open(os.devnull, "rb") as empty:  # noqa: PTH123  only a plain descriptor is wanted
                self._sh = sh.Command(path)(
                    *arguments,
                    _in=empty if stdin is None else stdin.reveal().encode(),
                    _out=cast("IO[bytes]", self._stdout),
                    _err=cast("IO[bytes]", self._stderr),
                    _out_bufsize=_BY_THE_LINE,
                    _err_bufsize=_BY_THE_LINE,
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
        except (sh.ForkException, OSError, RuntimeError) as error:  # the last: no thread can be started
            clean_up_after(error)
            # The exception of `sh` holds a traceback of the child, and with it the whole argv.
            raise CommandError(f"{program}: could not be started: {last_words_of(error)}") from None
        self._started = max(began, _moment_of(self._sh.process.started))
        self._sh.process.change_out_bufsize(_AS_IT_COMES)  # otherwise a line without an end would be kept whole
        self._sh.process.change_err_bufsize(_AS_IT_COMES)
        try:
            threading.Thread(target=self._end_in_time, name="deadline", daemon=True).start()
        except RuntimeError as error:  # nobody would end it
            self._signal(signal.SIGKILL, is_over=True)
            wait_for(self._sh)
            raise CommandError(f"{program}: could not be started: {error}") from None

    def wait(self) -> Completed:
        """Return the result, once it has ended."""
        # Waiting without reaping gives the moment of the exit itself; `sh` then reaps, and waits for its own threads.
        # If one of those reaped it first, that is the moment.
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self._sh.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.monotonic() - self._started
        # Nothing that it started outlives it or keeps its output open: `sh` would wait for the end of that.
        self._signal(signal.SIGKILL, is_over=True)
        exit_code = wait_for(self._sh)
        stdout, stderr = str(self._stdout), str(self._stderr)
        arrivals = tuple(tail.arrivals(self._started) for tail in (self._stdout, self._stderr))
        return Completed(exit_code, stdout, stderr, seconds, self._ending, self._was_paused, arrivals)

    def end_unless_over(self, seconds: float) -> None:
        """Given how many seconds it has to end by itself, wait for that, and end it if it does not."""
        if not self._is_over.wait(max(0.0, seconds)):
            self.end(Ending.STOPPED)

    def end(self, why: Ending) -> None:
        """End its whole process group: SIGTERM, then SIGKILL if that is not enough."""
        self._ending = why
        with suppress(ChildProcessError):  # the kernel keeps for the parent that a child was stopped, or went on
            stops = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
            self._was_paused = os.waitid(os.P_PID, self._sh.pid, stops) is not None
        self._signal(signal.SIGTERM)
        self._is_to_end.set()

    def _end_in_time(self) -> None:
        """End it at its deadline, and by force if it was asked to end and does not: a thread of its own."""
        if not self._is_to_end.wait(self.command.deadline):
            self.end(Ending.DEADLINE)
        if not self._is_over.wait(GRACE_SECONDS):
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals, *, is_over: bool = False) -> None:
        """Send a signal to its group, unless it has ended: another group may have its number now."""
        with self._lock:
            if not self._is_over.is_set():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._sh.pgid, number)
            if is_over:
                self._is_over.set()
                self._is_to_end.set()


#: `sh` raises exceptions with the whole argv for codes that it does not expect: let it expect all.
_EVERY_CODE = tuple(range(-255, 256))


def _moment_of(time_of_day: float) -> float:
    """Given a moment just past, in seconds since 1970, return it by the monotonic clock.

    `sh` notes by the time of day when a child has become its program, some milliseconds after the fork and some before
    it returns. If the clock is set in between, the moment is now at the latest.
    """
    return time.monotonic() - max(0.0, time.time() - time_of_day)


def _die_with_monitor() -> None:
    """Have the kernel end the process that calls this when the thread that forked it is gone (prctl(2)).

    Otherwise docker would continue after a `kill -9` of the monitor, and leave images after the next start has cleaned
    up.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _find(program: str, env: Mapping[str, str]) -> str:
    search_path = env.get("PATH", "")
    if path := shutil.which(program, path=search_path):
        return path
    if shutil.which(program, mode=os.F_OK, path=search_path) is not None:
        raise CommandError(f"{program}: not executable by this user")
    where = "" if os.sep in program else f" on PATH ({search_path or 'which is empty'})"
    raise CommandError(f"{program}: not found{where}")
