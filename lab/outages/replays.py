"""Replays of outages that no single fault of a cycle shows: old images, other places, strangers, trends."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

from lab.daemon import await_true
from lab.engines import OLDER, DebianDocker, Debians
from lab.exchange import Action, Exchange, forward
from lab.faults.ground import PASSWORD, REPOSITORY, USERNAME, Ground, Lane
from lab.faults.outside import HTML, blob_get
from lab.faults.rig import Rig
from lab.faults.rows import PULL_BACK
from lab.misbehaviour import answer, downloading, plain, slowed, tls
from lab.monitor import Monitor, once
from lab.port import on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lab.rested import INDEX, LONG, OFTEN, SINGLE, await_loss, await_whole, images_of
from lab.storage import Storage
from lab.target import login
from lab.token_server import TokenServer
from lib.failure import Verdict
from lib.result import Cycle, Phase, Step

#: How many cycles are looked at if a few requests in a hundred fail.
CYCLES = 12
_numbers = count(1)


@contextmanager
def _folder(ground: Ground) -> Iterator[Path]:
    folder = ground.folder / f"outage-{next(_numbers)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _said(cycle: dict[str, str | None]) -> str:
    """Given a cycle in its JSON shape, return what it says in the words of `Row.expected`."""
    return " ".join(word for word in (cycle["verdict"], cycle["scope"], cycle["reason"]) if word)


# What is old.


def rested(lose: Callable[[Registry, Storage, str], None]) -> Callable[[Ground], str]:
    """Given what a registry loses of a rested image, return the replay of that loss."""

    def replay(ground: Ground) -> str:
        with _folder(ground) as folder, Registry(folder / "registry", users={USERNAME: PASSWORD}) as registry:
            repository = f"{registry.host}/{REPOSITORY}"
            options = (*login(repository, PASSWORD), *OFTEN, "-cold-images=1", f"-state-dir={folder / 'state'}")
            with Monitor(folder, ground.calm, *options) as monitor:
                await_whole(monitor, 1)
                lose(registry, Storage(registry, repository), images_of(monitor)[SINGLE]["digest"])
                reason, _ = await_loss(monitor, SINGLE)
        return f"rested image lost: {reason}"

    return replay


def manifest_truncated(_: Registry, storage: Storage, digest: str) -> None:
    """A migration that cuts what it copies."""
    manifest = storage.blob(digest)
    manifest.write_bytes(manifest.read_bytes()[:200])


def layer_lost(_: Registry, storage: Storage, digest: str) -> None:
    """A layer that is gone, of an image that still has its tag and its manifest."""
    storage.layers(digest)[0].unlink()


def garbage_collected(registry: Registry, storage: Storage, digest: str) -> None:
    """Garbage collection that does not see that an image is needed, and takes its layers."""
    registry.stop()
    with storage.without(storage.revision(digest)):
        registry.collect_garbage()
    registry.start()


def index_children_deleted(ground: Ground) -> str:
    """A clean-up job that deletes the images of an index, which have no tags of their own."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(ground))
        registry = stack.enter_context(Registry(folder / "registry", users={USERNAME: PASSWORD}))
        root = Debians(folder).root(OLDER)
        engine = stack.enter_context(DebianDocker(root, folder / "containerd", containerd_store=True))
        repository = f"{registry.host}/{REPOSITORY}"
        options = (*login(repository, PASSWORD), *OFTEN, "-cold-images=3", f"-state-dir={folder / 'state'}")
        with Monitor(folder, engine, *options) as monitor:
            await_true(lambda: INDEX in images_of(monitor), LONG, "the index to be pushed")
            await_true(lambda: images_of(monitor)[INDEX]["verdict"] == "up", LONG, "the index to be checked")
            registry.stop()
            registry.collect_garbage("--delete-untagged")
            registry.start()
            reason, _ = await_loss(monitor, INDEX)
    return f"rested image lost: {reason}"


# Elsewhere.


