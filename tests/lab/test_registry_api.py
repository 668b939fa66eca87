"""The registry's API, on the distribution project's registry: certificates to the second, superseded images gone."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from cryptography import x509

from lab.certificates import Authority
from lab.daemon import await_true
from lab.misbehaviour import tls
from lab.monitor import SOON, Monitor
from lab.object_store import ObjectStore
from lab.port import on_loopback
from lab.proxy import Proxy
from lab.registry import Registry, Tls
from lab.target import PASSWORD, USER
from lab.token_server import TokenServer

LONG = 1200


def config(folder, *targets, **common):
    """Write targets and what they have in common to a file, and return the option that names it."""
    file = folder / "config.yml"
    login = {"username": USER, "password": PASSWORD, "run-test-every": "100ms", "payload-size": "64KiB"}
    file.write_text(json.dumps({**login, **common, "targets": targets}))  # JSON is YAML
    return f"-config={file}"


def read(monitor, metric):
    """Return the numbers of a metric, by the values of its labels other than the target's, of each target."""
    found = {}
    text = monitor.get("/metrics")[1]
    for labels, number in re.findall(rf"^registry_monitor_{metric}{{(.*?)}} (\S+)$", text, re.MULTILINE):
        values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found.setdefault(values.pop("target"), {})[tuple(values.values())] = float(number)
    return found


def deletions(monitor, target):
    return read(monitor, "superseded_deletions_total")[target]


@pytest.fixture
def secured(session_lab, tmp_path):
    """A registry over TLS, its token server and its store, and the second at which the certificate of each ends."""
    authority = Authority(tmp_path / "authority")
    pems = {
        role: authority.issue("127.0.0.1", ends=timedelta(hours=hours))
        for role, hours in (("registry", 9 * 24), ("token", 10 * 24), ("store", -0.5))
    }
    storage = tmp_path / "storage"
    with TokenServer(tmp_path / "tokens", USER, PASSWORD) as tokens, ObjectStore(storage) as store:
        store.door.door = tls(pems["store"])
        redirect = [{"name": "redirect", "options": {"baseurl": f"https://{store.door.host}/"}}]
        with (
            Proxy(on_loopback, tokens.address, tls(pems["token"])) as door,
            Registry(
                tmp_path / "secured",
                token=tokens.auth(f"https://{door.host}/token"),
                tls=Tls(pems["registry"], pems["registry"]),
                storage=storage,
                settings={"REGISTRY_MIDDLEWARE_STORAGE": json.dumps(redirect)},
            ) as registry,
        ):
            hosts = {"registry": registry.host, "token": door.host, "store": store.door.host}
            yield registry, {(host, role): ends(pems[role]) for role, host in hosts.items()}


def ends(pem):
    return x509.load_pem_x509_certificate(pem.read_bytes()).not_valid_after_utc.timestamp()


def test_certificates_are_read_and_superseded_images_deleted(engine, secured, tmp_path):
    """One certificate has expired. Nothing is logged, and nothing is left of what was replaced."""
    registry, expected = secured
    target = {"name": "tidy", "repository": f"{registry.host}/acme/tidy", "delete-superseded": True}
    with Monitor(tmp_path, engine, config(tmp_path, target)) as monitor:
        await_true(lambda: deletions(monitor, "tidy")["ok",] >= 1, SOON, "a deletion")
        assert read(monitor, "certificate_expiry_timestamp_seconds") == {"tidy": expected}
        assert monitor.get("/status")[0] == 200
        assert monitor.stop() == 0
    assert "registry API" not in monitor.log.read_text()
    pushed, tidied = len(registry.manifests_put("acme/tidy")), deleted(registry, "tidy")
    assert tidied
    assert len(list(registry.storage.glob("**/tidy/_manifests/revisions/sha256/*/link"))) == pushed - tidied


def deleted(registry, name):
    """Return how many manifests were deleted."""
    return sum(access.method == "DELETE" and access.status == 202 for access in registry.accesses(f"acme/{name}"))


@pytest.mark.everything
def test_after_200_cycles_a_registry_holds_no_more_than_after_50(engine, tmp_path):
    """Its garbage is collected after each 50. One that may not delete grows; that is logged once, and it is up."""
    rounds, cycles = 4, 50
    tidy, kept = (
        Registry(tmp_path / name, users={USER: PASSWORD}, storage=tmp_path / f"{name}-storage", settings=settings)
        for name, settings in (("tidy", {}), ("kept", {"REGISTRY_STORAGE_DELETE_ENABLED": "false"}))
    )
    sizes = {"tidy": [], "kept": []}
    with tidy, kept:
        targets = [
            {"name": name, "repository": f"{registry.host}/acme/{name}"}
            for name, registry in (("tidy", tidy), ("kept", kept))
        ]
        options = config(tmp_path, *targets, **{"state-dir": str(tmp_path / "state"), "delete-superseded": True})
        for number in range(1, rounds + 1):
            with Monitor(tmp_path, engine, options) as monitor:
                await_true(lambda monitor=monitor: least_up(monitor) >= cycles, LONG, f"{number} times {cycles} cycles")
                assert deletions(monitor, "tidy")["failed",] == 0
                assert list(deletions(monitor, "kept").values()) == [0, 1]
                assert monitor.get("/status")[0] == 200
                assert monitor.stop() == 0
            assert monitor.log.read_text().count("registry API") == number
            for name, registry in (("tidy", tidy), ("kept", kept)):
                registry.collect_garbage()
                size = sum(file.stat().st_size for file in registry.storage.rglob("*") if file.is_file())
                sizes[name].append((len(registry.manifests_put(f"acme/{name}")), size))
    assert f'detail="{kept.host} answered 405 when asked to delete a manifest"' in monitor.log.read_text()
    (first_pushes, first), *_, (last_pushes, last) = sizes["tidy"]
    # What stays of each is three links of 71 bytes: to its layer, to its configuration, and to it from the tag.
    assert last - first <= (last_pushes - first_pushes) * 300 + 2 * 70_000, sizes
    assert all(size >= pushes * 64 * 1024 for pushes, size in sizes["kept"]), sizes


def least_up(monitor):
    """Return how many cycles of the target that had fewest were up."""
    return min(verdicts["up",] for verdicts in read(monitor, "cycles_total").values())
