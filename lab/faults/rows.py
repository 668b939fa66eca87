"""The fault matrix: every step by every fault that can strike it, and what the monitor has to make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from lab.exchange import Action
from lab.faults import host, outside
from lab.faults.outside import HTML, blob_get, certified, door, error, layer_put, manifest_get, manifest_put, request
from lab.faults.rig import Fault
from lab.misbehaviour import (
    answer,
    cut,
    downloading,
    flipped,
    plain,
    reset,
    reset_at_door,
    shortened,
    silence,
    silence_at_door,
    slowed,
    stalled,
    torn,
    uploading,
)
from lab.network import DROP, REJECT, UNREACHABLE
from lab.proxy import Proxy
from lab.resolver import Failing
from lib.failure import Reason
from lib.result import StepName

LOGIN, PULL, BASE, BUILD, PUSH, RMI, PULL_BACK = StepName

# What a cycle has to say: verdict, scope, reason.
UP = "up"
SERVER_ERROR = "down registry server_error"
RATE_LIMITED = "down registry rate_limited"
NOT_FOUND = "down registry not_found"
REJECTED = "down registry rejected"
INTEGRITY = "down registry integrity"
STALE = "down registry stale"
UNCLASSIFIED = "down registry unclassified"
UNAUTHORIZED = "down credentials unauthorized"
DENIED = "down credentials denied"
DNS = "down network dns"
REFUSED = "down network refused"
UNREACHED = "down network unreachable"
RESET = "down network reset"
TLS = "down network tls"
TIMEOUT = "down network timeout"
DAEMON = "unknown host daemon"
CLI = "unknown host cli"
DISK_FULL = "unknown host disk_full"
BUILD_FAILED = "unknown host build"
IN_USE = "unknown host in_use"
STARVED = "unknown host starved"
BASE_IMAGE = "unknown dependency base_image"
FOREIGN = "unknown config foreign"


@dataclass(frozen=True)
class Setting:
    """The circumstances of a row.

    Attributes:
        deadline: of each step, in seconds.
        payload_bytes: how much is pushed and pulled.
        at_least: how long the step has to take, in seconds.
        registry: its kind: `plain`, `small` disk, `token` server.
        named: the registry is known by a name, not by its address.
        base: the test image is built on an image of the `same` registry, or of an `other`.
        sick: it needs an engine to itself.
        early: the fault strikes before the cycle begins.
    """

    deadline: float = 4.0
    payload_bytes: int = 256 * 1024
    at_least: float = 0.0
    registry: str = "plain"
    named: bool = False
    base: str = ""
    sick: bool = False
    early: bool = False


USUAL = Setting()
NAMED = Setting(named=True)
#: A silent name server is asked three times by login, and more often by pull and push.
RESOLVING = Setting(named=True, deadline=20.0)
#: docker tries a transfer again and again, with pauses of 5, 10, 15, 20 and 25 s, before it says why it fails.
RETRYING = Setting(deadline=100.0)
RETRYING_ON_SMALL_DISK = Setting(deadline=100.0, registry="small")
TOKEN = Setting(registry="token")
RETRYING_TOKEN = Setting(registry="token", deadline=100.0)
SLOW_TOKEN = Setting(registry="token", deadline=10.0, at_least=2.0)
#: At 10,000 bytes a second.
SLOW = Setting(deadline=10.0, payload_bytes=30_000, at_least=3.0)
OTHER_BASE = Setting(base="other")
SAME_BASE = Setting(base="same")
SICK = Setting(sick=True)
EARLY = Setting(early=True, deadline=8.0)
EARLY_SICK = Setting(sick=True, early=True)
#: An engine that was just started takes its time.
RESTARTED = Setting(sick=True, deadline=20.0)
LARGE = Setting(sick=True, deadline=20.0, payload_bytes=4 * 1024 * 1024)


@dataclass(frozen=True)
class Row:
    """One fault, and what has to come of it.

    Attributes:
        step: the step that it strikes, as that begins.
        name: what it is.
        fault: what strikes.
        expected: what the cycle has to say.
        setting: its circumstances.
    """

    step: StepName
    name: str
    fault: Fault
    expected: str
    setting: Setting = USUAL

    def __str__(self) -> str:
        return f"{self.step}: {self.name}"


def _on_the_way(step: StepName) -> tuple[Row, ...]:
    """Return what can happen to a step's connection before its first request."""
    day = timedelta(days=1)
    return (
        Row(step, "refused", outside.refused, REFUSED),
        Row(step, "packets rejected", outside.filtered(REJECT), REFUSED),
        Row(step, "packets rejected: host unreachable", outside.filtered(UNREACHABLE), UNREACHED),
        Row(step, "packets dropped", outside.filtered(DROP), TIMEOUT),
        Row(step, "reset at connect", door(reset_at_door), RESET),
        Row(step, "accepted, then silence", door(silence_at_door), TIMEOUT),
        Row(step, "TLS: unknown authority", certified(stranger=True), TLS),
        Row(step, "TLS: expired", certified(starts=-2 * day, ends=-day), TLS),
        Row(step, "TLS: not yet valid", certified(starts=day, ends=2 * day), TLS),
        Row(step, "TLS: wrong name", certified(name="other.invalid"), TLS, NAMED),
        Row(step, "plain HTTP where TLS is expected", door(plain), TLS),
        Row(step, "DNS: no such host", outside.unresolved(Failing.NO_SUCH_HOST), DNS, NAMED),
        Row(step, "DNS: server failure", outside.unresolved(Failing.SERVER_FAILURE), DNS, NAMED),
        Row(step, "DNS: no answer", outside.unresolved(Failing.SILENCE), DNS, RESOLVING),
    )


