"""docker's words when it fails: which reason they have, what is shown of them, and that no text is too much.

The texts are what `docker` 28.2.2 and 20.10.24 printed against a small server that misbehaves, or the documented forms
of the engines, of Go and of the registries, with names of our own.
"""

# ruff: noqa: E501  the texts stand here as docker prints them, each on one line

import errno
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.failure import Failure, Reason, Scope, Verdict, classify
from lib.failure.words import CHARACTERS_MATCHED, LINES_SEARCHED, errors, plain

NAME = "registry.example/lab/canary:latest"
URL = "https://registry.example/v2/lab/canary/manifests/latest"
DIGEST = "sha256:" + "5c" * 32
FROM_DAEMON = "Error response from daemon: "


def reason_of(verb: str, text: str) -> Reason:
    return classify(verb, 1, "", text).reason


# --- what a reason is ---

SCOPES = {
    (Scope.REGISTRY, Verdict.DOWN): ("server_error rate_limited not_found quota rejected integrity stale unclassified"),
    (Scope.CREDENTIALS, Verdict.DOWN): "unauthorized denied",
    (Scope.NETWORK, Verdict.DOWN): "dns refused unreachable reset tls timeout proxy",
    (Scope.HOST, Verdict.UNKNOWN): "daemon cli disk_full build warm in_use starved",
    (Scope.DEPENDENCY, Verdict.UNKNOWN): "base_image",
    (Scope.CONFIG, Verdict.UNKNOWN): "reference foreign credential_helper",
}


@pytest.mark.parametrize(("blamed", "reasons"), SCOPES.items())
def test_scope_and_verdict(blamed, reasons):
    """The contract says whose fault a reason is, and what it says about the registry."""
    for reason in reasons.split():
        assert (Reason(reason).scope, Reason(reason).scope.verdict) == blamed
        assert Failure(Reason(reason), "why").scope is blamed[0]


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_words_and_advice(reason):
    """No reason leaves an operator alone: what happened is half a sentence, and what to do is a whole one."""
    assert re.fullmatch(r"[a-z].+ .+[^.]", reason.words)
    assert re.fullmatch(r"[A-Z].+ .+[.]", reason.advice)


@pytest.mark.parametrize("scope", Scope)
def test_unclassified_can_be_anybodys_fault(scope):
    """Words that nobody has met: the speaker is given beside the reason, and decides the verdict."""
    failure = Failure(Reason.UNCLASSIFIED, "why", explicit_scope=scope)
    assert (failure.scope, failure.scope.verdict) == (scope, scope.verdict)


# --- the same error, as engines put it ---


def connection_failed(how: str) -> tuple[str, ...]:
    return (
        f'{FROM_DAEMON}Get "https://registry.example/v2/": {how}',
        f'{FROM_DAEMON}Head "{URL}": {how}',
        f"{FROM_DAEMON}Get {URL}: {how}",
        f'{FROM_DAEMON}failed to resolve reference "{NAME}": failed to do request: Head "{URL}": {how}',
        f'failed to do request: Head "{URL}": {how}',
        f'ERROR: failed to solve: {NAME}: failed to resolve source metadata for {NAME}: failed to do request: Head "{URL}": {how}',
        f'Error: initializing source docker://{NAME}: pinging container registry registry.example: Get "{URL}": {how}',
    )


def answered(status: str) -> tuple[str, ...]:
    code = status.partition(" ")[0]
    return (
        f"{FROM_DAEMON}received unexpected HTTP status: {status}",
        f"received unexpected HTTP status: {status}",
        f'{FROM_DAEMON}failed to resolve reference "{NAME}": unexpected status from HEAD request to {URL}: {status}',
        f"unexpected status from POST request to https://registry.example/v2/lab/canary/blobs/uploads/: {status}",
        f'failed commit on ref "manifest-{DIGEST}": unexpected status from PUT request to {URL}: {status}',
        f'{FROM_DAEMON}error parsing HTTP {code} response body: unexpected end of JSON input: ""',
        f"error parsing HTTP {code} response body: invalid character '<' looking for beginning of value: \"<html>\\r\\n\"",
        f"unknown: <html>\n<head><title>{status}</title></head>\n<body>\n<h1>{status}</h1>\n</body>\n</html>",
        f"{FROM_DAEMON}login attempt to https://registry.example/v2/ failed with status: {status}",
        f"{FROM_DAEMON}failed to authorize: failed to fetch oauth token: unexpected status from POST request to {URL}: {status}",
        f"Error: initializing source docker://{NAME}: Requesting bearer token: invalid status code from registry {code} (x)",
        f"ERROR: failed to solve: {NAME}: failed to copy: httpReadSeeker: failed open: unexpected status code {URL}: {status}",
    )


