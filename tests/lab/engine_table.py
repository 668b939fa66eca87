"""Runs whole cycles on every engine that users have, and writes what came of them as a document.

    python -m tests.lab.engine_table docs/engines.md [CYCLES]

It ends with 0 where every engine was as expected, with 1 where one was not. For the engines that this machine does not
have it makes another Debian. With 200 cycles on each engine that builds with BuildKit, whose cache could grow, and a
fifth of that on the others, as it does unless told otherwise, it takes about half an hour.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from lab.archive import file_system
from lab.daemon import await_true
from lab.engine import Engine
from lab.engines import DebianDocker, Podman, make_debian
from lab.monitor import Monitor
from lab.registry import Registry
from lab.session import Lab

USER, PASSWORD = "monitor", "secret"
SUITE = "trixie"
LAYERS = 2
_LAYER_BYTES = 32 * 1024
_CYCLES = 200
_FEWER = 5
_SECONDS_A_CYCLE = 20.0

#: The CLI of Debian's docker.io, beside which another may stand on PATH.
_DEBIANS_CLI = Path("/usr/bin/docker")

_CYCLES_TOTAL = re.compile(r'^registry_monitor_cycles_total\{.*verdict="(\w+)".*\} (\S+)$', re.MULTILINE)

_HEAD = """# Engines

Whole cycles on every engine that users have: the latest result, written by
`python -m tests.lab.engine_table docs/engines.md` in {minutes:.0f} min. {count} engines, {right} as expected.

On each, somebody else has an image and, but for podman, a build cache. Then a monitor runs {cycles} cycles where it
builds with BuildKit, whose cache could grow, and {fewer} elsewhere, with {layers} layers of payload. The registry's own
log says how many of the layers that were pushed were read back in the cycle. *Left* is what the engine holds afterwards
and did not hold before: images and records of the build cache; *lost* is what it holds no more.

A row is right where every cycle came to the verdict that is expected, every layer was read back, and nothing is left or
lost.

| engine | store | client | `builder` | built by | cycles | layers pushed | read back | left | lost | s a cycle | |
| --- | --- | --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One engine, as users have it.

    Attributes:
        name: a word for it.
        start: given a folder that does not exist and the root of another Debian, makes the engine, not yet started.
        builder: what the option `builder` says.
        expected: the verdict that every cycle has to come to, and at which step and why, where it is not up.
    """

    name: str
    start: Callable[[Path, Path], AbstractContextManager[Engine | Podman]]
    builder: str
    expected: tuple[str, ...] = ("up",)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a cell.

    Attributes:
        cell: which.
        engine: what the monitor logged of it as it started: `client`, `server`, `store`, `builder`.
        verdicts: how many cycles came to which verdict.
        reasons: at which steps they failed, and why.
        pushed, read_back: how many layers of payload the registry took, and how many of those it gave back.
        left, lost: what the engine holds afterwards and did not before, and what it holds no more.
        seconds: how long a cycle took, on average.
    """

    cell: Cell
    engine: Mapping[str, str]
    verdicts: Mapping[str, int]
    reasons: frozenset[str]
    pushed: int
    read_back: int
    left: frozenset[str]
    lost: frozenset[str]
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether it is as expected."""
        as_expected = (*self.verdicts, *self.reasons) == self.cell.expected
        is_cold = self.read_back == self.pushed and (self.pushed > 0) == ("up" in self.verdicts)
        return as_expected and is_cold and not self.left and not self.lost


def docker_on_path(folder: Path, _root: Path) -> Engine:
    """Given a folder, return this machine's dockerd, with the CLI that is first on PATH."""
    return Engine(folder)


def docker_of_debian(folder: Path, _root: Path) -> Engine:
    """Given a folder, return this machine's dockerd, with the CLI of the same package."""
    engine = Engine(folder)
    engine.programs.mkdir(parents=True)
    (engine.programs / "docker").symlink_to(_DEBIANS_CLI)
    return engine