def _answered(step: StepName, asked: Callable[[Action], Fault]) -> tuple[Row, ...]:
    """Given a step and one of its requests, return what a registry can answer to that."""
    return (
        Row(step, "401", asked(answer(401, error("UNAUTHORIZED", "authentication required"))), UNAUTHORIZED),
        Row(step, "401, unknown code", asked(answer(401, error("X", "authentication required"))), UNAUTHORIZED),
        Row(step, "403", asked(answer(403, error("DENIED", "access to the resource is denied"))), DENIED),
        Row(step, "403, unknown code", asked(answer(403, error("X", "access forbidden"))), DENIED),
        Row(step, "404 in HTML", asked(answer(404, HTML, "text/html")), NOT_FOUND),
        Row(step, "429", asked(answer(429, error("TOOMANYREQUESTS", "slow down"))), RATE_LIMITED),
        Row(step, "429 in HTML", asked(answer(429, HTML, "text/html")), RATE_LIMITED),
        Row(step, "500", asked(answer(500, error("UNKNOWN", "unknown error"))), SERVER_ERROR),
        Row(step, "500 with broken JSON", asked(answer(500, b'{"errors":[{"co')), SERVER_ERROR),
        Row(step, "502 in HTML", asked(answer(502, HTML, "text/html")), SERVER_ERROR),
        Row(step, "503", asked(answer(503)), SERVER_ERROR),
        Row(step, "never answered", asked(silence), TIMEOUT),
        Row(step, "reset in place of an answer", asked(reset), RESET),
    )


def _on_its_way_down(step: StepName) -> tuple[Row, ...]:
    """Return what can happen to what a pull is given."""
    forgotten = answer(404, error("BLOB_UNKNOWN", "blob unknown to registry"))
    broken = answer(200, b'{"schemaVersion": 2, ', outside.MANIFEST_TYPE)
    return (
        Row(step, "404: tag deleted", outside.tag_deleted, NOT_FOUND),
        Row(step, "404: everything lost", outside.wiped, NOT_FOUND),
        Row(step, "404: blob forgotten", blob_get(forgotten), SERVER_ERROR),
        Row(step, "manifest in broken JSON", manifest_get(broken), SERVER_ERROR),
        Row(step, "half a layer, then silence", blob_get(downloading(stalled(20_000))), TIMEOUT),
        Row(step, "half a layer, then reset", blob_get(downloading(torn(20_000))), RESET, RETRYING),
        Row(step, "half a layer, then closed", blob_get(downloading(cut(20_000))), RESET, RETRYING),
        Row(step, "layer too short", blob_get(shortened(20_000)), INTEGRITY, RETRYING),
        Row(step, "a bit of a layer flipped", blob_get(downloading(flipped(30_000))), INTEGRITY, RETRYING),
        Row(step, "slow but alive", blob_get(downloading(slowed(10_000))), UP, SLOW),
    )


