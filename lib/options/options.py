"""Options: what the program is to do, validated and frozen, with the defaults of what is not about a target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.options.values import Address, LogFormat, LogLevel, Output
from lib.target import Target

_EVERYWHERE = Address("", 8000)


@dataclass(frozen=True, slots=True)
class Options:
    """What to do. Only `parse_options()` makes them.

    Attributes:
        listen: where HTTP is served.
        loglevel, log_format: which events are logged, and how.
        concurrency: cycles under way at the same time.
        state_dir: where the history is kept, None for in memory.
        docker: the CLI to run.
        web_config: Prometheus' web configuration file.
        metrics_file: where the metrics are written after each cycle, None for nowhere.
        once, output: run one cycle of every target, and how to print it.
        renew_cold: push the rested images again that failed their last check.
        check_config: say what would run, and exit.
        version: print the version, and exit; nothing else was looked at then, and there are no targets.
        namespace: prefix of the original's metrics, empty for none.
        config: the file that was read.
        targets: what to test, in the file's order.
    """

    listen: Address = _EVERYWHERE
    loglevel: LogLevel = LogLevel.INFO
    log_format: LogFormat = LogFormat.TEXT
    concurrency: int = 4
    state_dir: Path | None = None
    docker: str = "docker"
    web_config: Path | None = None
    metrics_file: Path | None = None
    once: bool = False
    output: Output = Output.TEXT
    renew_cold: bool = False
    check_config: bool = False
    version: bool = False
    namespace: str = ""
    config: Path | None = None
    targets: tuple[Target, ...] = ()
