"""A scripted world for one cycle: the commands of docker, what each gives, and what the cycle remembers."""

from datetime import UTC, datetime, timedelta

from lib.command import Stopped
from lib.cycle import CycleRunner
from lib.cycle.housekeeping import Housekeeping
from lib.docker import Docker
from lib.result import Push
from lib.secret import Secret
from lib.target import Credentials, Target
from tests.unit.support import (
    CLIENT_VERSION,
    HOST,
    INSPECT,
    NAME,
    NO_DAEMON,
    PASSWORD,
    REFERENCE,
    SWEEP,
    VERSION,
    Memory,
    Observed,
    Script,
    described,
    digest_of,
    hangs,
    labels_of,
    missing,
    pulled,
    pushed,
    removed,
)

TARGET = Target("lab", REFERENCE, Credentials("monitor", Secret(PASSWORD)))

#: What this cycle pushes, and what was pushed before it.
IMAGE, DIGEST = digest_of("a"), digest_of(1)
BEFORE = Push(digest_of(2), digest_of("b"), "token", "me", datetime.now(UTC) - timedelta(minutes=2))

#: How docker does not answer.
HUNG = {"does": hangs}
GONE = {"out": "28.2.2 \n", "err": NO_DAEMON, "code": 1}

#: How docker says that there is no image of the test image's name.
ABSENT = {"err": missing(NAME), "code": 1}

SERVER_ERROR = "received unexpected HTTP status: 503 Service Unavailable\n"
DENIED = "denied: requested access to the resource is denied\n"

#: The commands of a good cycle by what they are for; {held} and {context} are filled in.
COMMANDS = {
    "look": (*INSPECT, NAME, "{held}"),
    "sweep": SWEEP,
    "login": ("login", "--username", "monitor", "--password-stdin", HOST),
    "pull": ("pull", NAME),
    "describe": (*INSPECT, NAME),
    "remove": ("rmi", NAME),
    "build": ("build", "--quiet", "--no-cache", "--force-rm", "--network", "none", "--tag", NAME, "{context}"),
    "push": ("push", NAME),
    "rmi": ("rmi", NAME),
    "pull_back": ("pull", NAME),
    "describe_back": (*INSPECT, NAME),
    "remove_back": ("rmi", NAME),
    "ask": VERSION,
    "ask_cli": CLIENT_VERSION,
    "hold": ("tag", "{image}", "{held}"),
    "give_back": ("tag", "{held}", NAME),
    "let_go": ("rmi", "{held}"),
}

#: What each gives when all is well.
GOOD = {
    "look": {"err": "{missing}", "code": 1},
    "sweep": {},
    "login": {"out": "Login Succeeded\n"},
    "pull": {"out": pulled(BEFORE.digest)},
    "remove": {"out": removed(BEFORE.image_id)},
    "build": {"out": f"{IMAGE}\n", "err": "DEPRECATED: The legacy builder is deprecated\n"},
    "push": {"out": pushed(DIGEST)},
    "rmi": {"out": removed(IMAGE)},
    "pull_back": {"out": pulled(DIGEST)},
    "remove_back": {"out": removed(IMAGE)},
    "ask": {"out": "28.2.2 20.10.24\n"},
    "ask_cli": {"out": "Docker version 28.2.2, build e6534b4\n"},
}

#: The steps of a cycle that finds what the one before it left, and after which nothing is left to look for.
FULL = ("look", "sweep", "login", "pull", "remove", "build", "push", "rmi", "pull_back", "remove_back")

#: An image that no monitor made, by how it came and its names, and whether its name may be taken away again.
STRANGERS = [
    ({"moved": 1}, (NAME,), True),  # it was not here before
    ({"moved": 0}, (NAME,), False),  # it was, and would be gone
    ({"moved": 0}, (NAME, "user/kept:1"), True),  # it was, and stays under its other name
    ({"moved": 0, "already": 3}, (NAME,), False),
    ({"moved": 1, "status": "Image is up to date"}, (NAME,), False),
]


class World:
    """A target, its docker and what it remembers.

    Attributes:
        dockerfile: that of the last build.
    """

    def __init__(self, fp, folder, target=TARGET, last=BEFORE, **more):
        self.script = Script(fp)
        self.memory = Memory({target.reference.familiar: last} if last else {}, **more)
        self.observed = Observed()
        self.folders = [folder / name for name in ("target", "anonymous")]
        for path in self.folders:
            path.mkdir()
        env = {"PATH": "/bin", "DOCKER_BUILDKIT": "0"}
        docker, anonymous = (Docker(self.script.runner, "docker", env, path) for path in self.folders)
        housekeeping = Housekeeping(target, "me", {"dead"}.__contains__)
        self.held = housekeeping._waiting
        self.context = str(self.folders[0] / "context")
        self.cycle = CycleRunner(
            target, docker, anonymous, housekeeping, self.folders[0], self.memory, self.observed, "me"
        )
        self.announced = []
        self.dockerfile = ""

    def announce(self, *names, **changed):
        """Script the named commands in this order, each as it is when all is well, or as it is changed here.

        A name may stand in a pair with its own change, where a command runs more than once.
        """
        for name in names:
            name, change = (name, changed.pop(name, {})) if isinstance(name, str) else name  # noqa: PLW2901  unpacked
            answer = GOOD.get(name, {}) | change
            argv = answer.pop("argv", None) or self.argv(name)
            answer = {key: self.filled(value) if isinstance(value, str) else value for key, value in answer.items()}
            if name == "build":
                answer["does"] = self.keep_dockerfile(answer.get("does"))
            self.announced.append(argv)
            self.script.on(*argv, **answer)
        assert not changed, "changed, but not announced"

    def argv(self, name):
        return tuple(self.filled(argument) for argument in COMMANDS[name])

    def filled(self, text):
        for name, value in {
            "{held}": self.held,
            "{context}": self.context,
            "{image}": digest_of("e"),
            "{missing}": missing(NAME, self.held),
        }.items():
            text = text.replace(name, value)
        return text

    def keep_dockerfile(self, does):
        def keep():
            with open(f"{self.context}/Dockerfile", encoding="utf-8") as file:  # noqa: PTH123  a path given to docker
                self.dockerfile = file.read()
            if does:
                does()

        return keep

    def run(self):
        """Run one cycle; all that was announced must have run, in that order."""
        cycle = self.cycle()
        self.check()
        return cycle

    def check(self):
        assert self.script.ran == self.announced
        target, anonymous = ([path.name for path in folder.iterdir()] for folder in self.folders)
        assert target == []
        assert set(anonymous) <= {"config.json"}


def told(cycle):
    """Return what a cycle says: verdict, failed step, reason, scope."""
    failed = cycle.failed
    return (str(cycle.verdict), *((failed and map(str, (failed.name, failed.reason, failed.scope))) or ()))


def steps_of(cycle):
    return [f"{step.name} {step.outcome}" for step in cycle.steps]


def our(image_id=IMAGE, tags=(NAME,), **labels):
    return described(image_id, tags, labels_of(**labels))


def stops():
    """Be the `does` of a command at which the monitor is stopped."""
    raise Stopped
