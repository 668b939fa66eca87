"""From layers to targets: what excludes what, what is required, and whose password goes where."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.options.config import TARGETS, Config, Section
from lib.options.layer import RIVALS, Given, Layer, lay, read_value
from lib.options.table import BY_NAME, NAME, PER_TARGET, nearest
from lib.reference import same_host
from lib.secret import read_secret_file
from lib.target import Credentials, Target

#: Where a target has one of these, it takes none from elsewhere: a password goes only where it is meant to go.
_CREDENTIALS = frozenset({"username", "password", "password-file", "docker-config"})
_SECRETS = ("password", "password-file")
#: What no flag or variable can say of several targets at once.
_IDENTITY = frozenset({"repository", "registry-host"})
_CREDENTIALS_DIRECTORY = re.compile(r"\$(?:\{CREDENTIALS_DIRECTORY\}|CREDENTIALS_DIRECTORY)(?=/|$)")
_TOP_KEYS = {name: option for name, option in BY_NAME.items() if option.in_file}
_TARGET_KEYS = {name: option for name, option in BY_NAME.items() if option.name in PER_TARGET} | {NAME.name: NAME}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where values come from, the one with precedence first; `top` is the file outside `targets`."""

    flags: Layer
    environment: Layer
    top: Layer
    defaults: Layer


def file_layer(config: Config, section: Section, target: int | None, faults: list[str]) -> Layer:
    """Given a section of a file, and the index of the target that it describes, if any, return what it says.

    Keys that can't stand there, and values that are none, are added to `faults`.
    """
    known = _TOP_KEYS if target is None else _TARGET_KEYS
    layer: Layer = {}
    for key, entry in section.entries.items():
        place = config.place(entry.line, target, key)
        option = known.get(key)
        if option is None:
            faults.append(f"{place}: {_unknown(key, target)}")
        elif option.name in layer:
            faults.append(f"{place}: is given twice, under both its names")
        elif entry.text is None:
            layer[option.name] = Given(None, place)
        else:
            layer[option.name] = read_value(option, entry.text, place, faults)
    return layer


def single_target(sources: Sources, env: Mapping[str, str], faults: list[str]) -> tuple[Target, ...]:
    """Given the sources, return the one target that they describe; what is wrong with it is added to `faults`."""
    given = lay((sources.flags, sources.environment, sources.top, sources.defaults))
    target = _target(given, "", env, faults)
    return (target,) if target is not None else ()


def listed_targets(config: Config, sources: Sources, env: Mapping[str, str], faults: list[str]) -> tuple[Target, ...]:
    """Given a file with `targets:`, and the sources, return its targets; what is wrong is added to `faults`."""
    for layer in (sources.flags, sources.environment):
        faults += [
            f"{layer[name].place}: can't be given beside the `{TARGETS}` of {config.path}"
            for name in layer
            if name in _IDENTITY
        ]
    sources = replace(
        sources, flags=_without(_IDENTITY, sources.flags), environment=_without(_IDENTITY, sources.environment)
    )
    targets: list[Target] = []
    first_with: dict[tuple[str, str], int] = {}
    for index, section in enumerate(config.targets or ()):
        if section is None:
            continue
        own = file_layer(config, section, index, faults)
        target = _target(_laid_around(own, sources), config.place(section.line, index), env, faults)
        if target is None:
            continue
        targets.append(target)
        # The host in lower case: it is the same registry, however it is written.
        tested = f"{target.registry.lower()}/{target.reference.path}:{target.reference.tag}"
        for trait in (("name", target.name), ("repository and tag", tested)):
            first = first_with.setdefault(trait, index)
            if first != index:
                faults.append(f"{config.place(section.line, index)}: has the same {trait[0]} as {TARGETS}[{first}]")
    return tuple(targets)


def _laid_around(own: Layer, sources: Sources) -> Layer:
    """Given what a target says itself, return it laid between the sources: its login above flags, the rest below."""
    kept_out: Collection[str] = () if _CREDENTIALS.isdisjoint(own) else _CREDENTIALS
    flags, environment, top = (_without(kept_out, layer) for layer in (sources.flags, sources.environment, sources.top))
    return lay((flags, environment, own, top, sources.defaults))


def _without(names: Collection[str], layer: Layer) -> Layer:
    """Given names and a layer, return the layer without them."""
    return {name: given for name, given in layer.items() if name not in names}


