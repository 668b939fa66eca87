"""Texts made of parts, labelled by construction: who speaks, in which form, in which words, in which noise.

The forms are those in which moby, containerd, BuildKit, containers/image and their registry clients build errors; the words
are those of one speaker in another's mouth as often as its own. `python -m tests.unit.test_failure_generated` prints which
reasons were taken for which.
"""

# ruff: noqa: E501  the texts stand here as they are printed, each on one line

import json
import random
from collections import Counter
from functools import cache
from itertools import product
from typing import NamedTuple

import pytest

from lib.failure import Reason, Scope, classify

HOST = "registry.example:5000"
NAME = f"{HOST}/lab/canary"
API = f"https://{HOST}/v2/lab/canary"
BLOB = "sha256:" + "5c" * 32
DAEMON = "Error response from daemon: "
STORE = (
    "https://store.example/bucket/docker/registry/v2/blobs/sha256/5c/5c5c/data?X-Amz-Expires=1200&X-Amz-Signature=9f"
)
REALM = "https://auth.example/token?scope=repository%3Alab%2Fcanary%3Apull&service=registry.example"


class Text(NamedTuple):
    """A text, and how it has to be judged.

    Attributes:
        speaker: who speaks in it.
        verb: the docker command.
        wanted: the reasons that are right.
        stderr, stdout, exit_code: what docker printed, and how it ended.
        podman: it is podman.
    """

    speaker: str
    verb: str
    wanted: frozenset[Reason]
    stderr: str
    stdout: str = ""
    exit_code: int = 1
    podman: bool = False


def reasons(names: str) -> frozenset[Reason]:
    return frozenset(map(Reason, names.split()))


def put(form: str, words: str) -> str:
    """Given a form, return it with the words in it; `%r` quotes them as Go does."""
    return form.replace("%s", words).replace("%r", json.dumps(words))


# --- the registry: a code of its API, and a message that sounds like everybody else ---

CODES = {
    "denied": "denied", "unauthorized": "unauthorized", "toomanyrequests": "rate_limited", "unsupported": "rejected",
    "unknown": "server_error", "manifest unknown": "not_found", "name unknown": "not_found", "manifest invalid": "rejected",
    "name invalid": "rejected", "tag invalid": "rejected", "blob unknown": "server_error", "blob upload unknown": "server_error",
    "blob upload invalid": "server_error", "manifest blob unknown": "server_error", "unavailable": "server_error",
    "digest invalid": "integrity", "size invalid": "rejected", "manifest unverified": "rejected",
}  # fmt: skip
BORROWED = (
    "no such image signature", "too many open files", "open /var/lib/registry/x: permission denied", "cannot allocate memory",
    "error retrieving credentials of the upstream registry", "Cannot connect to the Docker daemon", "unknown flag: --force",
    "dial unix /run/backend.sock: connect: no such file or directory", "OCI runtime create failed", "repository name must be approved",
    "invalid reference format", "stale NFS file handle", "rpc error: code = Unavailable desc = transport is closing",
    "lookup db.internal: no such host", "dial tcp 10.0.0.3:5432: connect: connection refused", "x509: certificate has expired",
    "write /data/blob: input/output error", "context deadline exceeded", "blocked by plugin", "docker-credential-gcr failed",
    "failed to register layer", "buildx component is missing", "permission denied (publickey)", "snapshot is locked",
)  # fmt: skip
QUOTING = {
    "pull": (
        f"{DAEMON}%s",
        f'{DAEMON}Head "{API}/manifests/latest": %s',
        f"{DAEMON}pull access denied for {NAME}, repository does not exist or may require 'docker login': %s",
        f"{DAEMON}manifest for {NAME}:latest not found: %s",
        f"Error: initializing source docker://{NAME}:latest: reading manifest latest in {NAME}: %s",
        f"Error: unable to copy from source docker://{NAME}:latest: initializing source docker://{NAME}:latest: Requesting bearer token: %s",
    ),
    "push": (
        "%s",
        "errors:\n%s\nunauthorized: authentication required",
        f'failed commit on ref "manifest-{BLOB}": unexpected status from PUT request to {API}/manifests/latest: 400 Bad Request\n%s',
        f"failed to push {NAME}:latest: %s",
        f"Error: trying to reuse blob {BLOB} at destination: checking whether a blob {BLOB} exists in {NAME}: %s",
        f"Error: writing blob: initiating layer upload to /v2/lab/canary/blobs/uploads/ in {HOST}: %s",
        f"Error: writing manifest: uploading manifest latest to {NAME}: %s",
    ),
    "login": (f'{DAEMON}Get "https://{HOST}/v2/": %s', f'Error: logging into "{HOST}": %s'),
}  # fmt: skip


