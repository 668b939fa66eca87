"""Core dumps: none are made of this process, which has passwords in its memory, and none of the docker commands.

The limit holds for what this process starts, which gets passwords, too. But a program that the kernel hands cores to
may ignore it: so this process is marked as one that gives none, by which nobody but root can look into its memory,
either.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Have none made of this process from now on, as far as this system lets us say so."""
    # Where setting limits is not for this process, Python says so by a ValueError.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
