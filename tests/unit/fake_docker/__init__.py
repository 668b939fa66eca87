"""Docker for tests, in this process: a `Runner` that does to a host and its registries what docker would do.

`FakeDocker.engine` is the host, `FakeDocker.engine.registry` all registries: a test sets them up, runs something, and
looks at what is there afterwards. `FakeDocker.when()` makes a command fail, hang, be stopped, or meet what somebody
else does. `lab/small_world.sh` is the same as a program, for cases that need many commands: 2 ms each, while Python
takes 20.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lib.command import Command, CommandError, Completed, Ending, Stopped
from tests.unit.fake_docker.engine import Engine
from tests.unit.fake_docker.registry import RefusedError
from tests.unit.support import NO_DAEMON


def says(out: str, err: str = "", code: int = 0) -> Completed:
    return Completed(code, out, err, seconds=0.25)


def fails(words: str) -> Completed:
    return says("", words, 1)


#: What can happen to a command instead: no daemon answers, its deadline ends it, a signal does, it can't be found, or
#: the monitor is being stopped.
GONE = says("28.2.2 \n", NO_DAEMON, 1)
HUNG = Completed(-15, "", "", seconds=0.0, ending=Ending.DEADLINE)
CRASHED = says("", code=-9)
NOT_FOUND = CommandError("docker: not found")
STOPPED = Stopped(was_cut_off=True)

_BUILD_HELP = "Usage:  docker build [OPTIONS] PATH | URL | -\n"

_Instead = Completed | Exception | None


@dataclass
class _Twist:
    """What happens when a command is run.

    Attributes:
        words: how it begins.
        instead: what happens to it, while docker does nothing; or (`is_late`) does it at the next `finish_late()`.
        before, after: what somebody else does just then.
        edit: what changes the lines that docker prints.
        only: which commands that begin so it applies to. times: how many more.
    """

    words: tuple[str, ...]
    instead: _Instead = None
    is_late: bool = False
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None
    edit: Callable[[str], str] = lambda text: text
    only: Callable[[Command], bool] = lambda _: True
    times: int = 1

    def is_about(self, command: Command) -> bool:
        return self.times > 0 and command.argv[1 : len(self.words) + 1] == self.words and self.only(command)


class FakeDocker:
    """The docker CLI.

    Attributes:
        engine: the host.
        commands: all that were run.
        ailment: what happens to every command that needs the daemon, GONE or HUNG; None while it is well. cli_ailment:
            what happens to the others.
        lost_seconds: for how long commands that hung were waited for.
    """

    def __init__(self) -> None:
        self.engine = Engine()
        self.commands: list[Command] = []
        self.ailment: _Instead = None
        self.cli_ailment: _Instead = None
        self.lost_seconds = 0.0
        self._is_stopping = False
        self._twists: list[_Twist] = []
        self._late: list[Callable[[], str]] = []

    def when(self, *words: str, **twist: object) -> None:
        """Let the next `docker WORDS ...` meet something: see `_Twist`."""
        self._twists.append(_Twist(words, **twist))

    def fall_ill(self, ailment: _Instead, cli_ailment: _Instead = None) -> None:
        self.ailment, self.cli_ailment = ailment, cli_ailment

    def stop(self) -> None:
        """Stop the monitor: from now on only commands that clean up are run."""
        self._is_stopping = True

    def finish_late(self) -> None:
        """Let the engine finish what it was doing when the command for it was ended."""
        late, self._late = self._late, []
        for act in late:
            _complete(act)

    def verbs(self, *, since: int = 0) -> list[str]:
        return [command.argv[1] for command in self.commands[since:]]

    def __call__(self, command: Command) -> Completed:
        if self._is_stopping and not command.cleanup:
            raise Stopped
        self.commands.append(command)
        twist = next((twist for twist in self._twists if twist.is_about(command)), _Twist(()))
        twist.times -= 1
        twist.before()
        act = self._begin(command, *command.argv[1:])
        if twist.is_late:
            self._late.append(act)
        instead = twist.instead or self._ailment_of(command)
        completed = _complete(act) if instead is None else self._end(command, instead)
        twist.after()
        return replace(completed, stdout=twist.edit(completed.stdout))

    def _ailment_of(self, command: Command) -> _Instead:
        needs_daemon = not {"--version", "--help"}.intersection(command.argv)
        return self.ailment if needs_daemon else self.cli_ailment

    def _end(self, command: Command, instead: Completed | Exception) -> Completed:
        if isinstance(instead, Exception):
            self._is_stopping = instead is STOPPED
            raise instead
        if instead.ending is Ending.DEADLINE:
            self.lost_seconds += command.deadline
            return replace(instead, seconds=command.deadline)
        return instead

    def _begin(self, command: Command, verb: str, *rest: str) -> Callable[[], str]:
        """Return what does it, with what the CLI takes along from here."""
        engine, config = self.engine, Path(command.env["DOCKER_CONFIG"])
        password = command.stdin.reveal().removesuffix("\n").removesuffix("\r") if command.stdin else ""
        with_buildkit = command.env.get("DOCKER_BUILDKIT") == "1"
        files = {path.name: path.read_bytes() for path in Path(rest[-1]).iterdir()} if "--tag" in rest else {}
        platforms = rest[rest.index("--platform") + 1].split(",") if "--platform" in rest else ()
        known: dict[str, Callable[[], str]] = {
            "--version": lambda: "Docker version 28.2.2, build e6534b4\n",
            "version": lambda: "28.2.2 20.10.24\n",
            "info": lambda: engine.now() if rest[-1] == "{{.SystemTime}}" else engine.info(),
            "buildx": engine.inspect_builder,
            "login": lambda: engine.registry.log_in(rest[-1], rest[1], password, config),
            "pull": lambda: engine.pull(config, *rest),
            "push": lambda: engine.push(*rest, config),
            "build": lambda: (
                engine.build(rest[-2], files, platforms, with_buildkit=with_buildkit) if files else _BUILD_HELP
            ),
            "rmi": lambda: engine.rmi(*rest),
            "tag": lambda: engine.tag(*rest),
            "image": lambda: engine.inspect(*rest[3:]),
            "images": lambda: (
                engine.list_repositories()
                if "--format" in rest
                else engine.list_images(rest[-1].removeprefix("label="))
            ),
            "ps": lambda: engine.list_containers(rest[3].removeprefix("label="), rest[-1]),
            "rm": lambda: engine.rm(rest[-1]),
            "system": lambda: engine.list_cache(rest[-1]),
            "builder": lambda: engine.prune(rest[-1].removeprefix("id=")),
        }
        return known[verb]


def _complete(act: Callable[[], str]) -> Completed:
    try:
        return says(act())
    except RefusedError as refused:
        return says(refused.printed, str(refused), 1)
