"""A YAML file, read strictly: every value as the text that was written, every fault with its line.

YAML's own types are ignored: `0123` stays `0123`, `yes` stays `yes`. A file is one document of texts, lists and
mappings. Anchors, aliases, tags and repeated keys are faults, and so are unknown keys: only what is below one of those
is not checked. No fault quotes a value, or something that can't be a key: it may be a misplaced secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lib.quoting import nearest

LARGEST_FILE_BYTES = 1024 * 1024

_T = TypeVar("_T")

#: An unknown key may be shown if it looks like this: without digits, it is rarely somebody's password.
_KEY = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}", re.ASCII)
#: The parts of the parser's messages that may quote the file.
_QUOTED = re.compile(r"'[^']{2,}'")
#: Characters that YAML allows nowhere.
_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BYTE_ORDER_MARK = "\ufeff"
_STRING_TAG = "tag:yaml.org,2002:str"
_MARKED = "has an anchor (&), an alias (*) or a tag (!), which are not read: write the value in quotes"
_NO_MAPPING = "is not a mapping of keys to values"
_DEEPEST = 10


@dataclass(slots=True)
class File:
    """A file that was read.

    Attributes:
        path: which one.
        note: takes a fault: its line, and its text with the place.
        root: its mapping, up to where it is broken; None if there is none.
        broken: why it was not read to its end, with the place; None if it was.
    """

    path: Path
    note: Callable[[int, str], None]
    root: Value | None = None
    broken: str | None = None

    def place(self, line: int, where: str = "") -> str:
        """Given a line, and the keys that lead there, return how a message names that place."""
        return f"{self.path}:{line}: {where}" if where else f"{self.path}:{line}"

    def broken_in(self, line: int, message: str) -> None:
        """Given a line, and what is wrong there, note that the file is not read beyond it."""
        self.broken = f"{self.place(line)}: {message}"


@dataclass(slots=True, eq=False)
class Value:
    """A value in a file.

    Attributes:
        content: a text, a list of values, or a mapping of them by their keys, which are values, too.
        line: where it begins, from 1.
        is_one_line: whether it ends in that line.
        is_marked: whether it has an anchor or a tag, or is an alias.
        file: the file that it is in.
        where: the keys that lead to it, joined by ": "; empty for the whole file.
        key_line: the line of its key, or its own if it has none.
    """

    content: str | list[Value] | dict[Value, Value] = field(repr=False)
    line: int
    is_one_line: bool
    is_marked: bool
    file: File = field(repr=False)
    where: str = ""
    key_line: int = 0

    @property
    def place(self) -> str:
        """How a message names its place: by the line of its key."""
        return self.file.place(self.key_line or self.line, self.where)

    def fault(self, message: str) -> None:
        """Given what is wrong with this value, note it."""
        self.file.note(self.line, f"{self.file.place(self.line, self.where)}: {message}")

    def called(self, where: str, key_line: int = 0) -> Value:
        """Given the keys that lead to it, and the line of its key, return this value with its place."""
        return Value(self.content, self.line, self.is_one_line, self.is_marked, self.file, where, key_line)

    def items(self) -> list[tuple[Value, Value]]:
        """Return the pairs of this mapping; none, with a fault, if it is not a mapping."""
        if self._is_plain() and not isinstance(self.content, dict):
            self.fault(_NO_MAPPING)
        elif isinstance(self.content, dict) and not self.is_marked:
            return [(key.called(self.where), value.called(self.where)) for key, value in self.content.items()]
        return []

    def entries(self, known: Collection[str], refused: Mapping[str, str] | None = None) -> dict[str, Value]:
        """Return the entries of this mapping, without those that are at fault.

        Given the keys that are known, and those that are refused, with what is to be done instead.
        """
        entries: dict[str, Value] = {}
        first_lines: dict[str, int] = {}
        for key, value in self.items():
            name = key.content
            if not isinstance(name, str) or not (name in known or _KEY.fullmatch(name)):
                key.fault("is not a `key: value` with the name of an option")
                continue
            where = f"{self.where}: {name}".removeprefix(": ")
            named, at_key = value.called(where, key.line), key.called(where)
            if name in first_lines:
                at_key.fault(f"is given twice: first in line {first_lines[name]}")
                continue
            first_lines[name] = key.line
            if refused and name in refused:
                at_key.fault(refused[name])
            elif name not in known:
                near = nearest(name, known)
                at_key.fault(f"unknown option: did you mean `{near}`?" if near else "unknown option")
            elif at_key.text():
                entries[name] = named
        return entries

    def text(self) -> str | None:
        """Return this value's text; None, with a fault, if it has none."""
        if not isinstance(self.content, str):
            self.fault("has a list or a mapping, but needs one value")
        elif self._is_plain():
            if self.content:
                return self.content
            self.fault("has no value: give one, or leave the key out")
        return None

    def choice(self, known: Mapping[str, _T], refused: Mapping[str, str] | None = None) -> _T | None:
        """Return the meaning of this value's text; None, with a fault, if it has none.

        Given the meanings of the known texts, and the texts that are refused, with the reason.
        """
        text = self.text()
        if text is not None and text in known:
            return known[text]
        if text is not None:
            why = (refused or {}).get(text)
            self.fault(f"{text} {why}" if why else f"is not one of {', '.join(known)}")
        return None

    def each(self) -> list[Value]:
        """Return the values of this list; none, with a fault, if it is not a list or is empty."""
        if not isinstance(self.content, list) or not self.content:
            self.fault("is not a list with something in it: begin each of its values with a dash")
        elif self._is_plain():
            return [value.called(self.where) for value in self.content]
        return []

    def _is_plain(self) -> bool:
        if self.is_marked:
            self.fault(_MARKED)
        return not self.is_marked


