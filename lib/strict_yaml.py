"""A YAML file of nested sections, read strictly: every value as the text that was written, every fault with its line.

No fault quotes a value, nor a key that can't be one: a secret may stand in its place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Self, TypeVar

import yaml

from lib.options.config import LARGEST_FILE_BYTES

_T = TypeVar("_T")

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}", re.ASCII)


class UnreadableError(Exception):
    """The file is no YAML that can be read. Its text says so, beginning with its path."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value in the file.

    Attributes:
        node: the parser's node.
        where: the keys that lead to it, joined by ": "; empty for the file as a whole.
        faults: line and text of all that is wrong with the file, shared by all its values.
    """

    node: yaml.Node = field(repr=False)
    where: str = ""
    faults: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Given the path of a file, return all that is in it. Raise UnreadableError."""
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST_FILE_BYTES + 1)
            if len(content) > LARGEST_FILE_BYTES:
                raise UnreadableError(f"{path}: is longer than {LARGEST_FILE_BYTES} bytes")
            root = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.BaseLoader)
        except OSError as error:
            raise UnreadableError(f"{path}: can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UnreadableError(f"{path}: is not UTF-8 text") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise UnreadableError(f"{path}:{line}: is not valid YAML") from None  # the parser's words may quote it
        except (yaml.YAMLError, RecursionError):
            raise UnreadableError(f"{path}: is not valid YAML") from None
        if root is None:
            raise UnreadableError(f"{path}:1: is empty")
        return cls(root)

    def fault(self, message: str) -> None:
        """Given what is wrong with this value, note it."""
        self.faults.append((self.node.start_mark.line + 1, f"{self.where}: {message}".removeprefix(": ")))

    def items(self) -> list[tuple[Value, Value]]:
        """Return the pairs of this mapping; none, and a fault, where it is no mapping."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fault("is no mapping of keys to values")
            return []
        return [(self._inner(key), self._inner(value)) for key, value in self.node.value]

    def entries(self, known: Collection[str], refused: Mapping[str, str] | None = None) -> dict[str, Value]:
        """Return the entries of this mapping, without those that are at fault.

        Given the keys that are known, and those that are refused, with what is to be done instead.
        """
        entries: dict[str, Value] = {}
        for key, value in self.items():
            name = key.node.value
            if not isinstance(key.node, yaml.ScalarNode) or not _KEY.fullmatch(name):
                key.fault("is no `key: value` with the name of an option")
                continue
            named = Value(value.node, f"{self.where}: {name}".removeprefix(": "), self.faults)
            at_key = Value(key.node, named.where, self.faults)
            if name in entries:
                at_key.fault("is given twice")
            elif refused and name in refused:
                at_key.fault(refused[name])
            elif name in known:
                entries[name] = named
            else:
                at_key.fault(f"unknown option{_did_you_mean(name, known)}")
        return entries

    def text(self) -> str | None:
        """Return this value's text; None, and a fault, where it has none, or other things than signs that print."""
        if isinstance(self.node, yaml.ScalarNode) and self.node.value and self.node.value.isprintable():
            return str(self.node.value)
        self.fault("is no single line of text")
        return None

    def choice(self, known: Mapping[str, _T], refused: Mapping[str, str] | None = None) -> _T | None:
        """Return what this value's text stands for; None, and a fault, if nothing.

        Given what the known texts stand for, and the texts that are refused, with the reason.
        """
        text = self.text()
        if text is not None and text in known:
            return known[text]
        if text is not None:
            why = (refused or {}).get(text)
            self.fault(f"{text} {why}" if why else f"is none of {', '.join(known)}")
        return None

    def each(self) -> list[Value]:
        """Return the values of this list; none, and a fault, where it is no list or has none."""
        if isinstance(self.node, yaml.SequenceNode) and self.node.value:
            return [self._inner(node) for node in self.node.value]
        self.fault("is no list with something in it: each of its values begins with a dash")
        return []

    def _inner(self, node: yaml.Node) -> Value:
        return Value(node, self.where, self.faults)


def _did_you_mean(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f": did you mean `{near[0]}`?" if near else ""
