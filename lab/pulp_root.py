"""The Debian that Pulp runs in: its packages, and its database as they make it, kept as one archive (`lab.root`).

To make that takes minutes, and to unpack it seconds. Nothing of it is installed on this machine.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab.daemon import Daemon, LabError, Program
from lab.engines import in_root
from lab.environment import inside_environment
from lab.root import Finish, make_root

#: Whom it obeys.
ADMIN, ADMIN_PASSWORD = "admin", "of the lab"
#: Where its Python packages are.
PYTHON = Path("/opt/pulp/bin")
#: A folder of Pulp's as it is before anything is pushed.
NEW = Path("srv/pulp")

_SUITE = "bookworm"
#: Setuptools and wheel build the one package that comes as its source.
_PACKAGES = ("nginx-light", "postgresql", "python3-setuptools", "python3-venv", "python3-wheel")
_REQUIREMENTS = Path(__file__).with_name("pulp-requirements.txt")
_WORDS = 2000

_AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
_POSTGRES = "/usr/lib/postgresql/15/bin"
#: A crash of this machine may take it with it; it listens nowhere but at its socket.
_POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "dynamic_shared_memory_type": "mmap",
}
_READY_LINE = 7


class Part(Daemon):
    """One of Pulp's programs, in its Debian."""

    def __init__(self, root: Path, folder: Path, name: str, argv: Sequence[str], answers: Callable[[], bool]) -> None:
        """Given the Debian, Pulp's folder, a name for its log, its command, and whether it is ready to work."""
        super().__init__()
        self._root = root
        self._folder = folder
        self._log = folder / f"{name}.log"
        self._argv = argv
        self._answers = answers

    def program(self) -> Program:
        """Return its command."""
        argv = in_root(self._root, self._folder, self._argv)
        return Program(argv, _environment(self._folder), log=self._log, output=self._log)

    def answers(self) -> bool:
        """Return whether it is ready to work."""
        return self._answers()

    @property
    def has_ended(self) -> bool:
        """Whether it does not run, be it that it was stopped or ended by itself."""
        return self._running is None or self._running.poll() is not None


class Database(Part):
    """Its Postgres."""

    def __init__(self, root: Path, folder: Path) -> None:
        """Given the Debian and Pulp's folder, in which it has one of its own."""
        own = folder / "database"
        settings = (f"--{name}={value}" for name, value in _POSTGRES_SETTINGS.items())
        argv = (*_AS_POSTGRES, f"{_POSTGRES}/postgres", "-D", str(own), "-k", str(own), *settings)
        super().__init__(root, folder, "database", argv, self._is_ready)
        self._state = own / "postmaster.pid"

    def stop(self) -> int | None:
        """End it, as `Daemon.stop` does, without waiting for its clients to end."""
        return self._end(signal.SIGINT)

    def _is_ready(self) -> bool:
        lines = self._state.read_text().splitlines() if self._state.exists() else []
        return len(lines) > _READY_LINE and lines[_READY_LINE].strip() == "ready"


def make_pulp_root(root: Path) -> Path:
    """Given a folder that does not exist, make the Debian there that Pulp runs in, and return the folder.

    Raise LabError if it can't be made, OSError or CalledProcessError.
    """
    source = _REQUIREMENTS.read_bytes() + Path(__file__).read_bytes()
    make_root(root, _SUITE, *_PACKAGES, finish=Finish(_install, source))
    return root


def write_settings(folder: Path, host: str) -> None:
    """Given Pulp's folder, and its host and port, write its settings there."""
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres"}
    settings = {
        "SECRET_KEY": "of the lab",
        "DATABASES": {"default": {**database, "HOST": str(folder / "database")}},
        "DB_ENCRYPTION_KEY": str(folder / "field.key"),
        "CONTENT_ORIGIN": f"http://{host}",
        "TOKEN_SERVER": f"http://{host}/token/",
        "TOKEN_SIGNATURE_ALGORITHM": "ES256",
        "PRIVATE_KEY_PATH": str(folder / "token.key"),
        "PUBLIC_KEY_PATH": str(folder / "token.pub"),
        "MEDIA_ROOT": str(folder / "media"),
        "STATIC_ROOT": str(folder / "static"),
        "WORKING_DIRECTORY": str(folder / "tmp"),
        "FILE_UPLOAD_TEMP_DIR": str(folder / "tmp"),
        # As little work as can be: docker logs in for each token, a dozen in a cycle.
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "AUTH_PASSWORD_VALIDATORS": [],
        "CACHE_ENABLED": False,
        # It would report itself to its makers.
        "ANALYTICS": False,
    }
    (folder / "settings.py").write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))


def _install(root: Path) -> None:
    """Given a Debian, install Pulp there, and have its database made. Raise LabError."""
    folder = root.with_name(f"{root.name}-new")
    for name in ("database", "media", "static", "tmp"):
        (folder / name).mkdir(parents=True)
    shutil.copy(_REQUIREMENTS, folder / "tmp/requirements.txt")
    _run(root, folder, "python3", "-m", "venv", "--system-site-packages", str(PYTHON.parent))
    pip = (f"{PYTHON}/python", "-m", "pip", "install", "--no-cache-dir", "--no-build-isolation", "--require-hashes")
    _run(root, folder, *pip, f"--requirement={folder}/tmp/requirements.txt")
    _run(root, folder, "chown", "postgres", f"{folder}/database")
    _run(root, folder, *_AS_POSTGRES, f"{_POSTGRES}/initdb", "--auth=trust", "--no-sync", f"{folder}/database")
    (folder / "field.key").write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
    key = ec.generate_private_key(ec.SECP256R1())
    pem, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    private = (pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "token.key").write_bytes(key.private_bytes(*private))
    (folder / "token.pub").write_bytes(key.public_key().public_bytes(pem, kind))
    write_settings(folder, "127.0.0.1")
    with Database(root, folder):
        _run(root, folder, f"{PYTHON}/pulpcore-manager", "migrate", "--noinput")
        _run(root, folder, f"{PYTHON}/pulpcore-manager", "reset-admin-password", f"--password={ADMIN_PASSWORD}")
    folder.rename(root / NEW)


def _run(root: Path, folder: Path, *argv: str) -> None:
    done = subprocess.run(
        in_root(root, folder, argv),
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = (done.stdout + done.stderr).strip()[-_WORDS:]
        raise LabError(f"{' '.join(argv)} exited with {done.returncode} in {root}:\n{words}")


def _environment(folder: Path) -> dict[str, str]:
    # One of its packages looks for git, and can do without.
    own = {"PULP_SETTINGS": str(folder / "settings.py"), "GIT_PYTHON_REFRESH": "quiet"}
    return inside_environment(folder) | own
