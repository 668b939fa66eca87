"""From command line, environment and file to Options. Every fault is collected before one error tells them all.

option_table   what there is        arguments, config   what is said        targets   what follows for each target
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lib.options.arguments import read_arguments
from lib.options.config import read_config
from lib.options.layer import Given, Layer, lay
from lib.options.table import OPTIONS
from lib.options.targets import Sources, file_layer, listed_targets, single_target
from lib.options.values import LogFormat, LogLevel, Output
from lib.quantity import format_duration, format_size
from lib.secret import Secret
from lib.target import Target

_NAMESPACE = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


class OptionsError(Exception):
    """What was asked for can't be done. Its text is every fault, one a line.

    Attributes:
        faults: the lines.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(dict.fromkeys(faults))
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class Options:
    """What to do. Only `parse_options()` makes them.

    Attributes:
        listen_host, listen_port: where HTTP is served; an empty host for all addresses.
        loglevel, log_format: which events are logged, and how.
        concurrency: cycles under way at the same time.
        state_dir: where the history is kept, None for in memory.
        docker: the CLI to run.
        web_config: Prometheus' web configuration file.
        once, output: run one cycle of every target, and how to print it.
        check_config: say what would run, and exit.
        version: print the version, and exit; nothing else was looked at then, and there are no targets.
        namespace: prefix of the original's metrics, empty for none.
        config: the file that was read.
        targets: what to test, in the file's order.
    """

    listen_host: str
    listen_port: int
    loglevel: LogLevel
    log_format: LogFormat
    concurrency: int
    state_dir: Path | None
    docker: str
    web_config: Path | None
    once: bool
    output: Output
    check_config: bool
    version: bool
    namespace: str
    config: Path | None
    targets: tuple[Target, ...]


def parse_options(argv: Sequence[str], env: Mapping[str, str]) -> Options:
    """Given the command line without the program's name, and the environment, return the options.

    The file is read anew each time. Raise OptionsError where anything is wrong, and SystemExit(0), after printing the
    help, where that is asked for.
    """
    faults: list[str] = []
    flags, environment = read_arguments(argv, env, faults)
    defaults = {option.name: Given(option.parse(option.default), "default") for option in OPTIONS if option.default}
    asked = lay((flags, environment, defaults))
    if asked["version"].value and not faults:
        return _options(defaults | {"version": asked["version"]}, (), env, faults)

    targets: tuple[Target, ...] = ()
    sources = Sources(flags, environment, {}, defaults)
    if "config" not in asked:
        targets = single_target(sources, env, faults)
    elif asked["config"].value is not None:
        config = read_config(asked["config"].value)
        faults += config.faults
        sources = replace(sources, top=file_layer(config, config.top, None, faults))
        # What is missing in a file can only be told of one that was read to its end.
        if config.is_whole:
            listed = config.targets is not None
            targets = listed_targets(config, sources, env, faults) if listed else single_target(sources, env, faults)
    options = _options(lay((flags, environment, sources.top, defaults)), targets, env, faults)
    if faults:
        raise OptionsError(faults)
    return options


def _options(given: Layer, targets: tuple[Target, ...], env: Mapping[str, str], faults: list[str]) -> Options:
    """Given what is said, return the options; where `faults` are added or were there, they are not to be used."""
    value = {name: item.value for name, item in given.items()}
    host, port = value["listen"] or ("", 0)
    web_config = value.get("web-config")
    if web_config is not None:
        faults += _web_config_faults(given["web-config"].place, web_config)
    return Options(
        listen_host=host,
        listen_port=port,
        loglevel=value["loglevel"],
        log_format=value["log-format"],
        concurrency=value["concurrency"],
        state_dir=_state_dir(given, env, faults),
        docker=value["docker"],
        web_config=web_config,
        once=value["once"],
        output=value["output"],
        check_config=value["check-config"],
        version=value["version"],
        namespace=_namespace(env, faults),
        config=value.get("config"),
        targets=targets,
    )


