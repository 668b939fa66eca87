"""The log: one line an event, as key=value or as JSON, to standard error.

A record's `extra` fields are the event's. No traceback is ever written: it can hold what must not be shown.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from lib.result import rfc3339

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
_NAMES = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "fatal",
}

#: The priorities of syslog, which journald reads at the beginning of a line.
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_NOTICE = 5

#: What every record has; everything else in a record is a field of its event.
_NO_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

_BARE = re.compile(r"[^\s\"=\\]+")


def setup_logging(level: str, log_format: str, stream: TextIO | None = None, journal: str | None = None) -> None:
    """Log events from a level on.

    Given the level (debug, info, warn, error, fatal, panic), the format (`text` or `json`), where to write (standard
    error by default), and the value of JOURNAL_STREAM, if any: if the stream is journald's, each line begins with its
    priority. A stream that can't be written any more is not a reason to end.
    """
    stream = stream or sys.stderr
    formatter: logging.Formatter = JsonFormatter() if log_format == "json" else TextFormatter()
    handler = _Handler(stream)
    handler.setFormatter(JournalFormatter(formatter) if _is_journal(stream, journal) else formatter)
    handler.setLevel(_LEVELS[level])
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    logging.raiseExceptions = False


class _Handler(logging.StreamHandler[TextIO]):
    """Writes events to a stream, for as long as somebody reads them."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  its name is logging's
        """Go on. If the reader is gone, discard the output; otherwise Python would exit with 120 for what is left."""
        if isinstance(sys.exception(), BrokenPipeError):
            with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  only a descriptor is wanted
                os.dup2(nowhere.fileno(), self.stream.fileno())
        super().handleError(record)


class TextFormatter(logging.Formatter):
    """Writes key=value pairs, each value quoted as in JSON if it has to be."""

    def format(self, record: logging.LogRecord) -> str:
        """Given an event, return its line."""
        return " ".join(f"{key}={_quoted(value)}" for key, value in _event(record).items())


class JsonFormatter(logging.Formatter):
    """Writes an object."""

    def format(self, record: logging.LogRecord) -> str:
        """Given an event, return its line."""
        return json.dumps(_event(record), default=str)


class JournalFormatter(logging.Formatter):
    """Writes another formatter's line after the priority that journald reads: `<3>`."""

    def __init__(self, formatter: logging.Formatter) -> None:
        """Given the other formatter."""
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """Given an event, return its line."""
        return f"<{_PRIORITIES.get(record.levelno, _NOTICE)}>{self._formatter.format(record)}"


def _is_journal(stream: TextIO, journal: str | None) -> bool:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # it is not a file, or closed
    return journal == f"{status.st_dev}:{status.st_ino}"


def _event(record: logging.LogRecord) -> Mapping[str, Any]:
    event: dict[str, Any] = {
        "time": rfc3339(datetime.fromtimestamp(record.created, UTC)),
        "level": _NAMES.get(record.levelno, record.levelname.lower()),
        "msg": record.getMessage(),
    }
    event |= {key: value for key, value in vars(record).items() if key not in _NO_FIELDS and value is not None}
    if record.exc_info and record.exc_info[0] is not None:
        event["error"] = record.exc_info[0].__name__
    return event


def _quoted(value: Any) -> str:
    text = str(value)
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    # In ASCII if a character could move a terminal's cursor or hide in it.
    return json.dumps(text, ensure_ascii=not text.replace("\n", "").isprintable())
