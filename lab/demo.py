"""The demonstration: the monitor's main job, on a real engine and a real registry, while the registry comes and goes.

    python -m lab.demo [--keep]

It ends by itself, with --keep only after Enter: with 0 if everything behaved as expected, with 1 if something did not.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus

from lab.archive import file_system
from lab.daemon import LabError, await_true
from lab.engine import Engine
from lab.monitor import Monitor, run_monitor
from lab.registry import Registry
from lab.session import Lab
from lab.snapshot import take_snapshot

_USER, _PASSWORD = "monitor", "a password that is shown nowhere"
#: docker tries an upload that was cut off again for about a minute.
_PATIENCE_SECONDS = 150.0
_STOP_LIMIT_SECONDS = 10.0
_ALL = re.compile("")
#: The metrics worth showing; there are many more.
_TELLING = re.compile(
    r"monitor_(success|failure) |registry_monitor_(up|healthy)\b|registry_monitor_failures_total\b.* (?!0\.0$)"
)


def demonstrate(lab: Lab, *, keep: bool) -> None:
    """Given a lab, and whether to let people look at the page before the end, show everything.

    Raise LabError if something does not behave as expected.
    """
    heading("A private engine and registry")
    engine = lab.enter(Engine(lab.folder / "engine"))
    registry = lab.enter(Registry(lab.folder / "registry", users={_USER: _PASSWORD}))
    engine.docker("import", "-", "somebody/image:1", stdin=file_system("not the monitor's"))
    engine.docker("volume", "create", "somebodys-volume")
    before = take_snapshot(engine)
    version = engine.docker("version", "--format={{.Client.Version}} with engine {{.Server.Version}}").stdout.strip()
    say(f"docker {version}, {registry.host}; they hold an image and a volume of somebody's")

    password = lab.folder / "password"
    password.touch(mode=0o600)
    password.write_text(_PASSWORD)
    target = (f"-repository={registry.host}/demo/canary", f"-username={_USER}", f"-password-file={password}")

    heading("One cycle, its steps as they happen", "monitor.py -once")
    code = run_monitor(engine, "-once", *target)
    expect(code == 0, f"-once to exit with 0, not with {code}")
    expect(registry.manifests_put() == ["latest"], "one manifest in the registry's own log")
    say(f"the registry's own log: {len(registry.blobs_put())} blobs put, {len(registry.blobs_got())} read back")

    service = ("-run-test-every=5s", "-retry-every=2s")
    heading("The monitor as a service", f"monitor.py {' '.join(service)}")
    monitor = Monitor(lab.folder, engine, *target, *service)
    try:
        with monitor:
            watch(monitor, registry)
            if keep:
                let_people_look(monitor)
            started = time.monotonic()
            exit_code = monitor.stop()
            seconds = time.monotonic() - started
    except LabError as error:
        raise LabError(f"{error}\nThe monitor's log:\n{monitor.log.read_text(errors='replace')}") from None

    heading("Stopped, with nothing left behind")
    in_time = seconds < _STOP_LIMIT_SECONDS
    expect(exit_code == 0 and in_time, f"exit 0 within 10 s of SIGTERM, not {exit_code} after {seconds:.1f} s")
    after = take_snapshot(engine)
    expect(after == before, f"the engine to hold what it held\nbefore: {before}\nafter:  {after}")
    say(f"it ended {seconds:.1f} s after SIGTERM; images, containers, volumes and build cache are as they were")


def watch(monitor: Monitor, registry: Registry) -> None:
    """Given a running monitor and its registry, show what it says of the registry up, down, and up again."""
    await_verdict(monitor, (200, "up", None))
    show(monitor)

    heading("The registry is stopped")
    registry.stop()
    await_verdict(monitor, (503, "down", "refused"))
    show(monitor)

    heading("The registry is started again")
    registry.start()
    await_verdict(monitor, (200, "up", None))
    show(monitor)


def let_people_look(monitor: Monitor) -> None:
    """Given a running monitor, say where its page is, and wait for Enter, or for the end of the input."""
    heading("The page")
    say(f"open {monitor.url}/ in a browser on this host; press Enter here to end")
    with suppress(EOFError):
        input()


def await_verdict(monitor: Monitor, wanted: tuple[int, str, str | None]) -> None:
    """Given the HTTP status, verdict and reason that /status is to come to, wait until it does. Raise LabError."""
    started = time.monotonic()
    try:
        await_true(lambda: monitor.verdict() == wanted, _PATIENCE_SECONDS, f"/status to come to {wanted}")
    except LabError as error:
        raise LabError(f"{error}, and it is at {monitor.verdict()}") from None
    say(f"{wanted[1]} after {time.monotonic() - started:.1f} s")


def show(monitor: Monitor) -> None:
    """Given a monitor, show what it answers. Raise LabError if it does not call itself healthy."""
    for path, shown in (("/status", _ALL), ("/health", _ALL), ("/metrics", _TELLING)):
        code, text = monitor.get(path)
        print(f"  GET {path}: {code}")
        for line in text.splitlines():
            if shown.match(line):
                print(f"    {line}")
        expect(path == "/status" or code == HTTPStatus.OK, f"{path} to be 200 whatever the registry does, not {code}")


def heading(title: str, command: str = "") -> None:
    """Given a title, and the command that follows, print them."""
    print(f"\n== {title}" + (f": {command}" if command else ""), flush=True)


def say(text: str) -> None:
    """Given a sentence, print it."""
    print(f"  {text}", flush=True)


def expect(condition: bool, what: str) -> None:  # noqa: FBT001  it reads as an assertion
    """Given whether something is as expected, and what that is, return. Raise LabError if it is not."""
    if not condition:
        raise LabError(f"expected {what}")


def main(arguments: Sequence[str]) -> int:
    """Given the arguments, run the demonstration, and return the exit code."""
    parser = argparse.ArgumentParser(prog="lab/demo.sh", description="Shows the monitor's main job.")
    parser.add_argument("--keep", action="store_true", help="leave the monitor and its page up until you press Enter")
    keep = parser.parse_args(arguments).keep
    try:
        with Lab() as lab:
            demonstrate(lab, keep=keep)
    except LabError as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demonstration was interrupted.", file=sys.stderr)
        return 130
    print("\nEverything behaved as expected.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
