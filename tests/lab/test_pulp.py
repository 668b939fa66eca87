"""Pulp, a registry of another make: whole cycles, whose fault it is when a part of it is away, and what it keeps."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from lab.daemon import await_true
from lab.engine import Engine
from lab.engine_table import docker_of_debian
from lab.engines import NEWEST, DebianDocker
from lab.faults.rig import Rig
from lab.holdings import holdings
from lab.monitor import SOON, Monitor, failed, once
from lab.pulp import Pulp
from lab.pulp_root import make_pulp_root
from lab.rested import LAYERED, LONG, SINGLE, await_loss, await_whole, images_of, pushes, resting
from lab.target import PASSWORD, STEPS, USER, login, path_of
from lib.failure import Reason
from lib.reference import Reference
from lib.result import StepName
from lib.secret import Secret
from lib.target import Credentials

# The first test waits for what Pulp runs in.
pytestmark = [pytest.mark.everything, pytest.mark.timeout(900)]

#: An account that has a right to nothing of USER's.
OTHER = "somebody"

SERVER_ERROR = ("server_error", "registry")
BAD_GATEWAY = 502
PAYLOAD_BYTES = 64 * 1024

_numbers = count(1)


@pytest.fixture(scope="module")
def pulp(session_lab):
    """A Pulp that lets USER and OTHER in, by PASSWORD."""
    root = make_pulp_root(session_lab.folder / "pulp-root")
    with Pulp(root, session_lab.folder / "pulp", users={USER: PASSWORD, OTHER: PASSWORD}) as pulp:
        yield pulp


@pytest.fixture(scope="module")
def engine(session_lab, debians):
    """The dockerd of this machine, with the CLI of the same package, which builds both ways."""
    with docker_of_debian(session_lab.folder / "pulp-engine", debians) as engine:
        yield engine


@pytest.fixture
def repository(pulp):
    """The full name of a repository of USER's that no other test uses."""
    return f"{pulp.host}/{USER}/canary-{next(_numbers)}"


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_cycles_are_up_and_leave_nothing(engine, pulp, repository, snapshot, builder):
    """It makes the repository at the first push. Every layer crosses the wire, and comes back from the content app."""
    before = snapshot()
    whole(engine, pulp, repository, builder)
    assert snapshot() == before


def test_cycles_are_up_with_the_newest_engine(debians, folder, pulp, repository):
    """With containerd's store and BuildKit, which speak to a registry in another way."""
    with DebianDocker(debians.root(NEWEST), folder, containerd_store=True) as engine:
        before = holdings(engine)
        whole(engine, pulp, repository, "buildkit")
        assert holdings(engine) == before


def whole(engine, pulp, repository, builder):
    """Run three cycles, and look whether they are up and cold."""
    options = (*login(repository), f"-builder={builder}", "-payload-layers=2")
    cycles = [once(engine, *options)[1][0] for _ in range(3)]
    assert [cycle["verdict"] for cycle in cycles] == ["up"] * 3, cycles
    assert [step["step"] for step in cycles[0]["steps"]] == STEPS
    assert [cycle["steps"][1]["outcome"] for cycle in cycles] == ["skipped", "ok", "ok"]
    layers = {layer for cycle in cycles for layer in layers_of(pulp, cycle["pushed_digest"])}
    assert len(layers) == 3 * 2
    assert layers <= set(pulp.blobs_put(path_of(repository)))
    assert layers <= set(pulp.blobs_got(path_of(repository)))


def layers_of(pulp, digest):
    """Return the digests of an image's layers, given that of its manifest."""
    return [layer["digest"] for layer in json.loads(pulp.blob(digest).read_text())["layers"]]


def test_a_wrong_password_is_the_credentials_fault(engine, repository):
    code, (cycle,), _ = once(engine, *login(repository, "wrong"))

    assert (code, *failed(cycle)) == (1, "login", "unauthorized", "credentials"), cycle["detail"]


