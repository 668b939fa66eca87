"""One docker command: how it is run, why it failed, and which secrets it may have printed.

    DockerError    a docker command failed: which, why (a `Failure`), and what it printed

`lib.docker` has the commands. What differs between docker's own CLI and another program in its place is a `Dialect`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from lib.command import Command, CommandError, Ending, Runner
from lib.docker.answers import (
    DockerAnswer,
    Pulled,
    Pushed,
    Removed,
    only_waited,
    read_answer,
    read_pulled,
    read_pushed,
    read_store,
    read_time,
)
from lib.docker.keychain import stored_logins
from lib.docker.phases import phases_of_pull, phases_of_push
from lib.docker.printed import Printed
from lib.failure import WRONG_USAGE, Failure, Reason, Scope, classify
from lib.secret import Secret

#: What either image store says if part of an image is just being removed. containerd may name what it did not find:
#: `snapshot extract-534813049-Y5Ti sha256:e410... does not exist: not found`, `snapshot does not exist: not found`.
GOING = r"error response from daemon: .*(?:layer does not exist|: not found\b)"

#: How a listing fails if somebody else is listing too (20.10), or removes what it comes to (containerd's store).
_ONCE_MORE = re.compile(
    rf"disk usage operation is already running|{GOING}|/snapshots/\d+/.*: no such file or directory", re.IGNORECASE
)
_PAUSE_SECONDS = 0.1

#: The client's version and the engine's, with its name if it is podman's service.
_VERSIONS = (
    '{{.Client.Version}} {{range .Server.Components}}{{if eq .Name "Podman Engine"}}podman {{end}}{{end}}'
    "{{.Server.Version}}"
)

#: Where the engine keeps its images; or why it can't say, which docker does not count as a failure.
_STORE = "{{with .Info}}{{.Driver}} {{json .DriverStatus}}{{end}}{{range .ServerErrors}}{{println}}{{println .}}{{end}}"


class DockerError(Exception):
    """A docker command failed.

    Attributes:
        failure: why. answer: how long it took and what it printed. deadline_passed: whether we ended it at its
            deadline. only_waited: whether the engine called all of it "Waiting" then. That proves nothing by itself.
    """

    def __init__(
        self,
        failure: Failure,
        answer: DockerAnswer | None = None,
        *,
        deadline_passed: bool = False,
        only_waited: bool = False,
    ) -> None:
        """Given why, how far the command came (None: it was never started), and whether we ended it."""
        super().__init__(failure.detail)
        self.failure = failure
        self.answer = answer or DockerAnswer(seconds=0.0)
        self.deadline_passed = deadline_passed
        self.only_waited = only_waited


@dataclass(frozen=True, slots=True)
class Cli:
    """The docker program, as one target uses it.

    Attributes:
        runner: what runs a command.
        program: name or path of the program.
        env: the environment of each command, without `DOCKER_CONFIG`.
        config: the private Docker config folder of the target.
        dialect: whose words it takes and prints.
        secrets: what is blanked in everything that docker prints, in addition to the logins in its config folder.
        cleanup: its commands remove what the monitor made, and also run while the monitor is being stopped.
    """

    runner: Runner
    program: str
    env: Mapping[str, str]
    config: Path
    dialect: Dialect
    secrets: tuple[Secret, ...] = ()
    cleanup: bool = False

    def run(self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None) -> Printed:
        """Run `docker VERB ARGUMENTS`, and return the result. Raise DockerError if it failed."""
        completed = self.complete(verb, (verb, *arguments), deadline, stdin)
        if not completed.ok:
            raise self.failed(verb, completed)
        return completed

    def listed(self, verb: str, arguments: Sequence[str], deadline: float) -> Printed:
        """Run a command that lists things, as `run()` does; again if somebody interfered."""
        ends, left = time.monotonic() + deadline, deadline
        while True:
            completed = self.complete(verb, (verb, *arguments), left)
            if completed.ok:
                return completed
            left = ends - time.monotonic() - _PAUSE_SECONDS
            if left <= 0 or not _ONCE_MORE.search(completed.stderr):
                raise self.failed(verb, completed)
            time.sleep(_PAUSE_SECONDS)

    def complete(self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None) -> Printed:
        """Run `docker ARGUMENTS`, and return the result. Given the verb that errors name. Raise DockerError."""
        return self.dialect.without_log(self.complete_with_log(verb, arguments, deadline, stdin))

    def complete_with_log(
        self, verb: str, arguments: Sequence[str], deadline: float, stdin: Secret | None = None
    ) -> Printed:
        """As `complete()`, including what the program logged."""
        command = Command(
            argv=(self.program, *arguments),
            env={**self.env, "DOCKER_CONFIG": str(self.config), **self.dialect.environment(self.config)},
            deadline=deadline,
            stdin=stdin,
            cleanup=self.cleanup,
        )
        try:
            return Printed.by(self.runner(command), (*self.secrets, *stored_logins(self.config)))
        except CommandError as error:
            raise DockerError(Failure(Reason.CLI, f"docker {verb} could not be run: {error}")) from None

    def failed(self, verb: str, completed: Printed) -> DockerError:
        """Given a verb and its command that failed, return the error to raise."""
        if completed.ending is Ending.DEADLINE:
            # What it says after it was asked to end is about that, and can blame the wrong party.
            completed = replace(completed, stderr="")
            failure = _too_slow(verb, completed)
        else:
            failure = judged(verb, completed, self.dialect.wrong_usage)
        return self.error(failure, completed)

    @staticmethod
    def error(failure: Failure, completed: Printed) -> DockerError:
        """Given why a command failed, and the command, return the error to raise."""
        ended_by_us = completed.ending is Ending.DEADLINE
        waited = ended_by_us and only_waited(completed.stdout)
        return DockerError(failure, read_answer(completed), deadline_passed=ended_by_us, only_waited=waited)


class Dialect:
    """What a docker program takes or prints: here, docker's own.

    The verbs are given what runs a command, names as `whole_name()` returns them, and a deadline in seconds.

    Attributes:
        wrong_usage: the exit code that means wrong usage and nothing else; None if there is none.
    """

    wrong_usage: int | None = WRONG_USAGE

    def whole_name(self, reference: str) -> str:
        """Given the name or ID of an image in docker's form, return it in the form that this program needs."""
        return reference

    def environment(self, config: Path) -> Mapping[str, str]:  # noqa: ARG002  docker needs no more
        """Given the private config folder, return further variables for each command's environment."""
        return {}

    def without_log(self, completed: Printed) -> Printed:
        """Given a command that ended, return it without what the program only logged."""
        return completed

    def version(self, docker: Cli, deadline: float) -> tuple[str, str]:
        """Return the versions of client and server. Raise DockerError, also if the daemon does not answer."""
        completed = docker.run("version", ("--format", _VERSIONS), deadline)
        client, _, server = completed.stdout.strip().partition(" ")
        return client, server

    def store(self, docker: Cli, deadline: float) -> str:
        """Return where images are kept, in words. Raise DockerError."""
        completed = docker.complete("info", ("info", "--format", _STORE), deadline)
        store = read_store(completed.stdout)
        if not completed.ok or store is None:
            raise docker.failed("info", completed)
        return store

    def now(self, docker: Cli, deadline: float) -> datetime:
        """Return the engine's time. Raise DockerError, also if it does not say."""
        completed = docker.run("info", ("--format", "{{.SystemTime}}"), deadline)
        now = read_time(completed.stdout)
        if now is None:
            raise docker.error(Failure(Reason.DAEMON, "docker info named no time"), completed)
        return now

    def pull(self, docker: Cli, name: str, deadline: float, platform: str | None) -> Pulled:
        """Pull an image, of an index the one for a platform, and return what was moved. Raise DockerError."""
        completed = docker.run("pull", (*for_platforms(platform), name), deadline)
        pulled = read_pulled(completed)
        # podman's service reports a layer as coming when it has come, and as complete when it is unpacked.
        return pulled if pulled.by_podman else replace(pulled, phases=phases_of_pull(completed))

    def push(self, docker: Cli, name: str, deadline: float) -> Pushed:
        """Push an image, and return the digest that the registry acknowledged.

        Raise DockerError, also if there is no such digest.
        """
        completed = docker.run("push", (name,), deadline)
        pushed = read_pushed(completed)
        if pushed is None:
            detail = "docker push succeeded, but named no digest that the registry acknowledged"
            raise docker.error(Failure(Reason.UNCLASSIFIED, detail, explicit_scope=Scope.HOST), completed)
        return replace(pushed, phases=phases_of_push(completed))

    def remove_ours(self, docker: Cli, remove: Callable[[], Removed], deadline: float) -> Removed:  # noqa: ARG002  nothing holds them
        """Given what removes images that a monitor built, do that, even if the remains of a killed build hold them.

        Raise DockerError.
        """
        return remove()

    def marking(self, mark: str) -> tuple[str, ...]:  # noqa: ARG002  see below
        """Given a mark, return the flags by which a build sets it on the containers that it works in."""
        return ()

    def remove_marked(self, docker: Cli, marks: Collection[str], deadline: float) -> None:
        """Given marks, remove what builds with them worked in, of which none is under way. Raise DockerError."""

    def unfinished(self, docker: Cli, deadline: float) -> dict[str, datetime]:  # noqa: ARG002  the daemon finishes what it began
        """Return the images that were not finished, as `Docker.unfinished()` does. Raise DockerError."""
        return {}


