#!/usr/bin/env python3
"""registry-monitor: the composition root. Options in, objects wired, signals, exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from lib import __version__
from lib.options import OptionsError, describe, parse_options

#: Exit code of wrong usage or configuration.
USAGE = 2


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Given the command line without the program's name, and the environment, do what is asked for.

    Return the exit code: 0 all well, 1 and 3 as `once` says, 2 for wrong usage or configuration.
    """
    try:
        options = parse_options(argv, env)
    except OptionsError as error:
        print(error, file=sys.stderr)
        return USAGE
    if options.version:
        print(f"registry-monitor {__version__}")
        return 0
    if options.check_config:
        print(describe(options))
        return 0

    # Imported only now, so that the above is answered at once.
    from lib.monitor import Monitor, MonitorError  # noqa: PLC0415

    # A monitor goes on where nobody reads what it prints.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        monitor = Monitor(options, env)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _: monitor.signals.put(signal.Signals(received)))
        return monitor.run_once() if options.once else monitor.serve(lambda: parse_options(argv, env))
    except MonitorError as error:
        print(f"registry-monitor: {error}", file=sys.stderr)
        return USAGE


if __name__ == "__main__":
    # What only prints ends when its reader does, as behind `| head`, and never fails at a sign that can't be shown.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:], os.environ))
