"""A world for the cycles of one target: a host and its registries, kept by `FakeDocker`, and what the cycles remember.

Everything under test is made here, and nowhere else in these tests.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from lib.cycle import CycleRunner
from lib.cycle.build_cache import BuildLock
from lib.cycle.housekeeping import Housekeeping
from lib.cycle.leftovers import Leftovers
from lib.cycle.strangers import Strangers
from lib.docker import BuiltBy, Docker
from lib.result import Push, StepName
from lib.secret import Secret
from lib.target import Builder, Credentials, Target
from tests.unit.fake_docker import FakeDocker
from tests.unit.fake_docker.registry import Content, hashed, repository_of
from tests.unit.support import HOST, NAME, PASSWORD, REFERENCE, Memory, Observed, digest_of, labels_of

TARGET = Target("lab", REFERENCE, Credentials("monitor", Secret(PASSWORD)))
STEPS = ("login", "pull", "build", "push", "rmi", "pull_back")
NOW = datetime.now(UTC)

#: An instance that died, as BuildKit's cache has to name one.
DEAD = "d" * 32

SERVER_ERROR = "received unexpected HTTP status: 503 Service Unavailable\n"
DENIED = "denied: requested access to the resource is denied\n"

_VERBS = {"base": "pull", "pull_back": "pull"}


def theirs(mark, layers=1, **more):
    """Return an image that no monitor made."""
    return Content(digest_of(mark), tuple(hashed(mark, number) for number in range(layers)), **more)


def our(mark, **labels):
    """Return an image of a monitor's, of this instance and target unless the labels say otherwise."""
    return theirs(mark, labels=labels_of(**{"created": NOW} | labels).to_dict())


def at_digest(content, name=NAME):
    return f"{repository_of(name)}@{content.digest}"


#: What was pushed before the first cycle.
BEFORE = our("b", created=NOW - timedelta(minutes=2))
LAST = Push(BEFORE.digest, BEFORE.image_id, "token", "me", NOW - timedelta(minutes=2))


class Dying:
    """An instance called `me`, and those that died beside it: all that `Leftovers` asks of the two.

    Attributes:
        dead: those that are not forgotten, each with for how many seconds its folder has been as it is.
        living: those that are known to be alive.
        notes: the notes of `me`, by name.
        left: the notes of the dead.
    """

    name = "me"

    def __init__(self, *dead):
        self.neighbours = self
        self.dead = dict.fromkeys(dead, 3600.0)
        self.living = set()
        self.notes = {}
        self.left = {}

    def look(self):
        return dict(self.dead)

    def is_living(self, name):
        return name in self.living

    def forget(self, name):
        del self.dead[name]

    def note(self, name, text=""):
        self.notes[name] = text

    def done(self, name):
        self.notes.pop(name, None)
        self.left.pop(name, None)


class World:
    """A target, a host, the registries and what the cycles remember.

    Attributes:
        docker: the fake docker; worlds can share one.
        host, registry: what it keeps. instance: this process, and the dead beside it. cli: the cycles' CLI.
        pushes: what outlives a cycle.
        observed: what was reported of the steps.
        folders: the private Docker config folders, of the target and of strangers.
        slept: for how long it was waited, in which no time passes.
    """

    def __init__(
        self, folder, target=TARGET, last=LAST, *, docker=None, builder=BuiltBy.CLASSIC, build_lock=None,
        names_contexts=True, instances=("me",), all_pushes=dict, **more,
    ):  # fmt: skip
        self.target = target
        self.docker = docker or FakeDocker()
        self.host, self.registry = self.docker.engine, self.docker.engine.registry
        if last:
            self.registry.put(target.reference.familiar, BEFORE)
        if target.credentials:
            self.registry.accounts[HOST] = {"monitor": PASSWORD}
        self.instance = Dying("dead", DEAD)
        self.slept = []
        self.observed = Observed()
        self.folders = [folder / name for name in ("target", "anonymous")]
        for path in self.folders:
            path.mkdir(parents=True)
        env = {"PATH": "/bin", "DOCKER_BUILDKIT": "0"}
        plain, stranger = (Docker(self.docker, "docker", env, path) for path in self.folders)
        equipped = partial(_building_by, own=builder, names_contexts=names_contexts)
        self.cli, self.stranger = (equipped(one, target.builder) for one in (plain, stranger))
        self.housekeeping = Housekeeping(target, Leftovers(self.instance), build_lock or BuildLock())
        self.pushes = Memory(last, instances, target.reference.familiar, all_pushes)
        self.cycle = CycleRunner(
            target, plain, stranger, self.housekeeping, self.folders[0], self.pushes, self.observed, "me",
            for_builder=equipped, **more,
        )  # fmt: skip
        self.stays = self.host.snapshot()

    def strangers(self, monotonic):
        return Strangers(self.cycle, monotonic)

    @property
    def last_push(self):
        return self.pushes.last

    @property
    def reference_name(self):
        return self.target.reference.familiar

    def has(self, content, *names):
        """Put an image on the host that is to stay there."""
        self.host.add(content, *names)
        self.stays = self.host.snapshot()
        return content

    def during(self, step, *words, **twist):
        """Let the first `docker WORDS ...` of a step meet something; without words, the step's own command."""
        under_way = ("started", StepName(step))
        words = words or (_VERBS.get(step, step),)
        self.docker.when(*words, only=lambda _: self.observed.told[-1:] == [under_way], **twist)

    def afterwards(self, *words, **twist):
        """Let the first such command that cleans up meet something."""
        self.docker.when(*words, only=lambda command: command.cleanup, **twist)

    def run(self):
        """Run one cycle, after which everything on the host is as it was."""
        cycle = self.cycle()
        self.check()
        return cycle

    def check(self):
        assert self.host.snapshot() == self.stays
        target, anonymous = ([path.name for path in folder.iterdir()] for folder in self.folders)
        assert target == []
        assert set(anonymous) <= {"config.json"}

    def sleep(self, seconds):
        """Let what the engine finishes late come about meanwhile."""
        self.slept.append(seconds)
        self.docker.finish_late()


def _building_by(docker, wanted, own, names_contexts):
    builder = BuiltBy.BUILDKIT if wanted is Builder.BUILDKIT else own
    if builder is BuiltBy.BUILDKIT:
        env = {**docker.env, "DOCKER_BUILDKIT": "1"}
        return replace(docker, builder=builder, build_flags=(), env=env, names_contexts=names_contexts)
    return replace(docker, builder=builder)


def told(cycle):
    """Return what a cycle says: verdict, failed step, reason, scope."""
    failed = cycle.failed
    return (str(cycle.verdict), *((failed and map(str, (failed.name, failed.reason, failed.scope))) or ()))


def steps_of(cycle):
    return [f"{step.name} {step.outcome}" for step in cycle.steps]