DOCKER = Dialect()


def for_platforms(*platforms: str | None) -> tuple[str, ...]:
    """Given platforms (None: whichever the engine takes), return the flags that name them."""
    named = ",".join(filter(None, platforms))
    return ("--platform", named) if named else ()


def judged(verb: str, completed: Printed, wrong_usage: int | None = WRONG_USAGE) -> Failure:
    """Given the verb of a docker command that failed, the command, and the program's exit code for wrong usage, return
    why.
    """
    failure = classify(verb, completed.exit_code, completed.stdout, completed.stderr, wrong_usage)
    shown = completed.shown
    if (shown.stdout, shown.stderr) == (completed.stdout, completed.stderr):
        return failure
    # Judged by everything that it said, reported by the part that may be shown.
    return replace(failure, detail=classify(verb, shown.exit_code, shown.stdout, shown.stderr, wrong_usage).detail)


def _too_slow(verb: str, completed: Printed) -> Failure:
    last = next(reversed(completed.last_lines()), None)
    said = f"the last thing that it printed: {last}" if last else "it printed nothing"
    ended = f"docker {verb} passed its deadline, and was ended after {completed.seconds:.1f} s"
    if completed.was_paused:
        return Failure(Reason.STARVED, f"{ended}; somebody had stopped it meanwhile (SIGSTOP)")
    return Failure(Reason.TIMEOUT, f"{ended}; {said}")
