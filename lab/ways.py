"""Other ways in which users run or reach an engine than root's own socket: without root, over TLS, over ssh."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from stat import S_IFCHR
from typing import Self

from lab.certificates import Authority
from lab.daemon import Daemon, Program
from lab.engines import DebianDocker, Podman, in_root
from lab.environment import lab_environment
from lab.folder import ROOT
from lab.mounts import with_mounts
from lab.port import Port

#: An ordinary user: nobody's, and without any right except to read root's files. The lab and the program may be in
#: folders that only root may enter; in the user namespace of an engine without root, that right counts for nothing.
_NUMBER = 20000
_RIGHT = "dac_read_search"
_AS_USER = ("setpriv", f"--reuid={_NUMBER}", f"--regid={_NUMBER}", "--clear-groups")
_READING_ALL = (*_AS_USER, f"--inh-caps=+{_RIGHT}", f"--ambient-caps=+{_RIGHT}", "--")

#: What a system's accounts say of the ordinary user.
_ACCOUNTS = {
    "passwd": f"ordinary:x:{_NUMBER}:{_NUMBER}::/nonexistent:/bin/sh",
    "group": f"ordinary:x:{_NUMBER}:",
    "subuid": "ordinary:200000:65536",
    "subgid": "ordinary:200000:65536",
}

_ROOTLESS = "/usr/share/docker.io/contrib/dockerd-rootless.sh"

#: Where an engine in a network of its own finds this host's loopback, if that is allowed.
HOSTS_LOOPBACK = "10.0.2.2"
#: By which it makes that network. Without udev, which gives it to all, it is root's.
_TUN = Path("/dev/net/tun")
_LET_THERE = "DOCKERD_ROOTLESS_ROOTLESSKIT_DISABLE_HOST_LOOPBACK=false"

_SSHD = """ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
SetEnv DOCKER_HOST={host}
"""
_SSH = """IdentityFile {folder}/client
IdentitiesOnly yes
UserKnownHostsFile {folder}/known_hosts
StrictHostKeyChecking accept-new
BatchMode yes
LogLevel ERROR
"""


class TlsDocker(DebianDocker):
    """A Docker that is reached over TLS, by the current context of its clients."""

    def prepare(self, held: ExitStack) -> None:
        """Issue certificates, and make the context."""
        super().prepare(held)
        tcp = f"tcp://127.0.0.1:{held.enter_context(Port()).number}"
        authority = Authority(self.folder / "authority")
        server, client = authority.issue("127.0.0.1"), authority.issue("monitor.invalid")
        trusted = authority.certificate
        self.options = (
            f"--host={tcp}",
            "--tlsverify",
            f"--tlscacert={trusted}",
            f"--tlscert={server}",
            f"--tlskey={server}",
        )
        del self.env["DOCKER_HOST"]
        self.docker("context", "create", "lab", "--docker", f"host={tcp},ca={trusted},cert={client},key={client}")
        self.docker("context", "use", "lab")


class SshDocker(DebianDocker):
    """A Docker that is reached over ssh."""

    def prepare(self, held: ExitStack) -> None:
        """Start the server that its clients go through."""
        super().prepare(held)
        server = held.enter_context(_Sshd(self.folder / "ssh", self))
        ssh = self.programs / "ssh"
        ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {server.client} "$@"\n')
        ssh.chmod(0o755)
        self.env["DOCKER_HOST"] = server.url


class _Sshd(Daemon):
    """The ssh server of another Debian, which lets one key in, as root.

    Attributes:
        url: the value of DOCKER_HOST.
        client: the configuration that a client needs.
    """

    def __init__(self, folder: Path, engine: DebianDocker) -> None:
        """Given a folder to make, and the engine that is to be reached, prepare it."""
        super().__init__()
        self._folder = folder
        self._engine = engine
        self.client = folder / "ssh_config"

    def prepare(self, held: ExitStack) -> None:
        """Take a port, and make keys."""
        self._port = held.enter_context(Port()).number
        self.url = f"ssh://root@127.0.0.1:{self._port}"
        self._folder.mkdir()
        for name in ("host", "client"):
            key = self._folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self.client.write_text(_SSH.format(folder=self._folder))
        address = f"127.0.0.1:{self._port}"
        settings = _SSHD.format(address=address, folder=self._folder, host=self._engine.host)
        (self._folder / "sshd_config").write_text(settings)
        (self._engine.root / "run/sshd").mkdir(parents=True, exist_ok=True)

    def program(self) -> Program:
        """Return its command."""
        argv = ("/usr/sbin/sshd", "-D", "-e", "-f", str(self._folder / "sshd_config"))
        log = self._folder / "log"
        here = in_root(self._engine.root, self._engine.folder, argv)
        return Program(here, lab_environment(self._folder), log=log, output=log)

    def answers(self) -> bool:
        """Return whether it can be reached."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False


class RootlessDocker(DebianDocker):
    """A Docker that an ordinary user runs, for clients of the same user. Its network is one of its own."""

    def __init__(self, root: Path, folder: Path, *, containerd_store: bool = False) -> None:
        """Given as `DebianDocker`, prepare an engine."""
        homes = (f"HOME={folder / 'home'}", f"XDG_RUNTIME_DIR={folder / 'runtime'}")
        dockerd = with_mounts({_TUN: folder / "tun"}, (*_AS_USER, "env", *homes, _LET_THERE, _ROOTLESS))
        settings = {"insecure-registries": [f"{HOSTS_LOOPBACK}/32"]}
        super().__init__(root, folder, containerd_store=containerd_store, settings=settings, dockerd=dockerd)
        self.run_by = _READING_ALL
        self.env |= _homes(folder)

    def prepare(self, held: ExitStack) -> None:
        """Make the user known, and give them all of the engine's folder."""
        super().prepare(held)
        os.mknod(self.folder / "tun", S_IFCHR | 0o600, _TUN.stat().st_rdev)
        for name, line in _ACCOUNTS.items():
            file = self.root / "etc" / name
            if line not in file.read_text():
                file.write_text(f"{file.read_text()}{line}\n")
        _give(self.folder)


class RootlessPodman(Podman):
    """The podman of this machine, run by an ordinary user."""

    def __init__(self, folder: Path) -> None:
        """Given its folder, which must not exist."""
        super().__init__(folder)
        self._accounts = folder / "accounts"
        self.run_by = (*with_mounts({Path("/etc") / name: self._accounts / name for name in _ACCOUNTS}, _READING_ALL),)
        self.env |= _homes(folder)

    def __enter__(self) -> Self:
        super().__enter__()
        self._accounts.mkdir()
        for name, line in _ACCOUNTS.items():
            place = Path("/etc") / name
            known = place.read_text() if place.exists() else ""
            (self._accounts / name).write_text(f"{known}{line}\n")
        _give(self.folder)
        return self

    def _argv(self) -> tuple[str, ...]:
        return ("podman",)


def _homes(folder: Path) -> Mapping[str, str]:
    """Given the folder of an engine, return where the ordinary user's programs keep what is theirs."""
    return {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
    }


def _give(folder: Path) -> None:
    """Given the folder of an engine, give everything in it to the ordinary user, who may enter it."""
    for name in ("home", "tmp", "runtime"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, _NUMBER, _NUMBER, follow_symlinks=False)
    for above in folder.parents:
        if above == ROOT:
            break
        above.chmod(above.stat().st_mode | 0o011)