def other_docker(folder: Path, root: Path) -> Engine:
    """Given a folder and a root, return that Debian's Docker, with the classic image store."""
    return DebianDocker(root, folder, containerd_store=False)


def other_docker_with_containerd(folder: Path, root: Path) -> Engine:
    """Given a folder and a root, return that Debian's Docker, with the containerd store."""
    return DebianDocker(root, folder, containerd_store=True)


def docker_with_other_buildx(folder: Path, root: Path) -> Engine:
    """Given a folder and a root, return this machine's dockerd and the CLI on PATH, with that Debian's buildx."""
    engine = Engine(folder)
    plugins = folder / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(root / "usr/libexec/docker/cli-plugins/docker-buildx")
    return engine


def podman(folder: Path, _root: Path) -> Podman:
    """Given a folder, return this machine's podman."""
    return Podman(folder)


def other_podman(folder: Path, root: Path) -> Podman:
    """Given a folder and a root, return that Debian's podman."""
    return Podman(folder, root=root)


#: All of them. Where PATH has no CLI beside Debian's own, the rows of the one on PATH tell the same twice.
CELLS = (
    Cell("docker", docker_of_debian, "auto"),
    Cell("docker-buildkit", docker_of_debian, "buildkit"),
    Cell("newer-cli", docker_on_path, "auto"),
    Cell("newer-cli-without-buildx", docker_on_path, "buildkit", expected=("unknown", "build cli")),
    Cell("newer-cli-with-buildx", docker_with_other_buildx, "buildkit"),
    Cell("other-docker", other_docker, "auto"),
    Cell("other-docker-buildkit", other_docker, "buildkit"),
    Cell("containerd", other_docker_with_containerd, "auto"),
    Cell("containerd-buildkit", other_docker_with_containerd, "buildkit"),
    Cell("podman", podman, "auto"),
    Cell("other-podman", other_podman, "auto"),
)


def measure(cell: Cell, folder: Path, root: Path, registry: Registry, cycles: int) -> Result:
    """Run cycles on an engine.

    Given the cell, a folder that does not exist, the root of another Debian, a registry, and how many cycles, return
    what came of them. Raise LabError where the engine does not start, or the cycles take too long.
    """
    path = f"engines/{folder.name}"
    options = (
        f"-repository={registry.host}/{path}",
        f"-username={USER}",
        f"-password={PASSWORD}",
        f"-builder={cell.builder}",
        f"-payload-layers={LAYERS}",
        f"-payload-size={LAYERS * _LAYER_BYTES}B",
        "-run-test-every=100ms",
        "-retry-every=100ms",
        "-log-format=json",
    )
    with cell.start(folder, root) as engine:
        _furnish(engine)
        before = holdings(engine)
        with Monitor(folder, engine, *options) as monitor:
            begun = time.monotonic()
            await_true(lambda: verdicts_of(monitor).total() >= cycles, cycles * _SECONDS_A_CYCLE, f"{cycles} cycles")
            verdicts = verdicts_of(monitor)
            seconds = (time.monotonic() - begun) / verdicts.total()
            # What the next cycle pushes it may not come to read back.
            pushed = _layers(registry, registry.blobs_put(path))[: cycles * LAYERS]
            monitor.stop()
        after = holdings(engine)
        events = [json.loads(line) for line in monitor.log.read_text().splitlines()]
    return Result(
        cell=cell,
        engine=next(event for event in events if event["msg"] == "docker"),
        verdicts=verdicts,
        reasons=_reasons(events),
        pushed=len(pushed),
        read_back=len(set(pushed) & set(registry.blobs_got(path))),
        left=after - before,
        lost=before - after,
        seconds=seconds,
    )


