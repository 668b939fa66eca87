"""Resolver: the lab's own name server, so that names fail for real and no query leaves the machine."""

from __future__ import annotations

import socket
import struct
import threading
from enum import Enum

from lab.closing import Closing

_HEADER = struct.Struct("!HHHHHH")
_RESPONSE = 0x8180  # an answer, recursion desired and available
_TYPE_A = 1
_CLASS_IN = 1


class Failing(Enum):
    """How a name fails."""

    NO_SUCH_HOST = 3
    SERVER_FAILURE = 2
    SILENCE = -1


class Resolver(Closing):
    """Answers queries on a UDP socket. A context manager.

    Attributes:
        names: the names that it knows, with their IPv4 addresses, or how they fail; there is no other host.
    """

    def __init__(self, udp: socket.socket) -> None:
        """Given a bound UDP socket, which is then the resolver's to close, start to answer."""
        self.names: dict[str, str | Failing] = {}
        self._udp = udp
        self._thread = threading.Thread(target=self._answer_all, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        # A datagram without a header ends the thread, which no close of its socket would wake.
        self._udp.sendto(b"", self._udp.getsockname())
        self._thread.join()
        self._udp.close()

    def _answer_all(self) -> None:
        while True:
            query, client = self._udp.recvfrom(512)
            if len(query) <= _HEADER.size:
                return
            reply = self._reply(query)
            if reply is not None:
                self._udp.sendto(reply, client)

    def _reply(self, query: bytes) -> bytes | None:
        number, *_ = _HEADER.unpack_from(query)
        name, end = _read_name(query)
        (kind, _) = struct.unpack_from("!HH", query, end)
        question = query[_HEADER.size : end + 4]
        address = self.names.get(name, Failing.NO_SUCH_HOST)
        if address is Failing.SILENCE:
            return None
        if isinstance(address, Failing):
            return _HEADER.pack(number, _RESPONSE | address.value, 1, 0, 0, 0) + question
        if kind != _TYPE_A:
            return _HEADER.pack(number, _RESPONSE, 1, 0, 0, 0) + question
        # 0xC00C points back to the name in the question.
        record = struct.pack("!HHHIH4s", 0xC00C, _TYPE_A, _CLASS_IN, 1, 4, socket.inet_aton(address))
        return _HEADER.pack(number, _RESPONSE, 1, 1, 0, 0) + question + record


def _read_name(query: bytes) -> tuple[str, int]:
    """Given a query, return the name that it asks for, and where in it that ends."""
    at = _HEADER.size
    labels = []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels), at + 1
