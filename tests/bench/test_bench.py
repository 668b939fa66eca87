"""The benchmarks in short: what is compared is the same, and nothing is grossly slower than it was."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace

import pytest

from bench import capacity, cycle, rested, truth
from bench.process_events import ProcessEvents
from bench.reasons import unexplained
from bench.report import document, lines, write_document
from bench.result import Boxes, Figure, Limit, Lines, Result
from bench.site import Payload, PlainScript, Site
from bench.spread import estimate, in_turn, median, ratio
from bench.wired import Wired, run_bare
from lab.daemon import LabError
from lib.command import ShRunner

#: Writes down what docker is asked, and in what environment, and asks it.
RECORDER = """#!/bin/sh
{{ printf '%s\\n' "$*"; env | grep '^DOCKER_BUILDKIT=\\|^BUILDKIT_PROGRESS=\\|^DOCKER_CLI_HINTS=' | sort; }} >>{log}
exec {docker} "$@"
"""


@pytest.fixture(scope="module")
def site(session_lab):
    """An engine and a registry of the benchmarks' own."""
    return Site(session_lab)


@pytest.fixture
def recorded(site, tmp_path):
    """Given what runs a cycle, return what it asked of docker, with what differs from cycle to cycle made the same."""
    docker = shutil.which("docker", path=site.engine.env["PATH"])
    recorder = site.engine.programs / "docker"
    recorder.parent.mkdir(exist_ok=True)
    recorder.write_text(RECORDER.format(log=tmp_path / "log", docker=docker))
    recorder.chmod(0o755)

    def record(run_cycle):
        (tmp_path / "log").write_text("")
        run_cycle()
        asked = (tmp_path / "log").read_text()
        asked = re.sub(r"registry-monitor-held/\w+", "HELD", asked)
        asked = re.sub(rf"{re.escape(site.registry.host)}/bench/\w+", "IMAGE", asked)
        return re.sub(r"/\S+/context\b", "CONTEXT", asked).splitlines()

    yield record
    recorder.unlink()


@pytest.mark.parametrize("layers", [1, 3])
def test_the_plain_script_asks_docker_for_just_what_a_steady_cycle_does(site, recorded, layers):
    """The same commands in the same order, with the same arguments and settings, from the second cycle on."""
    plain = PlainScript(site, Payload(65536, layers))
    plain()
    with Wired(site, Payload(65536, layers)) as monitor:
        monitor()
        asked = recorded(monitor)

    assert recorded(plain) == asked
    assert [line.split()[0] for line in asked if "=" not in line.split()[0]] == [
        "image",
        "pull",
        "rmi",
        "build",
        "push",
        "rmi",
        "pull",
        "rmi",
    ]


def test_the_plain_script_moves_as_much(site):
    """Its registry gets and gives the same blobs as the monitor's: the configuration once, and every layer."""
    with Wired(site, Payload(300_000, 3)) as monitor:
        moved = []
        for run_cycle in (PlainScript(site, Payload(300_000, 3)), monitor):
            before = len(site.registry.blobs_put()), len(site.registry.blobs_got())
            run_cycle()
            moved.append((len(site.registry.blobs_put()) - before[0], len(site.registry.blobs_got()) - before[1]))

    assert moved == [(4, 4), (4, 4)]


@pytest.mark.parametrize("measurement", [cycle, truth, capacity], ids=["cycle", "truth", "capacity"])
def test_nothing_is_grossly_slower_than_it_was(site, measurement):
    """Only ratios of what ran in turn are judged, and of those only what no busy machine explains."""
    result = measurement.measure(site, short=True)

    assert lines(figure for figure in result.figures if figure.is_grossly_missed) == ""
    assert any(figure.gross for figure in result.figures)


def test_rested_images_cost_cycles_no_pace(tmp_path):
    """One image of each target is checked at once, and no cycle waits half an interval for that."""
    scene = replace(rested.fake_scene(tmp_path), targets=3, every=4)
    figures = {figure.key: figure.spread.value for figure in rested.measure(scene, rounds=1, cycles=2).figures}
    assert figures["rested.lag_most_due"] < 2000
    assert figures["rested.state"] > figures["rested.state_without"] > 0


# What the figures are based on.


def test_the_kernel_tells_the_life_of_a_command():
    """When it was begun, when it was its program, and when it had ended, by the monitor's own clock."""
    with ProcessEvents() as events:
        began = time.monotonic()
        subprocess.run(["sleep", "0.1"], check=True)
        ended = time.monotonic()
        (life,) = events.ended_children()

    assert began < life.forked < life.executed < life.exited < ended
    assert life.exited - life.executed > 0.1


