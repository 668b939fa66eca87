"""Payload: throughput, CPU and memory by the size of the payload and the number of its layers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.cycle import timed
from bench.finished import LOG_OPTIONS, await_cycles
from bench.resources import peak_bytes
from bench.result import Figure, Limit, Lines, Result
from bench.site import Payload, PlainScript, Site
from bench.spread import in_turn, median, ratio
from bench.wired import Wired
from lab.monitor import Monitor
from lib.quantity import format_size

METHOD = """Cycles of the monitor (in process) and of the plain script take turns, as for the cycle time. The peak is
the most resident memory that the monitor, as a program of its own, had used by the end of a cycle with that payload."""

_KIB, _MIB = 1024, 1024 * 1024
#: How many rounds each, so that the large ones do not take all the time.
SIZES = {64 * _KIB: 6, _MIB: 6, 16 * _MIB: 5, 64 * _MIB: 3, 256 * _MIB: 2}
LAYERS = {1: 4, 4: 4, 16: 4, 32: 4}
_LAYERED_BYTES = 16 * _MIB
SHORT_SIZES, SHORT_LAYERS = {64 * _KIB: 2, 4 * _MIB: 2}, {4: 2}

_PATIENCE_SECONDS = 300.0
_MB = 1e6


@dataclass(frozen=True, slots=True)
class _Moved:
    """The results of one payload.

    Attributes:
        payload: the payload.
        own, script: seconds of the monitor's cycles, and of the plain script's.
        cpu: seconds of CPU of the monitor itself, a cycle.
        peak_bytes: the most memory that it had.
    """

    payload: Payload
    own: list[float]
    script: list[float]
    cpu: list[float]
    peak_bytes: float


def measure(site: Site, *, short: bool = False) -> Result:
    """Given a site, and whether a few payloads will do, return the result."""
    sizes, layers = (SHORT_SIZES, SHORT_LAYERS) if short else (SIZES, LAYERS)
    by_size = [_move(site, Payload(size), rounds) for size, rounds in sizes.items()]
    by_layers = [_move(site, Payload(_LAYERED_BYTES, number), rounds) for number, rounds in layers.items()]
    figures = [
        *(_ratio(moved, _size(moved)) for moved in by_size),
        *(_ratio(moved, f"{_size(moved)} in {moved.payload.layers} layers") for moved in by_layers),
        Figure(
            "payload.throughput",
            f"payload moved by cycles of {_size(by_size[-1])}",
            "MB/s",
            median([_moved_bytes(by_size[-1]) / seconds / _MB for seconds in by_size[-1].own]),
        ),
        Figure(
            "payload.memory",
            f"peak memory with {_size(by_size[-1])} minus that with {_size(by_size[0])}",
            "MB",
            median([(by_size[-1].peak_bytes - by_size[0].peak_bytes) / _MB]),
            Limit(4),
        ),
    ]
    sized = [_size(moved) for moved in by_size]
    layered = [str(moved.payload.layers) for moved in by_layers]

    def lines(name: str, title: str, unit: str, number: Callable[[_Moved], float]) -> Lines:
        return Lines(name, title, unit, "payload", sized, {"": [number(moved) for moved in by_size]})

    plots = (
        Lines("payload", "A cycle", "s", "payload", sized, _both(by_size), logarithmic=True),
        Lines("layers", f"A cycle with {_size(by_layers[0])}", "s", "layers", layered, _both(by_layers)),
        lines("payload-cpu", "The monitor's own CPU a cycle", "ms", lambda moved: statistics.median(moved.cpu) * 1000),
        lines(
            "throughput",
            "Payload moved by a cycle",
            "MB/s",
            lambda moved: _moved_bytes(moved) / statistics.median(moved.own) / _MB,
        ),
        lines("payload-memory", "The monitor's peak memory", "MB", lambda moved: moved.peak_bytes / _MB),
    )
    return Result("Payload", METHOD, tuple(figures), plots)


def _move(site: Site, payload: Payload, rounds: int) -> _Moved:
    cpu: list[float] = []
    plain = PlainScript(site, payload)
    with Wired(site, payload) as monitor:
        own, script = in_turn({"monitor": timed(monitor, cpu), "script": plain}, rounds).values()
    peak = _peak(site, payload)
    site.registry.wipe()
    return _Moved(payload, own, script, cpu[1:], peak)


def _peak(site: Site, payload: Payload) -> float:
    folder = site.new_folder()
    options = (
        f"-repository={site.new_repository()}",
        f"-payload-size={payload.size}",
        f"-payload-layers={payload.layers}",
        *LOG_OPTIONS,
    )
    with Monitor(folder, site.engine, *options) as monitor:
        await_cycles(monitor, 1, _PATIENCE_SECONDS)
        return peak_bytes(monitor.pid)


def _ratio(moved: _Moved, what: str) -> Figure:
    key = f"payload.ratio_{moved.payload.size}_{moved.payload.layers}"
    return Figure(key, f"{what}: cycle time, relative to the plain script's", "", ratio(moved.own, moved.script))


def _moved_bytes(moved: _Moved) -> int:
    return 3 * moved.payload.size  # a cycle pushes it, and pulls it twice


def _both(some: Sequence[_Moved]) -> dict[str, list[float]]:
    return {
        "monitor": [statistics.median(moved.own) for moved in some],
        "plain sh script": [statistics.median(moved.script) for moved in some],
    }


def _size(moved: _Moved) -> str:
    return format_size(moved.payload.size)
