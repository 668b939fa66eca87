"""Service: reports to systemd that the monitor is ready, reloads or stops, that its workers live, and how its targets
are.

The protocol is sd_notify(3): datagrams of `NAME=value` lines to a socket. It is implemented here because the one
package that does so without C (sdnotify) had its last release in 2017, comes as source only, and drops any text beyond
Latin-1.
"""

from __future__ import annotations

import logging
import os
import socket
import textwrap
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lib.ending import NOT_NOW
from lib.watch.status import TargetStatus

_log = logging.getLogger(__name__)

#: How old the status line may be.
STATUS_SECONDS = 2.0

#: How often the watchdog is fed within its timeout.
_FEEDS_A_BITE = 3

#: How long systemd may be too busy to take a message. It is not a reason to hang.
_SEND_SECONDS = 1.0

#: systemd refuses messages of more than 4096 bytes; a character takes up to four.
_LONGEST_STATUS = 1000

#: How many of the targets that are not up are named.
_NAMED = 3


class Systemd:
    """The socket of the service manager; without one, nothing is reported.

    Attributes:
        watchdog_seconds: after how long without a sign of life the service is killed; None if it is not.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        """Given the program's environment, find out where to report to."""
        address = env.get("NOTIFY_SOCKET", "")
        # A name that begins with @ stands for one in the abstract namespace.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.settimeout(_SEND_SECONDS)
        self.watchdog_seconds = _watchdog_seconds(env)
        folder = env.get("RUNTIME_DIRECTORY", "").partition(":")[0]
        self._answer = Path(folder) / "reload" if folder else None

    def __bool__(self) -> bool:
        return self._socket is not None

    def tell(self, **assignments: object) -> None:
        """Given what to report, each on one line, report it. What can't be delivered is lost, which is fine."""
        if self._socket is not None:
            message = "\n".join(f"{name}={value}" for name, value in assignments.items())
            with suppress(OSError):
                self._socket.sendto(message.encode(errors="replace"), self._address)

    def answer(self, faults: Sequence[str]) -> None:
        """Given the faults for which a reload was refused, one a line, none if it was not, write them for `reload.sh`,
        which waits for this file.
        """
        if self._answer is not None:
            with suppress(OSError):
                unfinished = self._answer.with_suffix(".new")
                unfinished.write_text("".join(f"{fault}\n" for fault in faults), encoding="utf-8")
                unfinished.replace(self._answer)

    def close(self) -> None:
        """Report nothing more."""
        if self._socket is not None:
            self._socket.close()


def _watchdog_seconds(env: Mapping[str, str]) -> float | None:
    microseconds = env.get("WATCHDOG_USEC", "")
    ours = env.get("WATCHDOG_PID") in (None, str(os.getpid()))
    return int(microseconds) / 1e6 if ours and microseconds.isdecimal() and int(microseconds) else None


def tell_end(env: Mapping[str, str], code: int, words: str) -> None:
    """Given the program's environment, the exit code that it ends with before it was ready, and why, report both."""
    systemd = Systemd(env)
    again = "; this may pass, and systemd tries again" if code == NOT_NOW else ""
    systemd.tell(STATUS=_one_line(f"exit code {code}{again}: {words}"))
    systemd.close()


class Service:
    """The monitor as a systemd unit.

    The watchdog is fed from evidence, not by a timer: each time, every worker must be alive, and either within its
    deadlines or asleep until a moment that is not over. A missing daemon or registry does not starve it, since a
    restart would not help; nor does an interval longer than the watchdog's.
    """

    def __init__(self, systemd: Systemd, status: Callable[[], str], stuck: Callable[[], Sequence[str]]) -> None:
        """Given where to report to, what returns a sentence about the state, and what says which workers hang."""
        self._systemd = systemd
        self._status = status
        self._stuck = stuck
        self._told = ""
        self._refused = False
        self._starving = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="service", daemon=True)

    def ready(self) -> None:
        """Report that the monitor listens and is configured; from then on, its state, and that it is alive."""
        self._told = self._sentence()
        self._systemd.tell(READY=1, STATUS=self._told)
        if self._systemd:
            self._thread.start()

    def reloading(self) -> None:
        """Report that the configuration is about to be read again."""
        self._systemd.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)

    def reloaded(self, faults: Sequence[str] = ()) -> None:
        """Given why it was refused, if it was, report the end of the reload, and the refusal from now on."""
        self._refused = bool(faults)
        self._systemd.tell(READY=1, STATUS=self._sentence())
        self._systemd.answer(faults)

    def stopping(self) -> None:
        """Report that the monitor stops, and nothing after that."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._systemd.tell(STOPPING=1, STATUS="Stopping: ending docker commands and removing what they made.")

    def beat(self) -> None:
        """Feed the watchdog, unless a worker is stuck; and report the state, if it has changed."""
        stuck = self._stuck()
        if not stuck:
            self._systemd.tell(WATCHDOG=1)
        elif not self._starving and self._systemd.watchdog_seconds is not None:
            _log.error("stopped feeding the watchdog so that systemd restarts the service", extra={"detail": stuck[0]})
        self._starving = bool(stuck)
        sentence = self._sentence()
        if sentence != self._told:
            self._systemd.tell(STATUS=sentence)
            self._told = sentence

    def _watch(self) -> None:
        bite = self._systemd.watchdog_seconds
        pause = STATUS_SECONDS if bite is None else min(STATUS_SECONDS, bite / _FEEDS_A_BITE)
        self.beat()
        while not self._stopped.wait(pause):
            self.beat()

    def _sentence(self) -> str:
        refused = "; the last reload of the configuration was refused, see the log" if self._refused else ""
        return _one_line(self._status() + refused)


def _one_line(text: str) -> str:
    """Given a text, return it in one line: what follows a newline would be an assignment of its own."""
    return textwrap.shorten(text, _LONGEST_STATUS, placeholder=" …")


def sentence(statuses: Sequence[TargetStatus], faults: Sequence[str]) -> str:
    """Given the statuses of the targets, and what keeps the monitor from judging, return both in one sentence."""
    troubled = [status for status in statuses if not status.ok]
    parts = []
    if not troubled and len(statuses) == 1:
        parts.append(f"{statuses[0].target.name} is up")
    elif len(statuses) != 1:
        up = len(statuses) - len(troubled)
        parts.append(f"{up} of {len(statuses)} targets {'is' if up == 1 else 'are'} up")
    parts += [f"{status.target.name}: {_trouble(status)}" for status in troubled[:_NAMED]]
    if len(troubled) > _NAMED:
        parts.append(f"and {len(troubled) - _NAMED} more")
    return "; ".join([*parts, *faults[:_NAMED]])


def _trouble(status: TargetStatus) -> str:
    if status.standing is None:
        return "no verdict yet"
    cycle = status.standing.cycle
    words = str(cycle.verdict)
    if cycle.failed is not None:
        words = f"{cycle.failed.name} failed, {cycle.failed.reason} ({cycle.failed.scope})"
    return f"{words}, stale" if status.stale else words
