"""The text of `-help`, from the table of options, as wide as the screen."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator

from lib.options.table import GROUPS, Group, Option, environment_name
from lib.streams import show

#: Longer lines are hard to follow, shorter ones can't hold an option.
_WIDEST, _NARROWEST = 100, 30

#: The column of the meanings, beside the options; on a screen of fewer columns than the second, they are below them.
_MEANINGS_COLUMN = 34
_SIDE_BY_SIDE = 80
_INDENT, _BELOW = "  ", " " * 6

#: A space at which no line is broken.
_TOGETHER = "\N{NO-BREAK SPACE}"

_USAGE = "usage: monitor.py [-option[=value] ...]"
_ABOUT = (
    "Does what a registry's users do, every few minutes, with the docker CLI: log in, pull, build, push, remove, pull "
    "back. Says on HTTP whether it worked, how long it took, and what went wrong."
)
_SOURCES = (
    "Each option takes one dash or two, and its value after = or as the next word; a switch is true without one. Each "
    f"is also read from the environment ({environment_name('run-test-every')} for run-test-every) and, by its name, "
    "from the file that config names. The command line has precedence over the environment, the environment over the "
    "file. An empty value counts as none. Options that are per target can be given for each target of the file."
)
_EPILOG = (
    "PROMETHEUS_NAMESPACE is put before the names of the original's metrics. Exit codes: 0 all is well, 1 "
    "some target is down (once), 2 the options or the configuration are wrong, 3 none is down, some are unknown "
    "(once), 4 it can't run here now, which may pass."
)
_EXAMPLES = (
    (
        "test a repository once, and see each step",
        "monitor.py -once -repository=quay.io/acme/canary -username=acme+robot -password-file=quay.password",
    ),
    ("monitor every registry of a file", "monitor.py -config=/etc/registry-monitor/config.yml"),
    (
        "see what that would do, and what is wrong with it",
        "monitor.py -config=/etc/registry-monitor/config.yml -check-config",
    ),
)


def print_help() -> None:
    """Print the help, as wide as the terminal or as COLUMNS says; 80 columns if neither is known."""
    show(help_text(shutil.get_terminal_size().columns))


def help_text(columns: int) -> str:
    """Given the width of the screen in columns, return the help. No line is longer, unless a single word is."""
    width = max(_NARROWEST, min(columns, _WIDEST))
    parts = [_USAGE, _wrapped(_ABOUT, width), _wrapped(_SOURCES, width)]
    parts += ["\n".join(_group(group, width)) for group in GROUPS]
    parts += ["\n".join(_examples(width)), _wrapped(_EPILOG, width)]
    return "\n\n".join(parts)


def _group(group: Group, width: int) -> Iterator[str]:
    yield f"{group.title}:"
    for option in group.options:
        flag = f"{_INDENT}--{option.name} {option.metavar}".rstrip()
        meaning = _meaning(option)
        if width < _SIDE_BY_SIDE:
            yield flag
            yield _wrapped(meaning, width, _BELOW)
        else:
            beside = _wrapped(meaning, width, " " * _MEANINGS_COLUMN)
            yield f"{flag:<{_MEANINGS_COLUMN - 1}} {beside.lstrip()}"


def _meaning(option: Option) -> str:
    return option.help if option.default is None else f"{option.help} (default:{_TOGETHER}{option.default})"


def _examples(width: int) -> Iterator[str]:
    yield "examples:"
    for purpose, command in _EXAMPLES:
        yield _wrapped(f"# {purpose}", width, _INDENT)
        # A line that continues has a backslash, so that it can be copied.
        yield " \\\n".join(_wrapped(command, width - 2, _INDENT, _BELOW).splitlines())


def _wrapped(text: str, width: int, indent: str = "", subsequent: str | None = None) -> str:
    """Given a text, a width, and what its first and its other lines begin with, return it in lines."""
    return textwrap.fill(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent if subsequent is None else subsequent,
        break_on_hyphens=False,
        break_long_words=False,
    ).replace(_TOGETHER, " ")
