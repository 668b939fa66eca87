"""Rested images: what a registry loses of what was pushed long ago, on a real engine and a real registry."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections import Counter

import pytest

from lab.daemon import await_true
from lab.monitor import Monitor, once
from lab.registry import Registry
from lab.rested import (
    LAYERED,
    LONG,
    OFTEN,
    SINGLE,
    await_loss,
    await_whole,
    images_of,
    metric,
    pushes,
    resting,
    verdicts_of,
)
from lab.small_world import SmallWorld
from lab.storage import Storage
from lab.target import PASSWORD, USER, login, path_of
from lib.cycle.payload import INSTANCE_LABEL

GONE = "it can't be pulled by its digest either (not_found)"


def left(engine):
    """Return the IDs of the images of a monitor's on an engine."""
    return engine.docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout.split()


def failures(monitor):
    """Return for which reasons steps of cycles have failed, and how often."""
    lines = monitor.get("/metrics")[1].splitlines()
    counted = Counter()
    for line in lines:
        if line.startswith("registry_monitor_failures_total{"):
            counted[re.search('reason="(.*?)"', line)[1]] += int(float(line.rpartition(" ")[2]))
    return counted


@pytest.fixture(scope="module")
def rested(session_lab, engine, registry):
    """A monitor with an intact rested image, and what the registry keeps of it: each test leaves it so."""
    folder, repository = session_lab.folder / "rested", f"{registry.host}/tests/rested"
    folder.mkdir()
    with resting(folder, engine, repository, 1) as monitor:
        yield monitor, Storage(registry, repository)


@pytest.mark.parametrize(
    ("lost", "said"), [("layer", "unknown blob"), ("manifest", "received unexpected HTTP status: 500")]
)
def test_what_an_image_has_lost_is_seen_and_so_is_its_return(rested, lost, said):
    """At its next checks, while the target stays up."""
    monitor, storage = rested
    digest = images_of(monitor)[SINGLE]["digest"]
    layer, manifest = storage.layers(digest)[0], storage.blob(digest)
    failed = metric(monitor, "checks_total", 'verdict="down"')
    with storage.without(layer) if lost == "layer" else storage.truncated(manifest):
        reason, detail = await_loss(monitor, SINGLE)
        assert (reason, said in detail) == ("server_error", True), detail
        assert metric(monitor, "checks_total", 'verdict="down"') > failed
        assert 'id="rested"' in monitor.get("/")[1]
    await_whole(monitor, 1)


def test_a_tag_that_is_deleted_is_lost_and_its_image_is_not(rested):
    monitor, storage = rested
    digest = images_of(monitor)[SINGLE]["digest"]
    with storage.without(storage.tag(SINGLE)):
        reason, detail = await_loss(monitor, SINGLE)
        assert reason == "not_found"
        assert f"the tag is gone, and the image is still there by its digest {digest}" in detail
    await_whole(monitor, 1)
    assert images_of(monitor)[SINGLE]["digest"] == digest


def test_a_repository_that_is_gone_has_lost_them_all(rested):
    """The cycle reports it at most once and begins again; the image is lost, by tag and by digest.

    A cycle that had pulled before everything was gone pushes again, and none misses anything.
    """
    monitor, storage = rested
    before = failures(monitor)
    with storage.without(storage.repository):
        reason, detail = await_loss(monitor, SINGLE)
        assert (reason, GONE in detail) == ("not_found", True), detail
        up = monitor.successes()
        await_true(lambda: monitor.successes() > up + 1, LONG, "the cycle to begin again")
        assert failures(monitor)["not_found"] <= before["not_found"] + 1
    await_whole(monitor, 1)


def test_a_registry_that_is_down_has_lost_nothing(rested, registry):
    """As long as the cycles are down, no image is called lost."""
    monitor, _ = rested
    failed = metric(monitor, "checks_total", 'verdict="down"')
    registry.stop()
    try:
        monitor.await_status(503)
        time.sleep(1.0)
        assert verdicts_of(monitor) == {"up"}
    finally:
        registry.start()
    monitor.await_status(200)
    assert metric(monitor, "checks_total", 'verdict="down"') == failed


