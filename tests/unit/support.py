"""What the unit tests share: docker scripted at the border of processes, and the texts that it really printed.

`outputs/` holds what `docker` 28.2.2 and 20.10.24 printed against an engine 20.10.24 and a registry 2.8.2; the
functions here write the same forms with other digests in them.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.command import Command, CommandError, Completed, Ending
from lib.cycle.payload import Labels
from lib.history import History
from lib.history.pushes import Pushes
from lib.reference import Reference
from lib.result import Push, Step, StepName

HOST = "127.0.0.1:5888"
NAME = f"{HOST}/lab/canary:latest"
REFERENCE = Reference(HOST, "lab/canary")
_PODMANS = '{{range .Server.Components}}{{if eq .Name "Podman Engine"}}podman {{end}}{{end}}'
VERSION = ("version", "--format", f"{{{{.Client.Version}}}} {_PODMANS}{{{{.Server.Version}}}}")
INFO = (
    "info",
    "--format",
    "{{with .Info}}{{.Driver}} {{json .DriverStatus}}{{end}}{{range .ServerErrors}}{{println}}{{println .}}{{end}}",
)
CLIENT_VERSION = ("--version",)
INSPECT = ("image", "inspect", "--format", "{{json .}}")
SWEEP = ("images", "--all", "--quiet", "--no-trunc", "--filter", "label=registry-monitor.instance")
CLIS = ("28.2.2", "20.10.24")

PASSWORD = "hunter2-of-the-monitor"

NO_DAEMON = "Cannot connect to the Docker daemon at unix:///run/none.sock. Is the docker daemon running?\n"
NOT_THERE = f"Error response from daemon: manifest for {NAME} not found: manifest unknown: manifest unknown\n"
AMBIGUOUS = (
    "Error response from daemon: pull access denied for 127.0.0.1:5888/lab/canary, repository does not exist or may"
    " require 'docker login': denied: requested access to the resource is denied\n"
)


def digest_of(mark: int | str) -> str:
    """Given a mark of one hexadecimal digit, return a digest made of it."""
    return f"sha256:{str(mark) * 64}"


def real_output(cli: str, name: str) -> Completed:
    """Given the version of a docker CLI and the name of a run of it, return what that run gave."""
    path = Path(__file__).parent / "outputs" / f"docker-{cli}.json"
    shape = json.loads(path.read_text(encoding="utf-8"))[name]
    return Completed(shape["exit_code"], shape["stdout"], shape["stderr"], seconds=0.25)


# docker's forms, as in outputs/, with other digests.


def pulled(digest: str | None, moved: int = 1, already: int = 0, status: str = "Downloaded newer image") -> str:
    lines = ["latest: Pulling from lab/canary"]
    lines += [f"{number:012x}: Already exists" for number in range(already)]
    for number in range(already, already + moved):
        layer = f"{number:012x}"
        lines += [f"{layer}: {state}" for state in ("Pulling fs layer", "Download complete", "Pull complete")]
    lines += [f"Digest: {digest}"] if digest else []
    return "\n".join([*lines, f"Status: {status} for {NAME}", NAME]) + "\n"


def pushed(digest: str) -> str:
    return (
        "The push refers to repository [127.0.0.1:5888/lab/canary]\n6fda1dc5fc2d: Preparing\n6fda1dc5fc2d: Pushed\n"
        f"latest: digest: {digest} size: 733\n"
    )


def removed(*deleted: str, name: str = NAME) -> str:
    return "".join([f"Untagged: {name}\n", *(f"Deleted: {digest}\n" for digest in deleted)])


def described(
    image_id: str,
    tags: Sequence[str] = (NAME,),
    digests: Sequence[str] = (),
    layers: int = 1,
    labels: Mapping[str, str] | None = None,
    comment: str = "",
    command: Sequence[str] = (),
    parent: str = "",
    architecture: str = "",
) -> str:
    shape = {
        "Architecture": architecture,
        "Id": image_id,
        "RepoTags": list(tags),
        "RepoDigests": list(digests),
        "Comment": comment,
        "Parent": parent,
        "Config": {"Labels": dict(labels) if labels else None, "Cmd": list(command) or None},
        "RootFS": {"Type": "layers", "Layers": [digest_of("a")] * layers},
    }
    return json.dumps(shape) + "\n"


def missing(*names: str) -> str:
    return "".join(f"Error response from daemon: no such image: {name}: No such image: {name}\n" for name in names)


class SubprocessRunner:
    """Runs commands through `subprocess`, in which pytest-subprocess answers in docker's place; keeps them all.

    A scripted TimeoutExpired is a command that its deadline ended, a scripted OSError one that can't be started; any
    other scripted exception, such as `Stopped`, is raised as it is.
    """

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def __call__(self, command: Command) -> Completed:
        self.commands.append(command)
        given = None if command.stdin is None else command.stdin.reveal().encode()
        process = subprocess.Popen(
            command.argv,
            env=dict(command.env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        ending = Ending.ITSELF
        try:
            process.communicate(given)
        except subprocess.TimeoutExpired:
            ending = Ending.DEADLINE
        except OSError as error:
            raise CommandError(f"{command.argv[0]}: {error.strerror}") from None
        out, err = (stream.getvalue().decode() for stream in (process.stdout, process.stderr))
        return Completed(process.returncode or 0, out, err, seconds=0.25, ending=ending)


class Script:
    """docker, scripted by a test: a command that was not announced fails the test.

    Attributes:
        runner: what the code under test runs commands with.
    """

    def __init__(self, fp: Any) -> None:
        self.runner = SubprocessRunner()
        self._fp = fp

    def on(
        self,
        *arguments: str,
        out: str = "",
        err: str = "",
        code: int = 0,
        does: Callable[[], None] | None = None,
        times: int = 1,
    ) -> None:
        """Announce `docker ARGUMENTS`, and script what it gives; `does` is called while it runs, and may raise."""
        extra = {"callback": lambda _: does()} if does else {}
        argv = ["docker", *arguments]
        self._fp.register(argv, returncode=code, stdout=out, stderr=err, occurrences=times, **extra)

    def on_real(self, cli: str, name: str, *arguments: str) -> None:
        """Announce `docker ARGUMENTS`, which gives what a real docker gave in the named run."""
        completed = real_output(cli, name)
        self.on(*arguments, out=completed.stdout, err=completed.stderr, code=completed.exit_code)

    @property
    def ran(self) -> list[tuple[str, ...]]:
        """All commands that were run and scripted, in their order, without `docker` itself."""
        return [command.argv[1:] for command in self.runner.commands]


def hangs() -> None:
    """Be the `does` of a command that its deadline ends."""
    raise subprocess.TimeoutExpired("docker", 1)


def is_missing() -> None:
    """Be the `does` of a command whose program is not there."""
    raise FileNotFoundError(2, "not found")


class Memory(Pushes):
    """What outlives a cycle, of a monitor that had these instances."""

    def __init__(
        self,
        last: Push | None = None,
        instances: tuple[str, ...] = ("me",),
        reference: str = NAME,
        all_pushes: Callable[[], Mapping[str, Pushes]] = dict[str, Pushes],
    ) -> None:
        super().__init__(reference, History("me"), last, all_pushes)
        self._instances = instances

    def is_ours(self, instance: str) -> bool:
        return instance in self._instances


@dataclass
class Observed:
    """What an observer was notified of, in its order."""

    told: list[tuple[str, StepName]] = field(default_factory=list)

    def step_started(self, step: StepName) -> None:
        self.told.append(("started", step))

    def step_finished(self, step: Step) -> None:
        self.told.append(("finished", step.name))


MADE = datetime(2026, 11, 24, 8, 30, 0, 120_000, UTC)


def labels_of(instance: str = "me", target: str = "lab", created: datetime = MADE) -> Labels:
    return Labels(target, instance, "token", created)


_WORD = r'"(?:[^"\\]|\\.)*"'
_LABEL = re.compile(rf" ({_WORD})=({_WORD})")


def labels_in(dockerfile: str) -> Mapping[str, str]:
    """Given a Dockerfile, return its labels as docker reads them: quoted words, a backslash escapes one sign."""
    labels = {}
    for line in dockerfile.split("\n"):
        if line.startswith("LABEL"):
            rest = line.removeprefix("LABEL")
            if _LABEL.sub("", rest):
                raise ValueError(f"no labels: {line}")
            labels |= {_unquoted(name): _unquoted(value) for name, value in _LABEL.findall(rest)}
    return labels


def _unquoted(word: str) -> str:
    if not (len(word) > 1 and word[0] == word[-1] == '"'):
        raise ValueError(f"not in quotes: {word}")
    signs = iter(word[1:-1])
    text = []
    for sign in signs:
        if sign in '"$':
            raise ValueError(f"{sign} is not escaped: {word}")
        text.append(next(signs) if sign == "\\" else sign)
    return "".join(text)
