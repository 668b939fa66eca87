"""Core dumps: none are made of a process that said so."""

from __future__ import annotations

import subprocess
import sys

_ASKED = """
import ctypes, resource
from lib.core_dumps import forbid_core_dumps
forbid_core_dumps()
forbid_core_dumps()  # it may be said twice
print(*resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3))  # 3: is it one that may be dumped?
"""


def test_neither_by_its_limit_nor_by_whoever_ignores_that():
    assert subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, check=True).stdout.split() == [b"0"] * 3