def codes():
    """A registry's message never blames this host, its network or a set-up, whatever it says."""
    fair = {"server_error", "rejected", "quota", "denied", "unauthorized", "not_found", "rate_limited", "integrity"}
    for code, words in product(CODES, (*BORROWED, code_alone := "")):
        for verb, forms in QUOTING.items():
            for form in forms:
                own = (
                    code
                    if words == code_alone and code not in ("unknown", "unavailable")
                    else f"{code}: {words or code}"
                )
                is_plain = words == code_alone and form in ("%s", f"{DAEMON}%s")
                yield Text("registry", verb, reasons(CODES[code] if is_plain else " ".join(fair)), put(form, own))
    for words, verb in product(BORROWED, ("pull", "push")):
        yield Text("registry", verb, reasons(" ".join(fair)), f"{DAEMON}error from registry: {words}\n{words}")
        for number in (400, 403, 409):
            yield Text(
                "registry",
                verb,
                reasons(" ".join(fair)),
                f"error parsing HTTP {number} response body: invalid character 'x' looking for beginning of value: \"{words}\"",
            )
            yield Text(
                "registry",
                verb,
                reasons(" ".join(fair)),
                f'Error: writing manifest: uploading manifest latest to {NAME}: StatusCode: {number}, "{words}"',
            )


# --- the registry, its token server and its store: a status alone ---

STATUSES = {
    "400 Bad Request": "rejected", "401 Unauthorized": "unauthorized", "403 Forbidden": "denied", "404 Not Found": "not_found",
    "405 Method Not Allowed": "rejected", "413 Request Entity Too Large": "rejected", "429 Too Many Requests": "rate_limited",
    "500 Internal Server Error": "server_error", "502 Bad Gateway": "server_error", "503 Service Unavailable": "server_error",
    "504 Gateway Timeout": "server_error", "507 Insufficient Storage": "quota", "520 ": "server_error", "421 Misdirected Request": "rejected",
}  # fmt: skip
ANSWERING = {
    "pull": (
        f'{DAEMON}failed to resolve reference "{NAME}:latest": unexpected status from HEAD request to {API}/manifests/latest: %s',
        f"Error: initializing source docker://{NAME}:latest: reading manifest latest in {NAME}: received unexpected HTTP status: %s",
    ),
    "push": (
        f"unexpected status from HEAD request to {API}/blobs/{BLOB}: %s",
        f"unexpected status from POST request to {API}/blobs/uploads/: %s",
        f'failed commit on ref "layer-{BLOB}": unexpected status from PUT request to {API}/blobs/uploads/1?digest={BLOB}: %s',
        "received unexpected HTTP status: %s",
        "Error: writing blob: uploading layer chunked: received unexpected HTTP status: %s",
    ),
    "login": (f"{DAEMON}login attempt to https://{HOST}/v2/ failed with status: %s",),
}  # fmt: skip
PAGES = (
    "<html><body><h1>%s</h1>\nRequest forbidden by administrative rules.\n</body></html>",
    "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n<hr><center>nginx/1.25</center>\r\n</body>\r\n</html>",
    '<!DOCTYPE html>\n<html lang="en">\n  <head>\n    <title>%s</title>\n  </head>\n</html>',
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>The request signature does not match. Check your key and your limit</Message></Error>',
)  # fmt: skip
REFUSED_PAGES = (
    f"{DAEMON}error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: %r",
    "error pulling image configuration: download failed after attempts=1: error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: %r",
    "denied: %s",
    f"pull access denied for {NAME}, repository does not exist or may require 'docker login': denied: %s",
)  # fmt: skip