def test_whatever_was_lost_is_not_pushed_again_or_left_on_the_host(rested, registry, engine):
    """And each loss, and its end, is logged once."""
    monitor, storage = rested
    assert monitor.stop() == 0
    assert pushes(registry, storage.name) == {SINGLE: 1}
    assert left(engine) == []
    log = monitor.log.read_text()
    assert log.count('level=error msg="a rested image is lost"') == log.count("a rested image is there again")


@pytest.mark.parametrize(("older", "images"), [(0, 1), pytest.param(1, 3, marks=pytest.mark.everything)])
def test_a_registry_restored_from_yesterdays_copy_has_lost_what_is_newer(engine, tmp_path, older, images):
    """The cycle is stale once. Newer images are lost, the others are intact; and all are when today's data is back,
    which has an older test image than the one pushed since.
    """
    with Registry(tmp_path / "registry", users={USER: PASSWORD}) as registry:
        repository = f"{registry.host}/tests/restored"
        yesterday, today = tmp_path / "yesterday", tmp_path / "today"
        if older:
            with resting(tmp_path, engine, repository, older):
                pass
        else:
            assert once(engine, *login(repository), f"-state-dir={tmp_path / 'state'}")[0] == 0
        shutil.copytree(registry.storage, yesterday)
        with resting(tmp_path, engine, repository, images) as monitor:
            tags = list(images_of(monitor))
        registry.storage.rename(today)
        yesterday.rename(registry.storage)
        rested = (f"-cold-images={images}", f"-state-dir={tmp_path / 'state'}", *OFTEN)
        with Monitor(tmp_path, engine, *login(repository), *rested) as monitor:
            for tag in tags[older:]:
                reason, detail = await_loss(monitor, tag)
                assert (reason, GONE in detail) == ("not_found", True), detail
            assert all(images_of(monitor)[tag]["verdict"] == "up" for tag in tags[:older])
            assert failures(monitor) == {"stale": 1}
        registry.storage.rename(yesterday)
        today.rename(registry.storage)
        with resting(tmp_path, engine, repository, images) as monitor:
            assert failures(monitor) == {"stale": 1}
        assert pushes(registry, repository) == dict.fromkeys(tags, 1)


def test_nothing_is_pushed_over_somebodys_image(engine, registry, repository, tmp_path):
    """An image that no monitor made keeps its tag, and the monitor says so."""
    engine.docker("login", "--username=monitor", "--password-stdin", registry.host, stdin=b"secret")
    theirs = f"{repository}:latest-cold-1"
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /theirs\n")
    try:
        engine.docker("build", "--tag", theirs, str(tmp_path / "context"))
        engine.docker("push", theirs)
    finally:
        engine.docker("rmi", theirs)
        engine.docker("logout", registry.host)
    state = f"-state-dir={tmp_path / 'state'}"
    code, _, log = once(engine, *login(repository), "-cold-images=1", state)
    assert code == 0
    assert "foreign" in log
    assert pushes(registry, repository) == {"latest-cold-1": 1}


@pytest.mark.everything
def test_once_checks_one_and_renews_what_is_lost(engine, registry, repository, tmp_path):
    """One push or check a run; `renew-cold` pushes what failed its last check, and nothing else. One layer of many that
    is lost is a loss, and a tag that shows the image before has gone back in time.
    """
    storage = Storage(registry, repository)
    options = (*login(repository), "-cold-images=2", "-cold-every=100ms", f"-state-dir={tmp_path / 'state'}")

    def run(*more):
        code, _, log = once(engine, *options, *more)
        assert code == 0, log
        return re.findall(r'msg="((?:pushed )?a rested image.*?)" .*?tag=(\S+)(?:.*? reason=(\w+))?', log)

    assert run() == [("pushed a rested image", SINGLE, "")]
    assert run() == [("pushed a rested image", LAYERED, "")]
    before = storage.digest(SINGLE)
    shutil.rmtree(storage.tag(SINGLE))
    assert run() == [("a rested image is lost", SINGLE, "not_found")]
    assert run("-renew-cold") == [("pushed a rested image", SINGLE, "")]
    with storage.without(storage.layers(storage.digest(LAYERED))[17]):
        assert run() == [("a rested image is lost", LAYERED, "server_error")]
    (storage.tag(SINGLE) / "current/link").write_text(before)
    assert run() == [("a rested image is lost", SINGLE, "stale")]
    assert pushes(registry, repository) == {SINGLE: 2, LAYERED: 1}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kills", "images"), [(2, 1), pytest.param(100, 40, marks=pytest.mark.everything)])
