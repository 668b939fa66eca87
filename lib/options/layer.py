"""Layers: what one source says, and how one source is laid over another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lib.options.table import Option

#: Where one of these is given, those beside it are not taken from sources below; in the same source they are a fault.
RIVALS = {
    "username": ("docker-config",),
    "password": ("password-file", "docker-config"),
    "password-file": ("password", "docker-config"),
    "docker-config": ("username", "password", "password-file"),
    "base-image": ("base-layer-id",),
    "base-layer-id": ("base-image",),
}


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave.

    Attributes:
        value: what it is; None where the text was no valid one, which has been told.
        place: where it was given, as messages name it.
    """

    value: Any
    place: str


#: What one source says, by the names of the options.
Layer = dict[str, Given]


def read_value(option: Option, text: str, place: str, faults: list[str]) -> Given:
    """Given an option and the text that stands for it at a place, return its value; add a fault where it is none."""
    try:
        return Given(option.parse(text), place)
    except ValueError as error:
        faults.append(f"{place}: {error}")
        return Given(None, place)


def lay(layers: Iterable[Layer]) -> Layer:
    """Given layers, the one with precedence first, return what shows when they are laid over each other."""
    seen: Layer = {}
    for layer in layers:
        ruled_out = {rival for name in seen for rival in RIVALS.get(name, ())}
        seen = {name: given for name, given in layer.items() if name not in ruled_out} | seen
    return seen