def answers():
    """A status is judged by its number; a page, a blob or a store that refuses is the registry's own trouble."""
    for (status, reason), (verb, forms) in product(STATUSES.items(), ANSWERING.items()):
        yield from (Text("registry", verb, reasons(reason), put(form, status)) for form in forms)
    for status, host in product(
        ("403 Forbidden", "500 Internal Server Error", "503 Slow Down"), (f"{API}/blobs/{BLOB}", STORE)
    ):
        wanted = reasons("server_error rate_limited" if "Slow" in status else "server_error")
        yield Text(
            "store",
            "pull",
            wanted,
            f"failed to copy: httpReadSeeker: failed open: unexpected status code {host}: {status}",
        )
        yield Text(
            "store",
            "pull",
            wanted,
            f"failed to copy: httpReadSeeker: failed open: unexpected status from GET request to {host}: {status}",
        )
    yield Text(
        "store", "push", reasons("server_error"), f"unexpected status from PUT request to {STORE}: 403 Forbidden"
    )
    yield Text(
        "store",
        "pull",
        reasons("server_error"),
        f"failed to copy: httpReadSeeker: failed open: failed to authorize redirect: failed to fetch anonymous token: unexpected status from GET request to {REALM}: 403 Forbidden",
    )
    yield Text(
        "store",
        "pull",
        reasons("server_error"),
        "denied: requested access to the resource is denied",
        f"latest: Pulling from lab/canary\n{BLOB[7:19]}: Pulling fs layer\n",
    )
    for form, page, code in product(REFUSED_PAGES, PAGES, ("403 Forbidden", "AccessDenied", "SignatureDoesNotMatch")):
        yield Text("store", "pull", reasons("server_error"), put(form, put(page, code)))
    for status, reason in {
        "401 Unauthorized": "unauthorized",
        "403 Forbidden": "denied",
        "500 Internal Server Error": "server_error",
        "429 Too Many Requests": "rate_limited",
    }.items():
        for kind, method in product(("anonymous", "oauth"), ("GET", "POST")):
            yield Text(
                "token server",
                "pull",
                reasons(reason),
                f'{DAEMON}failed to resolve reference "{NAME}": failed to authorize: failed to fetch {kind} token: unexpected status from {method} request to {REALM}: {status}',
            )


# --- what stands in front of the engine, and the engine itself ---

PHRASES = ("403 Forbidden", "503 Service Unavailable", "502 Bad Gateway")
DOORS = (
    "Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?",
    "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
    'error during connect: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.47/version": read unix @->/run/docker.sock: read: connection reset by peer',
    'error during connect: Post "https://build.example:2376/v1.47/images/create": x509: certificate signed by unknown authority',
    'error during connect: Get "http://docker.example.com/v1.47/version": command [ssh -l me -- box.example docker system dial-stdio] has exited with exit status 255, make sure the URL is valid: stderr=Host key verification failed.\nlost connection',
    "ssh: connect to host box.example port 22: Connection timed out",
    f"{DAEMON}client version 1.52 is too new. Maximum supported API version is 1.41",
    "request returned Forbidden for API route and version http://%2Frun%2Fproxy.sock/v1.47/images/create, check if the server supports the requested API version",
    "failed to connect to the docker API at tcp://build.example:2376: lookup build.example: no such host",
    f"{DAEMON}API returned a 502 (Bad Gateway) but provided no error-message",
)  # fmt: skip
PLUGINS = (
    "authorization denied by plugin opa: request rejected by administrative policy", "authorization denied by plugin casbin: denied: no",
    "plugin opa failed with error: Post http://%2Frun%2Fdocker%2Fplugins%2Fopa.sock/AuthZPlugin.AuthZReq: dial unix /run/docker/plugins/opa.sock: connect: connection refused",
)  # fmt: skip
PATHS = ("/var/lib/docker/tmp/GetImageBlob1", "/var/lib/docker/image/overlay2/layerdb/tmp/write-set-1/diff", "/srv/docker data/overlay2/l/AB", "/run/containerd/io.containerd.content/ingest/x")  # fmt: skip
VERBS_OF_FILES = ("open", "write", "mkdir", "rename /a", "chown", "failed to mkdir", "error creating overlay mount to")
ERRNOS = {
    "daemon": ("permission denied", "operation not permitted", "stale NFS file handle", "structure needs cleaning", "file too large", "no such file or directory",
        "transport endpoint is not connected", "read-only file system", "input/output error", "too many open files", "invalid cross-device link", "file exists", "no such device",
        "device or resource busy", "invalid argument", "bad message", "directory not empty", "too many levels of symbolic links", "connection timed out", "host is down", "operation not supported"),
    "disk_full": ("no space left on device", "disk quota exceeded"),
}  # fmt: skip
LOCAL_FORMS = (
    "%s", f"{DAEMON}%s", "failed to register layer: %s", "failed to register layer: ApplyLayer exit status 1 stdout:  stderr: %s", "failed to register layer: Error processing tar file(exit status 1): %s",
    f'failed to extract layer {BLOB} to overlayfs as "extract-1 {BLOB}": %s: unknown', f'{DAEMON}failed to prepare extraction snapshot "x": %s',
    f'Error: copying system image from manifest list: writing blob: adding layer with blob "{BLOB}": processing tar file(%s): exit status 1',
    "error pulling image configuration: %s", "download failed after attempts=6: %s",
)  # fmt: skip
KERNEL = (
    "connect: no buffer space available",
    "socket: too many open files",
    "connect: cannot allocate memory",
    "connect: operation not permitted",
    "socket: address family not supported by protocol",
)
RUNTIME = (
    'failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "x": permission denied: unknown',
    "OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:545: denied: unknown",
    'connection error: desc = "transport: dial unix:///run/containerd/containerd.sock: timeout"', "error creating lease: grpc: the client connection is closing: context canceled",
    "failed to register layer: unexpected EOF", f'{DAEMON}rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing"',
)  # fmt: skip


