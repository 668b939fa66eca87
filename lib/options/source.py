"""Sources: what the command line, the environment or a file says, and how one source is laid over another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lib.options.table import Option

#: If one of these is given, those beside it are not taken from sources below; in the same source they are a fault.
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
    """A fault of one target alone, which the running monitor calls `unknown`: it may pass, and keeps no other target
    from being tested.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that somebody gave.

    Attributes:
        value: what it is; None if the text was not a valid one, and then the fault is already noted.
        place: the place where it was given, as messages name it.
    """

    value: Any
    place: str


#: What one source says, by the names of the options.
Source = dict[str, Setting]


def read_value(option: Option, text: str, place: str, faults: list[str]) -> Setting:
    """Given an option and the text that stands for it at a place, return its value; add a fault if it is not valid."""
    try:
        return Setting(option.parse(text), place)
    except ValueError as error:
        faults.append(f"{place}: {error}")
        return Setting(None, place)


def overlay(sources: Iterable[Source]) -> Source:
    """Given sources, the one with precedence first, return what holds when they are laid over each other."""
    seen: Source = {}
    for source in sources:
        ruled_out = {other for name in seen for other in EXCLUSIVE.get(name, ())}
        seen = {name: setting for name, setting in source.items() if name not in ruled_out} | seen
    return seen


def filled(options: Iterable[Option], source: Source) -> dict[str, Any]:
    """Given options, and what is said, return the attributes that they fill; none for those that are not there."""
    return {option.attribute: source[option.name].value for option in options if option.name in source}
