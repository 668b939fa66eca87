"""The tunnel: what makes a `lab.proxy.Proxy` a forward proxy, through which a daemon reaches registries over TLS."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.exchange import Exchange
from lab.misbehaviour import answer, plain
from lab.proxy import Proxy

_CONNECT_SECONDS = 10.0
_PIECE_BYTES = 65536


@contextmanager
def forward_proxy(listen: Callable[[int], socket.socket], tunnels: list[str]) -> Iterator[Proxy]:
    """Run a forward proxy for a while.

    Given what makes a listening socket of a port (0: any), and a list to which the host and port of each tunnel is
    added, give the proxy. It takes CONNECT, and nothing else.
    """

    def noted(exchange: Exchange) -> None:
        tunnels.append(exchange.path)
        tunnel(exchange)

    with Proxy(listen, _NOWHERE, plain) as proxy, proxy.rule(answer(405)), proxy.rule(noted, "CONNECT"):
        yield proxy


def tunnel(exchange: Exchange) -> None:
    """Join the connection to the host and port that CONNECT names, until one of the two ends it."""
    host, _, port = exchange.path.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS) as far:
        exchange.send(200, {}, [])
        near = exchange.connection
        other = {near: far, far: near}
        while True:
            for end in select.select(list(other), [], [])[0]:
                piece = end.recv(_PIECE_BYTES)
                if not piece:
                    return
                other[end].sendall(piece)


#: What is not tunnelled goes no further: the port is the one that nothing can listen on.
_NOWHERE = ("127.0.0.1", 0)
