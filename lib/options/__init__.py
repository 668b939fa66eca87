"""From command line, environment and file to Options. Every fault is collected before one error names them all.

table   what there is        arguments   what is said        targets   what follows for each target
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lib.ending import CantRun
from lib.options.arguments import read_arguments
from lib.options.options import Options
from lib.options.source import PassingFault, Setting, Source, filled, overlay
from lib.options.table import PROCESS_OPTIONS, TARGET_OPTIONS, Option
from lib.options.targets import Sources, listed_targets, read_top, single_target
from lib.strict_yaml import read_yaml
from lib.target import Target

__all__ = ["Options", "OptionsError", "changed", "describe", "parse_options"]

_NAMESPACE = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


class OptionsError(CantRun):
    """The options can't be used. The text has every fault, one a line.

    Attributes:
        faults: the lines.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(dict.fromkeys(faults))
        super().__init__("\n".join(self.faults))


def parse_options(argv: Sequence[str], env: Mapping[str, str]) -> Options:
    """Given the command line without the program's name, and the environment, return the options.

    The file is read again each time. Raise OptionsError if anything is wrong, except for faults of single targets that
    the running monitor reports, if others are left to test and the configuration is not just to be checked; and
    SystemExit(0), after printing the help, if that is asked for.
    """
    faults: list[str] = []
    flags, environment = read_arguments(argv, env, faults)
    said = overlay((flags, environment))
    if "version" in said and said["version"].value and not faults:
        return Options(version=True)

    targets: tuple[Target, ...] = ()
    sources = Sources(flags, environment, {})
    if "config" not in said:
        targets = single_target(sources, env, faults)
    elif said["config"].value is not None:
        file = read_yaml(said["config"].value, lambda _, fault: faults.append(fault))
        top, listed = read_top(file.root, faults) if file.root else ({}, None)
        sources = replace(sources, top=top)
        # Missing options can be reported only if the file was read to its end.
        if file.broken:
            faults.append(file.broken)
        else:
            targets = listed_targets(listed, sources, env, faults) if listed else single_target(sources, env, faults)
    options = _options(overlay((flags, environment, sources.top)), targets, env, faults)
    passing = [fault for fault in faults if isinstance(fault, PassingFault)]
    if len(passing) < len(faults) or (faults and (options.check_config or len(passing) >= len(targets))):
        raise OptionsError(faults)
    return options


def _options(said: Source, targets: tuple[Target, ...], env: Mapping[str, str], faults: list[str]) -> Options:
    """Given the settings, return the options; if there are `faults`, or some are added, they must not be used."""
    options = Options(**filled(PROCESS_OPTIONS, said), targets=targets)
    if options.web_config is not None:
        faults += _web_config_faults(said["web-config"].place, options.web_config)
    if options.metrics_file is not None:
        faults += _metrics_file_faults(said["metrics-file"].place, options.metrics_file)
    options = replace(options, state_dir=_state_dir(said, env, faults), namespace=_namespace(env, faults))
    faults += _rested_faults(options)
    return options


def _rested_faults(options: Options) -> Iterator[str]:
    """Given the options, yield what rested images still need."""
    for target in options.targets:
        if target.cold_images and options.state_dir is None:
            yield (
                f"cold-images: target {target.name} needs state-dir beside it: without one, a restart would forget what"
                " was pushed and when, and nothing could be compared with it"
            )
    if options.renew_cold and not options.once:
        yield "renew-cold: needs once beside it"


def _web_config_faults(place: str, path: Path) -> Sequence[str]:
    """Given the place that names it, and the path of the web configuration file, return what is wrong with it."""
    if not os.path.isfile(path):  # noqa: PTH113  unlike Path.is_file, it never raises
        return [f"{place}: {path} is not a file"]
    from lib.web.config import WebConfigError, read_web_config  # noqa: PLC0415  YAML and TLS, only needed with a file

    try:
        read_web_config(path)
    except WebConfigError as error:
        return error.faults
    return ()


def _metrics_file_faults(place: str, path: Path) -> Iterator[str]:
    """Given the place that names it, and the path of the file for metrics, yield why it can't be written."""
    if os.path.isdir(path):  # noqa: PTH112  the same
        yield f"{place}: {path} is a folder: name a file in it, such as registry-monitor.prom"
        return
    from tempfile import TemporaryFile  # noqa: PLC0415  as above

    try:
        # It has no name there, and is gone at once.
        with TemporaryFile(dir=path.parent):
            return
    except OSError as error:
        yield f"{place}: {path.parent} can't be written into: {error.strerror}"


def _state_dir(said: Source, env: Mapping[str, str], faults: list[str]) -> Path | None:
    """Given the settings, return the folder for the history: by option, else the first that systemd made, else None."""
    by_systemd = env.get("STATE_DIRECTORY", "").partition(":")[0]
    setting = said.get("state-dir", Setting(Path(by_systemd) if by_systemd else None, "STATE_DIRECTORY"))
    folder: Path | None = setting.value
    if folder is not None and os.path.isfile(folder):  # noqa: PTH113  the same
        faults.append(f"{setting.place}: {folder} is not a folder")
    return folder


def _namespace(env: Mapping[str, str], faults: list[str]) -> str:
    namespace = env.get("PROMETHEUS_NAMESPACE", "")
    if namespace and not _NAMESPACE.fullmatch(namespace):
        faults.append(
            "PROMETHEUS_NAMESPACE: can't begin a metric's name: A-Z a-z _ :, and 0-9 but not at its beginning"
        )
    return namespace


def changed(before: Options, after: Options) -> list[str]:
    """Given two options, return the names of those about the process that differ; those take a restart."""
    return [
        option.name
        for option in PROCESS_OPTIONS
        if getattr(before, option.attribute) != getattr(after, option.attribute)
    ]


def describe(options: Options) -> str:
    """Given options, return what would run, for people to read and without a secret.

    A sentence, a block for the monitor, one for what all targets have in common, and one for each target.
    """
    monitor = _shown(options, PROCESS_OPTIONS)
    targets = {target.name: _shown_target(target) for target in options.targets}
    common = _common(list(targets.values()))
    count = "1 target" if len(targets) == 1 else f"{len(targets)} targets"
    blocks = [f"No fault was found. {count} would be tested:", _block("monitor", monitor)]
    if common:
        blocks.append(_block("every target", common))
    for name, values in targets.items():
        own = {key: value for key, value in values.items() if key not in common}
        blocks.append(_block(f"target {name}", own))
    return "\n\n".join(blocks)


def _shown(owner: Options | Target, options: Iterable[Option]) -> dict[str, str]:
    values = {option.name: option.shown_of(owner) for option in options if option.is_shown}
    return {name: value for name, value in values.items() if value is not None}


def _shown_target(target: Target) -> dict[str, str]:
    values = _shown(target, [option for option in TARGET_OPTIONS if not (target.read_only and option.pushes)])
    if target.docker_config:
        del values["username"]  # if it has none, there may still be a login
    return values


def _common(targets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = targets
    return {key: value for key, value in first.items() if others and all(other.get(key) == value for other in others)}


def _block(title: str, values: Mapping[str, str]) -> str:
    width = max(map(len, values))
    return "\n".join([title, *(f"  {name:{width}}  {value}" for name, value in values.items())])
