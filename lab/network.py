"""Network: a separate network namespace, joined to the host, so that a registry in it is reached over a real path.

docker calls a registry on loopback insecure, and checks no certificate there. An address in a namespace is like any
other: certificates are checked, and its packets can be dropped or rejected.

The namespace has no name and no process: an open descriptor keeps it alive, so that it is gone, with its link, its
addresses and its rules, however the process that made it ends.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from typing import Any, TypeVar
from uuid import uuid4

from lab.closing import Closing

_CLONE_NEWNET = 0x40000000  # sched.h; Python has it from 3.12 on
_libc = ctypes.CDLL(None, use_errno=True)

#: Where the addresses of namespaces are taken from: a /30 each, which nothing on the host uses.
_RANGE = IPv4Network("10.128.0.0/9")

_R = TypeVar("_R")

#: What happens to packets, in the words of iptables.
DROP = ("DROP",)
REJECT = ("REJECT", "--reject-with", "icmp-port-unreachable")
UNREACHABLE = ("REJECT", "--reject-with", "icmp-host-unreachable")


class Network(Closing):
    """A namespace with one address. A context manager; it needs root.

    Attributes:
        address: its address, which the host reaches.
    """

    def __init__(self) -> None:
        """Make the namespace and join it to the host. Raise OSError or CalledProcessError if that can't be done."""
        self._namespace = _in_thread(_new_namespace)
        host, inside = _free_pair()
        self.address = inside
        # Each once, so that a port whose server is away for a while is there when it is back. They lie below what the
        # kernel gives to outgoing connections.
        self._ports = itertools.count(10000)
        link = f"rm{uuid4().hex[:10]}"
        try:
            _run("ip", "link", "add", link, "type", "veth", "peer", "name", "lab0", "netns", str(self._path))
            _run("ip", "address", "add", f"{host}/30", "dev", link)
            _run("ip", "link", "set", link, "up")
            self._run("ip", "address", "add", f"{inside}/30", "dev", "lab0")
            self._run("ip", "link", "set", "lab0", "up")
            self._run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def listen(self, port: int = 0) -> socket.socket:
        """Given a port (0: one that nobody has had), return a TCP socket that listens on it inside. Raise OSError."""
        port = port or next(self._ports)

        def bound() -> socket.socket:
            return socket.create_server((self.address, port), backlog=64)

        return self._inside(bound)

    def bind_udp(self, port: int) -> socket.socket:
        """Given a port, return a UDP socket bound to it inside. Raise OSError."""

        def bound() -> socket.socket:
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.bind((self.address, port))
            return udp

        return self._inside(bound)

    @contextmanager
    def filtering(self, port: int, fate: tuple[str, ...]) -> Iterator[None]:
        """Given a TCP port and what happens to the packets for it, apply that for a while."""
        rule = ("INPUT", "--protocol", "tcp", "--dport", str(port), "--jump", *fate)
        self._run("iptables", "--wait", "--append", *rule)
        try:
            yield
        finally:
            self._run("iptables", "--wait", "--delete", *rule)

    def close(self) -> None:
        """Release the namespace: it is gone once no socket in it is open."""
        os.close(self._namespace)

    @property
    def _path(self) -> str:
        return f"/proc/{os.getpid()}/fd/{self._namespace}"

    def _inside(self, action: Callable[[], _R]) -> _R:
        def entered() -> _R:
            _check(_libc.setns(self._namespace, _CLONE_NEWNET))
            return action()

        return _in_thread(entered)

    def _run(self, *argv: str) -> None:
        _run("nsenter", f"--net={self._path}", "--", *argv)


def _new_namespace() -> int:
    """Move this thread to a new network namespace, and return a descriptor of that."""
    _check(_libc.unshare(_CLONE_NEWNET))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _free_pair() -> tuple[str, str]:
    """Return the two addresses of a /30 that overlaps no network that the host knows."""
    routes: list[dict[str, Any]] = json.loads(_run("ip", "-json", "-4", "route", "show", "table", "all"))
    taken = [IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
    while True:
        first = int(_RANGE.network_address) + 4 * random.randrange(_RANGE.num_addresses // 4)
        network = IPv4Network((first, 30))
        if not any(network.overlaps(other) for other in taken):
            host, inside = network.hosts()
            return str(host), str(inside)


def _in_thread(action: Callable[[], _R]) -> _R:
    """Given an action that changes its thread for good, run it in one of its own, and return what it returned."""
    outcome: list[_R] = []
    errors: list[BaseException] = []

    def caught() -> None:
        try:
            outcome.append(action())
        except BaseException as error:  # noqa: BLE001  raised again below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
