"""A host, kept in memory: what docker's verbs change there, and what they print, in the words of `outputs/`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.unit.fake_docker.registry import Content, RefusedError, Registry, hashed, repository_of
from tests.unit.support import described, labels_in, missing, pulled, pushed

#: What `docker info` says of containerd's image store.
IN_CONTAINERD = 'overlayfs [["driver-type","io.containerd.snapshotter.v1"]]\n'

_MOMENT = "%Y-%m-%d %H:%M:%S"


@dataclass
class Local:
    """An image on the host: its names, by tag or by digest, and the image that it was built on."""

    content: Content
    names: list[str] = field(default_factory=list)
    parent: str | None = None

    def description(self) -> str:
        tags, digests = ([name for name in self.names if ("@" in name) is by_digest] for by_digest in (False, True))
        of = self.content
        return described(
            of.image_id,
            tags,
            digests,
            len(of.layers),
            of.labels,
            of.comment,
            of.command,
            self.parent or "",
            of.architecture,
        )


@dataclass
class Container:
    """A container: what it was made from, command and status as `docker ps` prints them, its volume without a name."""

    image_id: str = ""
    command: str = '"/bin/sh"'
    labels: Mapping[str, str] = field(default_factory=dict)
    status: str = "Created"
    volume: str | None = None


@dataclass
class Record:
    """A record of BuildKit's cache: its size as docker prints it, the layer that it keeps on the host, the records that
    it is made on, and how many more removals find it in use.
    """

    description: str
    size: str = "10B"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    is_shared: bool = False
    layer: str = ""
    parents: tuple[str, ...] = ()
    in_use: int = 0

    def line(self, record_id: str) -> str:
        shared, mark = "true" if self.is_shared else "false", "*" if self.in_use else ""
        moment = f"{self.created:{_MOMENT}.%f}123 +0000 UTC"
        return f"{record_id}{mark} [{', '.join(self.parents)}] {moment} {shared} {self.size} {self.description}\n"


class Engine:
    """A host.

    Attributes:
        registry: the registries that it reaches.
        images, containers, cache: what is on it, by ID.
        volumes: their names.
        dockerfile: that of the last build.
        names_copies: BuildKit says what it copied where, as since Docker 23.
        clock_is_off: by how much its clock is ahead of ours.
        is_podmans: intermediate images stay when the one built on them goes, and a build prints a bare ID.
        keeps_indexes: it has containerd's image store.
        builds_itself: buildx is there, and has the engine's own BuildKit build.
        platform: its own, which it takes from an index unless asked for another.
    """

    def __init__(self) -> None:
        self.registry = Registry()
        self.images: dict[str, Local] = {}
        self.containers: dict[str, Container] = {}
        self.volumes: set[str] = set()
        self.cache: dict[str, Record] = {}
        self.dockerfile = ""
        self.names_copies = True
        self.clock_is_off = timedelta()
        self.is_podmans = False
        self.keeps_indexes = False
        self.builds_itself = True
        self.platform = "linux/amd64"

    # What tests do, and look at.

    def add(self, content: Content, *names: str, parent: str | None = None) -> None:
        """Put an image on the host under these names, which no other image has from now on."""
        local = self.images.setdefault(content.image_id, Local(content, parent=parent))
        for name in names:
            for other in self.images.values():
                other.names = [one for one in other.names if one != name]
            local.names.append(name)

    def names(self) -> dict[str, str]:
        """Return which image each name is."""
        return {name: image_id for image_id, local in self.images.items() for name in local.names}

    def snapshot(self) -> tuple[object, ...]:
        """Return everything on the host."""
        images = {image_id: set(local.names) for image_id, local in self.images.items()}
        return images, set(self.containers), set(self.volumes), set(self.cache)

    def find(self, asked: str) -> Local | None:
        for image_id, local in self.images.items():
            is_id = re.fullmatch("[0-9a-f]{4,64}", asked) and image_id.removeprefix("sha256:").startswith(asked)
            if asked == image_id or asked in local.names or is_id:
                return local
        return None

    def layers(self) -> set[str]:
        """Return the layers that are on the host, by an image or by BuildKit's cache."""
        kept = {record.layer for record in self.cache.values()}
        return kept.union(*(local.content.layers for local in self.images.values()))

    # Docker's verbs: each takes the arguments behind it, and returns what docker prints.

    def pull(self, config: Path, *arguments: str) -> str:
        name = arguments[-1]
        whole = self.registry.get(name, config)
        platform = arguments[1] if arguments[0] == "--platform" else None
        content = self.registry.get_for(platform or self.platform, name, whole)
        if platform and content.architecture not in platform and not self.keeps_indexes:
            found = f"image with reference {name} was found but does not match the specified platform"
            raise RefusedError(f"{found}: wanted {platform}, actual: linux/{content.architecture}\n")
        digest = whole.digest
        if whole is not content and self.keeps_indexes:
            # From the index, what is there.
            there = {"layers": content.layers, "labels": content.labels, "architecture": content.architecture}
            content = replace(whole, **there)
        layers = () if content.image_id in self.images else content.layers
        moved, before = len(set(layers) - self.layers()), self.find(name)
        self.add(content, *dict.fromkeys((name, f"{repository_of(name)}@{digest}")))
        is_same = before is self.images[content.image_id]
        status = "Image is up to date" if is_same else "Downloaded newer image"
        return pulled(digest, moved, len(layers) - moved, status)

    def push(self, name: str, config: Path) -> str:
        local = self.find(name)
        if local is None:
            raise RefusedError(f"An image does not exist locally with the tag: {repository_of(name)}\n")
        self.registry.push(name, local.content, config)
        self.add(local.content, f"{repository_of(name)}@{local.content.digest}")
        return pushed(local.content.digest)

    def info(self) -> str:
        return IN_CONTAINERD if self.keeps_indexes else "overlay2 []\n"

    def inspect_builder(self) -> str:
        if not self.builds_itself:
            raise RefusedError("docker: 'buildx' is not a docker command.\nSee 'docker --help'\n")
        return f"Name:   default\nDriver: docker\n\nNodes:\nName: default\nPlatforms: {self.platform}, linux/386\n"

    def build(self, name: str, files: Mapping[str, bytes], platforms: Sequence[str], *, with_buildkit: bool) -> str:
        self.dockerfile = files["Dockerfile"].decode()
        base_name, *copied = re.findall(r"^(?:FROM|COPY) (.+)$", self.dockerfile, re.MULTILINE)
        base = self.find(base_name)
        if base is None and base_name != "scratch":
            raise RefusedError(f"pull access denied for {base_name}, repository does not exist\n")
        if platforms and not (with_buildkit and self.keeps_indexes):
            raise RefusedError("ERROR: Multi-platform build is not supported for the docker driver.\n")
        if with_buildkit:
            read_first = len(files["Dockerfile"]) + len(files["Dockerfile.dockerignore"])
            self._cache("local source for dockerfile", read_first)
            sent_as = copied[0].split()[0].removeprefix("--from=") if copied[0].startswith("--from=") else "context"
            self._cache(f"local source for {sent_as}", len(files.get(".dockerignore", "")))
            self._cache(f"local source for {sent_as}", sum(len(files[copy.split()[-2]]) for copy in copied))
        of_each = {
            platform: self._build_on(base, files, copied, platform, with_buildkit=with_buildkit)
            for platform in platforms or (self.platform,)
        }
        *between, image = of_each[self.platform]
        if platforms:
            images = {platform: built[-1] for platform, built in of_each.items()}
            layers = {layer for one in images.values() for layer in one.layers}
            image = Content(hashed(images), tuple(sorted(layers)), image.labels, platforms=images)
        parent = base.content.image_id if base and not with_buildkit else None
        for step in (image,) if with_buildkit else (*between, image):
            self.add(step, parent=parent)
            parent = step.image_id
        self.add(image, name)
        return f"{image.image_id.removeprefix('sha256:') if self.is_podmans else image.image_id}\n"

    def _build_on(
        self,
        base: Local | None,
        files: Mapping[str, bytes],
        copied: Sequence[str],
        platform: str,
        *,
        with_buildkit: bool,
    ) -> list[Content]:
        """Return the images that a build makes for a platform, one on the other."""
        inherited = base.content.labels if base else {}
        labels, architecture = {**inherited, **labels_in(self.dockerfile)}, platform.partition("/")[2]
        built = [Content(hashed(self.dockerfile, platform), base.content.layers if base else (), labels)]
        for copy in copied:
            file, place = copy.replace("$TARGETARCH", architecture).split()[-2:]
            layer = hashed(files[file], place)
            image_id, layers = hashed(built[-1].image_id, layer), (*built[-1].layers, layer)
            built.append(Content(image_id, layers, labels, architecture=architecture))
            if with_buildkit:
                described = f"[1/1] COPY {file} {place}" if self.names_copies else "fileop target"
                self._cache(described, len(files[file]), layer)
        return built

    def _cache(self, description: str, size: int, layer: str = "") -> None:
        record_id = hashed(description, layer, len(self.cache))[-25:]
        self.cache[record_id] = Record(description, f"{size}B", layer=layer)

    def rmi(self, *asked: str) -> str:
        printed, refused = "", ""
        for name in asked:
            try:
                printed += self._remove(name)
            except RefusedError as error:
                refused += str(error)
        if refused:
            raise RefusedError(refused, printed)
        return printed

    def _remove(self, asked: str) -> str:
        local = self.find(asked)
        if local is None:
            raise RefusedError(f"Error response from daemon: No such image: {asked}\n")
        image_id, places = local.content.image_id, [repository_of(name) for name in local.names if "@" not in name]
        conflict = f"Error response from daemon: conflict: unable to delete {image_id[7:19]} (cannot be forced) - image"
        if asked in local.names:
            place = repository_of(asked)
            # With its last tag there, an image also loses its names by digest.
            going = {asked} | {name for name in local.names if name.startswith(f"{place}@") and places.count(place) < 2}
            if set(local.names) != going or self._children(image_id):
                local.names = [name for name in local.names if name not in going]
                return "".join(f"Untagged: {name}\n" for name in going)
        elif len(places) > 1 or len(set(map(repository_of, local.names))) > 1:
            raise RefusedError(f"{conflict} is referenced in multiple repositories\n")
        if any(container.image_id == image_id for container in self.containers.values()):
            raise RefusedError(f"{conflict} is being used by stopped container {image_id}\n")
        if self._children(image_id):
            raise RefusedError(f"{conflict} has dependent child images\n")
        return "".join(f"Untagged: {name}\n" for name in local.names) + self._delete(image_id)

    def _children(self, image_id: str) -> list[str]:
        return [one for one, local in self.images.items() if local.parent == image_id]

    def _delete(self, image_id: str) -> str:
        """Remove an image, with the intermediate ones that nothing else is built on."""
        local = self.images.pop(image_id)
        printed = f"Deleted: {image_id}\n"
        parent = None if self.is_podmans or local.parent is None else self.images.get(local.parent)
        if parent is not None and not parent.names and not self._children(parent.content.image_id):
            printed += self._delete(parent.content.image_id)
        return printed + "".join(f"Deleted: {one}\n" for one in local.content.layers if one not in self.layers())

    def tag(self, source: str, name: str) -> str:
        local = self.find(source)
        if local is None:
            raise RefusedError(f"Error response from daemon: No such image: {source}\n")
        self.add(local.content, name)
        return ""

    def inspect(self, *asked: str) -> str:
        found = {name: self.find(name) for name in asked}
        printed = "".join(local.description() for local in found.values() if local)
        if not all(found.values()):
            raise RefusedError(missing(*(name for name, local in found.items() if local is None)), printed or "\n")
        return printed

    def list_images(self, label: str) -> str:
        return "".join(f"{one}\n" for one, local in reversed(self.images.items()) if label in local.content.labels)

    def list_repositories(self) -> str:
        return "".join(
            f"{one} {place}\n"
            for one, local in self.images.items()
            for place in sorted({repository_of(name) for name in local.names} or {"<none>"})
        )

    def list_containers(self, label: str, template: str) -> str:
        shown = re.findall(r'\.Label "([^"]+)"', template)
        return "".join(
            json.dumps([one, container.status, container.command, *(container.labels.get(name, "") for name in shown)])
            + "\n"
            for one, container in self.containers.items()
            if label in container.labels
        )

    def now(self) -> str:
        return f"{(datetime.now(UTC) + self.clock_is_off).isoformat()}\n"

    def rm(self, container_id: str) -> str:
        if container_id not in self.containers:
            raise RefusedError(f"Error response from daemon: No such container: {container_id}\n")
        self.volumes.discard(self.containers.pop(container_id).volume or "")
        return f"{container_id}\n"

    def list_cache(self, template: str) -> str:
        since = re.search(r'ge \.CreatedAt "([^"]+)"', template)
        texts = re.findall(r'split \.Description "([^"]+)"', template)
        return "".join(
            record.line(record_id)
            for record_id, record in self.cache.items()
            if (since is None or f"{record.created:{_MOMENT}}" >= since[1])
            and (not texts or any(text in record.description for text in texts))
        )

    def prune(self, pattern: str) -> str:
        found = [one for one in self.cache if re.search(pattern, one)]
        gone = [one for one in found if not self.cache[one].in_use]
        for one in found:
            self.cache[one].in_use -= self.cache[one].in_use > 0
        self.cache = {one: record for one, record in self.cache.items() if one not in gone}
        lines = "".join(f"{one}*\ttrue\t10B\n" for one in gone)
        return f"ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n{lines}Total:\t0B\n"
