"""Image references, after the grammar of the distribution project (github.com/distribution/reference, reference.go).

    reference   := name [ ":" tag ] [ "@" digest ]
    name        := [ domain "/" ] path-component *( "/" path-component )

Everything that reaches an argv of docker as a reference goes through here, so that it can be neither an option nor a
different image than it seems. Short names are completed as docker completes them (normalize.go): `ubuntu` is
`docker.io/library/ubuntu`.

Each `parse_…` raises ValueError with one sentence that quotes what was given and says what is allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lib.quoting import quoted

DEFAULT_HOST = "docker.io"
DEFAULT_TAG = "latest"
LONGEST_NAME = 255
LONGEST_TAG = 128

_LEGACY_DEFAULT_HOST = "index.docker.io"
_WEB_PAGE = "hub.docker.com"
_OFFICIAL = "library/"
_HIGHEST_PORT = 65535
#: Hexadecimal digits of a digest, by its algorithm: those that docker can check.
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::(?P<port>[0-9]+))?"

# Only ever used with fullmatch(): `$` would let a trailing newline through.
DOMAIN = re.compile(_DOMAIN, re.ASCII)
COMPONENT = re.compile(_COMPONENT, re.ASCII)
TAG = re.compile(rf"\w[\w.-]{{0,{LONGEST_TAG - 1}}}", re.ASCII)
DIGEST = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<hex>[0-9a-f]+)", re.ASCII)
_IMAGE_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VISIBLE_ASCII = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's name.

    Attributes:
        host: the registry, `docker.io` for Docker Hub.
        path: the repository below the host.
        tag: the tag, None if only a digest was given.
        digest: `sha256:…`, None if only a tag was given.
    """

    host: str
    path: str
    tag: str | None = DEFAULT_TAG
    digest: str | None = None

    @property
    def repository(self) -> str:
        """The repository's full name, host included."""
        return f"{self.host}/{self.path}"

    @property
    def familiar(self) -> str:
        """The name as docker prints it, as in RepoTags: `ubuntu:latest` for `docker.io/library/ubuntu:latest`."""
        if self.host != DEFAULT_HOST:
            return str(self)
        official = self.path.removeprefix(_OFFICIAL)
        return (self.path if "/" in official else official) + self._suffix

    @property
    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return tag + digest

    def __str__(self) -> str:
        return self.repository + self._suffix

    def at(self, digest: str) -> str:
        """Given a digest, return the name of that very image in this repository."""
        return f"{self.repository}@{digest}"


def parse_reference(text: str) -> Reference:
    """Given an image's name as docker takes it, return it completed: host, and `latest` without tag or digest.

    Raise ValueError for what docker would refuse, or not take as an image's name.
    """
    _check_characters(text)
    named, at, digest = text.partition("@")
    host, remainder = _split_host(named)
    path, colon, tag = remainder.partition(":")
    if host == _WEB_PAGE:
        name = re.sub(r"^(?:r|_|repository/docker)/", "", path)
        written = name if all(map(COMPONENT.fullmatch, name.split("/"))) else "OWNER/NAME"
        raise ValueError(f"{quoted(text)} is the address of a web page: write {DEFAULT_HOST}/{written}")
    parse_host(host)
    _check_path(path, text)
    if len(f"{host}/{path}") > LONGEST_NAME:
        raise ValueError(f"{quoted(text)} is too long: a repository's full name has at most {LONGEST_NAME} characters")
    if colon:
        parse_tag(tag)
    if at:
        parse_digest(digest)
    return Reference(host, path, tag or (None if at else DEFAULT_TAG), digest or None)


def parse_repository(text: str, tag: str = DEFAULT_TAG) -> Reference:
    """Given a repository's name, and a checked tag, return the two as a reference.

    Raise ValueError for a name that docker would refuse, or that brings a tag or digest of its own.
    """
    _check_whole(text)
    reference = parse_reference(text)
    if reference.digest is not None:
        raise ValueError(f"{quoted(text)} has a digest: give the repository alone")
    if ":" in text.rpartition("/")[2]:
        raise ValueError(f"{quoted(text)} has a tag: put the tag into `tag`")
    return Reference(reference.host, reference.path, tag)


