"""Certificates: the lab's own authority, and what it issues: good certificates, and bad ones of each kind."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key


class Authority:
    """A certificate authority.

    Attributes:
        certificate: its certificate, as a file: what a client has to trust.
    """

    def __init__(self, folder: Path) -> None:
        """Given a folder to make, make the authority in it. Raise OSError."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._authority = trustme.CA(organization_name=folder.name)
        self.certificate = folder / "ca.crt"
        self._authority.cert_pem.write_to_path(self.certificate)

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
        issued = self._authority.issue_cert(name, common_name=name, not_before=now + starts, not_after=now + ends)
        both = self._folder / f"{uuid4().hex}.pem"
        both.write_bytes(issued.cert_chain_pems[0].bytes() + issued.private_key_pem.bytes())
        return both


class Signer:
    """A key that signs, with its certificate: what a token server and its registry share.

    Attributes:
        certificate: that of the authority that issued the key's, as a file: what the registry has to trust.
    """

    def __init__(self, folder: Path) -> None:
        """Given a folder to make, make the key in it. Raise OSError."""
        folder.mkdir(parents=True)
        authority = trustme.CA()
        issued = authority.issue_cert("tokens.invalid", key_type=trustme.KeyType.RSA)
        key = load_pem_private_key(issued.private_key_pem.bytes(), password=None)
        assert isinstance(key, RSAPrivateKey)
        self._key = key
        self._chain = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
        self.certificate = folder / "signer.crt"
        authority.cert_pem.write_to_path(self.certificate)

    def sign(self, message: bytes) -> bytes:
        """Given a message, return its signature (RSASSA-PKCS1-v1_5 with SHA-256)."""
        return self._key.sign(message, PKCS1v15(), hashes.SHA256())

    def chain(self) -> str:
        """Return the certificate as base64 of DER, as the header of a token names it."""
        return base64.b64encode(self._chain).decode()
