"""Whether we can judge: the docker CLI is there, its daemon answers, and every worker is alive and within its
deadlines.

What a registry does never changes that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from lib.command import Stopped
from lib.progress import Listener
from lib.result import Outcome, Step, StepName
from lib.target import Target
from lib.watch.worker import WorkerState

_log = logging.getLogger(__name__)

#: How often the daemon is asked whether it is there, unless a docker command has just shown that it is.
ASK_EVERY_SECONDS = 10.0

#: The shortest pause between two checks of whether it is to be asked.
_LEAST_PAUSE_SECONDS = 0.5

#: How long an answer is valid: longer than a question and the pause after it can take.
_ANSWER_STANDS_SECONDS = 60.0

#: The time beyond its deadlines that a cycle may take between two steps (asking the daemon, cleaning up), or an
#: overloaded host to wake a worker.
GRACE_SECONDS = 60.0


class Health(Listener):
    """Whether the monitor can judge. It listens to the cycles, and recovers by itself."""

    def __init__(
        self,
        ask_daemon: Callable[[], str | None],
        workers: Callable[[], Iterable[WorkerState]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Given what asks the daemon and returns what is wrong (None: nothing), and what returns the workers' progress.

        `monotonic` is the clock in seconds by which the workers' turns are stamped.
        """
        self._ask_daemon = ask_daemon
        self._workers = workers
        self._monotonic = monotonic
        self._daemon_fault: str | None = None
        self._answered: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask_again_and_again, name="health", daemon=True)

    def start(self) -> None:
        """Ask the daemon now and then in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop asking."""
        self._stopped.set()

    @property
    def faults(self) -> tuple[str, ...]:
        """What keeps the monitor from judging, in words for operators; empty if nothing does."""
        broken_off = (worker.fault for worker in self._workers() if worker.fault)
        return (*self._daemon_faults(self._monotonic()), *self.stuck, *broken_off)

    def can_judge(self) -> bool:
        """Return whether nothing keeps the monitor from judging."""
        return not self.faults

    @property
    def stuck(self) -> tuple[str, ...]:
        """The workers that only a restart can help, in words: dead, or long past the end or beginning that was due.

        Those that wait for others to end are not: the others are, if anybody is.
        """
        now = self._monotonic()
        faults = ((worker.watched.target.name, self._stuck(worker, now)) for worker in self._workers())
        return tuple(f"worker of {name}: {fault}" for name, fault in faults if fault)

    def step_finished(self, target: Target, step: Step) -> None:  # noqa: ARG002  whosever cycle it is
        """Note, if a step's command succeeded, that the daemon has answered."""
        # A login does not prove a daemon: newer clients log in by themselves.
        if step.outcome is Outcome.OK and step.name is not StepName.LOGIN:
            self._note_answer(None)

    def ask(self) -> None:
        """Ask the daemon, unless it has just shown that it is there."""
        answered = self._answered
        if answered is not None and not self._daemon_fault and self._monotonic() - answered < ASK_EVERY_SECONDS:
            return
        try:
            fault = self._ask_daemon()
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001  nobody would notice that it is no longer asked
            fault = f"the docker daemon could not be asked: {type(error).__name__}: {error}"
        self._note_answer(fault)

    def _ask_again_and_again(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            self.ask()
            # Counted from the last answer, whoever got it: a daemon that dies right after that is noticed as soon as
            # any other.
            passed = self._monotonic() - (self._answered or 0.0)
            pause = max(_LEAST_PAUSE_SECONDS, ASK_EVERY_SECONDS - passed)

    def _note_answer(self, fault: str | None) -> None:
        before, self._daemon_fault = self._daemon_fault, fault
        self._answered = self._monotonic()
        if fault and fault != before:
            _log.error("docker can't be used", extra={"detail": fault})
        elif before and not fault:
            _log.info("docker can be used again")

    def _daemon_faults(self, now: float) -> Iterable[str]:
        if self._answered is None:
            yield "the docker daemon has not been asked yet"
        elif self._daemon_fault:
            yield self._daemon_fault
        elif now - self._answered > _ANSWER_STANDS_SECONDS:
            yield f"the docker daemon has not answered for {now - self._answered:.0f} s"

    def _stuck(self, worker: WorkerState, now: float) -> str | None:
        watched = worker.watched
        if not worker.alive:
            return "its thread has died"
        if worker.turn_started is not None:
            seen = max(worker.turn_started, watched.progress.seen)
            if now - seen > watched.target.cycle_timeout + GRACE_SECONDS:
                return f"stuck, no sign of it for {now - seen:.0f} s"
        elif worker.wakes is not None and now - worker.wakes > GRACE_SECONDS:
            return f"asleep, though it was due {now - worker.wakes:.0f} s ago"
        return None