def refused_with(code: str, message: str) -> tuple[str, ...]:
    return (
        f"{FROM_DAEMON}{code}: {message}",
        f"{code}: {message}",
        f"ERROR: failed to solve: {NAME}: {code}: {message}",
        f"{FROM_DAEMON}error from registry: {message}",
        f"{FROM_DAEMON}error from registry: {message}\n{message}",
        f"Error: writing manifest: {code}: {message}",
    )


BY_ENGINE = {
    Reason.DNS: (
        *connection_failed("dial tcp: lookup registry.example on 192.0.2.53:53: no such host"),
        *connection_failed("dial tcp: lookup registry.example: Temporary failure in name resolution"),
        *connection_failed(
            "dial tcp: lookup registry.example on 192.0.2.53:53: read udp 192.0.2.1:1->192.0.2.53:53: i/o timeout"
        ),
        *connection_failed(
            "dial tcp: lookup registry.example on [::1]:53: read udp [::1]:2->[::1]:53: read: connection refused"
        ),
        *connection_failed("dial tcp: lookup registry.example on 192.0.2.53:53: server misbehaving"),
    ),
    Reason.REFUSED: connection_failed("dial tcp 192.0.2.1:443: connect: connection refused"),
    Reason.UNREACHABLE: (
        *connection_failed("dial tcp 192.0.2.1:443: connect: no route to host"),
        *connection_failed("dial tcp [2001:db8::1]:443: connect: network is unreachable"),
        *connection_failed("dial tcp [2001:db8::1]:443: connect: cannot assign requested address"),
    ),
    Reason.RESET: (
        *connection_failed("EOF"),
        *connection_failed("unexpected EOF"),
        *connection_failed("read tcp 192.0.2.9:4->192.0.2.1:443: read: connection reset by peer"),
        *connection_failed("write tcp 192.0.2.9:4->192.0.2.1:443: write: broken pipe"),
        # An address is not a status.
        'Error: pinging container registry 192.0.2.1:5000: Get "http://192.0.2.1:5000/v2/": read: connection reset by peer',
        *connection_failed("http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR"),
        *connection_failed("http: server closed idle connection"),
    ),
    Reason.TLS: (
        *connection_failed("x509: certificate signed by unknown authority"),
        *connection_failed(
            "tls: failed to verify certificate: x509: certificate is valid for a.example, not registry.example"
        ),
        *connection_failed(
            "x509: certificate has expired or is not yet valid: current time 2026-01-02 is after 2026-01-01"
        ),
        *connection_failed("remote error: tls: handshake failure"),
        *connection_failed("tls: first record does not look like a TLS handshake"),
        *connection_failed("http: server gave HTTP response to HTTPS client"),
    ),
    Reason.TIMEOUT: (
        *connection_failed("dial tcp 192.0.2.1:443: i/o timeout"),
        *connection_failed("net/http: TLS handshake timeout"),
        *connection_failed("context deadline exceeded"),
        *connection_failed("net/http: request canceled (Client.Timeout exceeded while awaiting headers)"),
        *connection_failed("read tcp 192.0.2.9:4->192.0.2.1:443: read: connection timed out"),
    ),
    Reason.PROXY: (
        *connection_failed("proxyconnect tcp: dial tcp 192.0.2.8:3128: connect: connection refused"),
        *connection_failed("proxyconnect tcp: dial tcp: lookup proxy.example: no such host"),
        *connection_failed("proxyconnect tcp: tls: first record does not look like a TLS handshake"),
        *connection_failed("Proxy Authentication Required"),
        *connection_failed("Forbidden"),
        *answered("407 Proxy Authentication Required"),
    ),
    Reason.SERVER_ERROR: (
        *answered("500 Internal Server Error"),
        *answered("502 Bad Gateway"),
        *answered("503 Service Unavailable"),
        *answered("504 Gateway Timeout"),
        *answered("520 Web Server Returned an Unknown Error"),
        *refused_with("blob upload unknown", "blob upload unknown to registry"),
        *refused_with("unknown", "unknown error"),
    ),
    Reason.RATE_LIMITED: (
        *answered("429 Too Many Requests"),
        *refused_with("toomanyrequests", "You have reached your pull rate limit."),
    ),
    Reason.NOT_FOUND: (
        *answered("404 Not Found"),
        *refused_with("manifest unknown", "manifest unknown"),
        *refused_with("name unknown", "repository name not known to registry"),
        f"{FROM_DAEMON}manifest for {NAME} not found: manifest unknown: manifest unknown",
        f'{FROM_DAEMON}failed to resolve reference "{NAME}": {NAME}: not found',
    ),
    Reason.QUOTA: (
        *answered("507 Insufficient Storage"),
        *refused_with("denied", "adding 1.0 MiB would exceed the configured upper limit of 10.0 MiB"),
        *refused_with("denied", "the storage quota of this project is used up"),
    ),
    Reason.REJECTED: (
        *answered("405 Method Not Allowed"),
        *answered("413 Request Entity Too Large"),
        *refused_with("tag invalid", "this tag is immutable"),
        *refused_with("unsupported", "The operation is unsupported."),
        *refused_with("denied", "The registry is in read only mode"),
        f"{FROM_DAEMON}unsupported",
    ),
    Reason.UNAUTHORIZED: (
        *answered("401 Unauthorized"),
        *refused_with("unauthorized", "authentication required"),
        *refused_with("unauthorized", "Authentication credentials were not provided."),
        *refused_with("denied", "Your authorization token has expired."),
        *connection_failed("unauthorized: incorrect username or password"),
        *connection_failed("no basic auth credentials"),
        "push access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials",
    ),
    Reason.DENIED: (
        *(text for text in answered("403 Forbidden") if "<html>" not in text and "httpReadSeeker" not in text),
        *refused_with("denied", "requested access to the resource is denied"),
        *refused_with("unauthorized", "access to the requested resource is not authorized"),
        *refused_with("unauthorized", "Insufficient permissions"),
        f"Error: initializing source docker://{NAME}: reading manifest latest in registry.example/lab/canary: errors:\ndenied: requested access to the resource is denied\nunauthorized: Insufficient permissions",
        f"{FROM_DAEMON}denied",
        f"{FROM_DAEMON}pull access denied for lab/canary, repository does not exist or may require 'docker login'",
        "push access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed",
        "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required",
    ),
    Reason.INTEGRITY: (
        f"filesystem layer verification failed for digest {DIGEST}",
        f'failed commit on ref "layer-{DIGEST}": unexpected commit digest sha256:{"1f" * 32}, expected {DIGEST}: failed precondition',
        f'failed commit on ref "layer-{DIGEST}": "layer-{DIGEST}" failed size validation: 10 != 20: failed precondition',
        f"{FROM_DAEMON}image config verification failed for digest {DIGEST}",
        "digest invalid: provided digest did not match uploaded content",
    ),
    Reason.DAEMON: (
        "Cannot connect to the Docker daemon at unix:///run/lab/docker.sock. Is the docker daemon running?",
        "failed to connect to the docker API at unix:///run/docker.sock; check if the path is correct and if the daemon is running: dial unix /run/docker.sock: connect: no such file or directory",
        'permission denied while trying to connect to the Docker daemon socket at unix:///run/docker.sock: Get "http://%2Frun": EOF',
        "error during connect: Get http://192.0.2.7:2375/v1.41/version: EOF",
        f"{FROM_DAEMON}client version 1.52 is too new. Maximum supported API version is 1.41",
        "failed to register layer: open /var/lib/docker/overlay2/x: read-only file system",
        "failed to register layer: archive/tar: invalid tar header",
        *connection_failed("dial tcp 192.0.2.1:443: connect: permission denied"),
        *connection_failed("dial tcp 192.0.2.1:443: socket: too many open files"),
    ),
    Reason.DISK_FULL: (
        "failed to register layer: Error processing tar file(exit status 1): write /f: no space left on device",
        f"{FROM_DAEMON}write /var/lib/docker/tmp/x: no space left on device",
        "ERROR: failed to solve: failed to copy files: write /f: no space left on device",
        f"failed to extract layer {DIGEST}: write /f: no space left on device: unknown",
    ),
    Reason.CREDENTIAL_HELPER: (
        'error getting credentials - err: exec: "docker-credential-lab": executable file not found in $PATH, out: ``',
        "Error saving credentials: error storing credentials - err: exit status 1, out: `not initialized`",
        f"ERROR: failed to solve: {NAME}: error getting credentials - err: exit status 1, out: ``",
    ),
    Reason.REFERENCE: (
        f"{FROM_DAEMON}invalid reference format: repository name must be lowercase",
        "invalid reference format",
        'Error: parsing reference "LAB/x": repository name must be lowercase',
    ),
    Reason.CLI: (
        "unknown flag: --nosuch\n\nUsage:  docker pull [OPTIONS] NAME[:TAG|@DIGEST]\n\nRun 'docker pull --help' for more information",
        "docker: 'docker pull' requires 1 argument\n\nUsage:  docker pull [OPTIONS] NAME\n\nSee 'docker pull --help' for more information",
        "Error: Cannot perform an interactive login from a non TTY device",
        "panic: runtime error: index out of range [1] with length 1\n\ngoroutine 1 [running]:\nmain.main()",
        "Killed",
    ),
    Reason.BUILD: (
        f"{FROM_DAEMON}dockerfile parse error line 2: unknown instruction: NOWORD",
        "ERROR: failed to solve: dockerfile parse error on line 2: unknown instruction: NOWORD",
        'ERROR: failed to solve: process "/bin/sh -c curl https://nosuch.example" did not complete successfully: exit code: 6',
        "The command '/bin/sh -c false' returned a non-zero code: 1",
        'failed to solve: failed to compute cache key: failed to calculate checksum of ref lab::x: "/denied": not found',
        "words of a builder that nobody has met",
    ),
    Reason.IN_USE: (
        f'{FROM_DAEMON}conflict: unable to remove repository reference "{NAME}" (must force) - container 1 is using its referenced image 2',
        f"{FROM_DAEMON}conflict: unable to delete 1 (cannot be forced) - image has dependent child images",
        "Error: image used by 1: image is in use by a container: consider listing external containers",
        "words of a removal that nobody has met",
    ),
    Reason.UNCLASSIFIED: (f"{FROM_DAEMON}words that nobody has met",),
}
VERBS = {Reason.BUILD: "build", Reason.IN_USE: "rmi"}
#: The reasons that come from comparing digests, labels and layers, or from which registry it was.
JUDGED_ELSEWHERE = {Reason.STALE, Reason.FOREIGN, Reason.WARM, Reason.BASE_IMAGE, Reason.STARVED}


