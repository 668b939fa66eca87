"""Runs whole cycles on every engine that users have, and writes the results as a document.

    python -m lab.engine_table [--cycles CYCLES] docs/engines.md [NAME ...]

It ends with 0 if every engine was as expected, with 1 if one was not. Given names of rows, it measures only those, and
the others stay in the document as they are; so does what stands below the table. For the engines that this machine does
not have it makes other Debians.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from lab.archive import file_system
from lab.daemon import await_true
from lab.engine import Engine
from lab.engines import NEWEST, OLDER, DebianDocker, Debians, Podman
from lab.holdings import KINDS, REST_SECONDS, Space, by_kind, holdings, space
from lab.misbehaviour import plain
from lab.monitor import Monitor
from lab.proxy import Proxy
from lab.registry import Registry
from lab.session import Lab
from lab.ways import HOSTS_LOOPBACK, RootlessDocker, RootlessPodman, SshDocker, TlsDocker

USER, PASSWORD = "monitor", "secret"
LAYERS = 2
_LAYER_BYTES = 32 * 1024
_CYCLES = 200
#: How many are enough if it is not BuildKit that builds.
_ENOUGH_CYCLES = 40
_SECONDS_A_CYCLE = 60.0

#: The CLI of Debian's docker.io; there may be another one on PATH.
_DEBIANS_CLI = Path("/usr/bin/docker")

_CYCLES_TOTAL = re.compile(r'^registry_monitor_cycles_total\{.*verdict="(\w+)".*\} (\S+)$', re.MULTILINE)

_PHASE_SECONDS = re.compile(r'^registry_monitor_step_phase_seconds_total\{.*step="(\w+)".*\} (\S+)$', re.MULTILINE)

_HEAD = f"""# Engines

Whole cycles on every engine that users have: the latest result of each, written by
`python -m lab.engine_table docs/engines.md`. With names of rows, it measures only those.

On each engine, somebody else has an image and, except on podman, a build cache. Then a monitor runs cycles with
{LAYERS} layers of payload. The registry's own log says how many of the pushed layers were read back in the cycle.

*Left* is what the engine holds afterwards and did not hold before: images, containers, volumes, records of the build
cache, and the content and snapshots that its containerd lists; *lost* is what it no longer holds. *History* is how much
BuildKit's history of builds grew (containerd's namespace `moby_history`, or with the classic image store BuildKit's own
folder), and *folder* how much the engine's whole folder grew on the disk, including what a new engine writes once.

A row is right if every cycle came to the expected verdict, every layer was read back, and nothing is left or lost.

"""
_COLUMNS = {
    "": "---",
    "engine": "---",
    "store": "---",
    "client": "---",
    "`builder`": "---",
    "built by": "---",
    "cycles": "---",
    "pushed": "---:",
    "read back": "---:",
    **{f"{kind}s left".replace("contents", "content"): "---:" for kind in KINDS},
    "lost": "---:",
    "history B a cycle": "---:",
    "folder B a cycle": "---:",
    "s a cycle": "---:",
    " ": "---",
}
_TABLE = f"| {' | '.join(_COLUMNS)} |\n| {' | '.join(_COLUMNS.values())} |\n"

#: Makes an engine, not yet started, given a folder that does not exist and other Debians.
Start = Callable[[Path, Debians], AbstractContextManager[Engine | Podman]]
#: Given a registry, gives its host and port as an engine has to name it.
Reach = Callable[[Registry], AbstractContextManager[str]]


def _docker(suite: str, kind: Callable[..., DebianDocker] = DebianDocker, **settings: Any) -> Start:
    """Given a Debian's name, how its Docker is run or reached, and what that needs to know, return what makes it."""
    return lambda folder, debians: kind(debians.root(suite), folder, **settings)


def _podman(suite: str) -> Start:
    """Given a Debian's name, return what makes its podman."""
    return lambda folder, debians: Podman(folder, root=debians.root(suite))


@contextmanager
def _by_its_address(registry: Registry) -> Iterator[str]:
    yield registry.host


