"""The files that a registry keeps for one repository: what is lost there for a while is lost for real."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab.registry import Registry
from lab.target import path_of


class Storage:
    """The files of one repository of a registry.

    Attributes:
        name: the repository's full name.
        repository: the folder with all that belongs to it; its blobs are elsewhere, as repositories share them.
    """

    def __init__(self, registry: Registry, name: str) -> None:
        """Given a registry, and a repository's full name there."""
        self.name = name
        contents = registry.storage / "docker/registry/v2"
        self.repository = contents / "repositories" / path_of(name)
        self._blobs = contents / "blobs/sha256"

    def blob(self, digest: str) -> Path:
        """Given the digest of a layer or a manifest, return its file."""
        hexadecimal = digest.removeprefix("sha256:")
        return self._blobs / hexadecimal[:2] / hexadecimal / "data"

    def layers(self, digest: str) -> list[Path]:
        """Given the digest of an image's manifest, return the files of its layers."""
        manifest = json.loads(self.blob(digest).read_text())
        return [self.blob(layer["digest"]) for layer in manifest["layers"]]

    def labels(self, tag: str) -> dict[str, str]:
        """Given the tag of an image, return its labels."""
        manifest = json.loads(self.blob(self.digest(tag)).read_text())
        labels: dict[str, str] = json.loads(self.blob(manifest["config"]["digest"]).read_text())["config"]["Labels"]
        return labels

    def platforms(self, digest: str) -> dict[str, str]:
        """Given the digest of an index, return those of its images, by their platforms."""
        manifests = json.loads(self.blob(digest).read_text())["manifests"]
        return {f"{one['platform']['os']}/{one['platform']['architecture']}": one["digest"] for one in manifests}

    def tag(self, name: str) -> Path:
        """Given a tag, return the folder that makes it one."""
        return self.repository / "_manifests/tags" / name

    def digest(self, tag: str) -> str:
        """Given a tag, return the digest that it stands for."""
        return (self.tag(tag) / "current/link").read_text()

    def revision(self, digest: str) -> Path:
        """Given the digest of a manifest, return the folder that makes it part of this repository."""
        return self.repository / "_manifests/revisions/sha256" / digest.removeprefix("sha256:")

    @contextmanager
    def without(self, path: Path) -> Iterator[None]:
        """Given a file or folder, remove it for a while; what came in its place meanwhile is then removed."""
        aside, instead = path.with_name(f"{path.name}-aside"), path.with_name(f"{path.name}-instead")
        path.rename(aside)
        try:
            yield
        finally:
            # A registry may write there at any moment: then what it wrote is in the way, and is moved out of it again.
            while aside.exists():
                with suppress(OSError):
                    path.rename(instead)
                with suppress(OSError):
                    aside.rename(path)
                shutil.rmtree(instead, ignore_errors=True)

    @contextmanager
    def truncated(self, path: Path) -> Iterator[None]:
        """Given a file, remove its second half for a while."""
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        try:
            yield
        finally:
            path.write_bytes(whole)
