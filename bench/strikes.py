"""Strikes: targets that a monitor tests, and the faults that strike each of them again and again.

The faults are those of the fault matrix. Here they strike a monitor that is a separate program, from outside.
"""

from __future__ import annotations

import json
import shutil
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from lab.engine import Engine
from lab.exchange import Action, Exchange, forward
from lab.faults import host, outside
from lab.faults.ground import PASSWORD, REPOSITORY, USERNAME, Ground, Lane
from lab.faults.outside import HTML, blob_get, certified, door, error, layer_put, manifest_get, manifest_put
from lab.faults.rig import Fault, Rig
from lab.misbehaviour import answer, calling, downloading, flipped, plain, reset_at_door, silence, torn, uploading
from lab.network import DROP, UNREACHABLE
from lab.proxy import Proxy
from lab.resolver import Failing
from lib.failure.reason import Reason

#: How long docker may take if it retries by itself, with pauses of 5, 10, 15, 20 and 25 s.
_RETRYING_TIMEOUTS = {"step-timeout": "100s", "cycle-timeout": "4m"}
_PATIENCE_SECONDS, _RETRYING_PATIENCE_SECONDS = 90.0, 300.0

#: The label of containers that use a test image.
_IN_USE = "soak.in-use"

# What stands in for the CLI.
_BUILD_SCRIPT = """for last; do :; done
[ "$1" = build ] && rm -f "$last"/payload-*
exec "$DOCKER" "$@"
"""
_WARM_SCRIPT = """[ "$1" = pull ] && "$DOCKER" "$@" >/dev/null
exec "$DOCKER" "$@"
"""
_IN_USE_SCRIPT = f"""[ "$1" = rmi ] && "$DOCKER" create --label={_IN_USE} "$2" /nothing >/dev/null
exec "$DOCKER" "$@"
"""
_STOPPED_SCRIPT = """[ "$1" = push ] && kill -STOP $$
exec "$DOCKER" "$@"
"""
_STRANGE_SCRIPT = """[ "$1" = pull ] && echo "the moon is in the way" >&2 && exit 1
exec "$DOCKER" "$@"
"""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault, and how the monitor has to judge it.

    Attributes:
        reason: for which a cycle then fails.
        fault: what strikes.
        alone: the engine has to stay well from the strike until the target is up again: an outage in between would
            leave what nobody can tell from the host's own, or no way back.
    """

    reason: Reason
    fault: Fault
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Victim:
    """A target, and what strikes it.

    Attributes:
        name: the target's.
        rig: the target as the faults take it; the monitor is another one.
        strikes: what strikes it, in turn.
        options: of the target, except for its place.
        patience_seconds: how long a strike may take to show.
        peace: held from a strike until the target has recovered from it, and by whoever wants none to begin.
    """

    name: str
    rig: Rig
    strikes: tuple[Strike, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    patience_seconds: float = _PATIENCE_SECONDS
    peace: threading.Lock = field(default_factory=threading.Lock)

    def configuration(self) -> dict[str, Any]:
        """Return the target as written in a monitor's configuration."""
        where = {"name": self.name, "repository": f"{self.rig.lane.host}/{REPOSITORY}"}
        login = {} if "docker-config" in self.options else {"username": USERNAME, "password": PASSWORD}
        return where | login | self.options


class Field:
    """The targets of one monitor on one engine, each with a registry of its own.

    Attributes:
        engine: the engine.
        cli: what the monitor has to run as `docker`: for one of the targets it can be a different program.
        victims: the targets.
        engine_strikes: what strikes all of them at once.
        engine_lock: held by whoever needs the engine to be well, or makes it sick.
    """

    def __init__(self, ground: Ground, engine: Engine, stack: ExitStack, *, retrying: bool) -> None:
        """Given a ground, one of its sick engines, what holds the lanes, and whether one target is to be struck by what
        docker takes a minute to tell, prepare the targets.
        """
        self.engine = engine
        self.engine_lock = threading.Lock()
        self.engine_strikes = (
            Strike(Reason.DAEMON, host.engine_stopped),
            Strike(Reason.DAEMON, host.engine_paused),
            Strike(Reason.DISK_FULL, host.engine_disk_full),
        )

        def rig(**options: Any) -> Rig:
            return Rig(stack.enter_context(Lane(ground, engine, **options)))

        sick = rig()
        sick.cli = sick.lane.folder / "sick-docker"
        docker = shutil.which("docker", path=engine.env["PATH"]) or "docker"
        sick.cli.symlink_to(docker)
        self.cli = _dispatcher(sick, docker)
        registry = rig(base="other")
        self.victims = [
            Victim("healthy", rig()),
            Victim(
                "registry",
                registry,
                self._registry_strikes(registry.lane),
                {"base-image": registry.lane.base, "public-base": True},
            ),
            Victim("network", rig(named=True), _network_strikes()),
            Victim("host", sick, self._host_strikes(), {"docker-config": str(_logins(sick.lane))}),
        ]
        if retrying:
            victim = Victim("retrying", rig(), _retrying_strikes(), _RETRYING_TIMEOUTS, _RETRYING_PATIENCE_SECONDS)
            self.victims.append(victim)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """For which cycles fail here, in the order of their names."""
        strikes = (*self.engine_strikes, *(strike for victim in self.victims for strike in victim.strikes))
        return tuple(sorted({strike.reason for strike in strikes}))

    def _host_strikes(self) -> tuple[Strike, ...]:
        return (
            Strike(Reason.CLI, host.cli_missing),
            Strike(Reason.CLI, host.cli(host.PANIC)),
            Strike(Reason.CLI, host.cli("kill -KILL $$")),
            Strike(Reason.BUILD, host.cli(_BUILD_SCRIPT)),
            Strike(Reason.WARM, host.cli(_WARM_SCRIPT)),
            Strike(Reason.IN_USE, self._in_use, alone=True),
            Strike(Reason.STARVED, host.cli(_STOPPED_SCRIPT)),
            Strike(Reason.CREDENTIAL_HELPER, _logins_damaged),
            Strike(Reason.UNCLASSIFIED, host.cli(_STRANGE_SCRIPT)),
        )

    def _registry_strikes(self, lane: Lane) -> tuple[Strike, ...]:
        lane.push_somebodys_image()
        manifest = lane.manifest()
        somebodys = answer(200, manifest.body, manifest.content_type, {"Docker-Content-Digest": manifest.digest})
        lane.registry.delete_tag(REPOSITORY, "latest")
        denied = error("DENIED", "access to the resource is denied")
        return (
            Strike(Reason.SERVER_ERROR, manifest_put(answer(502, HTML, "text/html"))),
            Strike(Reason.RATE_LIMITED, manifest_get(answer(429, error("TOOMANYREQUESTS", "slow down")))),
            Strike(Reason.NOT_FOUND, manifest_get(answer(404, error("MANIFEST_UNKNOWN", "manifest unknown")))),
            Strike(Reason.QUOTA, manifest_put(answer(403, error("DENIED", "storage quota exceeded")))),
            Strike(Reason.REJECTED, manifest_put(answer(413, error("SIZE_INVALID", "too large")))),
            Strike(Reason.INTEGRITY, _once_pushed(somebodys), alone=True),
            Strike(Reason.STALE, outside.back_in_time),
            Strike(Reason.FOREIGN, manifest_get(somebodys), alone=True),
            Strike(Reason.UNAUTHORIZED, outside.password_changed),
            Strike(Reason.DENIED, manifest_get(answer(403, denied))),
            Strike(Reason.BASE_IMAGE, outside.at_base(Proxy.refusing)),
            Strike(Reason.BASE_IMAGE, outside.base_request(answer(404, error("MANIFEST_UNKNOWN")))),
        )

    @contextmanager
    def _in_use(self, rig: Rig) -> Iterator[None]:
        """A container uses the image that is to be removed."""
        try:
            with host.cli(_IN_USE_SCRIPT)(rig):
                yield
        finally:
            docker = self.engine.docker
            for container in docker("ps", "--all", "--quiet", f"--filter=label={_IN_USE}").stdout.split():
                docker("rm", container)


