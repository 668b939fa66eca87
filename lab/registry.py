"""The registry: the distribution project's, with its own storage, users and log of what crossed the wire."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.access import Accessed
from lab.daemon import Daemon, Program
from lab.environment import lab_environment
from lab.port import Port

_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Tls:
    """What the registry needs to speak TLS: two PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """Token authentication instead of users: what the registry says and checks.

    Attributes:
        realm: the URL of the token server.
        service, issuer: what must stand in a token.
        certificates: a PEM file with the certificates whose keys may sign tokens.
    """

    realm: str
    service: str
    issuer: str
    certificates: Path


class Registry(Accessed, Daemon):
    """The distribution registry on loopback. A context manager: it answers on entry; on exit its folder is gone.

    Its port stays the same from start to start. Changes of users take effect at once, others at the next start.

    Attributes:
        storage: where it keeps what was pushed; may be given, and then outlives the registry.
        host: `127.0.0.1:PORT`, as it is written in the name of a repository.
        readonly: whether it refuses every write. Can be changed.
        tls: the files for TLS; None for plain HTTP. Can be changed.
    """

    host: str

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        token: TokenAuth | None = None,
        tls: Tls | None = None,
        readonly: bool = False,
        storage: Path | None = None,
        address: str = "127.0.0.1",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Given its folder, passwords by user (or `token`, or neither, for a registry that is open to all), further
        settings by the distribution project's environment variables (`REGISTRY_…`), and the rest as above, prepare a
        registry.
        """
        super().__init__()
        self.folder = folder
        self.storage = storage or folder / "storage"
        self.readonly = readonly
        self.tls = tls
        self._users = users
        self._token = token
        self._address = address
        self._settings = dict(settings or {})

    def prepare(self, held: ExitStack) -> None:
        """Make its folder, take a port, and write down its users."""
        self.folder.mkdir(parents=True)
        held.callback(shutil.rmtree, self.folder)
        self.host = f"{self._address}:{held.enter_context(Port(self._address)).number}"
        if self._users is not None:
            self.set_users(self._users)

    def program(self) -> Program:
        """Return the registry's command, with its configuration written from the settings."""
        file = self.folder / "config.json"
        file.write_text(json.dumps(self._configuration(), indent=2))  # JSON is YAML
        return Program(
            ("docker-registry", "serve", str(file)),
            lab_environment(self.folder) | self._settings,
            log=self.folder / "registry.log",
            output=self.folder / "access.log",
        )

    def answers(self) -> bool:
        """Return whether it answers, even if only to ask for credentials."""
        scheme = "https" if self.tls else "http"
        try:
            self._open(f"{scheme}://{self.host}/v2/")
        except urllib.error.HTTPError as answer:
            return answer.code == 401  # noqa: PLR2004  Unauthorized
        except OSError:
            return False
        return True

    def set_users(self, users: Mapping[str, str]) -> None:
        """Given passwords by user, let these in from now on, and no others."""
        lines = [
            subprocess.run(
                # As little work as possible: the registry does it again at each request, dozens in a cycle.
                ["htpasswd", "-niBC4", user],
                env=lab_environment(self.folder),
                input=password,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for user, password in users.items()
        ]
        # In one step: a login meanwhile is judged by the old ones or the new ones.
        unfinished = self._htpasswd.with_name("htpasswd.unfinished")
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.rename(self._htpasswd)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Given a repository's path and a tag, let the registry forget the tag."""
        shutil.rmtree(self._contents / "repositories" / repository / "_manifests" / "tags" / tag)

    def collect_garbage(self, *options: str) -> None:
        """Given options, have its own command remove what nothing needs. Nothing may be pushed meanwhile."""
        argv = ["docker-registry", "garbage-collect", *options, str(self.folder / "config.json")]
        subprocess.run(argv, env=lab_environment(self.folder) | self._settings, capture_output=True, check=True)

    def wipe(self) -> None:
        """Make the registry forget everything that was ever pushed."""
        if self._contents.exists():
            shutil.rmtree(self._contents)

    @property
    def _contents(self) -> Path:
        return self.storage / "docker" / "registry" / "v2"

    @property
    def _htpasswd(self) -> Path:
        return self.folder / "htpasswd"

    def _open(self, url: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # only whether it speaks is asked, not who it is
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        direct.open(url, timeout=_ANSWER_SECONDS).close()

    def _configuration(self) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": self.host, "secret": base64.b16encode(self.host.encode()).decode()}
        if self.tls:
            http["tls"] = {"certificate": str(self.tls.certificate), "key": str(self.tls.key)}
        configuration = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": False}},
            # No cache of what is stored: a file that a test removes or damages is seen to be so at once.
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
                "maintenance": {"readonly": {"enabled": self.readonly}},
            },
            "http": http,
        }
        if self._token:
            configuration["auth"] = {
                "token": {
                    "realm": self._token.realm,
                    "service": self._token.service,
                    "issuer": self._token.issuer,
                    "rootcertbundle": str(self._token.certificates),
                }
            }
        elif self._users is not None:
            configuration["auth"] = {"htpasswd": {"realm": "lab", "path": str(self._htpasswd)}}
        return configuration
