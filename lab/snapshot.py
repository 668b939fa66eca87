"""What an engine holds at a moment: to check that it is the same afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.engine import Engine
from lab.holdings import disk_usage


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an engine holds. Two are equal if nothing that docker shows differs.

    Attributes:
        images: `ID NAME` of each, also of those without a name.
        containers, volumes, networks: their IDs and names.
        disk: what `docker system df` counts: images, containers, volumes, build cache, with their sizes.
        build_cache: the IDs of the build cache's records.
        data_bytes, data_files: how much the engine's folder holds. They vary by its own bookkeeping, so compare them
            with some tolerance.
    """

    images: frozenset[str]
    containers: frozenset[str]
    volumes: frozenset[str]
    networks: frozenset[str]
    disk: frozenset[str]
    build_cache: frozenset[str]
    data_bytes: int = field(compare=False)
    data_files: int = field(compare=False)


def take_snapshot(engine: Engine) -> Snapshot:
    """Given an engine, return what it holds. Raise LabError."""
    data_bytes, data_files = disk_usage(engine.data)
    return Snapshot(
        images=_lines(engine, "images", "--all", "--no-trunc", "--format={{.ID}} {{.Repository}}:{{.Tag}}@{{.Digest}}"),
        containers=_lines(engine, "ps", "--all", "--no-trunc", "--format={{.ID}} {{.Names}}"),
        volumes=_lines(engine, "volume", "ls", "--format={{.Name}}"),
        networks=_lines(engine, "network", "ls", "--no-trunc", "--format={{.ID}} {{.Name}}"),
        disk=_lines(engine, "system", "df", "--format={{.Type}}: {{.TotalCount}}, {{.Size}}"),
        build_cache=_lines(engine, "system", "df", "--verbose", "--format={{range .BuildCache}}{{println .ID}}{{end}}"),
        data_bytes=data_bytes,
        data_files=data_files,
    )


def _lines(engine: Engine, *arguments: str) -> frozenset[str]:
    return frozenset(line for line in engine.docker(*arguments).stdout.splitlines() if line.strip())
