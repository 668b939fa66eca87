"""The registries, kept in memory: which images they have, and which users they let in."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path


class RefusedError(Exception):
    """Docker's words when it does not do what it was asked for, and what it printed until then."""

    def __init__(self, words: str, printed: str = "") -> None:
        super().__init__(words)
        self.printed = printed


@dataclass(frozen=True)
class Content:
    """An image, wherever it is; or an index of one for each platform."""

    image_id: str
    layers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    comment: str = ""
    command: tuple[str, ...] = ()
    platforms: Mapping[str, Content] = field(default_factory=dict)
    architecture: str = "amd64"

    @property
    def digest(self) -> str:
        return hashed("manifest", self.image_id)


class Registry:
    """All registries.

    Attributes:
        images: what they have, by name with its tag, and by name with its digest.
        accounts: users and passwords by host; a host that has some lets nobody else in.
        strangers_may: what a host that has accounts lets others do all the same: "pull", "push".
        pulls: the names that were pulled, each with the user who did.
        doors: hosts that are another name of one that is given here.
    """

    def __init__(self) -> None:
        self.images: dict[str, Content] = {}
        self.accounts: dict[str, dict[str, str]] = {}
        self.strangers_may: dict[str, set[str]] = {}
        self.pulls: list[tuple[str, str | None]] = []
        self.doors: dict[str, str] = {}

    def put(self, name: str, content: Content) -> None:
        name = self._behind(name)
        self.images[name] = content
        for one in (content, *content.platforms.values()):
            self.images[f"{repository_of(name)}@{one.digest}"] = one

    def get(self, name: str, config: Path) -> Content:
        self.pulls.append((name, self._admit(name, config, "pull")))
        content = self.images.get(self._behind(name))
        if content is None:
            raise RefusedError(f"Error response from daemon: manifest for {name} not found: manifest unknown\n")
        return content

    def get_for(self, platform: str, name: str, content: Content) -> Content:
        """Given what a name is, return the image of that for a platform, which an index may have lost."""
        if not content.platforms:
            return content
        child = f"{repository_of(name)}@{content.platforms[platform].digest}"
        found = self.images.get(self._behind(child))
        if found is None:
            raise RefusedError(f"Error response from daemon: manifest for {child} not found: manifest unknown\n")
        return found

    def push(self, name: str, content: Content, config: Path) -> None:
        self._admit(name, config, "push")
        self.put(name, content)

    def log_in(self, host: str, user: str, password: str, config: Path) -> str:
        if self.accounts.get(host, {}).get(user) != password:
            raise RefusedError(
                f"Error response from daemon: login attempt to http://{host}/v2/ failed with status: 401 Unauthorized\n"
            )
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        (config / "config.json").write_text(json.dumps({"auths": {host: {"auth": token}}}))
        return "Login Succeeded\n"

    def _behind(self, name: str) -> str:
        host, slash, rest = name.partition("/")
        return f"{self.doors.get(host, host)}{slash}{rest}"

    def _admit(self, name: str, config: Path, action: str) -> str | None:
        """Return who wants to do that, by the login in the config folder."""
        first, slash, _ = name.partition("/")
        host = first if slash and (":" in first or "." in first) else "docker.io"
        path = config / "config.json"
        auths = json.loads(path.read_text()).get("auths", {}) if path.exists() else {}
        user, _, password = base64.b64decode(auths.get(host, {}).get("auth", "")).decode().partition(":")
        accounts = self.accounts.get(host)
        if accounts is not None and not user and action in self.strangers_may.get(host, ()):
            return None
        if accounts is not None and accounts.get(user) != password:
            url = f"http://{host}/v2/{repository_of(name).partition('/')[2]}/manifests/latest"
            raise RefusedError(f'Error response from daemon: Head "{url}": no basic auth credentials\n')
        return user or None


def hashed(*parts: object) -> str:
    """Given anything, return a digest that is its own."""
    return f"sha256:{sha256(repr(parts).encode()).hexdigest()}"


def repository_of(name: str) -> str:
    return name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