def test_an_account_without_the_right_is_denied(engine, pulp, repository):
    """It has logged in well. One that may pull is refused as it pushes; one that may not, as it pulls."""
    assert once(engine, *login(repository))[0] == 0
    theirs = (f"-repository={repository}", f"-username={OTHER}", f"-password={PASSWORD}")
    pushing = once(engine, *theirs)
    pulp.hide(path_of(repository))
    pulling = once(engine, *theirs, "-read-only")

    for step, (code, (cycle,), _) in (("push", pushing), ("pull", pulling)):
        assert (code, *failed(cycle)) == (1, step, "denied", "credentials"), cycle["detail"]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("door", ("login", "refused", "network")),
        ("api", ("login", *SERVER_ERROR)),
        ("database", ("login", *SERVER_ERROR)),
        ("content", ("pull", *SERVER_ERROR)),
    ],
)
def test_what_is_away_is_named_and_the_cycle_after_its_return_is_up(engine, pulp, repository, part, expected):
    assert once(engine, *login(repository))[0] == 0
    with pulp.without(getattr(pulp, part)):
        code, (cycle,), _ = once(engine, *login(repository))
    back = once(engine, *login(repository))[1][0]

    assert (code, *failed(cycle)) == (1, *expected), cycle["detail"]
    assert back["verdict"] == "up", back["detail"]


def test_without_a_worker_it_is_up_until_a_deletion_waits(engine, pulp, repository, tmp_path):
    """A push does its work itself, unless something else of the same repository waits to be done: that is refused."""
    options = (*login(repository), "-delete-superseded", f"-state-dir={tmp_path}")
    assert once(engine, *options)[0] == 0
    with pulp.without(pulp.worker):
        (without,), (waiting,) = once(engine, *options)[1], once(engine, *options)[1]
    pulp.collect_garbage()  # it is done once what waited before is done
    back = once(engine, *options)[1][0]

    assert without["verdict"] == "up", without["detail"]
    assert failed(waiting) == ("push", "rate_limited", "registry"), waiting["detail"]
    assert back["verdict"] == "up", back["detail"]


@dataclass
class Place:
    """Where a `Rig` works, in place of a lane."""

    folder: Path
    engine: Engine
    host: str


@pytest.fixture
def rig(engine, pulp, repository, tmp_path):
    """A monitor in this process, of one repository."""
    options = {
        "reference": Reference(pulp.host, path_of(repository)),
        "credentials": Credentials(USER, Secret(PASSWORD)),
        "step_timeout": 90.0,
    }
    with Rig(Place(tmp_path, engine, pulp.host), **options) as rig:
        yield rig


@pytest.mark.parametrize(
    ("part", "step"),
    [
        ("content", StepName.PULL_BACK),
        ("database", StepName.PULL),
        ("database", StepName.PUSH),
        ("database", StepName.PULL_BACK),
        ("api", StepName.PULL),
        ("api", StepName.PUSH),
        ("api", StepName.PULL_BACK),
    ],
    ids=str,
)
def test_what_goes_away_as_a_step_begins_is_the_registrys_fault(rig, pulp, part, step):
    """And the cycle after its return is up."""
    assert rig.cycle().verdict == "up"
    cycle = rig.cycle(lambda _: pulp.without(getattr(pulp, part)), step)
    back = rig.cycle()

    assert (cycle.failed.name, cycle.failed.reason) == (step, Reason.SERVER_ERROR), cycle.failed.detail
    assert back.verdict == "up", back.failed


