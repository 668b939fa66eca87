"""Screen: a terminal with columns and lines, which shows what a program draws with the few controls that it knows."""

from __future__ import annotations

import re
from unicodedata import east_asian_width

#: Controls that move or erase; colours and the cursor's being hidden; a line's end; one sign.
_PART = re.compile(
    r"\x1b\[(?P<number>\d*)(?P<control>[AK])|\x1b\[[0-9;]*m|\x1b\[\?25(?P<cursor>[hl])|(?P<sign>[^\x1b])"
)


class Screen:
    """A terminal, fed with what is written to it. What has scrolled off its top can be neither reached nor changed.

    Attributes:
        lines: all lines, those that have scrolled off too.
        shows_cursor: whether the cursor is visible.
        colours: the parameters of every colour or other style that was set.
    """

    def __init__(self, columns: int, height: int) -> None:
        self.lines = [""]
        self.shows_cursor = True
        self.colours: set[str] = set()
        self._columns = columns
        self._height = height
        self._row = 0
        self._column = 0

    def feed(self, text: str) -> None:
        """Take what a program writes. Raise ValueError for any control that the monitor has no use for."""
        end = 0
        for part in _PART.finditer(text):
            if part.start() != end:
                break
            end = part.end()
            if part["sign"]:
                self._put(part["sign"])
            elif part["cursor"]:
                self.shows_cursor = part["cursor"] == "h"
            elif part["control"] == "A":
                self._row = max(self._row - int(part["number"] or 1), len(self.lines) - self._height, 0)
            elif part["control"] == "K":
                self.lines[self._row] = ""
            else:
                self.colours.add(part[0][2:-1])
        if end != len(text):
            raise ValueError(f"no control that belongs here: {text[end : end + 20]!r}")

    def __str__(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def _put(self, sign: str) -> None:
        if sign == "\n":
            self._new_line()
        if sign in "\r\n":
            self._column = 0
            return
        if not sign.isprintable():
            raise ValueError(f"no sign that can be shown: {sign!r}")
        width = 2 if east_asian_width(sign) in "WF" else 1
        if self._column + width > self._columns:
            self._new_line()
            self._column = 0
        line = self.lines[self._row].ljust(self._column)
        self.lines[self._row] = line[: self._column] + sign + line[self._column + 1 :]
        self._column += width

    def _new_line(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append("")
