"""Start: from the moment at which the program is run to its version, to listening, and to the first verdict."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.result import Boxes, Figure, Limit, Result
from bench.site import Payload, PlainScript, Site
from bench.spread import in_turn, median, ratio
from lab.daemon import LabError
from lib.failure.reason import Verdict

METHOD = """The program is started from scratch each time, with its files in the page cache. It listens when its log
says so, and has its first verdict when its log has the first cycle, in an unused repository. The plain script then runs
for the first time in another unused repository."""

TIMES, SHORT_TIMES = 12, 2
_VERSION_TIMES = 20

_PROGRAM = str(Path(__file__).resolve().parent.parent / "monitor.py")
_LISTENING, _FINISHED = "watching", "cycle finished"


def measure(site: Site, *, short: bool = False) -> Result:
    """Given a site, and whether a few times will do, return the result."""
    times = SHORT_TIMES if short else TIMES
    printing = in_turn(
        {"version": lambda: _run_python(_PROGRAM, "-version"), "python alone": lambda: _run_python("-c", "pass")},
        _VERSION_TIMES,
    )
    listening, verdict, script = [], [], []
    for _ in range(times):
        moments = _first_moments(site)
        listening.append(moments[0])
        verdict.append(moments[1])
        plain = PlainScript(site, Payload())
        began = time.monotonic()
        plain()
        script.append(time.monotonic() - began)
    version, python = printing.values()
    figures = (
        Figure("start.version", "`-version`", "ms", median(version).scaled(1000), Limit(150)),
        Figure("start.python", "Python alone", "ms", median(python).scaled(1000)),
        Figure("start.listening", "to listening", "ms", median(listening).scaled(1000), Limit(400)),
        Figure("start.verdict", "to the first verdict", "s", median(verdict)),
        Figure("start.plain", "the plain script's first run", "s", median(script)),
        Figure(
            "start.ratio", "to the first verdict, relative to the plain script's first run", "", ratio(verdict, script)
        ),
    )
    boxes = {"version": version, "listening": listening, "first verdict": verdict, "plain script": script}
    return Result("Start", METHOD, figures, (Boxes("start", "From the start", "s", boxes),))


def _run_python(*arguments: str) -> None:
    subprocess.run((sys.executable, *arguments), stdout=subprocess.DEVNULL, check=True)


def _first_moments(site: Site) -> tuple[float, float]:
    """Given a site, run the monitor until it has a verdict. Return the seconds to listening and to the verdict."""
    argv = (sys.executable, _PROGRAM, "-listen=127.0.0.1:0", f"-repository={site.new_repository()}")
    moments: dict[str, float] = {}
    said: list[str] = []
    began = time.monotonic()
    with subprocess.Popen(argv, env=site.engine.env, stderr=subprocess.PIPE, text=True) as monitor:
        for line in monitor.stderr or ():
            said.append(line)
            for words in (_LISTENING, _FINISHED):
                if words in line:
                    moments.setdefault(words, time.monotonic() - began)
            if _FINISHED in moments:
                break
        monitor.terminate()
        monitor.communicate()
    if len(moments) < 2 or f"verdict={Verdict.UP}" not in said[-1]:  # noqa: PLR2004  both
        raise LabError(f"no verdict came, or it was not up: {''.join(said)}")
    return moments[_LISTENING], moments[_FINISHED]