@contextmanager
def _at_hosts_loopback(registry: Registry) -> Iterator[str]:
    yield f"{HOSTS_LOOPBACK}:{registry.host.rpartition(':')[2]}"


@contextmanager
def _over_ipv6(registry: Registry) -> Iterator[str]:
    def listen(port: int) -> socket.socket:
        return socket.create_server(("::1", port), family=socket.AF_INET6)

    host, _, port = registry.host.rpartition(":")
    with Proxy(listen, (host, int(port)), plain) as proxy:
        yield f"[::1]:{proxy.address[1]}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One engine, as users have it.

    Attributes:
        name: a word for it.
        start: makes the engine.
        builder: what the option `builder` says.
        expected: the verdict that every cycle has to come to, and at which step and why, if it is not up.
        own_cli: its CLI is one that comes with it.
        reach: how the engine reaches the registry.
        is_quick: it is one of the few that the quick suite meets.
    """

    name: str
    start: Start
    builder: str
    expected: tuple[str, ...] = ("up",)
    own_cli: bool = True
    reach: Reach = _by_its_address
    is_quick: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a cell.

    Attributes:
        cell: which.
        engine: what the monitor logged of it as it started: `client`, `server`, `store`, `builder`.
        verdicts: how many cycles came to which verdict.
        reasons: at which steps they failed, and why.
        divided: of which steps it is known what their seconds went to.
        pushed, read_back: how many layers of payload the registry took, and how many of those it gave back.
        left, lost: what the engine holds afterwards and did not before, and what it no longer holds.
        grown: what else it grew by.
        seconds: how long a cycle took, on average.
    """

    cell: Cell
    engine: Mapping[str, str]
    verdicts: Mapping[str, int]
    reasons: frozenset[str]
    divided: frozenset[str]
    pushed: int
    read_back: int
    left: frozenset[str]
    lost: frozenset[str]
    grown: Space
    seconds: float

    @property
    def is_right(self) -> bool:
        """Whether it is as expected."""
        as_expected = (*self.verdicts, *self.reasons) == self.cell.expected
        is_cold = self.read_back == self.pushed and (self.pushed > 0) == ("up" in self.verdicts)
        return as_expected and is_cold and not self.left and not self.lost


def docker_on_path(folder: Path, _debians: Debians) -> Engine:
    """Given a folder, return this machine's dockerd, with the CLI that is first on PATH."""
    return Engine(folder)


def docker_of_debian(folder: Path, _debians: Debians) -> Engine:
    """Given a folder, return this machine's dockerd, with the CLI of the same package."""
    engine = Engine(folder)
    engine.programs.mkdir(parents=True)
    (engine.programs / "docker").symlink_to(_DEBIANS_CLI)
    return engine


def docker_with_other_buildx(folder: Path, debians: Debians) -> Engine:
    """Given a folder and other Debians, return this machine's dockerd and the CLI on PATH, with a Debian's buildx."""
    engine = Engine(folder)
    plugins = folder / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").symlink_to(debians.root(OLDER) / "usr/libexec/docker/cli-plugins/docker-buildx")
    return engine


_NEWEST_DOCKER, _NEWEST_CONTAINERD = _docker(NEWEST), _docker(NEWEST, containerd_store=True)
_USERNS = _docker(NEWEST, settings={"userns-remap": "default"})
_ROOTLESS = _docker(NEWEST, RootlessDocker)

