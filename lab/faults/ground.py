"""The ground that the fault matrix stands on, and the lanes on it: one row's own registry, proxy and names."""

from __future__ import annotations

import io
import shutil
import tarfile
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from itertools import count
from pathlib import Path
from queue import Queue

from lab.certificates import Authority
from lab.closing import Holding
from lab.daemon import LabError, last_lines
from lab.engine import Engine
from lab.misbehaviour import tls
from lab.mounts import small_disk, with_mounts
from lab.network import Network
from lab.proxy import Proxy
from lab.registry import Registry
from lab.resolver import Resolver
from lab.session import Lab
from lab.token_server import TokenServer

USERNAME = "monitor"
PASSWORD = "correct horse"
REPOSITORY = "acme/canary"

SICK_ENGINES = 3
#: A sick engine's whole disk; an empty engine takes 1 MiB of it.
DISK_BYTES = 48 * 1024 * 1024
#: The whole disk of a registry with a small one.
STORAGE_BYTES = 4 * 1024 * 1024


class Ground:
    """What all lanes share.

    Attributes:
        folder: holds the lanes' own folders.
        network: the namespace in which their registries are reached. resolver: what the engines ask for names.
            authority: the one whose certificates the engines trust. stranger: one whose certificates they don't.
        calm: an engine for rows that leave it alone, many at a time.
        logging_in: held by the one that logs in.
    """

    def __init__(self, lab: Lab) -> None:
        """Given a lab, start everything in it."""
        self.folder = lab.folder
        self.network = lab.enter(Network())
        self.resolver = lab.enter(Resolver(self.network.bind_udp(53)))
        self.authority = Authority(self.folder / "authority")
        self.stranger = Authority(self.folder / "stranger")
        # With dockerd's usual three downloads at a time, rows that hang would keep the others waiting.
        self.calm = lab.enter(self._engine("calm", "--max-concurrent-downloads=200", "--max-concurrent-uploads=200"))
        self._sick: Queue[Engine] = Queue()
        for number in range(SICK_ENGINES):
            name = f"sick-{number}"
            lab.enter(small_disk(self.folder / name / "data", DISK_BYTES))
            self._sick.put(lab.enter(self._engine(name)))
        self._numbers = count(1)
        self.logging_in = threading.Lock()

    def next_number(self) -> int:
        """Return a number that no lane has yet."""
        return next(self._numbers)

    @contextmanager
    def sick_engine(self) -> Iterator[Engine]:
        """Lend an engine to one row alone, which may stop, fill or kill it as long as it runs again afterwards.

        Raise LabError if it does not: that is this row's failure, and not the next one's, whose engine runs.
        """
        engine = self._sick.get()
        words = ""
        try:
            yield engine
        finally:
            try:
                if not engine.answers():
                    words = last_lines(engine.folder / "dockerd.log")
                    engine.kill()
                    engine.start()
            finally:
                self._sick.put(engine)
        if words:
            raise LabError(f"the row left its engine without an answer. Its last words:\n{words}")

    def trust(self, engine: Engine, host: str) -> None:
        """Given an engine, and the host and port of a registry, have it trust the authority there."""
        folder = self._etc(engine.folder.name) / "docker" / "certs.d" / host
        # A lane of before may have had the same port.
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.authority.certificate, folder / "ca.crt")

    def _engine(self, name: str, *options: str) -> Engine:
        own = self._etc(name)
        (own / "docker").mkdir(parents=True)
        # One try of a second, so that it shows before a step's deadline that no name server answers.
        (own / "resolv.conf").write_text(f"nameserver {self.network.address}\noptions timeout:1 attempts:1\n")
        seen = {Path("/etc/docker"): own / "docker", Path("/etc/resolv.conf"): own / "resolv.conf"}
        return Engine(self.folder / name, dockerd=with_mounts(seen, ["dockerd"]), options=options)

    def _etc(self, name: str) -> Path:
        return self.folder / f"{name}-etc"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest, as a registry gives it."""

    body: bytes
    content_type: str
    digest: str


class Lane(Holding):
    """One row's own registry, reached over TLS at a name and an address that is not loopback. A context manager.

    Attributes:
        ground: what it stands on.
        engine: the engine of its monitors.
        folder: its own.
        name: the registry's name or address, as the engine knows it.
        host: the same with the port.
        registry: the registry itself, on loopback.
        proxy: what stands in front of it. token_proxy: what stands in front of its token server; None if it has users
            of its own. base_proxy: what stands in front of the registry that holds the base image.
        base: the base image's name; empty if there is none.
    """

    proxy: Proxy
    registry: Registry
    base_proxy: Proxy
    base: str = ""
    token_proxy: Proxy | None = None

    def __init__(
        self,
        ground: Ground,
        engine: Engine,
        registry: str = "plain",
        base: str = "",
        *,
        named: bool = False,
    ) -> None:
        """Prepare a lane.

        Given the ground, one of its engines, the kind of registry (`plain`, `small` disk, `token`), where a base image
        is (in the `same` registry, in an `other`, or nowhere), and whether the registry is known by a name instead of
        its address.
        """
        self.ground = ground
        self.engine = engine
        number = ground.next_number()
        self.folder = ground.folder / f"lane-{number}"
        self.name = f"registry-{number}.invalid" if named else ground.network.address
        if named:
            ground.resolver.names[self.name] = ground.network.address
        self._kind = registry
        self._base = base

    def prepare(self, held: ExitStack) -> None:
        """Start its registry, with what stands in front of it, and push its base image."""
        self.folder.mkdir()
        held.callback(shutil.rmtree, self.folder)
        self._certificate = self.ground.authority.issue(self.name)
        self.registry = held.enter_context(self._registry(held))
        self.proxy = self._proxy(held, _address(self.registry.host))
        self.host = f"{self.name}:{self.proxy.address[1]}"
        if self._base:
            self._enter_base(held)

    def manifest(self) -> Manifest:
        """Return the manifest that the registry has now."""
        url = f"http://{self.registry.host}/v2/{REPOSITORY}/manifests/latest"
        login = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        request = urllib.request.Request(url, headers={"Authorization": f"Basic {login}", "Accept": kind})
        with urllib.request.urlopen(request, timeout=30) as response:
            headers: Message = response.headers
            return Manifest(response.read(), kind, headers["Docker-Content-Digest"])

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Have the registry hold what it holds now once more, whatever becomes of that meanwhile."""
        kept = self.folder / "kept"
        shutil.copytree(self.registry.storage, kept)
        try:
            yield
        finally:
            self.registry.wipe()
            shutil.copytree(kept, self.registry.storage, dirs_exist_ok=True)
            shutil.rmtree(kept)

    def push_somebodys_image(self) -> None:
        """Push an image that no monitor made to the tag."""
        docker, name = self.engine.docker, f"{self.host}/{REPOSITORY}:latest"
        # Not the same in two lanes: nobody can tell whose an image is that two targets pull at once, and it stays.
        content = self.folder.name.encode()
        file = tarfile.TarInfo("somebody")
        file.size = len(content)
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(file, io.BytesIO(content))
        image = docker("import", "-", name, stdin=archive.getvalue()).stdout.strip()
        self._log_in()
        docker("push", name)
        docker("rmi", image)

    def _log_in(self) -> None:
        login = ("login", "--username", USERNAME, "--password-stdin", self.host)
        # Lanes share an engine's configuration, and docker writes back all the logins that it had read.
        with self.ground.logging_in:
            self.engine.docker(*login, stdin=PASSWORD.encode())

    def _registry(self, held: ExitStack) -> Registry:
        folder = self.folder / "registry"
        users = {USERNAME: PASSWORD}
        if self._kind == "small":
            held.enter_context(small_disk(self.folder / "disk", STORAGE_BYTES))
            return Registry(folder, users=users, storage=self.folder / "disk")
        if self._kind == "token":
            server = held.enter_context(TokenServer(self.folder / "tokens", USERNAME, PASSWORD))
            self.token_proxy = self._proxy(held, server.address)
            return Registry(folder, token=server.auth(f"https://{self.name}:{self.token_proxy.address[1]}/token"))
        return Registry(folder, users=users)

    def _proxy(self, held: ExitStack, upstream: tuple[str, int]) -> Proxy:
        proxy = held.enter_context(Proxy(self.ground.network.listen, upstream, tls(self._certificate)))
        self.ground.trust(self.engine, f"{self.name}:{proxy.address[1]}")
        return proxy

    def _enter_base(self, held: ExitStack) -> None:
        if self._base == "same":
            self.base_proxy = self.proxy
            self._log_in()
        else:
            other = held.enter_context(Registry(self.folder / "base-registry"))
            self.base_proxy = self._proxy(held, _address(other.host))
        self.base = f"{self.name}:{self.base_proxy.address[1]}/acme/base:1"
        context = self.folder / "base"
        context.mkdir()
        (context / "Dockerfile").write_text('FROM scratch\nCOPY hello /hello\nCMD ["/hello"]\n')
        # Of its own content: from docker's build cache it would share images with another lane's, which go with that.
        (context / "hello").write_text(f"hello from {self.base}\n")
        self.engine.docker("build", "--quiet", "--tag", self.base, str(context))
        held.callback(self.engine.docker, "rmi", self.base)
        self.engine.docker("push", self.base)


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    return name, int(port)
