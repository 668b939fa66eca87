"""When one may only pull: read-only targets and replicas, on real registries and a real engine."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from lab.archive import file_system
from lab.daemon import await_true
from lab.engine_table import verdicts_of
from lab.misbehaviour import plain
from lab.monitor import Monitor, once
from lab.port import on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lab.storage import Storage
from lab.target import PASSWORD, USER, login, path_of

#: The user that the mirror lets in.
READER, READERS_PASSWORD = "reader", "another secret"
SECONDS = 60.0
EVERY = 0.5


@pytest.fixture(scope="module")
def mirror(session_lab):
    """Another registry, with a login of its own; what it holds is copied there by a test."""
    with Registry(session_lab.folder / "mirror", users={READER: READERS_PASSWORD}) as mirror:
        yield mirror


@pytest.fixture
def theirs(engine, registry, repository):
    """Somebody's image in the repository, and its digest."""
    docker = engine.docker
    docker("login", "--username", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
    docker("import", "-", f"{repository}:latest", stdin=file_system(repository))
    pushed = docker("push", f"{repository}:latest").stdout
    docker("rmi", f"{repository}:latest")
    return re.search(r"digest: (sha256:[0-9a-f]{64})", pushed)[1]


def copy(registry, mirror):
    """Copy all that a registry holds."""
    shutil.copytree(registry.storage, mirror.storage, dirs_exist_ok=True)


def of(cycle):
    return cycle["verdict"], cycle["reason"], cycle["scope"]


def pair(folder, repository, mirrored, within):
    """Write a file with a source and its replica, and return the options."""
    config = folder / "monitor.yml"
    config.write_text(
        f"run-test-every: {EVERY}s\nretry-every: {EVERY}s\npayload-size: 64KiB\ntargets:\n"
        f"  - {{name: source, repository: '{repository}', username: {USER}, password: {PASSWORD}}}\n"
        f"  - {{name: replica, repository: '{mirrored}', username: {READER}, password: {READERS_PASSWORD},\n"
        f"     read-only: true, replica-of: source, replica-within: {within}}}\n"
    )
    return (f"-config={config}", f"-state-dir={folder / 'state'}")


def replica(monitor):
    """Return verdict and reason of the replica's last cycle, and its lag."""
    shape = json.loads(monitor.get("/status?format=json")[1])["targets"][1]
    cycle = shape["last_cycle"] or {"verdict": None, "reason": None}
    return cycle["verdict"], cycle["reason"], shape["replication_lag_seconds"]


def test_what_one_may_only_pull_is_pulled_and_leaves_nothing(engine, registry, repository, snapshot, theirs):
    before, options = snapshot(), (*login(repository), "-read-only")
    code, (cycle,), _ = once(engine, *options, f"-expect-digest={theirs}")
    assert (code, of(cycle), cycle["pulled_digest"]) == (0, ("up", None, None), theirs)
    assert [step["step"] for step in cycle["steps"]] == ["login", "pull", "rmi"]
    wrong = f"sha256:{64 * 'e'}"
    code, (cycle,), _ = once(engine, *options, f"-expect-digest={wrong}")
    assert (code, of(cycle)) == (1, ("down", "integrity", "registry"))
    for _ in range(2):
        code, (cycle,), _ = once(engine, f"-repository={repository}-nowhere", *options[1:])
        assert (code, of(cycle)) == (1, ("down", "not_found", "registry"))
    assert registry.manifests_put(path_of(repository)) == ["latest"]
    assert snapshot() == before


@pytest.mark.parametrize(
    "kept", ["layers", *(pytest.param(kept, marks=pytest.mark.everything) for kept in ("tag", "digest", "other-name"))]
)
def test_what_the_host_has_already_is_warm_and_stays_as_it_is(engine, repository, snapshot, theirs, kept):
    docker = engine.docker
    by_digest, other = f"{repository}@{theirs}", "somebody/kept:1"
    docker("pull", by_digest if kept == "digest" else repository)
    if kept == "other-name":
        docker("tag", repository, other)
        docker("rmi", repository)
    if kept == "layers":
        container = docker("create", "--network=none", repository, "command").stdout.strip()
        docker("commit", container, other)
        docker("rm", container)
        docker("rmi", repository)
    before = snapshot()
    cycles = [once(engine, *login(repository), "-read-only")[1][0] for _ in range(2)]
    after = snapshot()
    assert [of(cycle) for cycle in cycles] == [("unknown", "warm", "host")] * 2
    if kept == "digest":  # it would lose that name together with the tag's
        assert by_digest in docker("image", "inspect", "--format={{.RepoDigests}}", by_digest).stdout
        docker("rmi", repository)
    else:
        assert after == before
        docker("rmi", repository if kept == "tag" else other)


def test_an_image_of_the_hosts_under_the_same_name_gets_it_back(engine, repository, snapshot, theirs):
    engine.docker("import", "-", f"{repository}:latest", stdin=file_system("local"))
    before = snapshot()
    codes = [once(engine, *login(repository), "-read-only", f"-expect-digest={theirs}")[0] for _ in range(2)]
    after = snapshot()
    engine.docker("rmi", f"{repository}:latest")
    assert (codes, after) == ([0, 0], before)


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.everything)])
def test_a_monitor_that_is_killed_leaves_what_the_next_one_removes(
    engine, repository, snapshot, theirs, tmp_path, kills
):
    """Nothing in the image says that we may remove it: a killed process has left a note."""
    before = snapshot()
    options = (*login(repository), "-read-only", f"-expect-digest={theirs}", "-run-test-every=100ms")
    for _ in range(kills):
        with Monitor(tmp_path, engine, *options) as monitor:
            await_true(lambda: monitor.successes() >= 1, SECONDS, "a cycle to be up")
            monitor.kill()
        _, (cycle,), log = once(engine, *options)
        # What the engine finishes late is there when this one pulls: that proves nothing, and goes, too.
        assert of(cycle) in {("up", None, None), ("unknown", "warm", "host")}, log
        assert snapshot() == before
    assert once(engine, *options)[0] == 0


