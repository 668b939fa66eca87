"""Sources: the settings of the command line, the environment or a file, and which take precedence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lib.options.table import Option

#: If one of these is given, its alternatives are not taken from lower sources; in the same source they are a fault.
EXCLUSIVE = {
    "username": ("docker-config",),
    "password": ("password-file", "docker-config"),
    "password-file": ("password", "docker-config"),
    "docker-config": ("username", "password", "password-file"),
    "base-image": ("base-layer-id",),
    "base-layer-id": ("base-image",),
    "expect-digest": ("replica-of",),
    "replica-of": ("expect-digest",),
}


class PassingFault(str):
    """A fault of one target alone, for which the running monitor calls it `unknown`: it may pass, and does not keep
    other targets from being tested.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that somebody gave.

    Attributes:
        value: the value; None if the text was not valid, and then the fault is already noted.
        place: the place where it was given, as messages name it.
    """

    value: Any
    place: str


#: The settings of one source, by the names of the options.
Source = dict[str, Setting]


def read_value(option: Option, text: str, place: str, faults: list[str]) -> Setting:
    """Given an option and its text at a place, return its setting; add a fault if the text is not valid."""
    try:
        return Setting(option.parse(text), place)
    except ValueError as error:
        faults.append(f"{place}: {error}")
        return Setting(None, place)


def overlay(sources: Iterable[Source]) -> Source:
    """Given sources, the one with precedence first, return the settings in force."""
    seen: Source = {}
    for source in sources:
        ruled_out = {other for name in seen for other in EXCLUSIVE.get(name, ())}
        seen = {name: setting for name, setting in source.items() if name not in ruled_out} | seen
    return seen


def filled(options: Iterable[Option], source: Source) -> dict[str, Any]:
    """Given options, and settings, return the attributes that these fill; none for options without a setting."""
    return {option.attribute: source[option.name].value for option in options if option.name in source}
