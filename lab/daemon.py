"""A program in the background: started, awaited, paused, ended; with what it printed if it does not start."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

#: How long a daemon has to answer for the first time. A cold disk and two busy cores need a part of it.
START_SECONDS = 60.0
#: How long a daemon has to end after SIGTERM before it gets SIGKILL.
STOP_SECONDS = 20.0

#: How often a condition is tried: soon at first, then rarely enough not to be a load itself.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.25
_LOG_LINES = 25


class LabError(Exception):
    """The lab can't give what was asked for. The text says what, and ends with what the program printed last."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run in the background.

    Attributes:
        argv: program and arguments.
        env: its whole environment.
        log: the file that its standard error is added to.
        output: the file that its standard output is added to.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    output: Path


class Daemon:
    """A program in the background. A context manager: started on entry, ended on exit.

    A subclass says what to run (`program`) and when it is ready (`answers`). Both are asked at every start, so that
    changes in between take effect.
    """

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._held = ExitStack()

    def prepare(self, held: ExitStack) -> None:
        """Given what ends when this does, take what is needed for as long as this runs: ports, folders."""

    def program(self) -> Program:
        """Return what to run, with the files that it needs in place."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Return whether it is ready to work."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """The process. Raise LabError if there is none."""
        if self._running is None:
            raise LabError(f"{type(self).__name__} does not run")
        return self._running.pid

    def start(self) -> None:
        """Start it, and wait until it answers. Raise LabError, with its last words, if it does not."""
        program = self.program()
        with program.log.open("ab") as log, program.output.open("ab") as output:
            try:
                # In a session of its own, so that Ctrl-C reaches the lab alone, which then ends everything in order.
                self._running = subprocess.Popen(
                    program.argv,
                    env=dict(program.env),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise LabError(f"{program.argv[0]}: {error.strerror}. `sh lab/setup.sh` installs it.") from None
        try:
            await_true(self._answers_or_raises, START_SECONDS, f"{program.argv[0]} to answer")
        except LabError as error:
            self.kill()
            raise LabError(f"{error}. Its last words:\n{last_lines(program.log)}") from None
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int | None:
        """End it with SIGTERM, after a while with SIGKILL, and return its exit code; None if it did not run."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it from doing anything (SIGSTOP), until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue after `pause`."""
        self._signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self.prepare(held)
            self.start()
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            self.stop()

    def _end(self, how: signal.Signals) -> int | None:
        if self._running is None:
            return None
        self._signal(how)
        self.resume()
        try:
            code = self._running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            code = self._running.wait()
        self._running = None
        return code

    def _signal(self, number: signal.Signals) -> None:
        if self._running is not None:
            self._running.send_signal(number)

    def _answers_or_raises(self) -> bool:
        if self._running is not None and self._running.poll() is not None:
            raise LabError(f"it ended with exit code {self._running.returncode}")
        return self.answers()


def await_true(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Given a condition, return as soon as it holds. Raise LabError, naming `what`, when that takes too long."""
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def last_lines(log: Path) -> str:
    """Given the file that a program logs to, return its last lines, to be shown below a fault."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-_LOG_LINES:]) or "    (it printed nothing)"
