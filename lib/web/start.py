"""Start: prometheus_client's `start_http_server()`, but the server that it starts is ours from the beginning.

That function has no parameter for the class of its server. It derives one from the `ThreadingWSGIServer` of its module,
and accepts connections before it returns. Whatever we then changed in the server, its own handler would already answer
clients: with 200 on every path, without TLS or login. So during the call that name means our class, which accepts no
connection until it is opened.

Known to work with prometheus_client 0.26. If another version looks elsewhere, the program does not start and says so;
`tests/unit/test_web_start.py` notices first.
"""

from __future__ import annotations

from prometheus_client import exposition
from prometheus_client.registry import CollectorRegistry

from lib.web.server import Server


def start_server(port: int, address: str) -> Server:
    """Given a port and an address to listen on, return the server, not yet open. Raise OSError.

    To be called by one thread at a time.
    """
    theirs = exposition.ThreadingWSGIServer
    exposition.ThreadingWSGIServer = Server  # type: ignore[misc, assignment]  # to mypy a class is not a variable
    try:
        server, _ = exposition.start_http_server(port, address, CollectorRegistry())
    finally:
        exposition.ThreadingWSGIServer = theirs  # type: ignore[misc]  # as above
    if not isinstance(server, Server):
        server.shutdown()
        server.server_close()
        raise TypeError("prometheus_client started a server of another class than ours")
    return server
