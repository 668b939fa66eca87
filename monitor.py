#!/usr/bin/env python3
"""registry-monitor: options in, signals, exit code. `lib.monitor` wires the objects of a run."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from lib import __version__, streams
from lib.ending import USAGE, CantRun, ended_by


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Given the command line without the program's name, and the environment, do what they ask.

    Return the exit code: 0 all well, 1 and 3 as `once` says, else what `lib.ending` says for the exception, which is
    reported in words.
    """
    try:
        return _run(argv, env)
    except SystemExit as ended:  # the help was shown
        return USAGE if ended.code else 0
    except BaseException as error:  # noqa: BLE001  whatever it is, it has an exit code, and is never shown as a traceback
        code, words = ended_by(error)
        if words:
            streams.tell(words)
            _tell_service_manager(env, code, words)
        return code
    finally:
        streams.finish()


def _run(argv: Sequence[str], env: Mapping[str, str]) -> int:
    # Each is imported as late as possible, so that simple requests are answered at once.
    from lib.core_dumps import forbid_core_dumps  # noqa: PLC0415
    from lib.options import describe, parse_options  # noqa: PLC0415

    forbid_core_dumps()  # before passwords are in memory
    options = parse_options(argv, env)
    if options.version:
        streams.show(f"registry-monitor {__version__}")
        return 0

    from lib.command import ShRunner  # noqa: PLC0415
    from lib.docker.nerdctl import why_unusable  # noqa: PLC0415
    from lib.options.hub import hub_warnings  # noqa: PLC0415

    if (why := why_unusable(options.docker, env, ShRunner())) is not None:
        raise CantRun(f"docker: {options.docker} can't be used: {why}")
    if options.check_config:
        for warning in hub_warnings(options.targets):
            streams.tell(f"warning: {warning}")
        streams.show(describe(options))
        return 0

    from lib.monitor import Monitor  # noqa: PLC0415

    gc.freeze()  # no collection looks at any of that again
    gc.enable()
    # A monitor continues if nobody reads what it prints.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    monitor = Monitor(options, env)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: monitor.receive(signal.Signals(received)))
    return monitor.run_once() if options.once else monitor.serve(lambda: parse_options(argv, env))


def _tell_service_manager(env: Mapping[str, str], code: int, words: str) -> None:
    if env.get("NOTIFY_SOCKET"):
        from lib.service import tell_end  # noqa: PLC0415

        tell_end(env, code, words)


if __name__ == "__main__":
    gc.disable()  # while it imports, nothing is garbage, and looking for it takes a tenth of the time
    # A command that only prints ends when its reader does, as with `| head`.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    streams.prepare()
    sys.exit(main(sys.argv[1:], os.environ))
