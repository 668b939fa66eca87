"""Starvation: whether a deadline passed because this host left a step too little time, not because of the network.

Three things take time from a step: the machine or the monitor was stopped (suspended, SIGSTOP, a cgroup's freezer) or
had no processor; the engine was; or other work of the cycle took the time that the step should have had. `Pulse` finds
the first two, in a container as well: it needs no rights and no files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from lib.command import Stopped
from lib.docker import Docker, DockerError
from lib.result import Step, StepName
from lib.target import Target

#: How often the pulse beats.
BEAT_SECONDS = 0.25

#: A beat that is later than this was not merely delayed by a scheduler with other work to do.
_LATE_SECONDS = 1.0

#: If this part of a step's time was lost, its deadline says nothing about the network. The engine is asked for a sign
#: of life after each such part, but not more often than the following.
_PART_LOST, _LEAST_PAUSE_SECONDS = 0.1, 1.0

#: The same for a step to which the cycle's deadline never left its full time: most of it has to be lost.
_MOST_LOST = 2 / 3


def _with_suspended_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Pulse:
    """Notices when this process, and with it most likely the whole host, did not run; and when the engine did not.

    A thread wakes up again and again, and is late if it could not run. The findings are kept for the whole cycle: a
    connection that lived through a pause may be dead without anybody knowing.
    """

    def __init__(
        self, docker: Docker, ask_seconds: float, deadline: float, clock: Callable[[], float] = _with_suspended_time
    ) -> None:
        """Given the CLI, how long the engine has to answer, a step's deadline, and a clock. No pulse is taken yet.

        The clock has to continue while the machine is suspended.
        """
        self._docker = docker
        self._ask_seconds = ask_seconds
        self._ask_every = max(_LEAST_PAUSE_SECONDS, deadline * _PART_LOST)
        self._clock = clock
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._question: threading.Thread | None = None
        self._engine_was_silent = False
        self._lost_seconds = 0.0
        self._last_beat: float | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the pulse meanwhile."""
        self._last_beat = self._clock()
        thread = _start(self._beat_on)
        if thread is None:
            self._last_beat = None
        try:
            yield
        finally:
            self._over.set()
            if thread is not None:
                thread.join()
            # Only now: until it had ended, that thread could still ask.
            if self._question is not None:
                self._question.join()

    def why_starved(self, seconds: float) -> str | None:
        """Given for how long a step ran, return why that says nothing about the network; None if it does."""
        self._beat()
        if self._lost_seconds > 0 and self._lost_seconds >= seconds * _PART_LOST:
            return f"the monitor, and most likely its whole host, did not run for {self._lost_seconds:.1f} s meanwhile"
        return "the docker daemon did not answer for a while, and then did again" if self._engine_was_silent else None

    def _beat_on(self) -> None:
        asks_at = self._clock() + self._ask_every
        while not self._over.wait(BEAT_SECONDS):
            now = self._beat()
            if now >= asks_at and (self._question is None or not self._question.is_alive()):
                asks_at = now + self._ask_every
                self._question = _start(self._ask)

    def _beat(self) -> float:
        with self._lock:
            now = self._clock()
            if self._last_beat is not None:
                late = now - self._last_beat - BEAT_SECONDS
                self._lost_seconds += late if late > _LATE_SECONDS else 0.0
                self._last_beat = now
            return now

    def _ask(self) -> None:
        try:
            self._docker.version(self._ask_seconds)
        except DockerError:
            self._engine_was_silent = True
        except Stopped:
            pass  # the monitor is being stopped, and the cycle with it


def _start(target: Callable[[], None]) -> threading.Thread | None:
    """Given what to run, return the thread that runs it, None if none can be started: then no command runs either."""
    thread = threading.Thread(target=target, name="pulse", daemon=True)
    with suppress(RuntimeError):
        thread.start()
        return thread
    return None


def why_short(target: Target, done: Iterable[Step], given: float) -> str | None:
    """Return why a step's deadline says nothing about the network, if something other than the registry took its time.

    Given the target, the steps before, and the seconds that the step was given.
    """
    local = {StepName.BUILD, StepName.RMI} | (set() if target.base_is_ours else {StepName.BASE})
    available = target.cycle_timeout - sum(step.seconds for step in done if step.name not in local)
    could_have = min(target.step_timeout, available)
    part = _PART_LOST if available >= target.step_timeout else _MOST_LOST
    if given > could_have * (1 - part):
        return None
    return f"it had {given:.1f} s instead of {could_have:.1f} s: work on this host took the rest of the cycle's time"
