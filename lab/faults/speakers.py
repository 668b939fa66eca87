"""Faults by who speaks: gates in front of the engine, the kernel below it, and those who stand behind a registry."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lab.authorization_plugin import AuthorizationPlugin
from lab.daemon import await_true
from lab.engine import Engine
from lab.exchange import Action
from lab.faults import host, rows
from lab.faults.outside import blob_get, token_request
from lab.faults.rig import Fault, Rig
from lab.faults.rows import BUILD, DAEMON, DISK_FULL, LOGIN, PULL, PULL_BACK, PUSH, RMI, SERVER_ERROR, Row, Setting
from lab.misbehaviour import answer
from lab.proxy import Proxy
from lab.socket_proxy import SocketProxy
from lib.result import StepName

#: The request to the engine's API by which each step is taken.
_ENDPOINTS = {
    LOGIN: ("POST", "/auth$"),
    PULL: ("POST", "/images/create"),
    BUILD: ("POST", "/build"),
    PUSH: ("POST", "/images/.*/push"),
    RMI: ("DELETE", "/images/"),
    PULL_BACK: ("POST", "/images/create"),
}
_SOON = 20.0

#: How a store refuses a URL that came a second too late, or whose key it no longer knows.
XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"""
_REFUSED_IN_XML = answer(403, XML, "application/xml")


# Before the engine.


def at_socket_proxy(step: StepName) -> Fault:
    """Given a step, return as a fault that a proxy in front of the engine's socket does not let its request through."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        gate, engine = rig.lane.folder / "gate.sock", Path(rig.lane.engine.host.removeprefix("unix://"))
        request = re.compile("{} .*{}".format(*_ENDPOINTS[step]))
        with (
            SocketProxy(gate, engine, request.match) as proxy,
            host.cli(f'DOCKER_HOST=unix://{gate} exec "$DOCKER" "$@"')(rig),
        ):
            yield
            assert proxy.refused

    return fault


def at_plugin(step: StepName) -> Fault:
    """Given a step, return as a fault that an authorization plugin of the engine denies its request."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        engine = rig.lane.engine
        name = f"lab-{secrets.token_hex(4)}"  # dockerd asks one that it knows where that was before
        specification = rig.lane.ground.folder / f"{engine.folder.name}-etc" / "docker" / "plugins" / f"{name}.spec"
        specification.parent.mkdir(exist_ok=True)
        socket = rig.lane.folder / "plugin.sock"
        specification.write_text(f"unix://{socket}")
        with AuthorizationPlugin(socket, *_ENDPOINTS[step]) as plugin:

            def is_asked() -> bool:
                before = plugin.asked
                engine.docker("version", check=False)
                return plugin.asked > before

            _reload(engine, [name])
            await_true(is_asked, _SOON, "the plugin to be asked")
            try:
                yield
            finally:
                _reload(engine, [])
                await_true(lambda: not is_asked(), _SOON, "the plugin to be let go")
                specification.unlink()

    return fault


def _reload(engine: Engine, plugins: list[str]) -> None:
    (engine.folder / "daemon.json").write_text(json.dumps({"authorization-plugins": plugins}))
    os.kill(engine.pid, signal.SIGHUP)


# Below the engine.

#: Where in its folder dockerd keeps what it is just moving or building; and images and layers.
_TEMPORARY, _IMAGES, _LAYERS = "tmp", "image/overlay2/imagedb/content/sha256", "image/overlay2/layerdb"


def moved_away(place: str) -> Fault:
    """Given a folder of dockerd's, return as a fault that somebody moved it away."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        folder = rig.lane.engine.data / place
        away = folder.rename(folder.with_name("away"))
        try:
            yield
        finally:
            if folder.exists():  # dockerd made it again
                subprocess.run(["rm", "-r", str(folder)], check=True)
            away.rename(folder)

    return fault


def immutable(place: str) -> Fault:
    """Given a folder of dockerd's, return as a fault that nothing in it may be made or removed (`chattr +i`)."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        folder = rig.lane.engine.data / place
        subprocess.run(["chattr", "+i", str(folder)], check=True)
        try:
            yield
        finally:
            subprocess.run(["chattr", "-i", str(folder)], check=True)

    return fault


