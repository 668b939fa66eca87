"""The machine: a Debian whose systemd really boots, in a container of systemd-nspawn, on this host's network."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.daemon import Daemon, LabError, Program
from lab.environment import inside_environment, lab_environment
from lab.folder import remove

_COMMAND_SECONDS = 240.0
_ANSWER_SECONDS = 10.0
#: What `is-system-running` says once all has been started, well or not.
_BOOTED = ("running", "degraded")


class Machine(Daemon):
    """A booted Debian. A context manager: it has booted on entry; on exit all of it is gone, its folder too.

    Attributes:
        root: its file system, as this host sees it.
    """

    def __init__(self, folder: Path, root: Path, shared: Mapping[Path, Path]) -> None:
        """Given its folder, which must not exist, a root with systemd, dbus and util-linux in it, which is moved there,
        and files or folders of this host by the places where the machine is to see them, prepare a machine.
        """
        super().__init__()
        self.root = folder / "root"
        self._folder = folder
        self._made = root
        self._shared = dict(shared)

    def __enter__(self) -> Self:
        self._folder.mkdir()
        self._made.rename(self.root)
        try:
            self.start()
        except BaseException:
            remove(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # All its processes go with the first of them, which nspawn then cleans up after. None is worth an orderly end.
        with suppress(LabError, ProcessLookupError):
            os.kill(self._first_process(), signal.SIGKILL)
        self.stop()
        remove(self._folder)

    def program(self) -> Program:
        """Return nspawn's command. It neither needs the host's systemd nor reports to it."""
        log = self._folder / "machine.log"
        argv = (
            "systemd-nspawn",
            "--quiet",
            "--boot",
            f"--directory={self.root}",
            f"--machine=lab-{os.getpid()}-{self._folder.name}",
            "--register=no",
            "--keep-unit",
            "--console=pipe",
            *(f"--bind={source}:{place}" for place, source in self._shared.items()),
        )
        return Program(argv, lab_environment(self._folder), log=log, output=log)

    def answers(self) -> bool:
        """Return whether it has booted."""
        with suppress(LabError, subprocess.TimeoutExpired):
            state = self.run("systemctl", "is-system-running", check=False, seconds=_ANSWER_SECONDS)
            return state.stdout.strip() in _BOOTED
        return False

    def run(
        self, *argv: str | Path, check: bool = True, seconds: float = _COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Given a command, run it in the machine as root, to its end, and return the result.

        Raise LabError if the machine is not there, or, with what it printed, if the command fails, unless `check`
        is false; subprocess.TimeoutExpired if it takes longer than `seconds`.
        """
        entered = ("nsenter", f"--target={self._first_process()}", "--mount", "--uts", "--ipc", "--pid", "--cgroup")
        done = subprocess.run(
            [*entered, "--", *argv],
            env=inside_environment(self._folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if check and done.returncode:
            words = (done.stdout + done.stderr).strip()
            raise LabError(f"{' '.join(map(str, argv))} exited with {done.returncode}: {words}")
        return done

    def _first_process(self) -> int:
        """Return the process that is the machine's first, by its number on this host. Raise LabError."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        if not children:
            raise LabError("the machine has no processes yet")
        return int(children[0])


def docker_client() -> Path:
    """Return this host's docker CLI, with no links in its path. Raise LabError if there is none."""
    found = shutil.which("docker", path=lab_environment(Path())["PATH"])
    if found is None:
        raise LabError("docker: not found. `sh lab/setup.sh` installs it.")
    return Path(found).resolve()