def test_every_reason_is_tried():
    """One that is in no table here would be classified by chance."""
    scoped = set(" ".join(SCOPES.values()).split())
    assert not (lacking := set(Reason) - scoped), f"SCOPES lacks {lacking}"
    tried = {*BY_ENGINE, *JUDGED_ELSEWHERE}
    assert not (lacking := set(Reason) - tried), f"neither BY_ENGINE nor JUDGED_ELSEWHERE has {lacking}"


@pytest.mark.parametrize(("reason", "text"), [(reason, text) for reason, texts in BY_ENGINE.items() for text in texts])
def test_same_error_from_all_engines(reason, text):
    """Whichever engine, store or builder puts it, and however, an error has one reason."""
    assert reason_of(VERBS.get(reason, "push"), text) is reason


# --- when one word is not enough ---

TOLD_APART = [
    ("the token server's failure is not the fault of the credentials", "pull", Reason.SERVER_ERROR,
     f"failed to authorize: failed to fetch anonymous token: unexpected status from GET request to {URL}: 500 Internal Server Error"),
    ("nor is its silence", "pull", Reason.RESET, f'failed to authorize: failed to fetch anonymous token: Get "{URL}?token=expired": EOF'),
    ("the words in an address mean nothing", "pull", Reason.RESET, f'{FROM_DAEMON}Get "https://denied.example/v2/quota/x509/404?Expires=9&token=1": EOF'),
    ("the words in a repository's name mean nothing", "pull", Reason.NOT_FOUND,
     f'{FROM_DAEMON}failed to resolve reference "registry.example/quota/denied:timeout": registry.example/quota/denied:timeout: not found'),
    ("a layer that is lost is not an image that is not there", "pull", Reason.SERVER_ERROR,
     f"failed to copy: httpReadSeeker: failed open: could not fetch content descriptor {DIGEST} (application/x) from remote: not found"),
    ("an immutable tag's message speaks of its existence", "push", Reason.REJECTED,
     "tag invalid: The image tag 'latest' already exists and cannot be overwritten because the repository is immutable."),
    ("a rate is a quota to Google", "pull", Reason.RATE_LIMITED, f"{FROM_DAEMON}unknown: Quota exceeded for quota metric 'Requests per minute'"),
    ("Pulp's 429 has a code of another meaning", "push", Reason.RATE_LIMITED, "unsupported: Request was throttled."),
    ("Harbor's 401 for a project that is not there", "pull", Reason.NOT_FOUND, f"{FROM_DAEMON}unauthorized: project lab not found: project lab not found"),
    ("Quay's word for a tag that is gone", "pull", Reason.NOT_FOUND, f"{FROM_DAEMON}manifest unknown: Tag latest was deleted or has expired."),
    ("GitLab's 401 speaks of denial", "login", Reason.UNAUTHORIZED, f'{FROM_DAEMON}Get "{URL}": unauthorized: HTTP Basic: Access denied'),
    ("a registry's own full disk", "push", Reason.SERVER_ERROR, "unknown: filesystem: write /var/lib/registry/x: no space left on device"),
    ("a file that the engine may not read is not a registry's denial", "pull", Reason.DAEMON,
     f"{FROM_DAEMON}open /etc/docker/certs.d/registry.example/ca.crt: permission denied"),
    ("a name that the registry does not like is not wrong usage", "push", Reason.REJECTED, "name invalid: invalid repository name: lab"),
    ("the engine's API status is not the registry's", "pull", Reason.TIMEOUT, f'(HTTP code 500) server error - {{"message":"Get {URL}: net/http: TLS handshake timeout"}}'),
    ("a proxy between CLI and engine", "pull", Reason.PROXY, "An error occurred trying to connect: Post https://192.0.2.7:2376/v1.22/x: Tunnel or SSL Forbidden"),
    ("a manifest of a kind that nobody asked for", "pull", Reason.SERVER_ERROR,
     f"{FROM_DAEMON}mediaType in manifest should be 'application/vnd.docker.distribution.manifest.v2+json' not ''"),
    ("an error code that docker does not know", "pull", Reason.SERVER_ERROR, f"{FROM_DAEMON}unknown: what is this"),
    ("a page for the CLI alone is a gate's before the socket", "pull", Reason.DAEMON, f"{FROM_DAEMON}<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.\n</body></html>"),
    ("and so is a refusal that quotes nobody", "push", Reason.DAEMON, f"{FROM_DAEMON}access to this endpoint is not allowed"),
    ("an authorization plugin is not a registry", "push", Reason.DAEMON, f"{FROM_DAEMON}authorization denied by plugin opa: denied: no"),
    ("a store that refuses is the registry's own trouble", "pull", Reason.SERVER_ERROR,
     "error pulling image configuration: download failed after attempts=1: error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<?xml version=\\\"1.0\\\"?><Error><Code>AccessDenied</Code></Error>\""),
    ("a layer's digest is verified before it is unpacked", "pull", Reason.DAEMON, "failed to register layer: Error processing tar file(exit status 1): unexpected EOF"),
    ("words of others in the name of an image mean nothing", "pull", Reason.NOT_FOUND, f"{FROM_DAEMON}manifest for containerd/runc-squid:snapshot not found: manifest unknown: manifest unknown"),
    ("a mirror that failed first is not the registry", "pull", Reason.RESET,
     f'Error: initializing source docker://{NAME}: (Mirrors also failed: [mirror.example/x: StatusCode: 429, "denied"]): {NAME}: pinging container registry registry.example: Get "{URL}": EOF'),
    ("our image is gone from the host before the push", "push", Reason.DAEMON, f"An image does not exist locally with the tag: {NAME}"),
    ("what is missing locally is not missing in the registry", "inspect", Reason.DAEMON, f"{FROM_DAEMON}No such image: {NAME}"),
    ("a local command that hangs up speaks of the engine", "rmi", Reason.DAEMON, "unexpected EOF"),
    ("local commands never leave the host", "images", Reason.DAEMON, "denied"),
    ("docker was asked to stop, and not by us", "pull", Reason.CLI, "context canceled"),
    ("what is canceled in an engine that is going down is the engine's", "pull", Reason.DAEMON,
     f"{FROM_DAEMON}error creating lease: grpc: the client connection is closing: context canceled"),
    ("podman 6 does not work beside cgroup v1", "login", Reason.DAEMON, "Error: Cgroups v1 not supported"),
    ("no builder is there, so that nothing was built", "build", Reason.CLI,
     "ERROR: BuildKit is enabled but the buildx component is missing or broken.\n       Install the buildx component to build images with BuildKit:\n       https://docs.docker.com/go/buildx/"),
    ("podman: the manifest is there, and what it names is lost", "pull", Reason.SERVER_ERROR,
     "Error: parsing image configuration: Error fetching blob: invalid status code from registry 404 (Not Found)"),
    ("the last of several errors counts", "pull", Reason.SERVER_ERROR, "denied: no\nreceived unexpected HTTP status: 500 Internal Server Error"),
    ("words that nobody has met do not hide the error before them", "pull", Reason.TLS, f"{FROM_DAEMON}x509: certificate signed by unknown authority\nsorry"),
]  # fmt: skip