def at_another_door(action: Action, path: str) -> Callable[[Ground], str]:
    """Given what becomes of which requests at another door of the registry (a region, a mirror, an edge, a cache), or
    of another image of it, return the replay: a target that only pulls is down there, and its source is up.
    """

    def replay(ground: Ground) -> str:
        with ExitStack() as stack:
            folder = stack.enter_context(_folder(ground))
            registry, door = stack.enter_context(_with_door(folder))
            targets: list[dict[str, object]] = [
                {"name": "source", "repository": f"{registry.host}/{REPOSITORY}"},
                {"name": "there", "repository": f"{door.host}/{REPOSITORY}", "read-only": True},
            ]
            config = _config(folder, *targets)
            options = (f"-config={config}", "-step-timeout=20s", "-concurrency=1")
            # The second time, there is something to pull from the first on.
            before = [[cycle["verdict"] for cycle in once(ground.calm, *options)[1]] for _ in range(2)]
            assert before[1] == ["up", "up"], before
            with door.rule(action, "GET|HEAD", path):
                _, (source, there), log = once(ground.calm, *options)
            assert source["verdict"] == "up", log
        return _said(there)

    return replay


def stale_replica(ground: Ground) -> str:
    """A replica that keeps showing what its source has replaced."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(ground))
        source, mirror = (
            stack.enter_context(Registry(folder / name, users={USERNAME: PASSWORD})) for name in ("source", "mirror")
        )
        replica = {"read-only": True, "replica-of": "source", "replica-within": "2s"}
        targets: list[dict[str, object]] = [
            {"name": "source", "repository": f"{source.host}/{REPOSITORY}"},
            {"name": "there", "repository": f"{mirror.host}/{REPOSITORY}", **replica},
        ]
        options = (f"-config={_config(folder, *targets)}", f"-state-dir={folder / 'state'}")
        with Monitor(folder, ground.calm, *options) as monitor:

            def there() -> str:
                last = json.loads(monitor.get("/status?format=json")[1])["targets"][1]["last_cycle"]
                return _said(last) if last else ""

            await_true(lambda: monitor.successes() > 0, LONG, "a push")
            shutil.copytree(source.storage, mirror.storage, dirs_exist_ok=True)
            await_true(lambda: there() == "up", LONG, "the replica to show it")
            await_true(lambda: there().startswith("down"), LONG, "the replica to be stale")
            return there()


@contextmanager
def _with_door(folder: Path) -> Iterator[tuple[Registry, Proxy]]:
    """Run a registry on loopback, with another door to it."""
    with Registry(folder / "registry", users={USERNAME: PASSWORD}) as registry:
        name, port = registry.host.split(":")
        with Proxy(on_loopback, (name, int(port)), plain) as door:
            yield registry, door


def _config(folder: Path, *targets: dict[str, object]) -> Path:
    config = folder / "config.yml"
    common = {"username": USERNAME, "password": PASSWORD, "payload-size": "64KiB", "run-test-every": "500ms"}
    config.write_text(json.dumps({**common, "retry-every": "500ms", "targets": targets}))  # JSON is YAML
    return config


# Strangers.


def strangers_shut_out(ground: Ground) -> str:
    """A registry that let anybody pull now lets in only those who log in."""
    with _folder(ground) as folder, TokenServer(folder / "tokens", USERNAME, PASSWORD, ("pull",)) as tokens:
        auth = tokens.auth(f"http://{tokens.address[0]}:{tokens.address[1]}/token")
        with Registry(folder / "public", token=auth) as registry:
            repository = f"{registry.host}/{REPOSITORY}"
            with _anonymous(folder, ground, *login(repository, PASSWORD), "-anonymous=pull") as (monitor, works):
                await_true(lambda: works("pull") is True, LONG, "strangers to be let in")
                tokens.strangers_may = ()
                await_true(lambda: works("pull") is False, LONG, "strangers to be shut out")
                assert monitor.get("/status")[0] == 200  # noqa: PLR2004  OK
    return "anonymous pull refused"


def strangers_let_in(ground: Ground) -> str:
    """A registry that was set up without a login."""
    with _folder(ground) as folder, Registry(folder / "open") as registry:
        options = (f"-repository={registry.host}/{REPOSITORY}", "-anonymous=refused")
        with _anonymous(folder, ground, *options) as (_, works):
            await_true(lambda: works("push") is True, LONG, "the push")
            assert works("pull") is True
    return "anonymous pull works, anonymous push works"


@contextmanager
def _anonymous(folder: Path, ground: Ground, *options: str) -> Iterator[tuple[Monitor, Callable[[str], bool | None]]]:
    often = ("-run-test-every=300ms", "-anonymous-every=100ms")
    with Monitor(folder, ground.calm, *options, *often) as monitor:

        def works(action: str) -> bool | None:
            (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
            found: bool | None = (target["anonymous"] or {}).get(action)
            return found

        yield monitor, works


# What is to come.


def certificate_ends(ground: Ground) -> str:
    """A certificate that expires in some days."""
    with Lane(ground, ground.calm) as lane, _folder(ground) as folder:
        soon = ground.authority.issue(lane.name, ends=timedelta(days=9))
        with lane.proxy.behind(tls(soon)), _measuring(folder, ground, lane.host) as metric:
            left = metric("certificate_expiry_timestamp_seconds", 'role="registry"') - time.time()
    return f"certificate expires in {left / 86400:.0f} days"


def budget_ends(ground: Ground) -> str:
    """A registry that says how many pulls are left."""
    window = ";w=21600"
    told = {"ratelimit-limit": f"100{window}", "ratelimit-remaining": f"7{window}"}
    telling = downloading(lambda _, body: body, lambda headers: headers | told)
    with (
        _folder(ground) as folder,
        # On loopback: the account is sent only to a server whose certificate is known.
        _with_door(folder) as (_, door),
        door.rule(telling, path="/manifests/"),
        _measuring(folder, ground, door.host) as metric,
    ):
        limit, left = (metric(f"rate_limit_{what}", "") for what in ("limit", "remaining"))
    return f"{left:.0f} of {limit:.0f} pulls left"


@contextmanager
def _measuring(folder: Path, ground: Ground, host: str) -> Iterator[Callable[[str, str], float]]:
    """Given a registry's host and port, have a monitor of it, and what awaits and returns one of its metrics."""
    with Monitor(folder, ground.calm, *login(f"{host}/{REPOSITORY}", PASSWORD), "-run-test-every=300ms") as monitor:

        def found(name: str, label: str) -> re.Match[str] | None:
            lines = (line for line in monitor.get("/metrics")[1].splitlines() if label in line)
            matches = (re.match(rf"registry_monitor_{name}{{.*}} (\S+)$", line) for line in lines)
            return next(filter(None, matches), None)

        def metric(name: str, label: str) -> float:
            await_true(lambda: found(name, label) is not None, LONG, f"{name} to be there")
            match = found(name, label)
            assert match is not None
            return float(match[1])

        yield metric


