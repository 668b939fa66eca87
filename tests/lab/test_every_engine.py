"""Every engine that users have: lost rested images are noticed there, and only pulling leaves everything as it was."""

from __future__ import annotations

import pytest

from lab import engine_table
from lab.archive import file_system
from lab.holdings import holdings
from lab.monitor import once
from lab.rested import LAYERED, SINGLE, await_loss, await_whole, images_of, pushes, resting
from lab.storage import Storage
from lab.target import PASSWORD, USER, login

# The first test waits for a whole Debian.
pytestmark = [pytest.mark.timeout(600), pytest.mark.everything]

#: Those that can build: nothing rests elsewhere.
BUILDING = [cell for cell in engine_table.engines() if cell.expected == ("up",)]


@pytest.mark.parametrize("cell", BUILDING, ids=[cell.name for cell in BUILDING])
def test_what_a_registry_loses_is_seen_and_so_is_its_return(debians, folder, registry, cell):
    """A layer, a manifest, a tag, the repository: each for its reason; none is pushed again, or left on the host."""
    repository = f"{registry.host}/engines/{folder.name}"
    storage = Storage(registry, repository)
    with cell.start(folder, debians) as engine:
        before = holdings(engine)
        with resting(folder, engine, repository, 2, f"-builder={cell.builder}") as monitor:
            images = images_of(monitor)
            layer = storage.layers(images[LAYERED]["digest"])[17]
            with storage.without(layer), storage.truncated(storage.blob(images[SINGLE]["digest"])):
                assert await_loss(monitor, SINGLE)[0] == "server_error"
                assert await_loss(monitor, LAYERED)[0] == "server_error"
            await_whole(monitor, 2)
            with storage.without(storage.tag(SINGLE)):
                reason, detail = await_loss(monitor, SINGLE)
                assert (reason, "still there by its digest" in detail) == ("not_found", True), detail
            await_whole(monitor, 2)
            with storage.without(storage.repository):
                for tag in (SINGLE, LAYERED):
                    reason, detail = await_loss(monitor, tag)
                    assert (reason, "it can't be pulled by its digest" in detail) == ("not_found", True), detail
            await_whole(monitor, 2)
            assert monitor.stop() == 0
        assert pushes(registry, repository) == {SINGLE: 1, LAYERED: 1}
        assert holdings(engine) == before


@pytest.mark.parametrize("cell", BUILDING, ids=[cell.name for cell in BUILDING])
def test_labels_that_are_asked_for_reach_the_registry_and_those_of_the_base_do_not(debians, folder, registry, cell):
    """By any builder; what a base asks of a registry, such as to let it expire, does not apply to the test image."""
    repository, config = f"{registry.host}/engines/{folder.name}", folder.with_suffix(".yml")
    config.write_text('image-labels: {maintainer: me, a/b-c.D: "say \\"$HOME\\" ü"}')
    base = f"{repository}:base"
    with cell.start(folder, debians) as engine:
        docker = engine.docker
        changes = ("--change=LABEL quay.expires-after=1h", "--change=LABEL maintainer=somebody")
        docker("import", *changes, "-", base, stdin=file_system(repository))
        docker("login", f"--username={USER}", "--password-stdin", registry.host, stdin=PASSWORD.encode())
        docker("push", base)
        options = (f"-base-image={base}", f"-config={config}", f"-builder={cell.builder}")
        (cycle,) = once(engine, *login(repository), *options)[1]
        docker("rmi", base)
    assert cycle["verdict"] == "up", cycle["detail"]
    labels = Storage(registry, repository).labels("latest")
    assert {name: labels[name] for name in ("quay.expires-after", "maintainer", "a/b-c.D")} == {
        "quay.expires-after": "",
        "maintainer": "me",
        "a/b-c.D": 'say "$HOME" ü',
    }


@pytest.mark.parametrize("cell", [cell for cell in engine_table.engines() if cell.is_quick], ids=lambda cell: cell.name)
def test_what_one_may_only_pull_leaves_the_host_as_it_was(debians, folder, registry, cell):
    """The host's image under the same name stays; what the host has already is warm, and stays with its names."""
    repository = f"{registry.host}/engines/{folder.name}"
    name, options = f"{repository}:latest", (*login(repository), "-read-only")
    with cell.start(folder, debians) as engine:
        docker = engine.docker
        docker("import", "-", name, stdin=file_system(repository))
        docker("login", f"--username={USER}", "--password-stdin", registry.host, stdin=PASSWORD.encode())
        docker("push", name)
        docker("rmi", name)
        digest = Storage(registry, repository).digest("latest")

        def cycles(*more):
            """Run two, after which all is as it was; return what they say."""
            before = holdings(engine)
            found = [once(engine, *options, *more)[1][0] for _ in range(2)]
            assert holdings(engine) == before
            return [(cycle["verdict"], cycle["reason"]) for cycle in found]

        expected = f"-expect-digest={digest}"
        assert cycles(expected) == [("up", None)] * 2
        docker("import", "-", name, stdin=file_system("local"))
        assert cycles(expected) == [("up", None)] * 2
        docker("rmi", name)
        docker("pull", name)
        assert cycles(expected) == [("unknown", "warm")] * 2
        docker("tag", name, "somebody/kept:1")
        docker("rmi", name)
        assert cycles(expected) == [("unknown", "warm")] * 2