def here():
    """Whoever stands in front of the engine, or works in it, says nothing about a registry."""
    host = reasons("daemon disk_full")
    for verb in ("login", "pull", "push", "rmi", "images", "version"):
        yield from (
            Text("gate", verb, reasons("daemon"), DAEMON + put(page, phrase))
            for page, phrase in product(PAGES[:3], PHRASES)
        )
        yield from (Text("gate", verb, reasons("daemon"), DAEMON + phrase[4:]) for phrase in PHRASES)
        yield from (Text("plugin", verb, reasons("daemon"), DAEMON + words) for words in PLUGINS)
        yield from (Text("door", verb, reasons("daemon"), words) for words in DOORS)
    for verb, form, (path, doing) in product(
        ("pull", "push"), LOCAL_FORMS, zip(PATHS * 2, VERBS_OF_FILES, strict=False)
    ):
        for reason, errnos in ERRNOS.items():
            wanted = host if reason == "daemon" else reasons(reason)
            yield from (Text("engine", verb, wanted, put(form, f"{doing} {path}: {errno}")) for errno in errnos)
    for verb, errno in product(("login", "pull", "push"), KERNEL):
        yield Text(
            "engine", verb, reasons("daemon"), f'{DAEMON}Get "https://{HOST}/v2/": dial tcp 192.0.2.1:443: {errno}'
        )
    yield from (Text("runtime", verb, host, words) for verb, words in product(("pull", "push"), RUNTIME))


HELPERS = (
    "error getting credentials - err: exit status 1, out: `%s`", "Error saving credentials: error storing credentials - err: exit status 1, out: `%s`",
    f"ERROR: failed to solve: {NAME}: error getting credentials - err: exit status 1, out: `%s`", "Error: getting username and password: 1 error occurred:\n\t* error getting credentials - err: exit status 1, out: `%s`",
)  # fmt: skip
HELPED = ("denied: no", "The name org.freedesktop.secrets was not provided by any .service files", 'exec: "pass": executable file not found in $PATH', "unauthorized: authentication required", "connection refused", "no space left", "x")  # fmt: skip
USAGE = ("unknown flag: --nosuch", "docker: 'docker pull' requires 1 argument", "Error: Cannot perform an interactive login from a non TTY device", "docker: unknown command: docker nosuch", "panic: runtime error: index out of range")  # fmt: skip

WAYS = {
    "dns": ("dial tcp: lookup registry.example on 192.0.2.53:53: no such host", "dial tcp: lookup registry.example: i/o timeout", "dial tcp: lookup registry.example on [::1]:53: read udp [::1]:2->[::1]:53: read: connection refused"),
    "refused": ("dial tcp 192.0.2.1:443: connect: connection refused",), "unreachable": ("dial tcp 192.0.2.1:443: connect: no route to host", "dial tcp [2001:db8::1]:443: connect: network is unreachable"),
    "reset": ("EOF", "unexpected EOF", "read tcp 192.0.2.9:4->192.0.2.1:443: read: connection reset by peer", "http2: server sent GOAWAY and closed the connection"),
    "tls": ("x509: certificate signed by unknown authority", "remote error: tls: handshake failure", "http: server gave HTTP response to HTTPS client"),
    "timeout": ("net/http: TLS handshake timeout", "dial tcp 192.0.2.1:443: i/o timeout", "context deadline exceeded", "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"),
    "proxy": ("proxyconnect tcp: dial tcp 192.0.2.8:3128: connect: connection refused", "Forbidden", "Proxy Authentication Required"),
}  # fmt: skip
TO_SERVER = (
    f'{DAEMON}Get "https://{HOST}/v2/": %s', f'{DAEMON}Head "{API}/manifests/latest": %s', f'{DAEMON}Get "https://{HOST}/v2/": Get "{REALM}": %s',
    f'{DAEMON}failed to resolve reference "{NAME}": failed to do request: Head "{API}/manifests/latest": %s', f'failed to copy: httpReadSeeker: failed open: failed to do request: Get "{STORE}": %s',
    f'error pulling image configuration: download failed after attempts=6: Get "{STORE}": %s', f'Error: initializing source docker://{NAME}: pinging container registry {HOST}: Get "https://{HOST}/v2/": %s',
    f'Error response from daemon: failed to resolve reference "{NAME}": failed to authorize: failed to fetch oauth token: Post "{REALM}": %s',
)  # fmt: skip


