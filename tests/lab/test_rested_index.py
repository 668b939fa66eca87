"""A rested image that is an index of two platforms, on the engine that can hold one: what registries lose of it."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing

import pytest

from lab.archive import file_system
from lab.daemon import await_true
from lab.engines import OLDER, DebianDocker, Podman
from lab.monitor import Monitor, once
from lab.registry import Registry
from lab.rested import INDEX, LONG, OFTEN, await_loss, cold_of, images_of, pushes
from lab.snapshot import take_snapshot
from lab.storage import Storage
from lab.target import PASSWORD, USER, login
from lib.cycle.payload import INSTANCE_LABEL


@pytest.fixture
def root(debians):
    """The root of another Debian, with its engines."""
    return debians.root(OLDER)


@pytest.fixture
def containerd(session_lab, root):
    """An engine that can hold an index: Docker with containerd's image store."""
    with DebianDocker(root, session_lab.folder / "containerd", containerd_store=True) as engine:
        yield engine


def push_theirs(engine, registry, name):
    """Push an image that no monitor made."""
    engine.docker("login", f"--username={USER}", "--password-stdin", registry.host, stdin=PASSWORD.encode())
    try:
        engine.docker("import", "-", name, stdin=file_system("theirs"))
        engine.docker("push", name)
    finally:
        engine.docker("rmi", name)
        engine.docker("logout", registry.host)


def held(engine, root):
    """Return what an engine holds: what docker shows, and what containerd has beside that."""
    where = (f"--address={engine.folder}/exec/containerd/containerd.sock", "--namespace=moby")

    def ctr(*words):
        return subprocess.run([root / "usr/bin/ctr", *where, *words], capture_output=True, check=True, text=True).stdout

    # What a pull that failed or was ended had got by then stays until an image goes, or for a day: that is now.
    for lease in ctr("leases", "ls").splitlines():
        if "containerd.io/gc.expire" in lease:
            ctr("leases", "rm", lease.split()[0])
    engine.docker("import", "-", "another:1", stdin=file_system("another"))
    engine.docker("rmi", "another:1")
    listed = (("content", "ls", "-q"), ("snapshots", "--snapshotter=overlayfs", "ls"), ("images", "ls", "-q"))
    return [ctr(*words) for words in listed], take_snapshot(engine)


def is_whole(monitor):
    return cold_of(monitor)["up"] and images_of(monitor).get(INDEX, {"verdict": None})["verdict"] == "up"


@pytest.mark.everything
@pytest.mark.timeout(900)
def test_what_an_index_loses_is_seen_for_each_platform(containerd, root, engine, tmp_path):
    """Also by other engines than the one that pushed it; and it is recognised if the push was not noted."""
    with Registry(tmp_path / "registry", users={USER: PASSWORD}) as registry:
        repository = f"{registry.host}/tests/index"
        storage = Storage(registry, repository)
        options = (*login(repository), "-cold-images=3", f"-state-dir={tmp_path / 'state'}")
        push_theirs(containerd, registry, f"{repository}:latest-cold-2")  # and no 40 layers take their time
        before = held(containerd, root)

        with Monitor(tmp_path, containerd, *options, *OFTEN) as monitor:
            await_true(lambda: is_whole(monitor), LONG, "the index to be checked")
            index = images_of(monitor)[INDEX]
            platforms = storage.platforms(index["digest"])
            assert (index["kind"], list(platforms)) == ("index", ["linux/amd64", "linux/arm64"])
            for platform, digest in platforms.items():
                with storage.without(storage.layers(digest)[0]):
                    reason, detail = await_loss(monitor, INDEX)
                    assert (reason, detail.startswith(f"{platform}: ")) == ("server_error", True), detail
                await_true(lambda: is_whole(monitor), LONG, "the index to be whole again")
            assert monitor.stop() == 0

        def push_again():
            """Push the index as if killed before its note, and return its digest."""
            with closing(sqlite3.connect(tmp_path / "state" / "history.sqlite3")) as history, history:
                history.execute("DELETE FROM rested WHERE number = 3")
            with Monitor(tmp_path, containerd, *options, *OFTEN) as monitor:
                await_true(lambda: INDEX in images_of(monitor), LONG, "the note of the index")
                image = images_of(monitor)[INDEX]
                assert monitor.stop() == 0
            assert (image["kind"], list(storage.platforms(image["digest"]))) == ("index", list(platforms))
            return image["digest"]

        assert push_again() == index["digest"]
        # The engine puts the images of the index under its tag, too, before it: so a push that was killed can end.
        assert pushes(registry, repository) == {"latest-cold-1": 1, "latest-cold-2": 1, INDEX: 3}
        (storage.tag(INDEX) / "current/link").write_text(platforms["linux/arm64"])
        assert push_again() != index["digest"]

        with Podman(tmp_path / "podman") as podman:
            for other in (engine, podman):
                logs = [once(other, *options, "-cold-every=100ms")[2] for _ in range(3)]
                assert any("a rested image is intact" in log and INDEX in log for log in logs), logs
                assert other.docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout == ""

        registry.stop()
        registry.collect_garbage("--delete-untagged")
        registry.start()
        with Monitor(tmp_path, containerd, *options, *OFTEN) as monitor:
            reason, detail = await_loss(monitor, INDEX)
            assert (reason, detail.startswith("linux/amd64: ")) == ("server_error", True), detail
            assert monitor.stop() == 0
    assert held(containerd, root) == before
