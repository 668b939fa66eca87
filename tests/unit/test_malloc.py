"""malloc: what threads took and freed is the system's again."""

from __future__ import annotations

import subprocess
import sys

from lib import malloc

#: Each of ten threads takes and frees 20 MB twice: the first time teaches glibc to keep the second.
_THREADS = """
import os, threading
from lib.malloc import give_back_what_is_free
{call}
def take():
    for _ in range(2):
        b"x" * 20_000_000
        bytearray(20_000_000)
for _ in range(10):
    held = threading.Thread(target=take)
    held.start()
    held.join()
print(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""


def _resident_bytes(call):
    return int(
        subprocess.run([sys.executable, "-c", _THREADS.format(call=call)], capture_output=True, check=True).stdout
    )


def test_large_pieces_are_given_back():
    assert _resident_bytes("give_back_what_is_free()") < _resident_bytes("") - 10_000_000


def test_another_malloc_is_left_alone(monkeypatch):
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda _: object())
    malloc.give_back_what_is_free()