def others():
    """Credential helpers, the CLI, the way."""
    yield from (
        Text("helper", verb, reasons("credential_helper"), put(form, words))
        for verb, form, words in product(("login", "pull", "push", "build"), HELPERS, HELPED)
    )
    yield from (
        Text("cli", verb, reasons("cli"), words, exit_code=125)
        for verb, words in product(("login", "pull", "push"), USAGE)
    )
    for verb, (reason, ways), form in product(("login", "pull", "push"), WAYS.items(), TO_SERVER):
        yield from (Text("way", verb, reasons(reason), put(form, words)) for words in ways)
    unmet = "Error: the words of a podman that nobody has met"
    yield Text("nobody", "pull", reasons("unclassified"), unmet, exit_code=125, podman=True)
    yield Text("nobody", "pull", reasons("cli"), "words that nobody has met", exit_code=125)


def builds():
    """Whatever a build quotes, it says nothing about the monitored registry."""
    ours = reasons("build daemon cli disk_full base_image reference")
    quoted = [text for text in (*codes(), *answers(), *others()) if text.speaker not in ("helper", "cli", "nobody")]
    yield from (text._replace(speaker="build", verb="build", wanted=ours) for text in quoted[::7])
    base = f'ERROR: failed to solve: {NAME}: failed to resolve source metadata for {NAME}: failed to do request: Head "{API}/manifests/1": dial tcp: lookup x: no such host'
    yield Text("build", "build", reasons("base_image"), base)


NOISE = (
    "The push refers to repository [registry.example/lab/canary]", "Using default tag: latest", "5c110056cd4f: Preparing", "5c110056cd4f: Retrying in 5 seconds",
    "WARNING! Your credentials are stored unencrypted in '/run/lab/config.json'.", 'time="2026-01-01T00:00:00Z" level=warning msg="denied: connection refused"', "#4 [internal] load build context",
    "ERRO[0000] x509: certificate signed by unknown authority", "WARN[0001] Failed, retrying in 1s ... (1/3). Error: reading manifest: denied", "Copying blob 5c110056cd4f done   | ", "",
)  # fmt: skip

TEXTS = [*codes(), *answers(), *here(), *others(), *builds()]


@cache
def judged(text: Text):
    return classify(text.verb, text.exit_code, text.stdout, text.stderr, None if text.podman else 125)


def wrong(texts):
    return [
        f"\n{text.speaker}, {text.verb}: {judged(text).reason}: {text.stderr!r}"
        for text in texts
        if judged(text).reason not in text.wanted
    ]


def test_there_are_thousands():
    """Every speaker has its say, in each of its forms."""
    assert len(TEXTS) > 5000
    assert {text.speaker for text in TEXTS} >= {
        "registry",
        "store",
        "token server",
        "gate",
        "plugin",
        "door",
        "engine",
        "runtime",
        "helper",
        "cli",
        "way",
        "build",
    }


@pytest.mark.parametrize("speaker", sorted({text.speaker for text in TEXTS}))
def test_who_spoke(speaker):
    """Each text of a speaker gets a reason that this speaker can have."""
    misses = wrong(text for text in TEXTS if text.speaker == speaker)
    assert not misses, "".join(misses[:20]) + f"\n{len(misses)} in all"


def test_noise_changes_nothing():
    """Progress, warnings and logs around an error change neither its reason nor whose fault it is."""
    chance = random.Random(14)
    for text in chance.sample(TEXTS, 1500):
        noise = "\n".join(chance.choices(NOISE, k=5))
        loud = text._replace(stderr=f"{noise}\n{text.stderr}\n{chance.choice(NOISE)}")
        assert not wrong([loud])
        assert judged(loud).scope.verdict is judged(text).scope.verdict


def test_a_local_speaker_is_never_the_registry():
    """Whose fault it is follows from who spoke, not from the words alone."""
    outside = (Scope.REGISTRY, Scope.CREDENTIALS, Scope.NETWORK)
    for text in TEXTS:
        is_local = text.speaker in ("gate", "plugin", "door", "engine", "runtime", "helper", "cli", "build")
        assert is_local is (judged(text).scope not in outside) or text.speaker == "nobody", text


if __name__ == "__main__":
    table = Counter(
        (text.speaker, "right" if judged(text).reason in text.wanted else str(judged(text).reason)) for text in TEXTS
    )
    for (speaker, reason), count in sorted(table.items()):
        print(f"{speaker:13} {reason:18} {count:6}")  # noqa: T201
