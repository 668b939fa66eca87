"""Phases: what docker's lines, as they really came, say of where the seconds went, beside what the registry saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lib.command import Completed
from lib.docker import Docker
from lib.docker.cli import DOCKER
from lib.docker.phases import phases_of_pull, phases_of_push
from lib.docker.podman import PODMAN
from lib.docker.printed import Printed
from lib.result import PHASES, StepName
from lib.tail import TAIL_BYTES, Tail
from tests.unit.support import NAME, digest_of

#: What engines of every kind printed, line by line, each with its time, as an image of one layer or three was pushed
#: and pulled; by the same clock, when the registry had done with the last layer, and when it came to the manifest.
REAL = json.loads((Path(__file__).parent / "outputs" / "arrivals.json").read_text(encoding="utf-8"))

#: Those whose lines do not say enough.
_SILENT = {
    "docker's CLI on podman 4.3: pull",
    "docker's CLI on podman 4.3: push",
    "docker 26.1, containerd: push",
    "docker 28.5, containerd: push",
    "podman 5.8, three layers: pull",
}

#: How much later than the registry docker can say that a layer is there: containerd's store looks ten times a second,
#: and the machine that all this ran on was busy.
_LATE = 0.2


def came(*lines, seconds=1.0):
    """Given lines that a command printed, each with its time or with its time and stream, return that command."""
    clock = iter([line[0] for line in lines])
    tails = {"out": Tail(clock.__next__), "err": Tail(clock.__next__)}
    for _, *where, text in lines:
        tails[where[0] if where else "out"].write(text.encode())
    out, err = tails.values()
    return Printed.by(Completed(0, str(out), str(err), seconds, arrivals=(out.arrivals(0.0), err.arrivals(0.0))))


def phases_by(name, config):
    """Given the name of a recording, and a folder, return what the verb that reads it makes of it."""
    recording = REAL[name]
    completed = came(*recording["lines"], seconds=recording["seconds"])
    dialect = PODMAN if name.startswith("podman") else DOCKER

    def run(command):
        if "--digestfile" in command.argv:
            Path(command.argv[-2]).write_text(digest_of(1), encoding="utf-8")
        return completed

    docker = Docker(run, "docker", {}, config, dialect)
    return (docker.push if name.endswith("push") else docker.pull)(NAME, 5).phases


@pytest.mark.parametrize("name", [name for name in REAL if name not in _SILENT])
def test_phases_end_when_the_registry_saw_that(name, tmp_path):
    """The first of a pull not before the manifest, its second with the last layer; a push's second between those."""
    saw, seconds = REAL[name]["registry"], REAL[name]["seconds"]

    first, second, third = phases_by(name, tmp_path)

    assert min(first, second, third) > 0
    assert first + second + third == pytest.approx(seconds, abs=1e-9)
    assert first < saw["layers"]
    if name.endswith("pull"):
        assert saw["manifest"] <= first
        assert saw["layers"] <= first + second <= saw["layers"] + _LATE
    else:
        assert saw["layers"] <= first + second <= saw["manifest"]


@pytest.mark.parametrize("name", sorted(_SILENT))
def test_lines_that_do_not_tell_are_no_phases(name, tmp_path):
    """Of a push containerd's store says nothing before a layer is there; podman, not when it has the last of several.

    Its service says all of that too late.
    """
    assert phases_by(name, tmp_path) is None


FS, DONE = "1a2b3c4d5e6f: Pulling fs layer\n", "1a2b3c4d5e6f: Download complete\n"
OTHER_DONE = "2b3c4d5e6f1a: Download complete\n"
PULLED, OTHER_PULLED = (line.replace("Download", "Pull") for line in (DONE, OTHER_DONE))