@pytest.mark.parametrize(("purpose", "verb", "reason", "text"), TOLD_APART, ids=[row[0] for row in TOLD_APART])
def test_told_apart(purpose, verb, reason, text):
    """If the words of one reason are in the error of another, the meaning decides."""
    assert reason_of(verb, text) is reason


@pytest.mark.parametrize("exit_code", [-9, -11, 126, 127, 130, 137, 139, 143])
def test_no_ordinary_end(exit_code):
    """A docker that was killed, crashed or never ran is the CLI's failure, whatever it had said until then."""
    failure = classify("push", exit_code, "", "denied: no")
    assert failure.reason is Reason.CLI
    assert failure.detail.startswith(
        "docker push was ended by signal" if exit_code < 0 else f"docker push failed with exit code {exit_code};"
    )
    assert failure.detail.endswith("it had said: denied: no")
    assert "said" not in classify("push", exit_code, "", "").detail


def test_wrong_usage():
    """Exit code 125 is docker's word for wrong usage, also in a version that puts it in other words."""
    assert classify("pull", 125, "", "no such thing as --nosuch").reason is Reason.CLI
    assert classify("pull", 125, "", "no such thing as --nosuch", None).reason is Reason.UNCLASSIFIED


# --- not there ---

NOT_THERE = {
    f"{FROM_DAEMON}manifest unknown": True,
    f"{FROM_DAEMON}manifest for {NAME} not found: manifest unknown: manifest unknown": True,
    f'{FROM_DAEMON}failed to resolve reference "{NAME}": {NAME}: not found': True,
    "name unknown: The repository with name 'canary' does not exist in the registry": True,
    f"{FROM_DAEMON}pull access denied for lab/canary, repository does not exist or may require 'docker login': denied: no": True,
    f"{FROM_DAEMON}unauthorized: access to the requested resource is not authorized": True,
    'denied: Permission "x" denied on resource "y" (or it may not exist)': True,
    f"{FROM_DAEMON}denied: requested access to the resource is denied": False,
    "push access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials": False,
    f"could not fetch content descriptor {DIGEST} (application/x) from remote: not found": False,
    f"{FROM_DAEMON}received unexpected HTTP status: 500 Internal Server Error": False,
}


