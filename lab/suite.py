"""The two suites: `python -m lab.suite` is the quick one, `python -m lab.suite everything` leaves nothing out.

Each part is an environment of tox. Those of a stage run side by side, and what each printed is shown when it ends; a
part that has a stage to itself is shown as it runs. At the end: what each part took, and how many tests passed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree as ET

_ROOT = Path(__file__).resolve().parent.parent
#: What runs now, each in a session of its own.
_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a suite.

    Attributes:
        name: what it is called.
        environment: which of tox's it runs in.
        arguments: what that environment's command takes in place of its own.
    """

    name: str
    environment: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """How many tests ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed" + (f", {self.skipped} skipped" if self.skipped else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a part.

    Attributes:
        part: which.
        code: its exit code.
        seconds: how long it took.
        count: of its tests; where it has none, or none to show for its failure, one failed.
    """

    part: Part
    code: int
    seconds: float
    count: Count


_CHECKS = (Part("lint", "lint"), Part("types", "types"))
_DEMO = Part("demo", "demo")

#: Tests of what takes an hour at full length.
_LONG = ("tests/bench/test_soak.py", "tests/bench/test_kills.py")

#: What the suites run, stage by stage. The lab's tests have the machine to themselves: those that measure time most of
#: all. Soak and benchmarks run one after the other for the same reason.
QUICK = ((*_CHECKS, Part("unit", "tests"), _DEMO), (Part("lab", "lab"),))
EVERYTHING = (
    (*_CHECKS, Part("unit, 1,500 examples", "tests", ("--hypothesis-profile=everything", "tests/unit")), _DEMO),
    (Part("lab, whole matrix and all engines", "lab", ("tests/lab",)),),
    (Part("the lab's own tests", "lab", ("tests/equipment",)),),
    (Part("soak and kills", "lab", ("--numprocesses=0", *_LONG)),),
    (Part("benchmarks", "lab", ("--numprocesses=0", "tests/bench", *(f"--ignore={file}" for file in _LONG))),),
)


def run(stages: Sequence[Sequence[Part]]) -> list[Outcome]:
    """Given stages, run them in turn, the parts of each side by side, and return the results."""
    outcomes: list[Outcome] = []
    for stage in stages:
        with ThreadPoolExecutor(len(stage)) as pool:
            begun = [pool.submit(_run, part, shown=len(stage) == 1) for part in stage]
            outcomes.extend(done.result() for done in as_completed(begun))
    return outcomes


def report(outcomes: Sequence[Outcome]) -> str:
    """Given the results of all parts, return what to print at the end."""
    width = max(len(outcome.part.name) for outcome in outcomes)
    lines = [
        f"{one.part.name:<{width}} {one.seconds:7.1f} s  {'failed' if one.code else 'ok':<6}  {one.count}"
        for one in outcomes
    ]
    return "\n".join([*lines, str(sum((one.count for one in outcomes), Count()))])


def count(report: Path, code: int) -> Count:
    """Given the file that pytest writes for programs, and the exit code of what wrote it, return what it counts."""
    if not report.exists():
        return Count(failed=int(code != 0))
    counted = Count()
    for suite in ET.parse(report).getroot().iter("testsuite"):
        tests, failures, errors, skipped = (
            int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
        )
        counted += Count(tests - failures - errors - skipped, failures + errors, skipped)
    # An error outside any test is not a success either.
    return counted if code == 0 or counted.failed else counted + Count(failed=1)


def _run(part: Part, *, shown: bool) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        argv = [sys.executable, "-m", "tox", "run", "-e", part.environment]
        if part.arguments:  # for tox, none after a `--` are arguments, too
            argv += ["--", *part.arguments]
        env = os.environ | {"PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junit-xml={report}"}
        begun = time.monotonic()
        if shown:
            sys.stdout.write(f"\n=== {part.name}\n")
            sys.stdout.flush()
        process = subprocess.Popen(
            argv,
            cwd=_ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
            start_new_session=True,
        )
        _running.add(process)
        printed, _ = process.communicate()
        _running.remove(process)
        if not shown:
            sys.stdout.write(f"\n=== {part.name}\n{printed.decode(errors='replace')}")
            sys.stdout.flush()
        return Outcome(part, process.returncode, time.monotonic() - begun, count(report, process.returncode))


def _interrupt(number: int, _frame: FrameType | None) -> None:
    for process in tuple(_running):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
    raise KeyboardInterrupt(signal.Signals(number).name)


def main(arguments: Sequence[str]) -> int:
    """Given `everything`, or nothing, run that suite, and return the exit code.

    Ended by a signal, it has every part clean up and end.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        outcomes = run(EVERYTHING if arguments else QUICK)
    except KeyboardInterrupt as interrupt:
        print(f"\ninterrupted: {interrupt}")
        return 130
    print(f"\n{report(outcomes)}")
    return int(any(outcome.code for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
