"""Asks the monitor of this container whether it can judge: docker's HEALTHCHECK.

Where it listens is read from what the container was started with, as the monitor itself reads it. Exits with 0 where
/health answers 200, else with 1, and prints what it answers.
"""
# ruff: noqa: INP001  it is no part of a package: the image has it beside monitor.py

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection
from pathlib import Path

from lib.options import OptionsError, parse_options

_SECONDS = 8.0
_OK = 200


def main() -> int:
    """Ask, print the answer, and return the exit code."""
    # The first process is tini, with the monitor's whole command line behind it. In the host's namespace of processes
    # (--pid=host) it is another one, and the environment alone tells.
    argv = Path("/proc/1/cmdline").read_text().partition("/monitor.py\0")[2].split("\0")[:-1]
    try:
        options = parse_options(argv, os.environ)
        connection = HTTPConnection(options.listen_host or "127.0.0.1", options.listen_port, timeout=_SECONDS)
        connection.request("GET", "/health")
        answer = connection.getresponse()
    except (OptionsError, OSError) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    sys.stdout.write(answer.read().decode())
    return 0 if answer.status == _OK else 1


if __name__ == "__main__":
    sys.exit(main())
