"""Resources: what a running program takes from its host, according to the kernel (proc(5))."""

from __future__ import annotations

import os
import re
from pathlib import Path

_KIB = 1024
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> float:
    """Given a process, return its resident memory. Raise OSError if it is gone."""
    return _memory(pid, "VmRSS")


def peak_bytes(pid: int) -> float:
    """Given a process, return the most that its resident memory ever was. Raise OSError if it is gone."""
    return _memory(pid, "VmHWM")


def cpu_seconds(pid: int) -> float:
    """Given a process, return what its own threads have used, without its children. Raise OSError if it is gone."""
    # The name of the program, in parentheses, may hold anything.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    user, system = fields[11:13]
    return (int(user) + int(system)) / _TICKS_A_SECOND


def _memory(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return float(found[1]) * _KIB if found else 0.0
