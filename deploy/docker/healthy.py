"""Asks the monitor of this container whether it can judge: docker's HEALTHCHECK.

Where it listens, and whether it speaks TLS, is read from what the container was started with, as the monitor itself
reads it. Exits with 0 if /health answers 200, else with 1, and prints the answer.

It has neither password nor client certificate, and nobody should leave them in a container for its sake. Where one is
asked for, that the monitor asks is taken for health: it answers, though whether it can judge stays its secret.
"""
# ruff: noqa: INP001  it is not part of a package: the image has it beside monitor.py

from __future__ import annotations

import os
import ssl
import sys
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from lib.options import Options, OptionsError, parse_options
from lib.web.config import WebConfig, read_web_config

_SECONDS = 8.0


def main() -> int:
    """Ask, print the answer, and return the exit code."""
    # The first process is tini, with the monitor's whole command line behind it. In the host's namespace of processes
    # (--pid=host) it is another one, and the environment alone tells.
    argv = Path("/proc/1/cmdline").read_text().partition("/monitor.py\0")[2].split("\0")[:-1]
    try:
        options = parse_options(argv, os.environ)
        config = read_web_config(options.web_config) if options.web_config else WebConfig()
    except OptionsError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    healthy, told = ask(options, config)
    sys.stdout.write(told)
    return 0 if healthy else 1


def ask(options: Options, config: WebConfig) -> tuple[bool, str]:
    """Given what the monitor was started with, return whether it is healthy, and what it said."""
    address = (options.listen.host or "127.0.0.1", options.listen.port)
    if config.tls is None:
        connection = HTTPConnection(*address, timeout=_SECONDS)
    else:
        # The certificate is for the names by which others know this host: here it proves nothing.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = HTTPSConnection(*address, timeout=_SECONDS, context=context)
    try:
        with closing(connection):
            connection.request("GET", "/health")
            answer = connection.getresponse()
            told = answer.read().decode()
    except ssl.SSLError as error:
        refused = config.tls is not None and config.tls.verify is ssl.CERT_REQUIRED and "ALERT" in (error.reason or "")
        return refused, "alive: it asks for a client certificate\n" if refused else f"{error}\n"
    except (OSError, HTTPException) as error:
        return False, f"{error}\n"
    if config.users and answer.status == HTTPStatus.UNAUTHORIZED:
        return True, "alive: it asks for name and password\n"
    return answer.status == HTTPStatus.OK, told


if __name__ == "__main__":
    sys.exit(main())