@pytest.mark.parametrize(("text", "not_there"), NOT_THERE.items())
def test_not_there(text, not_there):
    """Only words that can mean an empty repository excuse the very first pull."""
    assert classify("pull", 1, "", text).not_there is not_there


# --- what is shown ---

ERROR = f"{FROM_DAEMON}received unexpected HTTP status: 503 Service Unavailable"
NOISE = (
    "The push refers to repository [registry.example/lab/canary]",
    "Using default tag: latest",
    "latest: Pulling from lab/canary",
    "5c110056cd4f: Preparing",
    "5c110056cd4f: Retrying in 5 seconds",
    "5c110056cd4f: Pushing [======>      ]  1.5MB/2MB",
    "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.",
    "            BuildKit is currently disabled; enable it by removing the DOCKER_BUILDKIT=0",
    "WARNING! Your credentials are stored unencrypted in '/run/lab/config.json'.",
    'time="2026-01-01T00:00:00Z" level=error msg="Can\'t close tar writer: io: read/write on closed pipe"',
    'time="2026-01-01T00:00:00Z" level=warning msg="denied: connection refused"',
    "ERRO[0000] x509: certificate signed by unknown authority",
    "#4 [internal] load build context",
    "------",
    "   2 | >>> NOWORD x",
    "Error: Process completed with exit code 1.",
    "See 'docker pull --help'.",
    "Run 'docker pull --help' for more information",
    "View build details: docker-desktop://dashboard/build/1",
    "",
)