def test_away_as_a_push_begins_and_back_for_its_next_try_is_the_registrys_fault(rig, pulp, repository):
    """Behind nginx docker hears of no login then, and is refused for want of one once the registry is back."""
    assert rig.cycle().verdict == "up"

    def come_back():
        await_true(lambda: was_refused(pulp, repository), SOON, "docker to be answered by nginx")
        pulp.api.start()

    @contextmanager
    def away(_):
        pulp.api.stop()
        coming_back = threading.Thread(target=come_back)
        coming_back.start()
        yield
        coming_back.join()

    cycle = rig.cycle(away, StepName.PUSH)
    back = rig.cycle()

    assert (cycle.failed.name, cycle.failed.reason) == (StepName.PUSH, Reason.SERVER_ERROR), cycle.failed.detail
    assert cycle.failed.detail.startswith("unauthorized: Authentication credentials were not provided.;")
    assert back.verdict == "up", back.failed


def was_refused(pulp, repository):
    """Return whether the door answered an upload in the registry's place."""
    accesses = pulp.accesses(path_of(repository))
    return any(access.method == "POST" and access.status == BAD_GATEWAY for access in accesses)


def test_what_a_rested_image_has_lost_is_seen_and_so_is_its_return(engine, pulp, repository, tmp_path):
    """A layer's file, and a tag, while the target stays up; nothing is pushed again, or left on the host."""
    with resting(tmp_path, engine, repository, 2, "-delete-superseded") as monitor:
        layer = pulp.blob(layers_of(pulp, images_of(monitor)[SINGLE]["digest"])[0])
        aside = layer.rename(tmp_path / "layer")
        reason, detail = await_loss(monitor, SINGLE)
        assert reason == "server_error", detail
        aside.rename(layer)
        await_whole(monitor, 2)
        pulp.delete_tag(path_of(repository), LAYERED)
        reason, detail = await_loss(monitor, LAYERED)
        assert (reason, "the image is still there by its digest" in detail) == ("not_found", True), detail
        assert monitor.stop() == 0
    assert pushes(pulp, repository) == {SINGLE: 1, LAYERED: 1}


def test_what_one_may_only_pull_is_up_and_stays_as_it_is(engine, pulp, repository, snapshot):
    """By an account without a right to push there; and down if it is another image than the one that is wanted."""
    digest = once(engine, *login(repository))[1][0]["pushed_digest"]
    before, pushed = snapshot(), pulp.manifests_put(path_of(repository))
    theirs = (f"-repository={repository}", f"-username={OTHER}", f"-password={PASSWORD}", "-read-only")
    found = once(engine, *theirs, f"-expect-digest={digest}")[1][0]
    other = once(engine, *theirs, f"-expect-digest=sha256:{'0' * 64}")[1][0]

    assert (found["verdict"], [step["step"] for step in found["steps"]]) == ("up", ["login", "pull", "rmi"]), found
    assert failed(other) == ("pull", "integrity", "registry"), other["detail"]
    assert pulp.manifests_put(path_of(repository)) == pushed
    assert snapshot() == before


def test_what_is_superseded_is_deleted_and_storage_does_not_grow(engine, pulp, repository, tmp_path):
    """If the repository keeps one version, and what is in none is removed. Without deletions, it grows all the same.

    docs/registries.md has the figures of 200 cycles.
    """
    cycles, sizes = 12, []
    options = (*login(repository), "-run-test-every=100ms", f"-payload-size={PAYLOAD_BYTES}B", f"-state-dir={tmp_path}")

    def after_more(*more):
        """Return how many bytes are kept after so many cycles more."""
        with Monitor(tmp_path, engine, *options, *more) as monitor:
            await_true(lambda: monitor.successes() >= cycles, 2 * LONG, f"{cycles} cycles")
            assert monitor.stop() == 0
        pulp.collect_garbage()
        sizes.append(pulp.stored_bytes())
        return sizes[-1]

    assert once(engine, *options)[0] == 0
    pulp.keep(path_of(repository), 1)
    before = after_more("-delete-superseded")
    assert after_more("-delete-superseded") <= before + 3 * PAYLOAD_BYTES, sizes
    before = sizes[-1]
    assert after_more() >= before + (cycles - 1) * PAYLOAD_BYTES, sizes
