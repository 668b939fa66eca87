"""Streams: standard input, output and error, which the caller may have closed, and which can be full."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from lib.ending import NotNow

#: The errors of writing once the reader of a pipe or terminal is gone.
_NOBODY_READS = frozenset({errno.EPIPE, errno.EIO})


def prepare() -> None:
    """Make sure that all three are open, and that no character makes them fail.

    Otherwise a free number would be given to the next file or connection, and what is printed would go there.
    """
    # Requested output must not vanish: its replacement can't be written to.
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
    """Given the requested output, print it to standard output. Raise NotNow if it can't be written."""
    with as_long_as_it_is_read(sys.stdout):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def tell(text: str) -> None:
    """Given what is wrong, print it to standard error, if that can be written."""
    with suppress(NotNow), as_long_as_it_is_read(sys.stderr):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def finish() -> None:
    """Drop what can't be written: for that, Python would end with an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(NotNow), as_long_as_it_is_read(stream):
            stream.flush()


@contextmanager
def as_long_as_it_is_read(stream: IO[str]) -> Iterator[None]:
    """Given a stream to write to, continue if its reader, a pipe or a terminal, is gone: its output is then discarded.

    The cycles still have to finish, and the exit code reports them. Raise NotNow if the stream can't be written for
    another reason: its output is discarded from then on, too.
    """
    try:
        yield
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if error.errno not in _NOBODY_READS:
            raise NotNow(f"the output can't be written: {error.strerror or error}") from None
