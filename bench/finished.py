"""Finished: the cycles in a monitor's log, if that is written as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from lab.daemon import LabError, await_true
from lab.monitor import Monitor
from lib.failure.reason import Verdict

#: The options of a monitor whose log is read: only that level reports cycles that are up.
LOG_OPTIONS = ("-log-format=json", "-loglevel=debug")

_FIRST_WORDS = "cycle "


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished cycle.

    Attributes:
        target: whose it was. ended: when it was logged, in seconds since 1970. seconds: how long it took.
    """

    target: str
    ended: float
    seconds: float


def finished_cycles(monitor: Monitor) -> list[Finished]:
    """Given a monitor, return its finished cycles, in their order. Raise LabError if one was not up."""
    finished = []
    for line in monitor.log.read_text(encoding="utf-8").splitlines():
        # The last line may be half written.
        event = json.loads(line) if line.endswith("}") else {}
        if not event.get("msg", "").startswith(_FIRST_WORDS):
            continue
        if event["verdict"] != Verdict.UP:
            raise LabError(f"a cycle was {event['verdict']}: {event}")
        ended = datetime.fromisoformat(event["time"]).timestamp()
        finished.append(Finished(event["target"], ended, event["seconds"]))
    return finished


def await_cycles(monitor: Monitor, count: int, seconds: float) -> list[Finished]:
    """Given a monitor, wait until it has finished so many cycles, and return all that it has.

    Raise LabError if that takes longer than so many seconds, or a cycle was not up.
    """
    await_true(lambda: len(finished_cycles(monitor)) >= count, seconds, f"{count} cycles")
    return finished_cycles(monitor)
