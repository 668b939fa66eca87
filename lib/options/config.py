"""The YAML file: read strictly, every value kept as the text that was written.

YAML's own idea of a value is not asked for: `0123` stays `0123`, `1.10` stays `1.10`, `yes` stays `yes`. What the
keys mean is not known here. A file is one mapping of keys to texts; under `targets` it has a list of such mappings.
Anything else in it is a fault, with its line; no fault quotes a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TARGETS = "targets"
LARGEST_FILE_BYTES = 1024 * 1024

#: What can be a key without being a line of text, in which somebody's secret may stand.
_KEY = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}", re.ASCII)
#: What can be shown as a target's name before that was checked.
_LABEL = re.compile(r"[!-~]{1,100}")
_QUOTED = re.compile(r"'[^']{2,}'")
_DEEPEST = 10
_TOO_DEEP = f"more than {_DEEPEST} levels are nested"
_BYTE_ORDER_MARK = "\ufeff"
_STRING_TAG = "tag:yaml.org,2002:str"
_MARKED = "has an anchor (&), an alias (*) or a tag (!), which are not read: write the value in quotes"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key with its value.

    Attributes:
        text: the value as it was written, its quotes taken off; None where it is no text, which is a fault.
        line: where the key stands, from 1.
    """

    text: str | None = field(repr=False)
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """One mapping of the file.

    Attributes:
        line: where it begins, from 1.
        entries: what is in it, by key.
    """

    line: int
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(slots=True)
class Config:
    """What a file says.

    Attributes:
        path: which file.
        top: what stands outside `targets`.
        targets: one section a target, None for one that is no mapping; None without the key `targets`.
        is_whole: whether all of it is known, for all its faults.
        faults: what is wrong with the file, a sentence each, with its place.
    """

    path: Path
    top: Section = field(default_factory=lambda: Section(1))
    targets: list[Section | None] | None = None
    is_whole: bool = False
    faults: list[str] = field(default_factory=list)

    def place(self, line: int, target: int | None = None, key: str = "") -> str:
        """Given a line, a target's index and a key, return how a message names that place."""
        parts = [f"{self.path}:{line}"]
        if target is not None:
            parts.append(self._label(target))
        if key:
            parts.append(key)
        return ": ".join(parts)

    def _label(self, target: int) -> str:
        section = self.targets[target] if self.targets else None
        name = section.entries.get("name") if section else None
        shown = f" ({name.text})" if name and name.text and _LABEL.fullmatch(name.text) else ""
        return f"targets[{target}]{shown}"


