"""Certificates: an authority of the lab's own, and what it issues: good ones, and wrong ones of each kind."""

from __future__ import annotations

import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

_CONFIGURATION = """
[ca]
default_ca = lab
[lab]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = any_name
[any_name]
[authority]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""


class Authority:
    """A certificate authority.

    Attributes:
        certificate: its certificate, as a file: what a client has to trust.
    """

    def __init__(self, folder: Path) -> None:
        """Given a folder to make, make the authority in it. Raise OSError or CalledProcessError."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._configuration = folder / "openssl.cnf"
        self._configuration.write_text(_CONFIGURATION.format(folder=folder))
        (folder / "index.txt").touch()
        self.certificate = folder / "ca.crt"
        self._key = folder / "ca.key"
        self._issuing = threading.Lock()  # `openssl ca` keeps a database, one process at a time
        _openssl(
            *("req", "-x509", "-config", self._configuration, "-extensions", "authority", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-subj", f"/CN={folder.name}"),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def issue(
        self,
        name: str,
        starts: timedelta = timedelta(hours=-1),
        ends: timedelta = timedelta(days=1),
    ) -> Path:
        """Issue a certificate, for a server or a client.

        Given the IP address or host name that it is for, and from when to when it is valid, seen from now, return a
        file with it and its key.
        """
        now = datetime.now(UTC)
        stem = self._folder / uuid4().hex
        request, key, certificate, extensions = (stem.with_suffix(s) for s in (".csr", ".key", ".crt", ".ext"))
        kind = "IP" if name.replace(".", "").isdigit() or ":" in name else "DNS"
        extensions.write_text(f"subjectAltName={kind}:{name}\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl(
            *("req", "-config", self._configuration, "-subj", f"/CN={name}", "-keyout", key, "-out", request),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
        )
        with self._issuing:
            _openssl(
                *("ca", "-batch", "-notext", "-config", self._configuration, "-extfile", extensions),
                *("-cert", self.certificate, "-keyfile", self._key, "-in", request, "-out", certificate),
                *("-startdate", _openssl_time(now + starts), "-enddate", _openssl_time(now + ends)),
            )
        both = stem.with_suffix(".pem")
        both.write_text(certificate.read_text() + key.read_text())
        return both


class Signer:
    """A key that signs, with its own certificate: what a token server and its registry share.

    Attributes:
        certificate: the certificate, as a file.
    """

    def __init__(self, folder: Path) -> None:
        """Given a folder to make, make the key in it. Raise OSError or CalledProcessError."""
        folder.mkdir(parents=True)
        self.certificate = folder / "signer.crt"
        self._key = folder / "signer.key"
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", "/CN=lab token server"),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def sign(self, message: bytes) -> bytes:
        """Given a message, return its signature (RSASSA-PKCS1-v1_5 with SHA-256)."""
        return _openssl("dgst", "-sha256", "-sign", self._key, stdin=message)

    def chain(self) -> str:
        """Return the certificate as base64 of DER, as the header of a token names it."""
        lines = self.certificate.read_text().splitlines()
        return "".join(line for line in lines if not line.startswith("-----"))


def _openssl_time(moment: datetime) -> str:
    return moment.strftime("%y%m%d%H%M%SZ")


def _openssl(*arguments: str | Path, stdin: bytes = b"") -> bytes:
    return subprocess.run(("openssl", *arguments), input=stdin, check=True, capture_output=True).stdout