# Trends.


def some_requests_fail(one_in: int, method: str = "") -> Callable[[Ground], str]:
    """Given how many requests there are for each that fails, and of which method, return the replay: how many of some
    cycles show it, by docker's own retries or by failing, and what those say that failed.
    """

    def replay(ground: Ground) -> str:
        requests = count(1)

        def act(exchange: Exchange) -> None:
            is_met = next(requests) % one_in == 0
            (answer(503, HTML, "text/html") if is_met else forward)(exchange)

        with Lane(ground, ground.calm) as lane, Rig(lane, payload_layers=3) as rig:
            assert rig.cycle().verdict is Verdict.UP
            with lane.proxy.rule(act, method):
                cycles = [rig.cycle() for _ in range(CYCLES)]
        retries = sum(step.retries for cycle in cycles for step in cycle.steps)
        failures = {str(cycle.failed.reason) for cycle in cycles if cycle.failed is not None}
        assert failures <= {"server_error"}, failures
        assert retries or failures, f"{next(requests)} requests"
        return "docker's own retries, or server_error"

    return replay


def slow(bytes_per_second: int) -> Callable[[Ground], str]:
    """Given how fast layers come, return the replay: which phase of the pull has grown most."""

    def replay(ground: Ground) -> str:
        with Lane(ground, ground.calm) as lane, Rig(lane) as rig:
            before = _pull_back(rig.cycle())
            during = _pull_back(rig.cycle(blob_get(downloading(slowed(bytes_per_second))), PULL_BACK))
        grown = {phase: during[phase] - before[phase] for phase in before}
        slowest = max(grown, key=lambda phase: grown[phase])
        return f"{slowest} takes longer"

    return replay


def _pull_back(cycle: Cycle) -> dict[Phase, float]:
    assert cycle.verdict is Verdict.UP, cycle
    step: Step = next(step for step in cycle.steps if step.name is PULL_BACK)
    assert step.phases is not None
    return step.phases