def read_yaml(path: Path, note: Callable[[int, str], None]) -> File:
    """Given the path of a file, and what takes its faults, return its content. Raise nothing."""
    file = File(path, note)
    try:
        with path.open("rb") as opened:
            content = opened.read(LARGEST_FILE_BYTES + 1)
        if len(content) > LARGEST_FILE_BYTES:
            file.broken = f"{path}: is longer than {LARGEST_FILE_BYTES} bytes"
        else:
            _Reader(file).read(content.decode().removeprefix(_BYTE_ORDER_MARK))
    except OSError as error:
        file.broken = f"{path}: can't be read: {error.strerror}"
    except UnicodeDecodeError as error:
        file.broken_in(content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text")
    return file


class _Reader:
    """Builds the values of a file from the parser's events, none of which was interpreted, expanded or nested."""

    def __init__(self, file: File) -> None:
        import yaml  # noqa: PLC0415  a fifth of the time that `-version` may take, and needed only with a file

        self._yaml = yaml
        self._file = file
        self._events: Iterator[Any] = iter(())

    def read(self, text: str) -> None:
        """Given the file's text, read it, up to where it is broken."""
        unprintable = _UNPRINTABLE.search(text)
        if unprintable:
            line = text.count("\n", 0, unprintable.start()) + 1
            self._file.broken_in(line, "is not valid YAML: it has characters that don't print")
            return
        # libyaml's parser needs a tenth of the time of the one in Python.
        loader = getattr(self._yaml, "CBaseLoader", self._yaml.BaseLoader)
        self._events = self._yaml.parse(text, Loader=loader)
        try:
            self._read_document()
        except self._yaml.MarkedYAMLError as error:
            # In the parser's own words, except for a name that it may quote from the file.
            problem = _QUOTED.sub("a name", error.problem or "")
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self._file.broken_in(line, f"is not valid YAML: {problem}")

    def _read_document(self) -> None:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), self._yaml.StreamEndEvent):
            self._file.broken_in(1, "is empty")
            return
        root = next(self._events)
        if not isinstance(root, self._yaml.MappingStartEvent):
            self._file.broken_in(_line(root), _NO_MAPPING)
            return
        self._read_value(root)
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, self._yaml.StreamEndEvent):
            self._file.broken_in(_line(after), "begins a second document: only one is read")

    def _read_value(self, event: Any, depth: int = 0) -> Value:
        if depth > _DEEPEST:
            # The parser's time grows with the square of the depth.
            problem = f"more than {_DEEPEST} levels are nested"
            raise self._yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        is_alias = isinstance(event, self._yaml.AliasEvent)
        is_marked = event.anchor is not None or getattr(event, "tag", None) not in (None, _STRING_TAG)
        is_one_line = event.start_mark.line == event.end_mark.line
        content: str | list[Value] | dict[Value, Value] = "" if is_alias else getattr(event, "value", "")
        if isinstance(event, self._yaml.MappingStartEvent):
            content = {}
        elif isinstance(event, self._yaml.SequenceStartEvent):
            content = []
        value = Value(content, _line(event), is_one_line, is_marked, self._file)
        self._file.root = self._file.root or value
        if isinstance(content, dict):
            while not isinstance(first := next(self._events), self._yaml.MappingEndEvent):
                key = self._read_value(first, depth + 1)
                content[key] = self._read_value(next(self._events), depth + 1)
        elif isinstance(content, list):
            while not isinstance(first := next(self._events), self._yaml.SequenceEndEvent):
                content.append(self._read_value(first, depth + 1))
        return value


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