def read_only(place: str) -> Fault:
    """Given a folder of dockerd's, return as a fault that it was mounted read-only, as after an error on its disk."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        # By a mount of its own: the kernel leaves none to us in which dockerd has a file open.
        folder = rig.lane.engine.data / place
        with _mounted(rig.lane.engine, folder, "-o", "bind,ro", str(folder)):
            yield

    return fault


@contextmanager
def mount_gone(rig: Rig) -> Iterator[None]:
    """What was mounted where dockerd keeps temporary files is gone: the folder behind a bind mount was removed."""
    behind = rig.lane.folder / "behind"
    behind.mkdir()
    with _mounted(rig.lane.engine, rig.lane.engine.data / _TEMPORARY, "--bind", str(behind)):
        behind.rmdir()
        yield


def on_own_disk(spoil: Callable[[Path, str], object]) -> Fault:
    """Return as a fault that a disk of its own, where dockerd keeps temporary files, was spoilt.

    Given what does that to the disk's file, and to the place in which it can be seen from here.
    """

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        engine, disk = rig.lane.engine, rig.lane.folder / "disk.img"
        with disk.open("wb") as file:
            file.truncate(4 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-N", "16", str(disk)], check=True)
        temporary = engine.data / _TEMPORARY
        with _mounted(engine, temporary, "-o", "loop", str(disk)):
            spoil(disk, f"/proc/{engine.pid}/root{temporary}")
            yield

    return fault


def without_inodes(_: Path, place: str) -> None:
    """Make files on it until it has no inode left."""
    try:
        for number in range(64):
            Path(place, f"file-{number}").touch()
    except OSError:
        return
    raise AssertionError("there were more inodes than were made")


def unreadable(disk: Path, _: str) -> None:
    """Remove the file that it is kept on."""
    os.truncate(disk, 0)


@contextmanager
def _mounted(engine: Engine, place: Path, *what: str) -> Iterator[None]:
    _beside(engine, "mount", *what, str(place))
    try:
        yield
    finally:
        _beside(engine, "umount", "--lazy", str(place))


def _beside(engine: Engine, *argv: str) -> None:
    """Given an engine and a command, run it where the mounts are that the engine sees."""
    subprocess.run(["nsenter", f"--target={engine.pid}", "--mount", "--", *argv], check=True, capture_output=True)


# Behind the registry.


def by_redirect(request: Callable[[Action], Fault], then: Action) -> Fault:
    """Return as a fault that a server sends docker elsewhere.

    Given which of its requests that is, and what becomes of it there.
    """

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"
        to = answer(307, headers={"Location": f"https://{rig.lane.host}/store/data?{query}"})
        with request(to)(rig), rig.lane.proxy.rule(then, path="^/store/"):
            yield

    return fault


def away_for(seconds: float) -> Fault:
    """Given how long, return as a fault that a registry's gate answers in its place for that time."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        proxy: Proxy = rig.lane.proxy
        away: AbstractContextManager[None] = proxy.rule(answer(502, b"<html>Bad Gateway</html>", "text/html"))
        away.__enter__()
        back = threading.Timer(seconds, away.__exit__, (None, None, None))
        back.start()
        yield
        back.join()

    return fault


_SICK = Setting(sick=True, deadline=20.0)
_RETRYING_SICK = Setting(sick=True, deadline=100.0)

#: Every row.
ROWS: tuple[Row, ...] = (
    *(Row(step, "socket proxy refuses", at_socket_proxy(step), DAEMON) for step in _ENDPOINTS),
    *(Row(step, "authorization plugin denies", at_plugin(step), DAEMON, _SICK) for step in _ENDPOINTS),
    *(
        Row(step, what, fault, expected, _SICK)
        for step in (BUILD, PULL_BACK)
        for what, fault, expected in (
            ("temporary folder moved away", moved_away(_TEMPORARY), DAEMON),
            ("temporary folder's bind mount gone", mount_gone, DAEMON),
            ("temporary folder immutable", immutable(_TEMPORARY), DAEMON),
            ("images' folder immutable", immutable(_IMAGES), DAEMON),
            ("temporary folder read-only", read_only(_TEMPORARY), DAEMON),
            ("no inode left", on_own_disk(without_inodes), DISK_FULL),
            ("disk unreadable", on_own_disk(unreadable), DAEMON),
        )
    ),
    Row(PUSH, "layers' folder moved away", moved_away(_LAYERS), DAEMON, _RETRYING_SICK),
    Row(RMI, "images' folder read-only", read_only("image"), DAEMON, _SICK),
    *(
        Row(step, "store refuses in XML", by_redirect(blob_get, _REFUSED_IN_XML), SERVER_ERROR)
        for step in (PULL, PULL_BACK)
    ),
    *(
        Row(
            step,
            "token server redirects, refused there in XML",
            by_redirect(token_request, _REFUSED_IN_XML),
            SERVER_ERROR,
            rows.TOKEN,
        )
        for step in (LOGIN, PUSH)
    ),
    Row(PUSH, "registry away as docker asks how to log in", away_for(10.0), SERVER_ERROR, rows.RETRYING),
)