@pytest.mark.parametrize("noise", NOISE)
def test_noise_is_not_the_error(noise):
    """Progress, notices, log lines and the report of whoever ran docker are not why it failed, wherever they are."""
    assert classify("pull", 1, "", f"{noise}\n{ERROR}\n{noise}\n") == Failure(Reason.SERVER_ERROR, ERROR)
    assert classify("pull", 1, f"{noise}\n", f"{ERROR}\n").detail == ERROR


DETAILS = {
    f"\x1b[31m{ERROR}\x1b[0m\x07\r": ERROR,
    f"\x1b]0;title\x07{ERROR}": ERROR,
    f"  {ERROR}  ": ERROR,
    'Error response from daemon: Get "https://registry.example/v2/":\nGet "https://auth.example/token":\nhttp: server gave HTTP response':
        'Error response from daemon: Get "https://registry.example/v2/": Get "https://auth.example/token": http: server gave HTTP response',
    "denied: <html>\n<head><title>403</title></head>\n</html>\n": "denied: 403",
    "unknown: <html>\r\n<head><title>413 Too Large</title></head>\r\n<body>\r\n<h1>413 Too Large</h1><hr>nginx</body>\r\n</html>\r": "unknown: 413 Too Large nginx",
    'error parsing HTTP 413 response body: invalid character \'<\' looking for beginning of value: "<html>\\r\\n<h1>413 Too Large</h1>\\r\\n</html>"':
        'error parsing HTTP 413 response body: invalid character \'<\' looking for beginning of value: " 413 Too Large "',
    "Get https://<myhost>/v1/users/: EOF": "Get https://<myhost>/v1/users/: EOF",
    f"{FROM_DAEMON}\n[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be removed in an upcoming release.\nSuggest the author of {NAME} to upgrade the image.\nMore information at https://docs.docker.com/go/x":
        f"{FROM_DAEMON}[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be removed in an upcoming release. Suggest the author of {NAME} to upgrade the image. More information at https://docs.docker.com/go/x",
    "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be removed in an upcoming\nrelease. Please contact admins of the registry.":
        "[DEPRECATION NOTICE] Docker Image Format v1 and Docker Image manifest version 2, schema 1 support is disabled by default and will be removed in an upcoming release. Please contact admins of the registry.",
    "[DEPRECATION NOTICE] registry v2 schema1 support will be removed in an upcoming release. Please contact admins NOW.\ntag invalid: the tag exists": "tag invalid: the tag exists",
    f"unexpected status from PUT request to {URL}: 403 Forbidden\ndenied: no more room": f"unexpected status from PUT request to {URL}: 403 Forbidden denied: no more room",
    f"{FROM_DAEMON}error from registry: no more room\nno more room": f"{FROM_DAEMON}error from registry: no more room",
    "error during connect: command [ssh box] has exited with exit status 255: stderr=Host key verification failed.\nlost connection":
        "error during connect: command [ssh box] has exited with exit status 255: stderr=Host key verification failed. lost connection",
    "ERRO[0000] x509: certificate signed by unknown authority": "ERRO[0000] x509: certificate signed by unknown authority",
    "": "docker pull failed with exit code 1 and did not say why",
    "5c110056cd4f: Retrying in 1 second\n": "docker pull failed with exit code 1 and did not say why",
}  # fmt: skip