def _target(given: Layer, place: str, env: Mapping[str, str], faults: list[str]) -> Target | None:
    """Given what is said of a target, and where it stands, return it, or None with what is wrong in `faults`."""
    found = [*_required(given, place), *_exclusive(given), *_consistent(given)]
    password_file = _password_file(given, env, found)
    if found or any(item.value is None for item in given.values()):
        faults += found
        return None
    value = {name: item.value for name, item in given.items()}
    reference = replace(value["repository"], tag=value["tag"])
    credentials = None
    if "username" in value:
        credentials = Credentials(value["username"], password_file or value["password"])
    return Target(
        name=value.get("name", reference.repository),
        reference=reference,
        credentials=credentials,
        docker_config=value.get("docker-config"),
        base_image=value.get("base-image"),
        public_base=value["public-base"],
        base_layer_id=value.get("base-layer-id"),
        run_every=value["run-test-every"],
        retry_every=value["retry-every"],
        step_timeout=value["step-timeout"],
        cycle_timeout=value["cycle-timeout"],
        overwrite=value["overwrite"],
        payload_bytes=value["payload-size"],
        payload_layers=value["payload-layers"],
        builder=value["builder"],
        propagation_timeout=value["propagation-timeout"],
        expect_private=value["expect-private"],
        expect_private_every=value["expect-private-every"],
    )


def _required(given: Layer, place: str) -> Iterator[str]:
    """Given what is said of a target, yield what is missing."""
    if "repository" not in given:
        where = f"{place}: repository" if place else "repository"
        yield f"{where}: is required: the repository's full name, as in quay.io/some/repository"
    if "username" in given and given.keys().isdisjoint((*_SECRETS, "docker-config")):
        yield f"{given['username'].place}: needs password or password-file beside it"
    for secret in _SECRETS:
        if secret in given and given.keys().isdisjoint(("username", "docker-config")):
            yield f"{given[secret].place}: needs username beside it"


def _exclusive(given: Layer) -> Iterator[str]:
    """Given what is said of a target, yield what can't be said together. Only one source can have said it."""
    for name, rivals in RIVALS.items():
        for rival in rivals:
            if name < rival and name in given and rival in given:
                yield f"{given[rival].place}: excludes {name}: give one of the two"


def _consistent(given: Layer) -> Iterator[str]:
    """Given what is said of a target, yield the values that contradict each other, or what is on the disk."""
    repository, host = _value(given, "repository"), _value(given, "registry-host")
    if repository and host and not same_host(repository.host, host):
        on = f"{repository.repository} is on {repository.host}"
        yield f"{given['registry-host'].place}: {host} is not the repository's host: {on}"
    size, layers = _value(given, "payload-size"), _value(given, "payload-layers")
    if size and layers and layers > size:
        yield f"{given['payload-layers'].place}: {layers} layers can't be made of {size} bytes: one at least for each"
    folder = _value(given, "docker-config")
    if folder and not os.path.isdir(folder):  # noqa: PTH112  unlike Path.is_dir, it never raises
        yield f"{given['docker-config'].place}: {folder} is no folder"


def _password_file(given: Layer, env: Mapping[str, str], faults: list[str]) -> Path | None:
    """Given what is said of a target, return its password file, if any, which was read once to see that it can be."""
    written = _value(given, "password-file")
    if written is None:
        return None
    place = given["password-file"].place
    folder = env.get("CREDENTIALS_DIRECTORY")
    begins = _CREDENTIALS_DIRECTORY.match(str(written))
    if begins and not folder:
        faults.append(f"{place}: CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit with LoadCredential=")
        return None
    path = Path(f"{folder}{str(written)[begins.end() :]}") if begins else Path(written)
    try:
        read_secret_file(path)
    except OSError as error:
        faults.append(f"{place}: {path} can't be read: {error.strerror}")
    except ValueError as error:
        faults.append(f"{place}: {error}")
    return path


def _value(given: Layer, name: str) -> Any:
    """Given a layer and an option's name, return the value that is there, None where there is none."""
    return given[name].value if name in given else None


def _unknown(key: str, target: int | None) -> str:
    """Given a key that can't stand where it does, return what to do about it."""
    if target is None and key == NAME.name:
        return f"is a target's: put it under `{TARGETS}`"
    if target is None and key in BY_NAME:
        return "can't be given in a file"
    if target is not None and key in _TOP_KEYS:
        return f"is for the whole monitor: put it above `{TARGETS}`"
    near = nearest(key, _TOP_KEYS if target is None else _TARGET_KEYS)
    return f"unknown option: did you mean `{near}`?" if near else "unknown option"
