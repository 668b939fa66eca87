"""Image references, after the grammar of the distribution project (github.com/distribution/reference, reference.go).

    reference   := name [ ":" tag ] [ "@" digest ]
    name        := [ domain "/" ] path-component *( "/" path-component )

Everything that reaches an argv of docker as a reference goes through here, so that it can be neither an option nor
another image than it seems.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_HOST = "docker.io"
LONGEST_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

DOMAIN = re.compile(_DOMAIN, re.ASCII)
COMPONENT = re.compile(_COMPONENT, re.ASCII)
TAG = re.compile(_TAG, re.ASCII)
DIGEST = re.compile(_DIGEST, re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name.

    Attributes:
        host: the registry, `docker.io` for Docker Hub.
        path: the repository below the host.
        tag: the tag, None where only a digest was given.
        digest: `sha256:…`, None where only a tag was given.
    """

    host: str
    path: str
    tag: str | None = "latest"
    digest: str | None = None

    @property
    def repository(self) -> str:
        """The repository's full name, host included."""
        return f"{self.host}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.repository}{tag}{digest}"

    def at(self, digest: str) -> str:
        """Given a digest, return the name of that very image in this repository."""
        return f"{self.repository}@{digest}"
