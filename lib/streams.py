"""Streams: standard input, output and error, which whoever starts a program may have closed, and which can be full."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from lib.ending import NotNow

#: What writing ends with once whoever reads is gone: a pipe, a terminal.
_NOBODY_READS = frozenset({errno.EPIPE, errno.EIO})


def prepare() -> None:
    """Have all three be open, and fail at no sign that can't be shown.

    A number that is free would be given to the next file or connection, and what is printed would go there.
    """
    # Output that was asked for must not vanish: what stands in for it can't be written to.
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free, and so this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show(text: str) -> None:
    """Given what was asked for, print it to standard output. Raise NotNow if it can't be written."""
    with as_long_as_it_is_read(sys.stdout):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def tell(text: str) -> None:
    """Given what is wrong, print it to standard error, if that can be written."""
    with suppress(NotNow), as_long_as_it_is_read(sys.stderr):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def finish() -> None:
    """Drop what can't be written, which Python would end with an exit code of its own for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(NotNow), as_long_as_it_is_read(stream):
            stream.flush()


@contextmanager
def as_long_as_it_is_read(stream: IO[str]) -> Iterator[None]:
    """Given a stream to write to, continue if its reader, a pipe or a terminal, is gone: it leads nowhere then.

    The cycles still have their end to come to, and the exit code says what came of them. Raise NotNow if the stream
    can't be written for another reason: it leads nowhere from then on, too.
    """
    try:
        yield
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if error.errno not in _NOBODY_READS:
            raise NotNow(f"the output can't be written: {error.strerror or error}") from None
