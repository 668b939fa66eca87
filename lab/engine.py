"""The engine: a private dockerd, with its own socket, images and settings, and the docker CLI pointed at it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lab.daemon import Daemon, LabError, Program
from lab.environment import lab_environment
from lab.folder import end_processes, remove

_LARGEST_SOCKET_PATH = 107
_ANSWER_SECONDS = 10.0
_COMMAND_SECONDS = 300.0


class Engine(Daemon):
    """A private dockerd. A context manager: it answers on entry; on exit all of it is gone, its folder too.

    Attributes:
        folder: where everything of it is.
        host: the value of DOCKER_HOST.
        data: dockerd's own folder, with its images.
        containerd: the socket of the containerd that it starts.
        programs: what is first on the PATH of its clients: a `docker` put there is the CLI that they use.
        options: further options for dockerd; can be changed.
        run_by: what its clients' command lines begin with: empty if they are run by root.
        env: the environment for a docker CLI, or a monitor, that shall work with it. It names a Docker configuration
            folder of the engine's own, so that nobody's `~/.docker` is read or written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dockerd: Sequence[str] = ("dockerd",),
        options: Sequence[str] = (),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Given its folder, which must not exist, what to start (perhaps through another program), further options for
        dockerd, and what stands in its daemon.json, prepare an engine. Raise LabError if the folder's path is too long.
        """
        super().__init__()
        self.folder = folder
        self.data = folder / "data"
        self._run = folder / "exec"
        self.containerd = self._run / "containerd" / "containerd.sock"
        self.run_by: tuple[str, ...] = ()
        self._socket = folder / "docker.sock"
        self._dockerd = tuple(dockerd)
        self.options = tuple(options)
        self._settings = dict(settings or {})
        if len(str(self._socket)) > _LARGEST_SOCKET_PATH:
            raise LabError(f"{self._socket}: too long for a socket")
        self.host = f"unix://{self._socket}"
        self.programs = folder / "programs"
        self.env = lab_environment(folder) | {"DOCKER_HOST": self.host, "DOCKER_CONFIG": str(folder / "config")}
        self.env["PATH"] = os.pathsep.join((str(self.programs), self.env["PATH"]))

    def program(self) -> Program:
        """Return dockerd's command. Neither bridge nor firewall: nothing of it shall be visible outside its folder."""
        (self.folder / "config").mkdir(parents=True, exist_ok=True)
        argv = (
            *self._dockerd,
            f"--host={self.host}",
            f"--data-root={self.data}",
            f"--exec-root={self._run}",
            f"--pidfile={self.folder / 'pid'}",
            f"--config-file={self._configuration()}",
            "--bridge=none",
            "--iptables=false",
            *self.options,
        )
        log = self.folder / "dockerd.log"
        # Marked differently from the clients, so that `kill` ends only the engine's own processes.
        return Program(argv, lab_environment(self._run), log=log, output=log)

    def answers(self) -> bool:
        """Return whether the docker CLI reaches it."""
        try:
            return self.docker("version", check=False, seconds=_ANSWER_SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def kill(self) -> None:
        """End it with SIGKILL, and its containerd, as systemd would. A next start finds what a crash leaves."""
        super().kill()
        end_processes(self._run)
        # A dead containerd that nobody has waited for yet would be taken for a living one.
        (self._run / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def docker(
        self, *arguments: str, stdin: bytes = b"", check: bool = True, seconds: float = _COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Given the arguments of a docker command, run it on this engine to its end, and return the result.

        Raise LabError, with what it printed, if it fails, unless `check` is false; subprocess.TimeoutExpired if
        it takes longer than `seconds`.
        """
        return run_docker((*self.run_by, "docker", *arguments), self.env, stdin, check=check, seconds=seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            self.stop()
            remove(self.folder)

    def _configuration(self) -> Path:
        # Without one of its own, dockerd would read the machine's /etc/docker/daemon.json.
        file = self.folder / "daemon.json"
        if not file.exists():
            file.write_text(json.dumps(self._settings))
        return file


def run_docker(
    argv: Sequence[str], env: Mapping[str, str], stdin: bytes, *, check: bool, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Given a docker command line, its environment and its input, run it, as `Engine.docker()` says."""
    done = subprocess.run(argv, env=env, input=stdin, capture_output=True, check=False, timeout=seconds)
    stdout, stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if check and done.returncode:
        command = " ".join(argv[argv.index("docker") :])
        raise LabError(f"{command} exited with {done.returncode}: {(stderr or stdout).strip()}")
    return subprocess.CompletedProcess(done.args, done.returncode, stdout, stderr)
