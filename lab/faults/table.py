"""Writes the results of the fault matrix as a document: `python -m lab.faults.table docs/fault-matrix.md`.

It ends with 0 if every row was as expected, with 1 if one was not.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.faults.ground import Ground
from lab.faults.matrix import Result, running
from lab.faults.rows import ROWS
from lab.session import Lab

_HEAD = """# The fault matrix

What the monitor makes of every fault that we could think of, at every step that it can strike: the latest result,
written by `python -m lab.faults.table docs/fault-matrix.md`. {count} rows in {seconds:.0f} s, {right} as expected.

Docker CLI {client}, engine {server}, registry {registry}. The registry is reached over TLS at an address in a network
namespace; a proxy in front of it, iptables, a name server and a token server misbehave there for real. Each fault
strikes as its step begins and is then lifted. A row is right if the cycle failed at that step, within its deadline,
with the expected verdict, scope and reason, the next cycle was up, and nothing was left on the host. Seconds are the
step's; `retries` are docker's own. Deadlines are short here (mostly 4 s), but longer if docker retries by itself before
it says why it fails.

| step | fault | verdict | scope | reason | seconds | retries | |
| --- | --- | --- | --- | --- | ---: | ---: | --- |
"""


def main(arguments: Sequence[str]) -> int:
    """Given the file to write, run every row, print the table and write it. Return the exit code."""
    (path,) = arguments
    logging.disable()  # what cannot be cleaned up while a fault lasts is expected here
    begun = time.monotonic()
    with Lab() as lab:
        ground = Ground(lab)
        client, server = ground.calm.docker(
            "version", "--format={{.Client.Version}} {{.Server.Version}}"
        ).stdout.split()
        with running(ground, ROWS) as futures:
            results = [futures[str(row)].result() for row in ROWS]
    head = _HEAD.format(
        count=len(results),
        seconds=time.monotonic() - begun,
        right=sum(not result.faults() for result in results),
        client=client,
        server=server,
        registry=_registry_version(),
    )
    table = head + "".join(f"{_line(result)}\n" for result in results)
    Path(path).write_text(table)
    sys.stdout.write(table)
    for result in results:
        for fault in result.faults():
            sys.stderr.write(f"{result.row}: {fault}\n")
    return int(any(result.faults() for result in results))


def _line(result: Result) -> str:
    verdict, scope, reason = (*result.verdict.split(), "", "")[:3]
    step = next((step for step in result.struck.steps if step.name is result.row.step), None)
    measured = (f"{step.seconds:.1f}", str(step.retries or "")) if step else ("", "")
    right = "wrong" if result.faults() else ""
    return f"| {' | '.join((result.row.step, result.row.name, verdict, scope, reason, *measured, right))} |"


def _registry_version() -> str:
    printed = subprocess.run(["docker-registry", "--version"], check=True, capture_output=True, text=True).stdout
    return printed.split()[-1].removeprefix("v")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
