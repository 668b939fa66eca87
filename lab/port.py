"""A reserved port on loopback, even if several labs look for one at the same moment."""

from __future__ import annotations

import random
import socket
from typing import Self

from lab.daemon import LabError

#: Below what the kernel gives to outgoing connections, by default from 32768 up: those can't take it meanwhile.
_PORTS = range(20000, 32000)
_ATTEMPTS = 200


class Port:
    """A reserved port. A context manager, which gives the reservation back.

    A program that opens the port by itself can't be handed a socket. So the reservation is a name, an abstract Unix
    socket, which the kernel gives to only one lab and takes back however that lab ends.

    Attributes:
        number: the port.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        """Given the address that is to be listened on, reserve a port there. Raise LabError if none is free."""
        for number in random.sample(_PORTS, _ATTEMPTS):
            self._reservation = socket.socket(socket.AF_UNIX)
            try:
                self._reservation.bind(f"\0registry-monitor-lab/port/{number}")
                with socket.socket() as probe:
                    # As servers do: a port is free although connections that it once had are still being forgotten.
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, number))
            except OSError:
                self._reservation.close()
                continue
            self.number = number
            return
        raise LabError(f"no free port found on {address}")

    def close(self) -> None:
        """Give the reservation back."""
        self._reservation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def on_loopback(port: int = 0) -> socket.socket:
    """Given a port (0: one that nobody has), return a TCP socket that listens on it on loopback. Raise OSError.

    It was asked for by its number, and so the kernel keeps it for this socket while that does not listen.
    """
    if port:
        return socket.create_server(("127.0.0.1", port), backlog=64)
    with Port() as reserved:
        return on_loopback(reserved.number)