def test_no_kill_loses_an_image_or_pushes_one_twice(engine, registry, repository, tmp_path, snapshot, kills, images):
    """Killed in the middle of pushes and checks, again and again: none is pushed twice, none forgotten, none left."""
    before, moments = snapshot(), random.Random(20261130)
    options = (*login(repository), f"-cold-images={images}", f"-state-dir={tmp_path / 'state'}", *OFTEN)

    def pushed():
        return pushes(registry, repository).total()

    def asked():
        return sum("-cold-" in access.path for access in registry.accesses(path_of(repository)))

    for kill in range(kills):
        counted = pushed if kill % 2 == 0 and pushed() < images else asked
        with Monitor(tmp_path, engine, *options) as monitor:
            known = counted()
            await_true(lambda counted=counted, known=known: counted() > known, LONG, "a rested image's turn")
            time.sleep(moments.choice((0, moments.uniform(0, 1.0))))
            monitor.kill()
    with Monitor(tmp_path, engine, *options) as monitor:
        patience = LONG + 10 * images
        await_true(lambda: metric(monitor, "images") == images, patience, "all images to be pushed")
        digests = {tag: image["digest"] for tag, image in images_of(monitor).items()}
        await_true(lambda: verdicts_of(monitor) == {"up"}, patience, "all images to be checked")
        # The history says so at once: but what the dead left goes with this one's own cycles.
        await_true(lambda: monitor.successes() > 0, LONG, "a cycle")
        assert {tag: image["digest"] for tag, image in images_of(monitor).items()} == digests
        assert monitor.stop() == 0
    counted = pushes(registry, repository)
    assert counted == dict.fromkeys(digests, 1)
    assert len(counted) == images
    assert left(engine) == []
    assert snapshot() == before


@pytest.mark.everything  # two kills of a monitor with a real engine are tested above
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kills", [3, 200])
def test_no_kill_at_any_moment_has_an_image_pushed_twice(tmp_path, kills):
    """On a docker that takes no time, as often as not between a push and its note: each is pushed once, and known."""
    world, state, moments = SmallWorld(tmp_path / "world"), tmp_path / "state", random.Random(20261130)
    name, images = "127.0.0.1:5/small/world", 2 * kills
    rested = (f"-cold-images={images}", "-cold-every=100ms", "-run-test-every=100ms", "-retry-every=100ms")
    options = (f"-repository={name}", f"-state-dir={state}", *rested)

    def pushed():
        return [words for words in world.log() if words[0] == "push" and "-cold-" in words[2]]

    for _ in range(kills):
        with (tmp_path / "log").open("ab") as output, world.start(output, *options) as monitor:
            awaited = len(pushed()) + moments.randrange(3)
            await_true(lambda awaited=awaited: len(pushed()) >= awaited, LONG, "pushes")
            time.sleep(moments.choice((0, moments.uniform(0, 0.1))))
            monitor.kill()
    with Monitor(tmp_path, world, *world.options, *options) as monitor:
        await_true(lambda: metric(monitor, "images") == images, LONG, "all images to be pushed")
        known = {f"{name}:{tag}": image["digest"] for tag, image in images_of(monitor).items()}
        assert monitor.stop() == 0
    # A push that is killed can be done without being noted in this world's log, but never twice.
    noted = [(tag, digest) for _, _, tag, digest in pushed()]
    assert set(noted) <= set(known.items())
    assert images - kills <= len(noted) == len(set(noted))
