"""The outpost: an engine that is reached over TLS, and that itself reaches registries as users' engines do.

It trusts one authority as the system's, and another for single registries only; finds some names in its own hosts file;
goes through a forward proxy to any host without a name there; and has a mirror of Docker Hub, whose part the lab plays.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from lab.certificates import Authority
from lab.closing import Holding
from lab.engine import Engine
from lab.misbehaviour import Door, tls
from lab.mounts import with_mounts
from lab.network import Network
from lab.port import Port, on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lab.target import PASSWORD, USER
from lab.token_server import TokenServer
from lab.tunnel import forward_proxy

#: Names that it finds without asking any name server, and what has them: the network's address, or loopback's in IPv6.
NAMED, NAMED_IPV6 = "registry.invalid", "six.invalid"
_HUB, _HUB_TOKENS = "registry-1.docker.io", "auth.docker.io"


class Outpost(Holding):
    """An engine, and what lies around it. A context manager.

    Attributes:
        folder: its own.
        engine: the engine; `engine.env` reaches it by its socket.
        tcp: the value of DOCKER_HOST that reaches it over TLS.
        certificates: a folder for DOCKER_CERT_PATH, with a client's certificate that it trusts.
        stranger: the same, with one that it does not.
        network: where its registries are.
        public: the authority that it trusts everywhere.
        private: the authority that it trusts only where `registry` says so.
        proxy: the forward proxy, used for hosts that have no name in the hosts file, and are not on loopback.
        tunnels: the host and port of each connection that was made through it.
        hub: what it takes for Docker Hub.
        mirror: its mirror of that, a pull-through cache.
    """

    def __init__(self, folder: Path) -> None:
        """Given a folder to make, prepare it all there."""
        self.folder = folder
        self.tunnels: list[str] = []
        self._numbers = count(1)

    def prepare(self, held: ExitStack) -> None:
        """Start its network, its proxy, its hub, and its engine."""
        self.folder.mkdir()
        self.network = held.enter_context(Network())
        self.public = Authority(self.folder / "public")
        self.private = Authority(self.folder / "private")
        self.proxy = held.enter_context(forward_proxy(on_loopback, self.tunnels))
        self._enter_hub(held)
        self.engine = held.enter_context(self._engine(held.enter_context(Port()).number))

    @contextmanager
    def registry(self, name: str = "", *, trusted: bool = True, clients: bool = False) -> Iterator[str]:
        """Run a registry for USER, over TLS, with a certificate of the private authority.

        Given its name (none: the network's address), whether the engine is told to trust the authority there, and
        whether clients have to show a certificate, give its host and port.
        """
        folder = self.folder / f"registry-{next(self._numbers)}"
        name = name or self.network.address
        door = tls(self.private.issue(name), self.private.certificate if clients else None)
        listen = _loopback_ipv6 if name == NAMED_IPV6 else self.network.listen
        with Registry(folder, users={USER: PASSWORD}) as registry, _before(registry, listen, door) as proxy:
            host = f"{name}:{proxy.address[1]}"
            own = self._certs / host
            if trusted:
                own.mkdir(parents=True)
                shutil.copy(self.private.certificate, own / "ca.crt")
            try:
                yield host
            finally:
                shutil.rmtree(own, ignore_errors=True)

    def give_client_certificate(self, host: str) -> None:
        """Given a registry's host and port, have the engine show a certificate there."""
        _put_pair(self.private.issue("outpost.invalid"), self._certs / host / "client")

    @property
    def _certs(self) -> Path:
        return self.folder / "docker" / "certs.d"

    def _enter_hub(self, held: ExitStack) -> None:
        storage = self.folder / "hub-storage"
        tokens = held.enter_context(TokenServer(self.folder / "tokens", USER, PASSWORD))
        door = tls(self.public.issue(_HUB_TOKENS))
        before_tokens = held.enter_context(Proxy(self.network.listen, tokens.address, door))
        auth = tokens.auth(f"https://{_HUB_TOKENS}:{before_tokens.address[1]}/token")
        self.hub = held.enter_context(Registry(self.folder / "hub", token=auth, storage=storage))
        held.enter_context(_before(self.hub, self._listen_https, tls(self.public.issue(_HUB))))
        # The mirror's own way to the hub: the same images, without names and logins that only the engine knows.
        source = held.enter_context(Registry(self.folder / "hub-source", storage=storage))
        settings = {"REGISTRY_PROXY_REMOTEURL": f"http://{source.host}"}
        self.mirror = held.enter_context(Registry(self.folder / "mirror", settings=settings))

    def _engine(self, port: int) -> Engine:
        (self.folder / "docker").mkdir()
        hosts = self.folder / "hosts"
        hosts.write_text(f"{self.network.address} {NAMED} {_HUB} {_HUB_TOKENS}\n::1 {NAMED_IPV6}\n")
        seen = {Path("/etc/docker"): self.folder / "docker", Path("/etc/hosts"): hosts}
        settings = (
            "env",
            f"HTTPS_PROXY=http://{self.proxy.host}",
            "NO_PROXY=.invalid,docker.io",
            f"SSL_CERT_FILE={self.public.certificate}",
        )
        self.tcp = f"tcp://127.0.0.1:{port}"
        self.certificates = self._client_folder(self.public)
        self.stranger = self._client_folder(self.private)
        server = self.public.issue("127.0.0.1")
        return Engine(
            self.folder / "engine",
            dockerd=(*settings, *with_mounts(seen, ["dockerd"])),
            options=(
                f"--host={self.tcp}",
                "--tlsverify",
                f"--tlscacert={self.public.certificate}",
                f"--tlscert={server}",
                f"--tlskey={server}",
                f"--registry-mirror=http://{self.mirror.host}",
            ),
        )

    def _client_folder(self, issuer: Authority) -> Path:
        folder = self.folder / f"client-of-{issuer.certificate.parent.name}"
        folder.mkdir()
        pair = issuer.issue("monitor.invalid")
        shutil.copy(self.public.certificate, folder / "ca.pem")
        shutil.copy(pair, folder / "cert.pem")
        shutil.copy(pair, folder / "key.pem")
        return folder

    def _listen_https(self, port: int) -> socket.socket:
        return self.network.listen(port or 443)


def _before(registry: Registry, listen: Callable[[int], socket.socket], door: Door) -> Proxy:
    host, _, port = registry.host.rpartition(":")
    return Proxy(listen, (host, int(port)), door)


def _put_pair(pair: Path, stem: Path) -> None:
    """Given a file with a certificate and its key, put it where docker looks for the two."""
    shutil.copy(pair, stem.with_suffix(".cert"))
    shutil.copy(pair, stem.with_suffix(".key"))


def _loopback_ipv6(port: int) -> socket.socket:
    return socket.create_server(("::1", port), family=socket.AF_INET6)
