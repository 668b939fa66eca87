"""From sources to targets: which settings exclude each other, which are required, and whose password goes where."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.options.read_only import Listed, read_only_faults, replica_faults, without_defaults_for_pushes
from lib.options.source import EXCLUSIVE, PassingFault, Setting, Source, filled, overlay, read_value
from lib.options.table import BY_NAME, NAME, TARGET_OPTIONS, Option
from lib.options.values import MOST_LABELS
from lib.quoting import quoted
from lib.reference import DEFAULT_TAG, LONGEST_TAG, same_host
from lib.secret import PasswordFile
from lib.strict_yaml import Value
from lib.target import STRANGER_SUFFIX, Anonymous, Credentials, Target

TARGETS = "targets"

#: If a target has one of these, it takes none of them from elsewhere: a password goes only where it is meant to go.
_CREDENTIALS = frozenset({"username", "password", "password-file", "docker-config"})
_SECRETS = ("password", "password-file")
#: Options that no flag or variable can set for several targets at once.
_IDENTITY = frozenset({"repository", "registry-host"})
_CREDENTIALS_DIRECTORY = re.compile(r"\$(?:\{CREDENTIALS_DIRECTORY\}|CREDENTIALS_DIRECTORY)(?=/|$)")
#: An unchecked name that may be shown.
_LABEL = re.compile(r"[!-~]{1,100}")

_TOP_KEYS = {name: option for name, option in BY_NAME.items() if option.in_file}
_NO_TOP_KEYS = dict.fromkeys(BY_NAME.keys() - _TOP_KEYS.keys(), "can't be given in a file") | {
    NAME.name: f"is a target's: put it under `{TARGETS}`"
}
_TARGET_KEYS = {name: option for name, option in BY_NAME.items() if option in TARGET_OPTIONS} | {NAME.name: NAME}
_NO_TARGET_KEYS = dict.fromkeys(
    _TOP_KEYS.keys() - _TARGET_KEYS.keys(), f"is for the whole monitor: put it above `{TARGETS}`"
)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where values come from, the one with precedence first; `top` is the file outside `targets`."""

    flags: Source
    environment: Source
    top: Source


def read_top(root: Value, faults: list[str]) -> tuple[Source, Value | None]:
    """Given a whole file, return its settings outside `targets`, and the value of that key; add what is wrong."""
    entries = root.entries({**_TOP_KEYS, TARGETS: None}, _NO_TOP_KEYS)
    targets = entries.pop(TARGETS, None)
    return _source(entries, _TOP_KEYS, faults), targets


def _source(entries: Mapping[str, Value], known: Mapping[str, Option], faults: list[str]) -> Source:
    """Given the entries of a section, and the options of its keys, return its settings; add what is wrong."""
    source: Source = {}
    for key, value in entries.items():
        option = known[key]
        place = value.place
        if option.name in source:
            faults.append(f"{place}: is given twice, under both its names")
            continue
        if option.parse_entry is not None:
            source[option.name] = _mapping(option.parse_entry, value, faults)
            continue
        text = _one_line(value)
        source[option.name] = Setting(None, place) if text is None else read_value(option, text, place, faults)
    return source


def _one_line(value: Value) -> str | None:
    """Given a value in a file, return its text; None, with a fault, if that is not one line."""
    text = value.text()
    if text is not None and not value.is_one_line:
        value.fault("has a value of more than one line: is a quotation mark missing?")
        return None
    return text


def _mapping(parse_entry: Callable[[str, str], tuple[str, str]], value: Value, faults: list[str]) -> Setting:
    """Given what parses an entry of a mapping, and the mapping in a file, return its value; add what is wrong."""
    so_far, read = len(faults), dict[str, str]()
    for key, entry in value.items():
        name, text = key.text(), _one_line(entry)
        if name is None or text is None:
            continue
        try:
            name, text = parse_entry(name, text)
        except ValueError as error:
            key.fault(str(error))
        if name in read:
            key.fault(f"{quoted(name)} is given twice")
        read[name] = text
    if len(read) > MOST_LABELS:
        value.fault(f"has more than {MOST_LABELS} labels")
    return Setting(None if len(faults) > so_far else tuple(read.items()), value.place)