@pytest.mark.parametrize(
    ("lines", "phases"),
    [
        pytest.param([(0.25, FS), (0.5, DONE), (0.75, OTHER_DONE)], (0.25, 0.5, 0.25), id="the last one counts"),
        pytest.param([(0.25, FS), (0.5, DONE), (0.75, PULLED)], (0.25, 0.25, 0.5), id="unpacking is not moving"),
        pytest.param(
            [(0.25, FS), (0.5, DONE), (0.75, OTHER_PULLED), (0.875, PULLED)], (0.25, 0.5, 0.25), id="a line was dropped"
        ),
        pytest.param([(0.25, FS), (0.75, PULLED)], (0.25, 0.5, 0.25), id="the only one was dropped"),
        pytest.param([(0.25, FS + DONE)], (0.25, 0.0, 0.75), id="all in one moment"),
        pytest.param([(0.25, "1a2b3c4d5e6f: "), (0.5, "Pulling fs layer\n" + DONE)], (0.5, 0.0, 0.5), id="in pieces"),
        pytest.param([(0.25, FS), (1.5, DONE)], (0.25, 0.75, 0.0), id="read after the end"),
        pytest.param(
            [(0.25, "2b3c4d5e6f1a: Already exists\n"), (0.5, FS), (0.75, DONE)], (0.25, 0.5, 0.25), id="some are here"
        ),
        pytest.param([(0.25, "deadbeef1234: Pulling from lab/canary\n"), (0.5, FS), (0.75, DONE)], (0.5, 0.25, 0.25)),
        pytest.param([(0.25, DONE)], None, id="nobody said when it began"),
        pytest.param([(0.25, FS)], None, id="nobody said when it was there"),
        pytest.param([(0.25, "2b3c4d5e6f1a: Already exists\n")], None, id="nothing came"),
        pytest.param([(0.25, "latest: Pulling from lab/canary\n")], None, id="up to date"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_a_pull_is_divided_by_its_lines(lines, phases):
    assert phases_of_pull(came(*lines)) == phases


PREPARING, PUSHED = "1a2b3c4d5e6f: Preparing\n", "1a2b3c4d5e6f: Pushed\n"


@pytest.mark.parametrize(
    ("lines", "phases"),
    [
        pytest.param([(0.25, PREPARING), (0.5, PUSHED)], (0.25, 0.25, 0.5), id="pushed"),
        pytest.param(
            [(0.25, PREPARING), (0.5, PUSHED), (0.75, "2b3c4d5e6f1a: Mounted from a/b\n")],
            (0.25, 0.5, 0.25),
            id="mounted",
        ),
        pytest.param(
            [(0.25, "2b3c4d5e6f1a: Layer already exists\n"), (0.5, PUSHED)], (0.25, 0.25, 0.5), id="one was there"
        ),
        pytest.param(
            [(0.25, PREPARING), (0.5, PUSHED), (0.75, "deadbeef1234: digest: sha256:ab size: 1\n")],
            (0.25, 0.25, 0.5),
            id="a tag like a layer",
        ),
        pytest.param([(0.25, "1a2b3c4d5e6f: Waiting\n"), (0.5, PUSHED)], None, id="it only waited"),
        pytest.param([(0.25, PUSHED)], None, id="nobody said when it began"),
        pytest.param([(0.25, PREPARING)], None, id="nobody said when it was there"),
    ],
)
def test_a_push_is_divided_by_its_lines(lines, phases):
    assert phases_of_push(came(*lines)) == phases


def test_of_more_output_than_is_kept_nobody_knows():
    """What stood first is gone, and what is left would say something else."""
    assert phases_of_pull(came((0.1, FS), (0.5, "x" * TAIL_BYTES + "\n"), (0.6, FS + DONE))) is None


def test_a_command_that_nobody_timed_has_none():
    assert phases_of_pull(Printed.by(Completed(0, FS + DONE, "", 1.0))) is None


def test_what_is_shown_of_a_command_has_no_other_copy_of_its_words():
    """What came as it came can hold a secret."""
    assert came((0.1, "hunter2\n")).shown.arrivals == ()


def test_the_steps_that_move_layers_have_three_phases_each():
    assert set(PHASES) == {StepName.PULL, StepName.BASE, StepName.PUSH, StepName.PULL_BACK}