def test_a_child_that_still_runs_has_no_life_to_tell():
    """Nor have the children of others."""
    with ProcessEvents() as events, subprocess.Popen(["sh", "-c", "true; sleep 60"]) as child:
        assert events.ended_children() == []
        child.kill()
        child.wait()


@pytest.mark.parametrize("runner", [ShRunner(), run_bare], ids=["sh", "bare"])
def test_a_cycle_is_up_by_either_runner(runner, site):
    """What is compared does the same; a cycle that is not up is not a measurement."""
    with Wired(site, Payload(65536), runner) as monitor:
        monitor()


def test_a_cycle_that_is_not_up_is_no_measurement(site):
    """Nor is a plain one that fails."""
    site.registry.stop()
    try:
        with Wired(site, Payload(65536)) as monitor, pytest.raises(LabError, match="down"):
            monitor()
        with pytest.raises(LabError, match="plain script failed"):
            PlainScript(site, Payload(65536))()
    finally:
        site.registry.start()


def test_rounds_take_turns_and_the_first_is_not_counted():
    """Every other goes backwards, so that none always comes after the same."""
    ran = []
    seconds = in_turn({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, 2)

    assert "".join(ran) == "baabba"
    assert {name: len(some) for name, some in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_of_medians_and_its_interval_holds_it():
    """A single slow cycle does not move it."""
    spread = ratio([1.1, 1.1, 1.1, 1.1, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0])

    assert spread.value == pytest.approx(1.1)
    assert spread.low <= spread.value <= spread.high
    assert spread == ratio([1.1, 1.1, 1.1, 1.1, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0])


def test_the_more_samples_the_narrower_the_interval():
    """The interval is that of what is estimated, not of the samples."""
    few, many = (estimate(list(range(10)) * times, lambda some: sum(some) / len(some)) for times in (1, 40))

    assert few.value == many.value == 4.5
    assert many.high - many.low < (few.high - few.low) / 3


@pytest.mark.parametrize(
    ("limit", "kept", "passed"),
    [(Limit(3), (3, 0, -3), (3.1, -3.1)), (Limit(0.95, at_least=True), (0.95, 2), (0.9, 0))],
)
def test_a_limit_is_the_most_on_either_side_or_the_least(limit, kept, passed):
    """A time that is reported too short is as wrong as one that is reported too long."""
    assert [limit.is_kept(number) for number in kept] == [True] * len(kept)
    assert [limit.is_kept(number) for number in passed] == [False] * len(passed)


# What is reported of them.

FIGURES = (
    Figure("cycle.ratio", "kept", "", median([1.0, 1.0, 1.01, 1.02, 1.02]), Limit(1.03)),
    Figure("cycle.cpu", "explained", "ms", median([30.0]), Limit(25)),
    Figure("strange", "strange", "ms", median([1234.5]), Limit(25)),
    Figure("told", "told", "s", median([2.0])),
)
RESULT = Result(
    "Things",
    "How things are measured.",
    FIGURES,
    (Boxes("a", "A", "s", {"one": [1.0, 2.0, 3.0]}), Lines("b", "B", "s", "n", ["1", "2"], {"one": [1.0, 2.0]})),
)


def test_a_missed_goal_is_told_with_its_reason(tmp_path):
    """One that nobody can explain is reported, too, and is not a success."""
    text = document("A machine.", 90.0, {"things": RESULT}, "plots")

    assert "| kept | ≤ 1.03 | 1.01 | 1.00 to 1.02 | 5 | met |" in text
    assert "| explained | ≤ 25 ms | 30.0 ms |  | 1 | **missed** |" in text
    assert "- explained: `sh` forks in Python" in text
    assert "- strange: nobody knows why yet.\n" in text
    assert [figure.key for figure in unexplained(FIGURES)] == ["strange"]


def test_the_document_has_its_plots_and_no_others(tmp_path):
    """They are drawn beside it, hold no script and fetch nothing; those of an earlier run are gone."""
    file = tmp_path / "benchmarks.md"
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "old.svg").touch()
    write_document(file, "A machine.", 90.0, {"things": RESULT})

    assert sorted(path.name for path in (tmp_path / "benchmarks").iterdir()) == ["a.svg", "b.svg"]
    for name in ("a.svg", "b.svg"):
        assert f"](benchmarks/{name})" in file.read_text()
        drawn = (tmp_path / "benchmarks" / name).read_text()
        assert "<script" not in drawn
        assert "href=" not in drawn
