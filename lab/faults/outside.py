"""Faults that strike a monitor's engine, its registry, or what lies between, while a context lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

from lab import misbehaviour
from lab.certificates import Authority
from lab.exchange import Action
from lab.faults.ground import PASSWORD, REPOSITORY, USERNAME, Lane, Manifest
from lab.faults.rig import Fault, Rig
from lab.misbehaviour import Door
from lab.mounts import filled
from lab.proxy import Proxy
from lab.resolver import Failing

HTML = b"<html>\r\n<head><title>Sorry</title></head>\r\n<body>\r\n<center>nginx</center>\r\n</body>\r\n</html>\r\n"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def error(code: str, message: str = "") -> bytes:
    """Given an error code and its message, return the body that the distribution project has for it."""
    return f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'.encode()


# On the way.


def request(action: Action) -> Fault:
    """Given what happens to any request to the registry, return that as a fault."""
    return lambda rig: rig.lane.proxy.rule(action)


def manifest_get(action: Action) -> Fault:
    """Given what happens to a request for a manifest, return that as a fault."""
    return lambda rig: rig.lane.proxy.rule(action, "GET|HEAD", "/manifests/")


def blob_get(action: Action) -> Fault:
    """Given what happens to a request for a blob, return that as a fault."""
    return lambda rig: rig.lane.proxy.rule(action, "GET", "/blobs/")


def layer_put(action: Action) -> Fault:
    """Given what happens to the upload of a blob's content, return that as a fault."""
    return lambda rig: rig.lane.proxy.rule(action, "PATCH", "/blobs/uploads/")


def manifest_put(action: Action) -> Fault:
    """Given what happens to the upload of a manifest, return that as a fault."""
    return lambda rig: rig.lane.proxy.rule(action, "PUT", "/manifests/")


def door(door: Door) -> Fault:
    """Given what happens to connections to the registry, return that as a fault."""
    return lambda rig: rig.lane.proxy.behind(door)


def refused(rig: Rig) -> AbstractContextManager[None]:
    """Nothing listens at the registry's port."""
    return rig.lane.proxy.refusing()


def filtered(fate: tuple[str, ...]) -> Fault:
    """Given what iptables does with packets to the registry, return that as a fault."""
    return lambda rig: rig.lane.ground.network.filtering(rig.lane.proxy.address[1], fate)


def unresolved(how: Failing) -> Fault:
    """Given how the registry's name fails, return that as a fault."""

    @contextmanager
    def fault(rig: Rig) -> Iterator[None]:
        names, name = rig.lane.ground.resolver.names, rig.lane.name
        address, names[name] = names[name], how
        try:
            yield
        finally:
            names[name] = address

    return fault


def certified(
    *, stranger: bool = False, name: str | None = None, starts: timedelta | None = None, ends: timedelta | None = None
) -> Fault:
    """Return as a fault that the registry shows another certificate.

    Given whether one issued it that nobody trusts, whose name it bears, and from when to when it is valid, seen from
    now.
    """

    def fault(rig: Rig) -> AbstractContextManager[None]:
        ground = rig.lane.ground
        issuer: Authority = ground.stranger if stranger else ground.authority
        validity = {key: value for key, value in (("starts", starts), ("ends", ends)) if value is not None}
        return rig.lane.proxy.behind(misbehaviour.tls(issuer.issue(name or rig.lane.name, **validity)))

    return fault


def at_token_server(fault: Callable[[Proxy], AbstractContextManager[None]]) -> Fault:
    """Given a fault of a proxy, return it for the one in front of the token server."""

    def strike(rig: Rig) -> AbstractContextManager[None]:
        assert rig.lane.token_proxy is not None
        return fault(rig.lane.token_proxy)

    return strike


def token_request(action: Action) -> Fault:
    """Given what happens to requests to the token server, return that as a fault."""
    return at_token_server(lambda proxy: proxy.rule(action))


def at_base(fault: Callable[[Proxy], AbstractContextManager[None]]) -> Fault:
    """Given a fault of a proxy, return it for the one in front of the base image's registry."""
    return lambda rig: fault(rig.lane.base_proxy)


def base_request(action: Action) -> Fault:
    """Given what happens to requests to the base image's registry, return that as a fault."""
    return at_base(lambda proxy: proxy.rule(action))


def after(seconds: float) -> Action:
    """Given how long, return what waits so long before a request is passed on."""
    return misbehaviour.calling(lambda: time.sleep(seconds))


# The registry.


@contextmanager
def read_only(rig: Rig) -> Iterator[None]:
    """The registry is in its read-only mode."""
    with _restarted(rig.lane, readonly=True):
        yield


@contextmanager
def _restarted(lane: Lane, *, readonly: bool) -> Iterator[None]:
    for setting in (readonly, not readonly):
        lane.registry.stop()
        lane.registry.readonly = setting
        lane.registry.start()
        if setting is readonly:
            yield


@contextmanager
def registry_disk_full(rig: Rig) -> Iterator[None]:
    """The registry's disk is full."""
    with filled(rig.lane.registry.storage):
        yield


@contextmanager
def password_changed(rig: Rig) -> Iterator[None]:
    """The password is a different one from now on."""
    rig.lane.registry.set_users({USERNAME: "another one"})
    try:
        yield
    finally:
        rig.lane.registry.set_users({USERNAME: PASSWORD})


@contextmanager
def tag_deleted(rig: Rig) -> Iterator[None]:
    """Somebody deleted the tag."""
    with rig.lane.keeping():
        rig.lane.registry.delete_tag(REPOSITORY, "latest")
        yield


@contextmanager
def wiped(rig: Rig) -> Iterator[None]:
    """The registry lost everything."""
    with rig.lane.keeping():
        rig.lane.registry.wipe()
        yield


def given(manifest: Manifest) -> Fault:
    """Given a manifest, return as a fault that the registry gives it, whatever was pushed since then."""
    headers = {"Docker-Content-Digest": manifest.digest}
    return manifest_get(misbehaviour.answer(200, manifest.body, manifest.content_type, headers))


@contextmanager
def back_in_time(rig: Rig) -> Iterator[None]:
    """The registry gives, from now on, the manifest that it has now."""
    with given(rig.lane.manifest())(rig):
        yield


@contextmanager
def back_by_two(rig: Rig) -> Iterator[None]:
    """The registry gives the manifest that was there before the last push."""
    old = rig.lane.manifest()
    rig.cycle()
    with given(old)(rig):
        yield


@contextmanager
def strange_image(rig: Rig) -> Iterator[None]:
    """Somebody pushes an image of their own to the tag."""
    with rig.lane.keeping():
        rig.lane.push_somebodys_image()
        yield


@contextmanager
def second_monitor(rig: Rig) -> Iterator[None]:
    """Another monitor pushes to the same tag."""
    with Rig(rig.lane) as other:
        other.cycle()
        yield