def single_target(sources: Sources, env: Mapping[str, str], faults: list[str]) -> tuple[Target, ...]:
    """Given the sources, return the one target that they describe; add what is wrong with it to `faults`."""
    settings = overlay((sources.flags, sources.environment, sources.top))
    faults += replica_faults([Listed.of(settings)])
    target = _target(settings, "", env, faults)
    return (target,) if target is not None else ()


def listed_targets(listed: Value, sources: Sources, env: Mapping[str, str], faults: list[str]) -> tuple[Target, ...]:
    """Given what is under `targets` in a file, and the sources, return the targets; add what is wrong to `faults`."""
    for source in (sources.flags, sources.environment):
        faults += [
            f"{source[name].place}: can't be given beside the `{TARGETS}` of {listed.file.path}"
            for name in source
            if name in _IDENTITY
        ]
    sources = replace(
        sources, flags=_without(_IDENTITY, sources.flags), environment=_without(_IDENTITY, sources.environment)
    )
    targets: list[Target] = []
    every: list[Listed] = []
    first_with: dict[tuple[str, str], int] = {}
    for index, section in enumerate(_sections(listed)):
        entries = section.entries(_TARGET_KEYS, _NO_TARGET_KEYS)
        if not isinstance(section.content, dict):
            continue
        own = _source(entries, _TARGET_KEYS, faults)
        settings = without_defaults_for_pushes(_laid_around(own, sources), own)
        every.append(Listed.of(settings))
        target = _target(settings, section.place, env, faults)
        if target is None:
            continue
        targets.append(target)
        # The host in lower case: it is the same registry, however its case is written.
        tested = f"{target.registry.lower()}/{target.reference.path}:{target.reference.tag}"
        rested = (("repository and tag", f"{tested}-cold-{number + 1}") for number in range(target.cold_images))
        for trait in (("name", target.name), ("repository and tag", tested), *rested):
            first = first_with.setdefault(trait, index)
            if first != index:
                faults.append(f"{section.place}: has the same {trait[0]} as {TARGETS}[{first}]")
    faults += replica_faults(every)
    return tuple(targets)


def _sections(listed: Value) -> list[Value]:
    if not isinstance(listed.content, list):
        listed.fault("is not a list: each target begins with a dash")
    elif not listed.content:
        listed.fault("has no target in it")
    else:
        return [value.called(f"{TARGETS}[{index}]{_label(value)}") for index, value in enumerate(listed.each())]
    return []


def _label(section: Value) -> str:
    """Given the description of a target, return its name as messages show it after its index; empty for none."""
    entries = section.content.items() if isinstance(section.content, dict) else ()
    name = next((value.content for key, value in entries if key.content == NAME.name), None)
    return f" ({name})" if isinstance(name, str) and _LABEL.fullmatch(name) else ""


def _laid_around(own: Source, sources: Sources) -> Source:
    """Given a target's own settings, return them between the other sources: its login above flags, the rest below."""
    kept_out: Collection[str] = () if _CREDENTIALS.isdisjoint(own) else _CREDENTIALS
    flags, environment, top = (
        _without(kept_out, source) for source in (sources.flags, sources.environment, sources.top)
    )
    return overlay((flags, environment, own, top))


def _without(names: Collection[str], source: Source) -> Source:
    return {name: setting for name, setting in source.items() if name not in names}


def _target(settings: Source, place: str, env: Mapping[str, str], faults: list[str]) -> Target | None:
    """Given the settings of a target, and its place, return it, or None with what is wrong in `faults`."""
    found = [*_required(settings, place), *_exclusive(settings), *_consistent(settings), *read_only_faults(settings)]
    password_file = _password_file(settings, env, found)
    faults += found
    if any(not isinstance(fault, PassingFault) for fault in found) or None in (one.value for one in settings.values()):
        return None
    value = {name: setting.value for name, setting in settings.items()}
    # Attributes that several options make together; each of the others fills one by itself.
    reference = value["repository"]
    if "tag" in value:
        reference = replace(reference, tag=value["tag"])
    credentials = None
    if "username" in value:
        credentials = Credentials(value["username"], password_file or value["password"])
    together = {"name": value.get("name", reference.repository), "reference": reference, "credentials": credentials}
    return Target(**(filled(TARGET_OPTIONS, settings) | together))