def read_config(path: Path) -> Config:
    """Given the path of a file, return what it says, and what is wrong with it. Raise nothing."""
    config = Config(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        config.faults.append(f"{path}: can't be read: {error.strerror}")
        return config
    if len(content) > LARGEST_FILE_BYTES:
        config.faults.append(f"{path}: is longer than {LARGEST_FILE_BYTES} bytes")
        return config
    try:
        text = content.decode().removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        config.faults.append(f"{config.place(line)}: is not UTF-8 text")
        return config
    _Reader(config, text).read()
    return config


class _Reader:
    """Builds a Config from the parser's events, of which none has been interpreted, expanded or nested in memory."""

    def __init__(self, config: Config, text: str) -> None:
        import yaml  # noqa: PLC0415  a fifth of the time that `-version` may take, and only needed with a file

        self._yaml = yaml
        self._config = config
        self._events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        self._faults: list[tuple[int, int | None, str, str]] = []

    def read(self) -> None:
        """Fill the Config."""
        try:
            self._read_stream()
        except self._yaml.MarkedYAMLError as error:
            # In the parser's own words, but for a name that it may quote from the file.
            problem = _QUOTED.sub("a name", error.problem or "")
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self._faults.append((line, None, "", f"is not valid YAML: {problem}"))
        except self._yaml.YAMLError:
            self._faults.append((1, None, "", "is not valid YAML: it has characters that don't print"))
        # Only now is every target's name known.
        self._config.faults += [
            f"{self._config.place(line, target, key)}: {message}" for line, target, key, message in self._faults
        ]

    def _read_stream(self) -> None:
        next(self._events)  # the stream begins
        if isinstance(next(self._events), self._yaml.StreamEndEvent):
            self._faults.append((1, None, "", "is empty"))
            return
        root = next(self._events)
        if not isinstance(root, self._yaml.MappingStartEvent):
            self._fault(root, None, "", "is no mapping of keys to values")
            return
        self._read_section(self._config.top.entries)
        self._config.is_whole = True
        next(self._events)  # the document ends
        after = next(self._events)
        if not isinstance(after, self._yaml.StreamEndEvent):
            self._fault(after, None, "", "begins another document: only one is read")

    def _read_section(self, entries: dict[str, Entry], target: int | None = None) -> None:
        """Given where to put them, read the entries of the mapping that has just begun, to its end."""
        while not isinstance(key := next(self._events), self._yaml.MappingEndEvent):
            name = self._key(key, target)
            value = next(self._events)
            if name is None:
                self._skip(value)
            elif name == TARGETS and target is None:
                self._read_targets(value)
            elif name in entries:
                self._skip(value)
                self._fault(key, target, name, f"is given twice: first in line {entries[name].line}")
            else:
                entries[name] = Entry(self._text(value, target, name), _line(key))

    def _read_targets(self, value: Any) -> None:
        """Given the event that the value of `targets` begins with, read it to its end."""
        if self._config.targets is not None:
            self._fault(value, None, TARGETS, "is given twice")
            self._skip(value)
            return
        self._config.targets = []
        if not isinstance(value, self._yaml.SequenceStartEvent):
            self._fault(value, None, TARGETS, "is no list: each target begins with a dash")
            self._skip(value)
            return
        while not isinstance(item := next(self._events), self._yaml.SequenceEndEvent):
            index = len(self._config.targets)
            if isinstance(item, self._yaml.MappingStartEvent):
                section = Section(_line(item))
                self._config.targets.append(section)
                self._read_section(section.entries, index)
            else:
                self._config.targets.append(None)
                self._fault(item, index, "", "is no mapping of keys to values")
                self._skip(item)
        if not self._config.targets:
            self._fault(value, None, TARGETS, "has no target in it")

    def _key(self, event: Any, target: int | None) -> str | None:
        """Given the event of a key, return the key, or None, and a fault, where it can't be one."""
        if isinstance(event, self._yaml.ScalarEvent) and _KEY.fullmatch(event.value):
            return str(event.value)
        self._fault(event, target, "", "is no `key: value` with the name of an option")
        self._skip(event)
        return None

    def _text(self, event: Any, target: int | None, key: str) -> str | None:
        """Given the event that a value begins with, return its text, or None, and a fault, where it is no text."""
        if not isinstance(event, self._yaml.ScalarEvent):
            alias = isinstance(event, self._yaml.AliasEvent)
            self._fault(event, target, key, _MARKED if alias else "has a list or a mapping where one value is expected")
            self._skip(event)
        elif event.anchor is not None or event.tag not in (None, _STRING_TAG):
            self._fault(event, target, key, _MARKED)
        elif not event.value:
            self._fault(event, target, key, "has no value: give one, or leave the key out")
        elif not _is_one_line(event):
            self._fault(event, target, key, "has a value of more than one line: is a quotation mark missing?")
        else:
            return str(event.value)
        return None

    def _skip(self, event: Any) -> None:
        """Given the event that a value begins with, leave out everything up to its end."""
        depth = 0
        while True:
            depth += isinstance(event, self._yaml.CollectionStartEvent) - isinstance(
                event, self._yaml.CollectionEndEvent
            )
            if depth == 0:
                return
            if depth > _DEEPEST:
                # The parser's time grows with the square of the depth.
                raise self._yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=event.start_mark)
            event = next(self._events)

    def _fault(self, event: Any, target: int | None, key: str, message: str) -> None:
        self._faults.append((_line(event), target, key, message))


def _line(event: Any) -> int:
    """Given a parser's event, return the line at which it begins, from 1."""
    return int(event.start_mark.line) + 1


def _is_one_line(event: Any) -> bool:
    """Given a parser's event, return whether it ends in the line in which it begins."""
    return bool(event.start_mark.line == event.end_mark.line)
