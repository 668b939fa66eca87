"""A request that is refused before it reaches the engine is named, since whoever refuses it does not name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.failure import Reason, Scope, classify
from lib.failure.refusal import REQUESTS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "socket-proxies.md"
FROM_DAEMON = "Error response from daemon: "
#: How HAProxy, nginx, two proxies of a few lines in Go, and an engine's authorization plugin refuse.
REFUSALS = [
    f"{FROM_DAEMON}<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>",
    f"{FROM_DAEMON}<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n<hr>nginx</body>\r\n</html>",
    f"{FROM_DAEMON}Forbidden",
    f"{FROM_DAEMON}Method Not Allowed",
    f"{FROM_DAEMON}access to this endpoint is not allowed",
    f"{FROM_DAEMON}authorization denied by plugin opa: request rejected by administrative policy",
    "request returned 403 Forbidden for API route and version http://%2Frun%2Fd.sock/v1.50/x, check if it has it",
    "request returned Method Not Allowed for API route and version http://%2Frun%2Fd.sock/v1.41/x, check if it has it",
]


@pytest.mark.parametrize("words", REFUSALS)
@pytest.mark.parametrize("verb", REQUESTS)
def test_a_refused_request_is_named(verb, words):
    """By the command that failed: each makes one request, beside the ping."""
    failure = classify(verb, 1, "", words)
    assert (failure.reason, failure.scope) == (Reason.DAEMON, Scope.HOST)
    assert failure.refused == REQUESTS[verb]
    assert failure.detail.endswith(f"; refused: {failure.refused}, or HEAD /_ping before it")
    assert "docs/socket-proxies.md" in failure.advice


@pytest.mark.parametrize(
    "words",
    [
        f"{FROM_DAEMON}<html><body><h1>502 Bad Gateway</h1>\nThe server returned an invalid response.\n</body></html>",
        f"{FROM_DAEMON}<html><body><h1>503 Service Unavailable</h1>\nNo server is available.\n</body></html>",
        f"{FROM_DAEMON}Client sent an HTTP request to an HTTPS server.",
        "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
        "Cannot connect to the Docker daemon at unix:///run/none.sock. Is the docker daemon running?",
        f"{FROM_DAEMON}plugin opa failed with error: dial unix /run/opa.sock: connect: no such file or directory",
        f"{FROM_DAEMON}open /etc/docker/certs.d/registry.example/ca.crt: permission denied",
    ],
)
def test_nothing_is_refused_by_what_itself_fails(words):
    """A proxy without an engine behind it, a socket that this user may not open."""
    failure = classify("ps", 1, "", words)
    assert (failure.reason, failure.refused) == (Reason.DAEMON, None)


@pytest.mark.parametrize(
    "words", ["denied: requested access to the resource is denied", "unauthorized: authentication required"]
)
def test_a_refusal_of_the_registry_is_none_of_the_engines_api(words):
    failure = classify("push", 1, "", words)
    assert (failure.scope, failure.refused) == (Scope.CREDENTIALS, None)


def test_a_session_that_buildkit_waits_for_in_vain_was_refused():
    """What the CLI of 20.10 says about it comes first, and names the page; the error itself does not."""
    failure = classify(
        "build",
        1,
        "",
        '2026/11/30 22:13:08 http2: server: error reading preface from client /run/gate.sock: bogus greeting "<html>"\n'
        "#1 ERROR: no active session for 6jb4h3az72omjxo9yug6tt0zt: context deadline exceeded\n#2 CANCELED\n"
        "failed to solve with frontend dockerfile.v0: failed to read dockerfile: no active session for"
        " 6jb4h3az72omjxo9yug6tt0zt: context deadline exceeded\n",
    )
    assert (failure.reason, failure.refused) == (Reason.DAEMON, "POST /session")


def test_the_document_lists_each_request():
    """People set up their proxies by it."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [one for one in REQUESTS.values() if not any(line.startswith(f"| `{one}` | ") for line in lines)] == []
