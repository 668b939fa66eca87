"""malloc: freed memory goes back to the system, so that a scrape of a thousand targets does not leave its memory in
use.

glibc's malloc (mallopt(3)) gives every thread an arena of its own and, once a large piece was freed, takes the next
ones from there: each of the short-lived threads that answer a scrape would keep its megabytes.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8

#: From this size on, a piece is mapped separately, and unmapped when it is freed.
_LARGE_BYTES = 1024 * 1024
#: One thread runs Python at a time; few others allocate memory meanwhile.
_ARENAS = 2


def give_back_what_is_free() -> None:
    """Have this process's malloc give large pieces back at once. If it is not from glibc, leave it as it is."""
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)