def _required(settings: Source, place: str) -> Iterator[str]:
    if "repository" not in settings:
        where = f"{place}: repository" if place else "repository"
        yield f"{where}: is required: the repository's full name, as in quay.io/some/repository"
    if "username" in settings and settings.keys().isdisjoint((*_SECRETS, "docker-config")):
        yield f"{settings['username'].place}: needs password or password-file beside it"
    for secret in _SECRETS:
        if secret in settings and settings.keys().isdisjoint(("username", "docker-config")):
            yield f"{settings[secret].place}: needs username beside it"


def _exclusive(settings: Source) -> Iterator[str]:
    """Given the settings of a target, yield those that exclude each other. They can only come from one source."""
    for name, others in EXCLUSIVE.items():
        for other in others:
            if name < other and name in settings and other in settings:
                yield f"{settings[other].place}: excludes {name}: give one of the two"


def _consistent(settings: Source) -> Iterator[str]:
    """Given the settings of a target, yield the values that contradict each other, or the files on the disk."""
    repository, host = _value(settings, "repository"), _value(settings, "registry-host")
    if repository and host and not same_host(repository.host, host):
        on = f"{repository.repository} is on {repository.host}"
        yield f"{settings['registry-host'].place}: {host} is not the repository's host: {on}"
    size, layers = _value(settings, "payload-size"), _value(settings, "payload-layers")
    if size and layers and layers > size:
        place = settings["payload-layers"].place
        yield f"{place}: {layers} layers can't be made of {size} bytes: one at least for each"
    anonymous = _value(settings, "anonymous")
    if anonymous is Anonymous.PULL and _value(settings, "expect-private"):
        place = settings["anonymous"].place
        yield f"{place}: pull is the opposite of expect-private, which wants that refused: give one of the two"
    longest = LONGEST_TAG - len(STRANGER_SUFFIX)
    if anonymous is Anonymous.REFUSED and len(_value(settings, "tag") or DEFAULT_TAG) > longest:
        place = settings["tag"].place
        yield f"{place}: is too long for a push to TAG{STRANGER_SUFFIX} (anonymous): {longest} characters at most"
    images, tag = _value(settings, "cold-images"), _value(settings, "tag") or DEFAULT_TAG
    if images and len(cold := f"{tag}-cold-{images}") > LONGEST_TAG:
        place = settings["tag"].place
        length = f"{len(cold)} of {LONGEST_TAG} characters"
        yield f"{place}: is too long for cold-images: with -cold-{images} it has {length}"
    folder = _value(settings, "docker-config")
    if folder:
        yield from _docker_config_faults(settings["docker-config"].place, folder)


def _docker_config_faults(place: str, folder: Path) -> Iterator[PassingFault]:
    from lib.docker.environment import read_config  # noqa: PLC0415  imports all of docker, only needed with such a folder

    try:
        read_config(folder)
    except ValueError as error:
        yield PassingFault(f"{place}: {error}")


def _password_file(settings: Source, env: Mapping[str, str], faults: list[str]) -> PasswordFile | None:
    """Given the settings of a target, return its password file, if any, after reading it once as a check."""
    written = _value(settings, "password-file")
    if written is None:
        return None
    place = settings["password-file"].place
    folder = env.get("CREDENTIALS_DIRECTORY")
    begins = _CREDENTIALS_DIRECTORY.match(str(written))
    if begins and not folder:
        faults.append(f"{place}: CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit with LoadCredential=")
        return None
    file = PasswordFile(written)
    if begins:
        file = PasswordFile(Path(f"{folder}{str(written)[begins.end() :]}"), str(written))
    try:
        file.read()
    except ValueError as error:
        faults.append(PassingFault(f"{place}: {error}"))
    return file


def _value(settings: Source, name: str) -> Any:
    return settings[name].value if name in settings else None
