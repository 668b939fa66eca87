"""TLS of the web configuration: from Go's names, which exporter-toolkit uses, to Python's ssl."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

#: Whether a client has to prove who it is.
CLIENT_AUTH_TYPES = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

REFUSED_AUTH_TYPES = dict.fromkeys(
    ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert"),
    "is not offered here: a certificate that nobody verifies proves nothing",
)

VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
REFUSED_VERSIONS = dict.fromkeys(("TLS10", "TLS11"), "is not offered here: it is withdrawn (RFC 8996)")

#: OpenSSL's names of cipher suites. Those of TLS 1.3 have none: they are always offered, here as in exporter-toolkit.
CIPHERS = {
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}

CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}

_NO_PASSPHRASE = b""


class TlsError(Exception):
    """A file that TLS needs can't be used. Its text says which, and why."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS is spoken.

    Attributes:
        certificate, key: the files of the server's certificate, with its chain, and of its key.
        verify: whether a client needs a certificate.
        authority: the file of the authorities that vouch for clients.
        allowed_sans: names, of which a client's certificate has to have one; empty for any.
        oldest, newest: versions of TLS.
        ciphers: OpenSSL's names of the suites for TLS 1.2, in order; empty for OpenSSL's own choice.
        prefers_own: whether our order of suites outweighs the client's.
        curve: OpenSSL's name of the one curve; None for OpenSSL's own choice.
    """

    certificate: Path
    key: Path
    verify: ssl.VerifyMode
    authority: Path | None
    allowed_sans: tuple[str, ...]
    oldest: ssl.TLSVersion
    newest: ssl.TLSVersion
    ciphers: tuple[str, ...]
    prefers_own: bool
    curve: str | None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it needs."""
        return (self.certificate, self.key, *([self.authority] if self.authority else []))

    def admits(self, connection: ssl.SSLSocket) -> bool:
        """Given a connection after its handshake, return whether the client's certificate has one of the names."""
        return not self.allowed_sans or not _names(connection).isdisjoint(self.allowed_sans)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Given how TLS is spoken, return a context for it, with the files as they are now. Raise TlsError."""
    for path in tls.files:
        # OpenSSL's own words don't say which file they are about.
        try:
            path.open("rb").close()
        except OSError as error:
            raise TlsError(f"{path} can't be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = tls.oldest, tls.newest
    context.verify_mode = tls.verify
    if not tls.prefers_own:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # Without a passphrase of ours, OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: _NO_PASSPHRASE)
    except (OSError, ValueError) as error:
        raise TlsError(f"{tls.certificate} and {tls.key} are not a certificate and its key: {_reason(error)}") from None
    if tls.authority is not None:
        try:
            context.load_verify_locations(tls.authority)
        except OSError as error:
            raise TlsError(f"{tls.authority} has no certificates: {_reason(error)}") from None
    if tls.ciphers:
        context.set_ciphers(":".join(tls.ciphers))
    if tls.curve is not None:
        context.set_ecdh_curve(tls.curve)
    return context


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or "they can't be read"
    return str(reason).replace("_", " ").lower()


def _names(connection: ssl.SSLSocket) -> set[str]:
    certificate = connection.getpeercert() or {}
    names: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())  # type: ignore[assignment]  # as documented
    return {str(ip_address(name)) if kind == "IP Address" else name for kind, name in names}
