"""A root: the file system of a small Debian, made by debootstrap, with this machine's ways to packages in it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.daemon import LabError

_WORDS = 2000
#: pip's settings that also hold elsewhere; the others name files of this machine.
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")


def make_root(folder: Path, suite: str, *packages: str) -> None:
    """Given a folder that does not exist, a Debian's name, and further packages, make that Debian in the folder.

    Its apt and pip get packages as this machine's do. Raise LabError, with debootstrap's last words, where it fails.
    """
    chosen = [f"--include={','.join(packages)}"] if packages else []
    argv = ["debootstrap", "--variant=minbase", *chosen, suite, str(folder), *_mirror()]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    if made.returncode:
        raise LabError(f"debootstrap can't make Debian {suite}:\n{made.stdout[-_WORDS:]}")
    (folder / "etc/apt/apt.conf.d/99machine").write_text(_output("apt-config", "dump", "Acquire"))
    # A file of its own: the package ca-certificates writes the usual one anew.
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/machine.crt")
    pip = ["[global]", "cert=/etc/machine.crt", *_pip()]
    (folder / "etc/pip.conf").write_text("".join(f"{line}\n" for line in pip))


def _mirror() -> list[str]:
    """Return the archive that this machine's own Debian comes from; none where it is no Debian, for the usual one."""
    targets = _output("apt-get", "indextargets", "--format=$(CODENAME) $(REPO_URI)", "Origin: Debian").splitlines()
    codenames = dict(target.split(" ", 1) for target in targets)
    return [uri for codename, uri in codenames.items() if codename.isalpha()][:1]


def _pip() -> Iterator[str]:
    """Return this machine's settings of pip, as lines of its configuration."""
    for line in _output(sys.executable, "-m", "pip", "config", "list").splitlines():
        place, _, quoted = line.partition("=")
        name = place.rpartition(".")[2]
        value = " ".join(word for word in shlex.split(quoted)[0].split() if not word.startswith("file:"))
        if name in _PIP_SETTINGS and value:
            yield f"{name}={value}"


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
