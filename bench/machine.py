"""The machine: what everything was measured on, in words."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.soak_report import describe_machine
from lab.engine import Engine


def describe(engine: Engine) -> str:
    """Given an engine, return in a few sentences what it and everything else ran on."""
    printed = subprocess.run(["docker-registry", "--version"], check=True, capture_output=True, text=True).stdout
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    model = f" Its processor calls itself {processor[1]}." if processor else ""
    registry = printed.split()[-1].removeprefix("v")
    return f"{describe_machine(engine)}{model} The registry is distribution {registry}, and sh {version('sh')}."