_ENGINES = (
    Cell("docker", docker_of_debian, "auto"),
    Cell("docker-buildkit", docker_of_debian, "buildkit", is_quick=True),
    Cell("newer-cli", docker_on_path, "auto", own_cli=False),
    Cell(
        "newer-cli-without-buildx", docker_on_path, "buildkit", ("unknown", "build cli"), own_cli=False, is_quick=True
    ),
    Cell("newer-cli-with-buildx", docker_with_other_buildx, "buildkit", own_cli=False),
    Cell("trixie-docker", _docker(OLDER), "auto"),
    Cell("trixie-docker-buildkit", _docker(OLDER), "buildkit", is_quick=True),
    Cell("trixie-containerd", _docker(OLDER, containerd_store=True), "auto"),
    Cell("trixie-containerd-buildkit", _docker(OLDER, containerd_store=True), "buildkit"),
    Cell("forky-docker", _NEWEST_DOCKER, "auto", is_quick=True),
    Cell("forky-docker-buildkit", _NEWEST_DOCKER, "buildkit"),
    Cell("forky-containerd", _NEWEST_CONTAINERD, "auto"),
    Cell("forky-containerd-buildkit", _NEWEST_CONTAINERD, "buildkit", is_quick=True),
    Cell("podman", lambda folder, _: Podman(folder), "auto", is_quick=True),
    Cell("trixie-podman", _podman(OLDER), "auto"),
    Cell("forky-podman", _podman(NEWEST), "auto"),
)
#: Other ways in which users run the newest, or reach it or a registry.
_WAYS = (
    Cell("context-tls", _docker(NEWEST, TlsDocker), "auto"),
    Cell("context-tls-buildkit", _docker(NEWEST, TlsDocker), "buildkit"),
    Cell("ssh", _docker(NEWEST, SshDocker), "auto"),
    Cell("ssh-buildkit", _docker(NEWEST, SshDocker), "buildkit"),
    Cell("userns-remap", _USERNS, "auto", is_quick=True),
    Cell("userns-remap-buildkit", _USERNS, "buildkit"),
    Cell("ipv6-address", _NEWEST_CONTAINERD, "auto", reach=_over_ipv6),
    Cell("ipv6-address-buildkit", _NEWEST_DOCKER, "buildkit", reach=_over_ipv6),
    Cell("rootless-docker", _ROOTLESS, "auto", reach=_at_hosts_loopback, is_quick=True),
    Cell("rootless-docker-buildkit", _ROOTLESS, "buildkit", reach=_at_hosts_loopback),
    Cell("rootless-podman", lambda folder, _: RootlessPodman(folder), "auto", is_quick=True),
)


def cells() -> tuple[Cell, ...]:
    """Return all engines that can be had here, and all ways."""
    return (*engines(), *_WAYS)


def engines() -> tuple[Cell, ...]:
    """Return all engines that can be had here: those with the CLI on PATH if that is another than Debian's own."""
    found = shutil.which("docker")
    has_other = found is not None and Path(found).resolve() != _DEBIANS_CLI.resolve()
    return tuple(cell for cell in _ENGINES if cell.own_cli or has_other)


def measure(
    cell: Cell, folder: Path, debians: Debians, registry: Registry, cycles: int, rest_seconds: float = 0.0
) -> Result:
    """Run cycles on an engine.

    Given the cell, a folder that does not exist, other Debians, a registry, how many cycles, and how long BuildKit's
    history has to be at rest before it is measured, return what came of them. Raise LabError if the engine does not
    start, or the cycles take too long.
    """
    path = f"engines/{folder.name}"
    options = (
        f"-username={USER}",
        f"-password={PASSWORD}",
        f"-builder={cell.builder}",
        f"-payload-layers={LAYERS}",
        f"-payload-size={LAYERS * _LAYER_BYTES}B",
        "-run-test-every=100ms",
        "-retry-every=100ms",
        "-log-format=json",
    )
    with cell.start(folder, debians) as engine, cell.reach(registry) as host:
        _furnish(engine)
        before, space_before = holdings(engine), space(engine, rest_seconds)
        repository = f"-repository={host}/{path}"
        with Monitor(folder, engine, repository, *options, run_by=engine.run_by) as monitor:
            begun = time.monotonic()
            await_true(lambda: verdicts_of(monitor).total() >= cycles, cycles * _SECONDS_A_CYCLE, f"{cycles} cycles")
            verdicts = verdicts_of(monitor)
            seconds = (time.monotonic() - begun) / verdicts.total()
            metrics = monitor.get("/metrics")[1]
            # The next cycle may not get to read back what it pushes.
            pushed = _layers(registry, registry.blobs_put(path))[: cycles * LAYERS]
            monitor.stop()
        after, space_after = holdings(engine), space(engine, rest_seconds)
        events = [json.loads(line) for line in monitor.log.read_text().splitlines()]
    return Result(
        cell=cell,
        engine=next(event for event in events if event["msg"] == "docker"),
        verdicts=verdicts,
        reasons=_reasons(events),
        divided=frozenset(step for step, seconds in _PHASE_SECONDS.findall(metrics) if float(seconds)),
        pushed=len(pushed),
        read_back=len(set(pushed) & set(registry.blobs_got(path))),
        left=after - before,
        lost=before - after,
        grown=space_after - space_before,
        seconds=seconds,
    )