def _at_token_server(step: StepName) -> tuple[Row, ...]:
    """Return what can be wrong with a token server."""
    # A push asks for a token for each layer, and then again and again.
    setting = RETRYING_TOKEN if step is PUSH else TOKEN
    told = outside.token_request
    return (
        Row(step, "token server refused", outside.at_token_server(Proxy.refusing), REFUSED, setting),
        Row(step, "token server never answers", told(silence), TIMEOUT, TOKEN),
        Row(step, "token server slow but alive", told(outside.after(2.0)), UP, SLOW_TOKEN),
        Row(step, "token server resets", told(reset), RESET, setting),
        Row(step, "token server: 401", told(answer(401, error("UNAUTHORIZED", "bad password"))), UNAUTHORIZED, TOKEN),
        Row(step, "token server: 403", told(answer(403, error("DENIED", "access denied"))), DENIED, TOKEN),
        Row(step, "token server: 500", told(answer(500, b"oops", "text/plain")), SERVER_ERROR, setting),
        Row(step, "token server: 502 in HTML", told(answer(502, HTML, "text/html")), SERVER_ERROR, setting),
    )


def _engine(step: StepName) -> tuple[Row, ...]:
    """Return what can be wrong with the engine as a step begins."""
    return (
        Row(step, "dockerd stopped", host.engine_stopped, DAEMON, SICK),
        Row(step, "dockerd hangs (SIGSTOP)", host.engine_paused, DAEMON, SICK),
        Row(step, "socket not permitted", host.not_permitted, DAEMON, SICK),
    )


def _cli(step: StepName) -> tuple[Row, ...]:
    """Return what can be wrong with the docker CLI as a step begins."""
    return (
        Row(step, "CLI missing", host.cli_missing, CLI),
        Row(step, "CLI not executable", host.cli("exit 0", mode=0o600), CLI),
        Row(step, "CLI crashes", host.cli(host.PANIC), CLI),
        Row(step, "CLI killed (SIGKILL, as for OOM)", host.cli("kill -KILL $$"), CLI),
        Row(step, "CLI hangs, deaf to SIGTERM", host.cli(host.DEAF), CLI),
    )