def test_a_replica_that_is_copied_late_lags_and_catches_up(engine, registry, mirror, repository, snapshot, tmp_path):
    """Its lag grows by the clock from one copy to the next, and falls at each; one that stands still gets stale, and
    one that loses a blob is down for that, whatever its source has.
    """
    before = snapshot()
    mirrored = repository.replace(registry.host, mirror.host)
    options = pair(tmp_path, repository, mirrored, "4s")
    with Monitor(tmp_path, engine, *options) as monitor:
        await_true(lambda: replica(monitor)[0] == "unknown" or monitor.successes() > 0, SECONDS, "a first cycle")
        await_true(lambda: monitor.successes() > 0, SECONDS, "a push")
        await_true(lambda: replica(monitor)[:2] == ("down", "not_found"), SECONDS, "the replica to be empty")
        for _ in range(2):
            copy(registry, mirror)
            await_true(lambda: replica(monitor)[:2] == ("up", None), SECONDS, "the replica to catch up")
            await_true(lambda: (replica(monitor)[2] or 0.0) > 1.0, SECONDS, "the lag to grow")
            assert replica(monitor)[2] < 60.0
        await_true(lambda: replica(monitor)[:2] == ("down", "stale"), SECONDS, "the replica to be stale")
        assert replica(monitor)[2] > 4.0
        metrics = monitor.get("/metrics")[1]
        assert 'registry_monitor_replication_lag_seconds{target="replica"}' in metrics
        assert 'registry_monitor_replication_lag_seconds{target="source"}' not in metrics
        storage = Storage(mirror, mirrored)
        with storage.without(storage.layers(storage.digest("latest"))[0]):
            await_true(lambda: replica(monitor)[1] == "server_error", SECONDS, "the blob to be lost")
            assert replica(monitor)[0] == "down"
            assert monitor.get("/status?target=source")[0] == 200
        await_true(lambda: replica(monitor)[:2] == ("down", "stale"), SECONDS, "the blob to be there again")
        copy(registry, mirror)
        await_true(lambda: replica(monitor)[0] == "up", SECONDS, "the replica to be up again")
        assert monitor.stop() == 0
    assert snapshot() == before


def test_a_pull_through_cache_outlives_its_upstream(engine, session_lab, snapshot, tmp_path):
    """As long as the upstream is there, it shows what was pushed; and after that what it last had, with a lag."""
    before = snapshot()
    # Open to all: this registry's cache can log in by a token server alone.
    with Registry(tmp_path / "upstream") as upstream:
        settings = {"REGISTRY_PROXY_REMOTEURL": f"http://{upstream.host}"}
        users = {READER: READERS_PASSWORD}
        with Registry(tmp_path / "cache", users=users, settings=settings) as cache:
            options = pair(tmp_path, f"{upstream.host}/tests/cached", f"{cache.host}/tests/cached", "1h")
            # A push that the end of the upstream meets goes on trying for most of a minute.
            options += ("-step-timeout=15s",)
            with Monitor(tmp_path, engine, *options) as monitor:
                await_true(lambda: replica(monitor) == ("up", None, 0.0), SECONDS, "the cache to show the last push")
                upstream.stop()
                await_true(lambda: monitor.get("/status?target=source")[0] == 503, SECONDS, "the source to be down")
                cycles = monitor.successes()
                await_true(lambda: monitor.successes() >= cycles + 3, SECONDS, "the cache to go on")
                assert replica(monitor)[:2] == ("up", None)
                assert monitor.stop() == 0
            upstream.start()
    assert snapshot() == before


@pytest.mark.everything  # tests/lab/test_two_doors.py has two names of one repository
@pytest.mark.parametrize("is_ours", [pytest.param(True, id="ours"), pytest.param(False, id="somebodys")])
def test_doors_of_one_image_take_turns_as_soon_as_that_shows(
    request, engine, registry, repository, snapshot, tmp_path, is_ours
):
    """Nobody called them replicas: at a pace at which they would always meet, only the first cycles can be warm."""
    if is_ours:
        assert once(engine, *login(repository))[0] == 0
    else:
        request.getfixturevalue("theirs")
    before = snapshot()
    host, _, port = registry.host.rpartition(":")
    with Proxy(on_loopback, (host, int(port)), plain) as proxy:
        targets = [
            {"name": f"door-{other}", "repository": repository.replace(registry.host, other), "read-only": True}
            for other in (f"localhost:{port}", proxy.host)
        ]
        if is_ours:
            targets.insert(0, {"name": "source", "repository": repository})
        shape = {"username": USER, "password": PASSWORD, "payload-size": "64KiB", "targets": targets}
        config = tmp_path / "monitor.yml"
        config.write_text(json.dumps(shape))  # JSON is YAML
        options = (f"-config={config}", "-run-test-every=100ms", "-retry-every=100ms")
        with Monitor(tmp_path, engine, *options) as monitor:
            await_true(lambda: monitor.get("/status")[0] == 200, SECONDS, "all to be up")
            await_true(lambda: monitor.successes() >= 2 * len(targets), SECONDS, "some cycles")
            first = verdicts_of(monitor)
            await_true(lambda: monitor.successes() >= first["up"] + 4 * len(targets), SECONDS, "more cycles")
            assert set(first) <= {"up", "unknown"}
            assert set(verdicts_of(monitor) - first) == {"up"}
            assert monitor.stop() == 0
    assert snapshot() == before
