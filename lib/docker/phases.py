"""Phases: how the seconds of a pull or push were spent, by when docker's lines about its layers came.

There are three, which follow each other and add up to the command's seconds; `lib.result` names them. The lines come as
things happen, except with containerd's image store, which looks every tenth of a second.
"""

from __future__ import annotations

import re
from heapq import merge

from lib.docker.printed import Printed

#: How long a pull or push took to its first line about a layer, from there to the last layer, and from there on.
Phases = tuple[float, float, float]

_ON_ITS_WAY = re.compile(r"[0-9a-f]{12}: (?!Pulling from |Download complete)")  # a tag can look like a layer
# A busy dockerd leaves out a layer's first line if the second comes before that was sent (distribution/xfer, Watch).
_DOWNLOADED = re.compile(r"([0-9a-f]{12}): (?:Download|Pull) complete")
# A layer that waits is neither there nor on its way. containerd's store says only "Waiting" of one until it is pushed.
_TO_BE_PUSHED = re.compile(r"[0-9a-f]{12}: (?:Preparing|Mounted from|Layer already exists)")
_PUSHED = re.compile(r"[0-9a-f]{12}: (?:Pushed|Mounted from|Layer already exists)")


def phases_of_pull(completed: Printed) -> Phases | None:
    """Given a pull that worked, return its phases; None if docker's lines do not tell."""
    return phases_between(_ON_ITS_WAY, _DOWNLOADED, completed)


def phases_of_push(completed: Printed) -> Phases | None:
    """Given a push that worked, return its phases; None if docker's lines do not tell."""
    return phases_between(_TO_BE_PUSHED, _PUSHED, completed)


def phases_between(first: re.Pattern[str], last: re.Pattern[str], completed: Printed) -> Phases | None:
    """Given the patterns of the first and the last line of the second phase, and a command, return the phases; None if
    those lines did not come, or the second phase ended without a line that it had begun. If the second pattern has a
    group, the layer, only the first line of each counts.
    """
    begun = ended = None
    told: set[str] = set()
    for moment, line in merge(*(arrivals.lines() for arrivals in completed.arrivals)):
        if begun is None and first.match(line):
            begun = moment
        if (found := last.match(line)) and told.isdisjoint(found.groups()):
            if begun is None:
                return None
            ended = moment
            told.update(found.groups())
    if begun is None or ended is None:
        return None
    # The last lines can be read a moment after the command has ended.
    begun, ended = (min(max(0.0, moment), completed.seconds) for moment in (begun, ended))
    return begun, ended - begun, completed.seconds - ended
