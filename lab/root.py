"""A root: the file system of a small Debian, made by mmdebstrap, with this machine's ways to packages in it.

What mmdebstrap made is kept for a week, as an archive outside any clone: a test run needs three of them, and it takes
most of a minute to make one, half of what debootstrap needs. What else takes long to make of one is kept with it.
"""

from __future__ import annotations

import fcntl
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lab.daemon import LabError

#: Where archives of roots are kept. Root's own: what is in them is run as root.
CACHE = Path("/var/cache/registry-monitor-lab")

_FRESH_SECONDS = 7 * 24 * 3600.0
_WORDS = 2000
#: What is tested is the newest that this machine's archive has, however old that has become.
_APT = 'Acquire::Check-Valid-Until "false"'
#: pip's settings that also hold elsewhere; the others name files of this machine.
_PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout")


@dataclass(frozen=True, slots=True)
class Finish:
    """What else is done to a root, once, before it is kept.

    Attributes:
        work: does it, given the root's folder.
        source: what its result depends on: with another source, it is done again.
    """

    work: Callable[[Path], None]
    source: bytes


def make_root(folder: Path, suite: str, *packages: str, cache: Path = CACHE, finish: Finish | None = None) -> None:
    """Given a folder that does not exist, a Debian's name, and further packages, make that Debian in the folder.

    Its apt and pip get packages as this machine's do. Given another cache than the usual one, archives are kept there;
    given what else is done to a root, this one is kept with that. Raise LabError, with mmdebstrap's last words, if it
    fails; OSError or CalledProcessError; whatever `finish` raises.
    """
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    made_of = " ".join(sorted(packages)).encode() + (finish.source if finish else b"")
    archive = cache / f"{suite}-{sha256(made_of).hexdigest()[:16]}.tar"
    # Others that want the same root wait for it.
    with archive.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_fresh(archive):
            _extract(archive, folder)
            return
        unfinished = archive.with_suffix(".unfinished")
        _bootstrap(unfinished, suite, packages)
        _extract(unfinished, folder)
        if finish is not None:
            finish.work(folder)
            _tar("--create", unfinished, folder, "--one-file-system", ".")
        unfinished.rename(archive)


def _is_fresh(archive: Path) -> bool:
    return archive.exists() and time.time() - archive.stat().st_mtime < _FRESH_SECONDS


def _extract(archive: Path, folder: Path) -> None:
    """Given an archive, extract it to a new folder, and have apt and pip there get packages as this machine's do."""
    folder.mkdir()
    _tar("--extract", archive, folder)
    (folder / "etc/apt/apt.conf.d/99machine").write_text(_output("apt-config", "dump", "Acquire"))
    # A file of its own: the package ca-certificates writes the usual one again.
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/machine.crt")
    pip = ["[global]", "cert=/etc/machine.crt", *_pip()]
    (folder / "etc/pip.conf").write_text("".join(f"{line}\n" for line in pip))


def _tar(action: str, archive: Path, folder: Path, *further: str) -> None:
    """Given what tar does, an archive and a folder, do it; owners are kept by their numbers, file capabilities too."""
    kept = ("--numeric-owner", "--xattrs", "--xattrs-include=*")
    subprocess.run(["tar", action, "--file", str(archive), "--directory", str(folder), *kept, *further], check=True)


def _bootstrap(archive: Path, suite: str, packages: Sequence[str]) -> None:
    chosen = [f"--include={','.join(packages)}"] if packages else []
    argv = ["mmdebstrap", "--variant=minbase", "--format=tar", f"--aptopt={_APT}", *chosen, suite, str(archive)]
    made = subprocess.run([*argv, *_mirror()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode:
        raise LabError(f"mmdebstrap can't make Debian {suite}:\n{made.stdout[-_WORDS:]}")


def _mirror() -> Sequence[str]:
    """Return the archive that this machine's own Debian comes from; none, for the usual one, if it is not a Debian."""
    targets = _output("apt-get", "indextargets", "--format=$(CODENAME) $(REPO_URI)", "Origin: Debian").splitlines()
    codenames = dict(target.split(" ", 1) for target in targets)
    return next(([uri] for codename, uri in codenames.items() if codename.isalpha()), [])


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
