"""Faults of the monitor's own host: its engine and its docker CLI."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.exchange import Action
from lab.faults.outside import layer_put
from lab.faults.rig import Fault, Rig
from lab.misbehaviour import calling, silence
from lab.mounts import filled

#: A docker CLI that crashes as programs in Go do.
PANIC = """cat >&2 <<END
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x55d5e2]

goroutine 1 [running]:
main.main()
END
exit 2"""

#: One that hangs, and does not end when asked to.
DEAF = "trap '' TERM; while :; do sleep 1; done"

#: One that exits as if all were well when it is asked to end.
EAGER = """trap 'exit 0' TERM
"$DOCKER" "$@" & wait $!"""


# The engine.


@contextmanager
def engine_stopped(rig: Rig) -> Iterator[None]:
    """Stop dockerd."""
    rig.lane.engine.stop()
    try:
        yield
    finally:
        rig.lane.engine.start()


@contextmanager
def engine_restarted(rig: Rig) -> Iterator[None]:
    """Restart dockerd; it is back before the step's command runs."""
    rig.lane.engine.stop()
    rig.lane.engine.start()
    yield


@contextmanager
def engine_paused(rig: Rig) -> Iterator[None]:
    """Make dockerd hang (SIGSTOP)."""
    rig.lane.engine.pause()
    try:
        yield
    finally:
        rig.lane.engine.resume()


def engine_paused_for(seconds: float) -> Fault:
    """Given how long, return as a fault that dockerd hangs for that time and then goes on."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        rig.lane.engine.pause()
        going_on = threading.Timer(seconds, rig.lane.engine.resume)
        going_on.start()
        yield
        going_on.join()

    return fault


def in_transfer(transfer: Callable[[Action], Fault], strike: Callable[[Rig], object]) -> Fault:
    """Return as a fault what strikes the engine, or the CLI, in the middle of a transfer.

    Given which request to the registry is to be stalled, and what is done as soon as it came; the engine runs again
    afterwards.
    """

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        striking = threading.Thread(target=strike, args=(rig,))
        # Once only: docker has several transfers under way, and tries again.
        first = threading.Lock()

        def told() -> None:
            if first.acquire(blocking=False):
                striking.start()

        with transfer(calling(told, silence))(rig):
            yield
        striking.join()
        rig.lane.engine.resume()
        if not rig.lane.engine.answers():
            rig.lane.engine.stop()
            rig.lane.engine.start()

    return fault


def stop(rig: Rig) -> None:
    """End dockerd."""
    rig.lane.engine.stop()


def kill(rig: Rig) -> None:
    """Kill dockerd."""
    rig.lane.engine.kill()


def pause(rig: Rig) -> None:
    """Make dockerd hang."""
    rig.lane.engine.pause()


def kill_cli(rig: Rig) -> None:
    """Kill the docker CLI, as the kernel does when memory is short."""
    for pid in rig.docker_pids():
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGKILL)


def killed_at(command: str) -> Fault:
    """Given the beginning of a docker command line, return as a fault that dockerd is killed just before that runs.

    The engine runs again afterwards.
    """

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        engine = rig.lane.engine
        script = f'case "$*" in "{command}"*) kill -KILL "$(cat {engine.folder / "pid"})" ;; esac\nexec "$DOCKER" "$@"'
        with cli(script)(rig):
            try:
                yield
            finally:
                engine.kill()
                engine.start()

    return fault


@contextmanager
def engine_disk_full(rig: Rig) -> Iterator[None]:
    """The engine's disk is full."""
    with filled(rig.lane.engine.data):
        yield


@contextmanager
def image_in_use(rig: Rig) -> Iterator[None]:
    """A container uses the test image."""
    engine = rig.lane.engine
    container = engine.docker("create", rig.target.reference.familiar, "/nothing").stdout.strip()
    try:
        yield
    finally:
        engine.docker("rm", container)


@contextmanager
def context_damaged(rig: Rig) -> Iterator[None]:
    """A file that the build needs is gone from its context. The step begins before that is written."""
    with cli(f'rm "{rig.context}/payload-0"\nexec "$DOCKER" "$@"')(rig):
        yield


# The CLI.


def cli(script: str, mode: int = 0o700) -> Fault:
    """Given a shell script that finds the real docker as $DOCKER, put it in the CLI's place."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        docker = rig.cli.readlink()
        # Under a name of its own: a shell opens its script by name, and would read the real docker as a script where
        # that had taken the name meanwhile. Written by a process of its own: a child that another row forks meanwhile
        # would hold a file of ours open, and the kernel runs nothing that is open for writing.
        file = rig.cli.with_name(f"{rig.cli.name}-{secrets.token_hex(4)}")
        text = f"#!/bin/sh\nDOCKER={docker}\n{script}\n"
        subprocess.run(["install", f"--mode={mode:o}", "/dev/stdin", str(file)], input=text, text=True, check=True)
        _lead(rig.cli, file)
        try:
            yield
        finally:
            _lead(rig.cli, docker)
            file.unlink()

    return fault


def _lead(link: Path, file: Path) -> None:
    """Given a symbolic link that others may be using, lead it to another file at once."""
    unfinished = link.with_name(f"{link.name}-unfinished")
    unfinished.symlink_to(file)
    unfinished.rename(link)


@contextmanager
def cli_missing(rig: Rig) -> Iterator[None]:
    """There is no docker CLI."""
    docker = rig.cli.readlink()
    rig.cli.unlink()
    try:
        yield
    finally:
        rig.cli.symlink_to(docker)


@contextmanager
def not_permitted(rig: Rig) -> Iterator[None]:
    """The CLI may not use the daemon's socket: here, as a root without the right to pass over permissions."""
    socket = Path(rig.lane.engine.host.removeprefix("unix://"))
    mode = socket.stat().st_mode
    with cli('exec setpriv --bounding-set=-dac_override,-dac_read_search -- "$DOCKER" "$@"')(rig):
        socket.chmod(0)
        try:
            yield
        finally:
            socket.chmod(mode & 0o777)


@contextmanager
def stalls_and_exits_well(rig: Rig) -> Iterator[None]:
    """An upload stalls, and the CLI exits as if all were well when it is ended for that."""
    with layer_put(silence)(rig), cli(EAGER)(rig):
        yield