def _check_whole(text: str) -> None:
    """Given a repository's name, raise ValueError if docker would complete it to another than was meant."""
    _check_characters(text)
    host, slash, path = text.partition("/")
    if not slash and DOMAIN.fullmatch(host) and (host == "localhost" or "." in host or re.search(r":[0-9]+$", host)):
        raise ValueError(f"{quoted(text)} names a host and no repository: as in {host}/some/repository")
    if slash and COMPONENT.fullmatch(path) and host in {DEFAULT_HOST, _LEGACY_DEFAULT_HOST}:
        raise ValueError(
            f"{quoted(text)} names an owner and no repository: as in {text}/canary"
            f" ({host}/{_OFFICIAL}{path} is Docker's own)"
        )


def parse_tag(text: str) -> str:
    """Given a tag, return it. Raise ValueError for one that the grammar doesn't allow."""
    if not text:
        raise ValueError("the tag is missing")
    if not TAG.fullmatch(text):
        raise ValueError(
            f"{quoted(text)} is not a tag: at most {LONGEST_TAG} of the characters A-Z a-z 0-9 _ . -, "
            "the first of them neither . nor -"
        )
    return text


def parse_digest(text: str) -> str:
    """Given a digest, return it. Raise ValueError for one that docker can't check."""
    match = DIGEST.fullmatch(text)
    length = _DIGEST_LENGTHS.get(match["algorithm"]) if match else None
    if match is None or len(match["hex"]) != length:
        raise ValueError(
            f"{quoted(text)} is not a digest: write sha256: and {_DIGEST_LENGTHS['sha256']} of the digits 0-9 a-f"
        )
    return text


def parse_host(text: str) -> str:
    """Given a registry's host, with its port if it has one, return it; `index.docker.io` is `docker.io`.

    Raise ValueError if it is not a host, or its port is impossible.
    """
    _check_characters(text)
    match = DOMAIN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{quoted(text)} is not a registry host: write a name, an IPv4 address or an [IPv6] address, and :PORT"
        )
    if match["port"] is not None and not 1 <= int(match["port"][:6]) <= _HIGHEST_PORT:
        raise ValueError(f"{quoted(text)} has an impossible port: 1 to {_HIGHEST_PORT}")
    return DEFAULT_HOST if text == _LEGACY_DEFAULT_HOST else text


def same_host(one: str, other: str) -> bool:
    """Given two hosts, return whether they are the same: DNS ignores case."""
    return one.lower() == other.lower()


def _split_host(named: str) -> tuple[str, str]:
    """Given a name with its tag, return host and remainder, as splitDockerDomain of normalize.go splits them."""
    first, slash, rest = named.partition("/")
    is_host = slash and (first == "localhost" or any(mark in first for mark in ".:") or first != first.lower())
    host, remainder = (first, rest) if is_host else (DEFAULT_HOST, named)
    if host == _LEGACY_DEFAULT_HOST:
        host = DEFAULT_HOST
    if host == DEFAULT_HOST and "/" not in remainder:
        if _IMAGE_ID.fullmatch(named):
            raise ValueError(f"{quoted(named)} is an image's ID, not its name")
        remainder = _OFFICIAL + remainder
    return host, remainder


def _check_characters(text: str) -> None:
    """Given any text, raise ValueError if it can be neither a reference nor a host, whatever its structure."""
    if not text:
        raise ValueError("the name is missing")
    if not _VISIBLE_ASCII.fullmatch(text):
        raise ValueError(f"{quoted(text)} has a space, a line end or another character that no name may have")
    if text.startswith("-"):
        raise ValueError(f"{quoted(text)} begins with a dash")
    if "://" in text:
        raise ValueError(f"{quoted(text)} has a scheme: leave out everything up to ://")


def _check_path(path: str, text: str) -> None:
    if not path:
        raise ValueError(f"{quoted(text)} names a host without a repository")
    if path != path.lower():
        raise ValueError(f"{quoted(text)} has upper case: a repository's name is lower case")
    for component in path.split("/"):
        if not COMPONENT.fullmatch(component):
            raise ValueError(
                f"{quoted(text)} is not an image name: {quoted(component)} in it is not made of a-z 0-9, "
                "with single . or _ or __ or dashes between them"
            )