@pytest.mark.parametrize(("text", "detail"), DETAILS.items())
def test_detail(text, detail):
    """What is shown is the error as docker put it, on one line, without what a terminal would swallow."""
    assert classify("pull", 1, "", text).detail == detail


def test_standard_output_counts_where_standard_error_is_silent():
    """A docker that puts its error on standard output is heard, too."""
    assert classify("pull", 1, f"latest: Pulling from x\n{ERROR}\n", "").detail == ERROR


# --- any text ---

ANY_VERB = st.sampled_from(
    ["login", "pull", "build", "push", "rmi", "tag", "inspect", "images", "version", "context", "nosuch"]
)
ANY_TEXT = st.binary(max_size=400).map(lambda raw: raw.decode(errors="replace")) | st.text(max_size=400)
KNOWN = st.sampled_from([(VERBS.get(reason, "push"), text) for reason, texts in BY_ENGINE.items() for text in texts])


@given(verb=ANY_VERB, exit_code=st.integers(-255, 255), stdout=ANY_TEXT, stderr=ANY_TEXT)
def test_never_raises(verb, exit_code, stdout, stderr):
    """Whatever the bytes, there is a reason, and a detail of one line without control characters."""
    failure = classify(verb, exit_code, stdout, stderr)
    assert isinstance(failure.reason, Reason)
    assert failure.detail
    assert "\x1b" not in failure.detail
    assert len(failure.detail.splitlines()) == 1


@given(verb=ANY_VERB, stdout=ANY_TEXT, stderr=ANY_TEXT | KNOWN.map(lambda known: known[1]))
def test_only_a_command_that_talks_to_the_registry_can_blame_it(verb, stdout, stderr):
    """A build never does: it talks to others at most. Nor does any command that never leaves this host."""
    failure = classify(verb, 1, stdout, stderr)
    assert failure.scope.verdict is Verdict.UNKNOWN or verb in ("login", "pull", "push")
    assert failure.reason is not Reason.UNCLASSIFIED or verb in ("login", "pull", "push")


# --- who spoke ---

