"""The registry's access log, which proves what crossed the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

#: Apache's combined log format.
_LINE = re.compile(
    r'(?P<client>\S+) \S+ \S+ \[(?P<time>[^]]+)\] "(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[0-9.]+" '
    r'(?P<status>\d{3}) (?P<bytes>\d+|-) "[^"]*" "(?P<agent>(?:[^"\\]|\\.)*)"'
)
#: Of the API, and of whom it sends docker to for a blob.
_PATH = re.compile(r"/(?:v2|pulp/container)/(?P<repository>.+)/(?P<kind>blobs|manifests|tags)/(?P<reference>.*)")

_OK = 200
_CREATED = 201


@dataclass(frozen=True, slots=True)
class Access:
    """One answered request.

    Attributes:
        time: when it came; whole seconds.
        method, path, query: what was asked for; the query is empty if there was none.
        status, bytes: the answer's HTTP status, and the length of its body.
        user_agent: what the client calls itself; docker's begins with `docker/`.
    """

    time: datetime
    method: str
    path: str
    query: str
    status: int
    bytes: int
    user_agent: str

    @property
    def repository(self) -> str | None:
        """The repository that it was about; None if it was about none."""
        match = _PATH.fullmatch(self.path)
        return match["repository"] if match else None

    @property
    def blob_put(self) -> str | None:
        """The digest of the blob, if one was put or mounted."""
        if not self._is("blobs", _CREATED):
            return None
        asked = parse_qs(self.query)
        return next((asked[name][0] for name in ("digest", "mount") if name in asked), None)

    @property
    def blob_got(self) -> str | None:
        """The digest of the blob, if one was read."""
        return self._reference("blobs", "GET", _OK)

    @property
    def manifest_put(self) -> str | None:
        """The tag or digest under which a manifest was put, if one was."""
        return self._reference("manifests", "PUT", _CREATED)

    def _is(self, kind: str, status: int) -> bool:
        match = _PATH.fullmatch(self.path)
        return match is not None and match["kind"] == kind and self.status == status

    def _reference(self, kind: str, method: str, status: int) -> str | None:
        match = _PATH.fullmatch(self.path)
        return match["reference"] if match and self.method == method and self._is(kind, status) else None


class Accessed:
    """A registry with an access log.

    Attributes:
        folder: where everything of it is.
    """

    folder: Path

    def accesses(self, repository: str | None = None) -> list[Access]:
        """Return every request answered so far, in order; given a repository's path, those about it."""
        log = self.folder / "access.log"
        accesses = read_accesses(log.read_text(errors="replace").splitlines())
        return [access for access in accesses if repository in (None, access.repository)]

    def blobs_put(self, repository: str | None = None) -> list[str]:
        """Return the digests of the blobs that were put; given a repository's path, there."""
        return [access.blob_put for access in self.accesses(repository) if access.blob_put]

    def blobs_got(self, repository: str | None = None) -> list[str]:
        """Return the digests of the blobs that were read, once for each time; given a repository's path, there."""
        return [access.blob_got for access in self.accesses(repository) if access.blob_got]

    def manifests_put(self, repository: str | None = None) -> list[str]:
        """Return the tags, or digests, under which manifests were put; given a repository's path, there."""
        return [access.manifest_put for access in self.accesses(repository) if access.manifest_put]


def read_accesses(lines: Iterable[str]) -> list[Access]:
    """Given the lines of an access log, return what each says. A line in another format is passed over."""
    return [_access(match) for match in map(_LINE.match, lines) if match]


def _access(match: re.Match[str]) -> Access:
    target = urlsplit(match["target"])
    return Access(
        time=datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z"),
        method=match["method"],
        path=target.path,
        query=target.query,
        status=int(match["status"]),
        bytes=0 if match["bytes"] == "-" else int(match["bytes"]),
        user_agent=match["agent"],
    )