def _furnish(engine: Engine | Podman) -> None:
    """Given an engine, put somebody else's things on it: an image, and what their build left in the build cache."""
    engine.docker("import", "-", "somebody/kept:1", stdin=file_system("kept"))
    context = engine.folder / "somebodys"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    # Debian's CLI brings its own BuildKit; the one on PATH may have none.
    own = shutil.which("docker", path=engine.programs)
    argv = [*engine.run_by, own or str(_DEBIANS_CLI), "build", "--tag=somebody/built:1", str(context)]
    subprocess.run(argv, env=engine.env | {"DOCKER_BUILDKIT": "1"}, capture_output=True, check=True)


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
    """Given the command line's arguments, measure engines; print and write the results. Return the exit code."""
    known = {cell.name: cell for cell in cells()}
    parser = argparse.ArgumentParser(prog="python -m lab.engine_table")
    parser.add_argument("document", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--cycles", type=int, default=_CYCLES)
    asked = parser.parse_intermixed_args(arguments)
    if unknown := set(asked.names) - set(known):
        parser.error(f"not among the rows, {', '.join(known)}: {', '.join(sorted(unknown))}")
    rows, below = _read(asked.document)
    is_right = True
    with Lab() as lab:
        debians = Debians(lab.folder)
        registry = lab.enter(Registry(lab.folder / "registry", users={USER: PASSWORD}))
        for name in asked.names or known:
            cell = known[name]
            some = asked.cycles if cell.builder == "buildkit" else min(asked.cycles, _ENOUGH_CYCLES)
            result = measure(cell, lab.folder / name, debians, registry, some, REST_SECONDS)
            is_right &= result.is_right
            rows[name] = _line(result)
            # Each as soon as it is there: what comes after may fail.
            table = "".join(rows[name] for name in known if name in rows)
            asked.document.write_text(f"{_HEAD}{_TABLE}{table}{below}")
            sys.stdout.write(rows[name])
            sys.stdout.flush()
            for word, things in (("left", result.left), ("lost", result.lost)):
                sys.stderr.writelines(f"{name}: {word} {thing}\n" for thing in sorted(things))
    return int(not is_right)


def _read(document: Path) -> tuple[dict[str, str], str]:
    """Given a document, return the rows of its table by their names, and what stands below that."""
    _, _, rest = document.read_text().partition(_TABLE) if document.exists() else ("", "", "")
    rows = list(takewhile(lambda line: line.startswith("| "), rest.splitlines(keepends=True)))
    return {row.split(" | ")[0].removeprefix("| "): row for row in rows}, rest[sum(map(len, rows)) :]


def _line(result: Result) -> str:
    engine = result.engine
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in result.verdicts.items())
    left, cycles = by_kind(result.left), sum(result.verdicts.values())
    cells = (
        result.cell.name,
        engine["server"],
        engine["store"],
        engine["client"],
        result.cell.builder,
        engine["builder"],
        ": ".join((verdicts, *result.reasons)),
        result.pushed,
        result.read_back,
        *(left[kind] for kind in KINDS),
        len(result.lost),
        round(result.grown.history_bytes / cycles),
        round(result.grown.data_bytes / cycles),
        f"{result.seconds:.2f}",
        "right" if result.is_right else "**wrong**",
    )
    return f"| {' | '.join(map(str, cells))} |\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
