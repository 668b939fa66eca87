"""Core dumps: prevents them for this process, which has passwords in its memory, and for the docker commands.

The limit also applies to the processes that this one starts, which get passwords, too. But a program that the kernel
hands cores to may ignore it: so this process is also marked as not dumpable, which keeps everybody but root from
reading its memory, too.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress

_PR_SET_DUMPABLE = 4


def forbid_core_dumps() -> None:
    """Prevent core dumps of this process from now on, as far as this system allows."""
    # If this process may not set limits, Python raises a ValueError.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
