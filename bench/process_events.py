"""Process events: when the kernel saw processes begin, execute their program and end (its connector, netlink(7)).

Its stamps are of CLOCK_MONOTONIC, in nanoseconds, as those of `time.monotonic()`.
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from lab.daemon import LabError

# asm-generic/socket.h, linux/netlink.h, linux/connector.h, linux/cn_proc.h
_SO_RCVBUFFORCE = 33
_NETLINK_CONNECTOR, _NLMSG_DONE = 11, 3
_CN_IDX_PROC, _CN_VAL_PROC = 1, 1
_LISTEN, _IGNORE = 1, 2
_FORK, _EXEC, _EXIT = 0x1, 0x2, 0x80000000

_NETLINK_HEADER, _CONNECTOR_HEADER = struct.Struct("=IHHII"), struct.Struct("=IIIIHH")
_EVENT, _IDS, _FORKED = struct.Struct("=IIQ"), struct.Struct("=II"), struct.Struct("=IIII")
_EVENT_AT = _NETLINK_HEADER.size + _CONNECTOR_HEADER.size
_IDS_AT = _EVENT_AT + _EVENT.size

_LARGEST_MESSAGE = 4096
#: The events of a busy machine while one command runs.
_BUFFER_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Life:
    """A process that has ended.

    Attributes:
        forked, executed, exited: when it began, began its program, and its last thread ended, in seconds.
    """

    forked: float
    executed: float = 0.0
    exited: float = 0.0


class ProcessEvents:
    """Listens to the kernel, as root. A context manager."""

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            self._socket.bind((0, _CN_IDX_PROC))
            self._ask(_LISTEN)
        except OSError as error:
            self._socket.close()
            raise LabError(f"the kernel does not report processes: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask(_IGNORE)
        self._socket.close()

    def ended_children(self) -> list[Life]:
        """Return the children of this process that have begun and ended since this was last asked, in their order.

        Raise OSError if there was more than the kernel keeps.
        """
        children: dict[int, Life] = {}
        while True:
            try:
                message = self._socket.recv(_LARGEST_MESSAGE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return [life for life in children.values() if life.executed and life.exited]
            self._note(message, children)

    def _note(self, message: bytes, children: dict[int, Life]) -> None:
        what, _, nanoseconds = _EVENT.unpack_from(message, _EVENT_AT)
        seconds = nanoseconds / 1e9
        if what == _FORK:
            _, parent, thread, process = _FORKED.unpack_from(message, _IDS_AT)
            if parent == os.getpid() and thread == process:
                children[process] = Life(seconds)
        elif what in (_EXEC, _EXIT):
            _, process = _IDS.unpack_from(message, _IDS_AT)
            life = children.get(process)
            if life and what == _EXEC:
                life.executed = seconds
            elif life:
                life.exited = seconds  # each thread of it has such an event

    def _ask(self, what: int) -> None:
        asked = struct.pack("=I", what)
        connector = _CONNECTOR_HEADER.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(asked), 0)
        length = _NETLINK_HEADER.size + len(connector) + len(asked)
        self._socket.send(_NETLINK_HEADER.pack(length, _NLMSG_DONE, 0, 0, os.getpid()) + connector + asked)
