"""Writes the results of the outages as a document: `python -m lab.outages.table docs/outages.md`.

It ends with 0 if the monitor said of each what it has to say, with 1 if it did not.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.daemon import LabError
from lab.faults.ground import Ground
from lab.faults.matrix import Result, running
from lab.outages import Outage, Replay
from lab.outages.outages import OUTAGES
from lab.session import Lab

#: How long it takes at most with the defaults until two cycles have failed, without the seconds that these take.
_PAUSES_SECONDS = 120 + 30
#: The default of `step-timeout`: how long a hanging step takes, however short the deadline is here.
_DEADLINE_SECONDS = 120

_HEAD = """# Outages that happened, replayed

Reported outages of registries, what this monitor says when they happen again, and after how long. Each is replayed in
the lab with a real engine and a real registry, and the table shows what the monitor said: written by
`python -m lab.outages.table docs/outages.md` in {seconds:.0f} s. Each is also a test in `tests/lab/test_outages.py`, by
its number and name. {seen} of {count} are seen, {right} of these named as they should be.

"Watched by" says what has to be configured; if it is empty, a target with the defaults sees it. "Alerted within" is the
longest time until an alert fires with the defaults: the next cycle comes after at most 2 minutes, the second one 30
seconds after it, and both take their time. A step that hangs takes until its deadline, 2 minutes.

| # | outage | what happened | watched by | what the monitor says | alerted within | |
| ---: | --- | --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class _Told:
    """What the monitor said of an outage, and the seconds of the cycle that said it, if one did."""

    says: str
    seconds: float | None = None


def main(arguments: Sequence[str]) -> int:
    """Given the file to write, bring every outage about, print the table and write it. Return the exit code."""
    (path,) = arguments
    logging.disable()  # what cannot be cleaned up while a fault lasts is expected here
    begun = time.monotonic()
    with Lab() as lab:
        ground = Ground(lab)
        with running(ground, [outage.row for outage in OUTAGES if outage.row]) as futures:
            told = {outage.number: _of_cycle(futures[str(outage.row)].result()) for outage in OUTAGES if outage.row}
        for outage in OUTAGES:
            if outage.replay:
                told[outage.number] = _Told(_replayed(outage.replay, ground))
                sys.stderr.write(f"{outage}: {told[outage.number].says}\n")
    head = _HEAD.format(
        seconds=time.monotonic() - begun,
        count=len(OUTAGES),
        seen=len(told),
        right=sum(told[outage.number].says == outage.says for outage in OUTAGES if outage.is_seen),
    )
    table = head + "".join(f"{_line(outage, told.get(outage.number))}\n" for outage in OUTAGES)
    Path(path).write_text(table)
    sys.stdout.write(table)
    return int(any(told[outage.number].says != outage.says for outage in OUTAGES if outage.is_seen))


def _replayed(replay: Replay, ground: Ground) -> str:
    try:
        return replay(ground)
    except (LabError, AssertionError) as error:
        return f"nothing: {error}"


def _of_cycle(result: Result) -> _Told:
    says = "; ".join([result.verdict, *result.faults()])
    hangs = result.verdict.endswith("timeout")
    return _Told(says, _DEADLINE_SECONDS if hangs else result.struck.seconds)


def _line(outage: Outage, told: _Told | None) -> str:
    if told is None:
        return f"| {outage.number} | {outage.name} | {outage.happened} | | not seen: {outage.note} | never | |"
    within = outage.within or _minutes(_PAUSES_SECONDS + 2 * (told.seconds or 0.0))
    wrong = "" if told.says == outage.says else "wrong"
    says = f"{told.says} ({outage.note})" if outage.note else told.says
    cells = (str(outage.number), outage.name, outage.happened, outage.watched, says, within, wrong)
    return f"| {' | '.join(cells)} |"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