def _network_strikes() -> tuple[Strike, ...]:
    day = timedelta(days=1)
    return (
        Strike(Reason.DNS, outside.unresolved(Failing.NO_SUCH_HOST)),
        Strike(Reason.REFUSED, outside.refused),
        Strike(Reason.UNREACHABLE, outside.filtered(UNREACHABLE)),
        Strike(Reason.RESET, door(reset_at_door)),
        Strike(Reason.TLS, certified(stranger=True)),
        Strike(Reason.TLS, certified(starts=-2 * day, ends=-day)),
        Strike(Reason.TLS, door(plain)),
        Strike(Reason.PROXY, outside.request(answer(407))),
        Strike(Reason.TIMEOUT, layer_put(silence)),
        Strike(Reason.TIMEOUT, outside.filtered(DROP)),
    )


def _retrying_strikes() -> tuple[Strike, ...]:
    return (
        Strike(Reason.SERVER_ERROR, layer_put(answer(503))),
        Strike(Reason.INTEGRITY, blob_get(downloading(flipped(30_000)))),
        Strike(Reason.RATE_LIMITED, layer_put(answer(429, error("TOOMANYREQUESTS", "slow down")))),
        Strike(Reason.RESET, layer_put(uploading(torn(20_000)))),
    )


def _once_pushed(action: Action) -> Fault:
    """Given what happens to requests for a manifest, return that as a fault from the next push on."""

    def fault(rig: Rig) -> AbstractContextManager[None]:
        pushed = threading.Event()

        def act(exchange: Exchange) -> None:
            (action if pushed.is_set() else forward)(exchange)

        return _both(manifest_put(calling(pushed.set))(rig), manifest_get(act)(rig))

    return fault


@contextmanager
def _both(first: AbstractContextManager[None], second: AbstractContextManager[None]) -> Iterator[None]:
    with first, second:
        yield


def _logins(lane: Lane) -> Path:
    """Given a lane, return a new Docker configuration folder that holds the login there."""
    folder = lane.folder / "logins"
    folder.mkdir()
    login = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {lane.host: {"auth": login}}}), encoding="utf-8")
    return folder


@contextmanager
def _logins_damaged(rig: Rig) -> Iterator[None]:
    """The user's Docker configuration can't be read."""
    file = rig.lane.folder / "logins" / "config.json"
    text = file.read_text(encoding="utf-8")
    _replace(file, "no JSON")
    try:
        yield
    finally:
        _replace(file, text)


def _replace(file: Path, text: str) -> None:
    """Given a file that others may be reading, replace its text in one step."""
    unfinished = file.with_name("unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(file)


def _dispatcher(rig: Rig, docker: str) -> Path:
    """Given the rig whose CLI is struck, and the real one, return a new CLI that is the first for that rig's registry.

    It goes by the name of the registry in the arguments: commands that name an image by its ID get the real one. What
    is struck is run by its own name, and not by the link's, which may lead elsewhere when the shell comes to read it.
    """
    file = rig.lane.folder / "docker"
    first = f'exec "$(readlink --canonicalize-missing {rig.cli})" "$@"'
    text = f'#!/bin/sh\ncase "$*" in *{rig.lane.host}*) {first} ;; esac\nexec {docker} "$@"\n'
    file.write_text(text, encoding="ascii")
    file.chmod(0o700)
    return file