def _web_config_faults(place: str, path: Path) -> Sequence[str]:
    """Given where it is asked for, and the path of the web configuration file, return what is wrong with it."""
    if not os.path.isfile(path):  # noqa: PTH113  unlike Path.is_file, it never raises
        return [f"{place}: {path} is no file"]
    from lib.web.config import WebConfigError, read_web_config  # noqa: PLC0415  YAML and TLS, only needed with a file

    try:
        read_web_config(path)
    except WebConfigError as error:
        return error.faults
    return ()


def _state_dir(given: Layer, env: Mapping[str, str], faults: list[str]) -> Path | None:
    """Given what is said, return the folder for the history: by option, else the first that systemd made, else None."""
    by_systemd = env.get("STATE_DIRECTORY", "").partition(":")[0]
    item = given.get("state-dir", Given(Path(by_systemd) if by_systemd else None, "STATE_DIRECTORY"))
    folder: Path | None = item.value
    if folder is not None and os.path.isfile(folder):  # noqa: PTH113  the same
        faults.append(f"{item.place}: {folder} is no folder")
    return folder


def _namespace(env: Mapping[str, str], faults: list[str]) -> str:
    """Given the environment, return the prefix that the original's metrics get, empty for none."""
    namespace = env.get("PROMETHEUS_NAMESPACE", "")
    if namespace and not _NAMESPACE.fullmatch(namespace):
        faults.append(
            "PROMETHEUS_NAMESPACE: is no beginning of a metric's name: A-Z a-z _ :, and 0-9 but at its beginning"
        )
    return namespace


def describe(options: Options) -> str:
    """Given options, return what would run, for people to read and without a secret.

    A sentence, a block for the monitor, one for what all targets have in common, and one a target.
    """
    host = f"[{options.listen_host}]" if ":" in options.listen_host else options.listen_host
    monitor = {
        "config": options.config,
        "listen": f"{host}:{options.listen_port}",
        "loglevel": options.loglevel,
        "log-format": options.log_format,
        "concurrency": options.concurrency,
        "state-dir": options.state_dir or "none: the history is kept in memory",
        "docker": options.docker,
        "web-config": options.web_config,
    }
    targets = {target.name: _described(target) for target in options.targets}
    common = _common(list(targets.values()))
    count = "1 target" if len(targets) == 1 else f"{len(targets)} targets"
    blocks = [f"No fault was found. {count} would be tested:", _block("monitor", monitor)]
    if common:
        blocks.append(_block("every target", common))
    for name, values in targets.items():
        own = {key: value for key, value in values.items() if key not in common}
        blocks.append(_block(f"target {name}", own))
    return "\n\n".join(blocks)


def _common(targets: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Given the values of each target by name, return those that are the same for all of several."""
    first, *others = targets
    return {key: value for key, value in first.items() if others and all(other[key] == value for other in others)}


def _described(target: Target) -> dict[str, object]:
    """Given a target, return its values by the names of their options."""
    credentials = target.credentials
    password = credentials.password if credentials else None
    no_login = None if target.docker_config else "none: without a login"
    return {
        "repository": target.reference.repository,
        "tag": target.reference.tag,
        "username": credentials.username if credentials else no_login,
        "password": password if isinstance(password, Secret) else None,
        "password-file": password if isinstance(password, Path) else None,
        "docker-config": target.docker_config,
        "base-image": target.base_image,
        "public-base": target.public_base,
        "base-layer-id": target.base_layer_id,
        "overwrite": target.overwrite,
        "payload-size": format_size(target.payload_bytes),
        "payload-layers": target.payload_layers,
        "builder": target.builder,
        "run-test-every": format_duration(target.run_every),
        "retry-every": format_duration(target.retry_every),
        "step-timeout": format_duration(target.step_timeout),
        "cycle-timeout": format_duration(target.cycle_timeout),
        "propagation-timeout": format_duration(target.propagation_timeout),
        "expect-private": target.expect_private,
        "expect-private-every": format_duration(target.expect_private_every),
    }


def _block(title: str, values: Mapping[str, object]) -> str:
    """Given a title and values by name, return lines of them, aligned, without those that are None."""
    shown = {name: value for name, value in values.items() if value is not None}
    width = max(map(len, shown))
    lines = [
        f"  {name:{width}}  {str(value).lower() if isinstance(value, bool) else value}" for name, value in shown.items()
    ]
    return "\n".join([title, *lines])