CODES = st.sampled_from(
    """denied | unauthorized | unknown | unsupported | toomanyrequests | unavailable | manifest unknown
    | name unknown | manifest invalid | tag invalid | name invalid | digest invalid | blob unknown | blob upload invalid""".replace(
        "\n    ", " "
    ).split(" | ")
)
BEFORE_A_CODE = st.sampled_from((
    "", FROM_DAEMON, f'{FROM_DAEMON}Get "{URL}": ', "errors:\n", f"{FROM_DAEMON}manifest for {NAME} not found: ",
    f"Error: reading manifest latest in {NAME}: ", "error pulling image configuration: ",
))  # fmt: skip
LOCAL_WORDS = st.sampled_from(
    [text for reason in (Reason.DAEMON, Reason.CLI, Reason.DISK_FULL) for text in BY_ENGINE[reason]]
)
ON_ONE_LINE = st.text(st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"]), max_size=200)


@given(
    verb=st.sampled_from(["login", "pull", "push"]),
    before=BEFORE_A_CODE,
    code=CODES,
    message=(ON_ONE_LINE | LOCAL_WORDS).map(lambda text: " ".join(text.split())),
)
def test_what_follows_an_error_code_is_the_registrys(verb, before, code, message):
    """Whatever a registry says after a code of its API, this host and the set-up are not to blame."""
    failure = classify(verb, 1, "", f"{before}{code}: {message}")
    assert failure.scope not in (Scope.HOST, Scope.CONFIG, Scope.DEPENDENCY)


@given(
    verb=st.sampled_from(["login", "pull", "push"]),
    before=st.sampled_from(["", FROM_DAEMON, "failed to register layer: ", "error pulling image configuration: "]),
    doing=st.sampled_from(["open", "write", "mkdir", "unlinkat", "lchown", "rename", "stat", "read", "fsync"]),
    path=st.from_regex(r"/[a-zA-Z0-9][a-zA-Z0-9_.-]{0,20}(/[a-zA-Z0-9_.-]{1,20}){0,5}", fullmatch=True),
    errno=st.sampled_from(sorted(errno.errorcode)).map(os.strerror).map(str.lower),
)
def test_an_errno_of_a_local_path_is_this_hosts(verb, before, doing, path, errno):
    """A path of this host, and what its kernel says of it, is never a registry's, the network's or a login's fault."""
    if path.startswith("/v2/"):
        return  # that of a registry's API
    failure = classify(verb, 1, "", f"{before}{doing} {path}: {errno}")
    assert failure.scope is Scope.HOST


def test_unknown_words_are_the_registrys_only_with_a_trace_of_somebody_outside():
    """A status, a code, a URL or an address: without one, nothing is known of any registry."""
    for trace in (
        f'Get "{URL}": ',
        "dial tcp 192.0.2.1:443: ",
        "received unexpected HTTP status: 299 ",
        "Error: in registry registry.example: docker://x ",
    ):
        assert classify("push", 1, "", f"{FROM_DAEMON}{trace}strange words").scope.verdict is Verdict.DOWN
    assert classify("push", 1, "0123456789ab: Retrying in 1 second\n", "strange words").scope.verdict is Verdict.DOWN
    for text in ("strange words", f"{FROM_DAEMON}strange words", "strange words: see https://docs.docker.com/go/x", ""):
        failure = classify("push", 1, "", text)
        assert (failure.reason, failure.scope, failure.scope.verdict) == (
            Reason.UNCLASSIFIED,
            Scope.HOST,
            Verdict.UNKNOWN,
        )


@given(
    known=KNOWN,
    noise=st.lists(st.sampled_from(NOISE), max_size=80),
    stdout=st.lists(st.sampled_from(NOISE), max_size=5),
)
def test_noise_before_the_error_changes_nothing(known, noise, stdout):
    """However much docker printed before its last error, that error decides."""
    verb, text = known
    assert classify(verb, 1, "\n".join(stdout), "\n".join([*noise, text])) == classify(verb, 1, "", text)


@given(known=KNOWN, earlier=KNOWN)
def test_an_error_before_the_last_changes_nothing(known, earlier):
    """An error that docker got over is not why it failed."""
    verb, text = known
    if classify(verb, 1, "", text).reason in (Reason.UNCLASSIFIED, Reason.BUILD, Reason.IN_USE) or text.startswith("<"):
        return  # if nobody has met the last words, those before them count
    assert classify(verb, 1, "", f"{earlier[1]}\n\n{text}").reason is classify(verb, 1, "", text).reason


@pytest.mark.parametrize(
    "unit", ["a", "a/", "<", "a: ", "1", " ", "denied ", "\\", "https://a", "errors:", "é", "\x1b[", "time="]
)
def test_long_lines_are_bounded(unit):
    """However long a line, only a bounded part of it is matched, so that a rule may be expensive."""
    line = unit * (2**20 // len(unit))
    assert len(plain(line)) <= 2 * CHARACTERS_MATCHED + len(" … ") + CHARACTERS_MATCHED
    assert classify("pull", 1, line, line).reason in Reason


def test_many_lines_are_bounded():
    """However many lines, only a bounded number of the last ones is searched."""
    assert len(errors("", "words\n" * 200_000)) == LINES_SEARCHED
    assert reason_of("pull", "denied\n" + "words\n" * LINES_SEARCHED) is Reason.UNCLASSIFIED