def _furnish(engine: Engine | Podman) -> None:
    """Given an engine, have somebody else's things on it: an image, and what their build left in the build cache."""
    engine.docker("import", "-", "somebody/kept:1", stdin=file_system("kept"))
    context = engine.folder / "somebodys"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    # Debian's CLI brings its own BuildKit; the one on PATH may have none.
    own = shutil.which("docker", path=engine.programs)
    argv = [own or str(_DEBIANS_CLI), "build", "--tag=somebody/built:1", str(context)]
    subprocess.run(argv, env=engine.env | {"DOCKER_BUILDKIT": "1"}, capture_output=True, check=True)


def holdings(engine: Engine | Podman) -> frozenset[str]:
    """Given an engine, return what it holds: its images with their names, and the records of its build cache."""
    held = engine.docker("images", "--all", "--no-trunc", "--format=image {{.ID}} {{.Repository}}:{{.Tag}}").stdout
    if isinstance(engine, Engine):
        record = "record {{.ID}} {{.Description}}"
        template = f"{{{{range .BuildCache}}}}{record}{{{{println}}}}{{{{end}}}}"
        held += engine.docker("system", "df", "--verbose", f"--format={template}").stdout
    return frozenset(line for line in held.splitlines() if line.strip())


def verdicts_of(monitor: Monitor) -> Counter[str]:
    """Given a monitor, return how many cycles of all its targets have come to which verdict."""
    counted = Counter[str]()
    for verdict, number in _CYCLES_TOTAL.findall(monitor.get("/metrics")[1]):
        counted[verdict] += int(float(number))
    return +counted


def _reasons(events: Iterable[Mapping[str, str]]) -> frozenset[str]:
    """Given what a monitor logged, return why cycles failed: the step and the reason."""
    return frozenset(f"{event['step']} {event['reason']}" for event in events if event["msg"] == "cycle failed")


def _layers(registry: Registry, digests: Iterable[str]) -> list[str]:
    """Given digests of what a registry holds, return those of layers of payload: nothing else is that large."""
    blobs = registry.storage / "docker/registry/v2/blobs/sha256"
    return [
        digest
        for digest, name in ((digest, digest.removeprefix("sha256:")) for digest in digests)
        if (blobs / name[:2] / name / "data").stat().st_size > _LAYER_BYTES // 2
    ]


def main(arguments: Sequence[str]) -> int:
    """Given the file to write, and how many cycles to run with BuildKit, measure all engines, and print and write that.

    Return the exit code.
    """
    path, cycles = arguments[0], int(arguments[1]) if len(arguments) > 1 else _CYCLES
    fewer = max(1, cycles // _FEWER)
    begun = time.monotonic()
    results = []
    with Lab() as lab:
        root = make_debian(lab.folder / "root", SUITE)
        registry = lab.enter(Registry(lab.folder / "registry", users={USER: PASSWORD}))
        for cell in CELLS:
            some = cycles if cell.builder == "buildkit" else fewer
            result = measure(cell, lab.folder / cell.name, root, registry, some)
            results.append(result)
            sys.stdout.write(_line(result))
            sys.stdout.flush()
            for word, things in (("left", result.left), ("lost", result.lost)):
                sys.stderr.writelines(f"{cell.name}: {word} {thing}\n" for thing in sorted(things))
    head = _HEAD.format(
        minutes=(time.monotonic() - begun) / 60,
        count=len(results),
        right=sum(result.is_right for result in results),
        cycles=cycles,
        fewer=fewer,
        layers=LAYERS,
    )
    Path(path).write_text(head + "".join(map(_line, results)))
    return int(not all(result.is_right for result in results))


def _line(result: Result) -> str:
    engine = result.engine
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in result.verdicts.items())
    cells = (
        engine["server"],
        engine["store"],
        engine["client"],
        result.cell.builder,
        engine["builder"],
        ": ".join((verdicts, *result.reasons)),
        result.pushed,
        result.read_back,
        len(result.left),
        len(result.lost),
        f"{result.seconds:.2f}",
        "right" if result.is_right else "**wrong**",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