#: Every row.
ROWS: tuple[Row, ...] = (
    Row(LOGIN, "dockerd stopped before the cycle", host.engine_stopped, DAEMON, EARLY_SICK),
    Row(LOGIN, "dockerd hangs before the cycle", host.engine_paused, DAEMON, EARLY_SICK),
    *_engine(LOGIN),
    *_cli(LOGIN),
    *_on_the_way(LOGIN),
    *_answered(LOGIN, request),
    Row(LOGIN, "wrong password", outside.password_changed, UNAUTHORIZED),
    *_at_token_server(LOGIN),
    *_engine(PULL),
    *_cli(PULL),
    *_on_the_way(PULL),
    *_answered(PULL, manifest_get),
    *_on_its_way_down(PULL),
    Row(PULL, "registry went back in time", outside.back_by_two, STALE, EARLY),
    Row(PULL, "somebody's image at the tag", outside.strange_image, FOREIGN),
    Row(PULL, "password changed while running", outside.password_changed, UNAUTHORIZED),
    Row(PULL, "dockerd stopped in the middle", host.in_transfer(blob_get, host.stop), DAEMON, SICK),
    Row(PULL, "dockerd killed in the middle", host.in_transfer(blob_get, host.kill), DAEMON, SICK),
    Row(PULL, "dockerd hangs in the middle", host.in_transfer(blob_get, host.pause), DAEMON, SICK),
    Row(PULL, "CLI killed in the middle", host.in_transfer(blob_get, host.kill_cli), CLI),
    Row(PULL, "dockerd restarted just before", host.engine_restarted, UP, RESTARTED),
    Row(PULL, "engine's disk full", host.engine_disk_full, DISK_FULL, LARGE),
    Row(BASE, "refused", outside.at_base(Proxy.refusing), BASE_IMAGE, OTHER_BASE),
    Row(BASE, "404", outside.base_request(answer(404, error("MANIFEST_UNKNOWN"))), BASE_IMAGE, OTHER_BASE),
    Row(BASE, "429", outside.base_request(answer(429, error("TOOMANYREQUESTS"))), BASE_IMAGE, OTHER_BASE),
    Row(BASE, "never answered", outside.base_request(silence), BASE_IMAGE, OTHER_BASE),
    Row(BASE, "of the same registry, refused", outside.refused, REFUSED, SAME_BASE),
    Row(BASE, "of the same registry, 503", request(answer(503)), SERVER_ERROR, SAME_BASE),
    Row(BUILD, "payload damaged", host.context_damaged, BUILD_FAILED),
    Row(BUILD, "engine's disk full", host.engine_disk_full, DISK_FULL, LARGE),
    *_engine(BUILD),
    *_cli(BUILD),
    *_engine(PUSH),
    *_cli(PUSH),
    *_on_the_way(PUSH),
    *_answered(PUSH, manifest_put),
    Row(PUSH, "manifest: 413", manifest_put(answer(413, error("SIZE_INVALID", "too large"))), REJECTED),
    Row(PUSH, "layer: 413 in HTML", layer_put(answer(413, HTML, "text/html")), REJECTED, RETRYING),
    Row(PUSH, "layer: 429", layer_put(answer(429, error("TOOMANYREQUESTS", "slow down"))), RATE_LIMITED, RETRYING),
    Row(PUSH, "layer: 503", layer_put(answer(503)), SERVER_ERROR, RETRYING),
    Row(PUSH, "layer: reset in the middle", layer_put(uploading(torn(20_000))), RESET, RETRYING),
    Row(PUSH, "layer: stalls in the middle", layer_put(uploading(stalled(20_000))), TIMEOUT),
    Row(PUSH, "layer: never acknowledged", layer_put(silence), TIMEOUT),
    Row(PUSH, "CLI stopped (SIGSTOP)", host.cli("kill -STOP $$"), STARVED),
    Row(PUSH, "layer: stalls; CLI exits 0 when ended", host.stalls_and_exits_well, TIMEOUT),
    Row(PUSH, "layer: slow but alive", layer_put(uploading(slowed(10_000))), UP, SLOW),
    Row(PUSH, "registry read-only", outside.read_only, REJECTED, RETRYING),
    Row(PUSH, "registry's disk full", outside.registry_disk_full, SERVER_ERROR, RETRYING_ON_SMALL_DISK),
    Row(PUSH, "password changed while running", outside.password_changed, UNAUTHORIZED),
    Row(PUSH, "dockerd killed in the middle", host.in_transfer(layer_put, host.kill), DAEMON, SICK),
    Row(PUSH, "dockerd hangs in the middle", host.in_transfer(layer_put, host.pause), DAEMON, SICK),
    Row(PUSH, "dockerd restarted just before", host.engine_restarted, UP, RESTARTED),
    *_at_token_server(PUSH),
    Row(RMI, "image in use by a container", host.image_in_use, IN_USE),
    *_engine(RMI),
    *_cli(RMI),
    *_engine(PULL_BACK),
    *_cli(PULL_BACK),
    *_on_the_way(PULL_BACK),
    *_answered(PULL_BACK, manifest_get),
    *_on_its_way_down(PULL_BACK),
    Row(PULL_BACK, "another monitor's image", outside.second_monitor, FOREIGN, Setting(deadline=8.0)),
    Row(PULL_BACK, "somebody's image", outside.strange_image, INTEGRITY),
    Row(PULL_BACK, "registry gives the image before", outside.back_in_time, STALE, EARLY),
    Row(PULL_BACK, "engine's disk full", host.engine_disk_full, DISK_FULL, LARGE),
)


def one_of_each(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Given rows, return one for each fault and what has to come of it, at the steps that it can strike in turn.

    That is what a quick run meets: `pull` and `pull_back` are one docker command, and what lies between docker and a
    registry is the same at every step.
    """
    alike: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.name, row.expected), []).append(row)
    return tuple(some[number % len(some)] for number, some in enumerate(alike.values()))


#: What no fault of a registry, network or host brings about, and other tests bring about otherwise.
WITHOUT_ROW = {
    Reason.QUOTA: "a hosted registry's words; the classifier's corpus has them",
    Reason.PROXY: "dockerd's own setting",
    Reason.WARM: "a builder's doing: the cycle's tests",
    Reason.REFERENCE: "refused before anything runs: the options' tests",
    Reason.CREDENTIAL_HELPER: "a login that was never tried: the cycle's tests",
    Reason.UNCLASSIFIED: "words that nobody has met",
}
