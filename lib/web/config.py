"""The web configuration file, in the format of Prometheus' exporter-toolkit: read strictly, all its faults at once.

A setting that can't be honoured here is refused by name, never ignored in silence: that would leave a door open.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lib.ending import CantRun
from lib.strict_yaml import Value, read_yaml
from lib.web.tls import (
    CIPHERS,
    CLIENT_AUTH_TYPES,
    CURVES,
    REFUSED_AUTH_TYPES,
    REFUSED_VERSIONS,
    VERSIONS,
    Tls,
    TlsError,
    tls_context,
)

_TLS_KEYS = (
    *("cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans", "min_version"),
    *("max_version", "cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
)

# What else exporter-toolkit has.
_NO_SECTION = {"rate_limit": "is not offered here: leave it out"}
_NO_TLS_KEY = {key: f"is not offered here: name a file by `{key}_file`" for key in ("cert", "key", "client_ca")}

#: The headers that may be set, with their allowed values, if these are few.
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": (),
    "Strict-Transport-Security": (),
}

_T = TypeVar("_T")

_BOOLEANS = {"true": True, "false": False}
_HASH = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}", re.ASCII)

#: With 16, a login takes several seconds of a core; with 31, days.
_COSTS = range(4, 17)


class WebConfigError(CantRun):
    """The file can't be used. Its text is every fault, one a line.

    Attributes:
        faults: the lines, each with its place.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class WebConfig:
    """The settings in the file.

    Attributes:
        tls: how TLS is spoken, None for plain HTTP.
        headers: those that every answer has in addition to its own.
        users: bcrypt hashes by the names of users; empty if nobody has to log in.
    """

    tls: Tls | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def read_web_config(path: Path) -> WebConfig:
    """Given the path of the file, return its settings, once the files that it names were read, too.

    Relative paths in it are relative to its own folder. Raise WebConfigError.
    """
    faults: list[tuple[int, str]] = []
    file = read_yaml(path, lambda *fault: faults.append(fault))
    if file.root is None or file.broken:
        raise WebConfigError([file.broken or ""])
    sections = file.root.entries(("tls_server_config", "http_server_config", "basic_auth_users"), _NO_SECTION)
    section = sections.get("tls_server_config")
    config = WebConfig(
        tls=_tls(section, path.parent) if section else None,
        headers=_headers(sections["http_server_config"]) if "http_server_config" in sections else {},
        users=_users(sections["basic_auth_users"]) if "basic_auth_users" in sections else {},
    )
    if section and config.tls and not faults:
        try:
            tls_context(config.tls)
        except TlsError as error:
            section.fault(str(error))
    if faults:
        raise WebConfigError([text for _, text in sorted(faults)])
    return config


def _tls(section: Value, folder: Path) -> Tls | None:
    """Given the section, and what its paths are relative to, return its settings, None if it lacks the files."""
    entries = section.entries(_TLS_KEYS, _NO_TLS_KEY)
    paths = {
        key: folder / (_text(entries[key]) or "")
        for key in ("cert_file", "key_file", "client_ca_file")
        if key in entries
    }
    verify = _choice(entries, "client_auth_type", CLIENT_AUTH_TYPES, REFUSED_AUTH_TYPES)
    if "client_auth_type" not in entries:
        verify = ssl.CERT_NONE
    oldest = _choice(entries, "min_version", VERSIONS, REFUSED_VERSIONS) or ssl.TLSVersion.TLSv1_2
    newest = _choice(entries, "max_version", VERSIONS, REFUSED_VERSIONS) or ssl.TLSVersion.TLSv1_3
    suites = _choices(entries, "cipher_suites", CIPHERS)
    curves = _choices(entries, "curve_preferences", CURVES)
    sans = entries["client_allowed_sans"].each() if "client_allowed_sans" in entries else []

    _check_clients(entries, verify)
    if oldest > newest:
        entries["min_version"].fault("is above `max_version`")
    if suites and not any(suites) and oldest is ssl.TLSVersion.TLSv1_2:
        entries["cipher_suites"].fault("has none for TLS 1.2: add one, or set `min_version: TLS13`")
    if len(curves) > 1:
        entries["curve_preferences"].fault("has more than one, and Python's ssl takes only one")
    for key in {"cert_file", "key_file"} - paths.keys():
        section.fault(f"needs `{key}`")
    if not {"cert_file", "key_file"} <= paths.keys():
        return None
    return Tls(
        certificate=paths["cert_file"],
        key=paths["key_file"],
        verify=verify or ssl.CERT_NONE,
        authority=paths.get("client_ca_file"),
        allowed_sans=tuple(_text(san) or "" for san in sans),
        oldest=oldest,
        newest=newest,
        ciphers=tuple(filter(None, suites)),
        prefers_own=_choice(entries, "prefer_server_cipher_suites", _BOOLEANS) is not False,
        curve=curves[0] if curves else None,
    )


def _check_clients(entries: Mapping[str, Value], verify: ssl.VerifyMode | None) -> None:
    """Given the settings of TLS, and whether clients are verified (None if that is at fault), note what is missing."""
    if verify is None:
        return
    if verify is ssl.CERT_NONE and "client_ca_file" in entries:
        entries["client_ca_file"].fault("needs a `client_auth_type` that verifies clients' certificates")
    if verify is not ssl.CERT_NONE and "client_ca_file" not in entries:
        entries["client_auth_type"].fault("needs `client_ca_file` beside it")
    if verify is not ssl.CERT_REQUIRED and "client_allowed_sans" in entries:
        entries["client_allowed_sans"].fault("needs `client_auth_type: RequireAndVerifyClientCert`")


def _headers(section: Value) -> dict[str, str]:
    entries = section.entries(("http2", "headers"))
    if _choice(entries, "http2", _BOOLEANS):
        entries["http2"].fault("HTTP/2 is not offered here: leave it out, or set it to false")
    headers = {}
    for name, value in entries["headers"].entries(_HEADERS).items() if "headers" in entries else ():
        if value.content == "" and not value.is_marked:
            continue
        text = _text(value) or ""
        if not text.isascii():
            value.fault("has characters that are not ASCII")
        elif _HEADERS[name] and text not in _HEADERS[name]:
            value.fault(f"is not one of {', '.join(_HEADERS[name])}")
        headers[name] = text
    return headers


def _users(section: Value) -> dict[str, bytes]:
    """Given the section of users, return their hashes by their names.

    Messages name users only by their lines: what was written as a name may be a password.
    """
    users: dict[str, bytes] = {}
    for key, value in section.items():
        name, text = _text(key), _text(value)
        if name is None or text is None:
            continue
        found = _HASH.fullmatch(text)
        if ":" in name:
            key.fault("is not a user name: it has a colon")
        elif name in users:
            key.fault("names a user twice")
        elif found is None:
            value.fault("is not a bcrypt hash, as `htpasswd -nBC 10 USER` prints it")
        elif int(found[1]) not in _COSTS:
            value.fault(f"has a cost out of bounds: {_COSTS[0]} to {_COSTS[-1]}")
        else:
            users[name] = found[0].encode()
    return users


def _text(value: Value) -> str | None:
    """Given a value, return its text; None, with a fault, if it is not text or has characters that don't print."""
    text = value.text()
    if text is None or text.isprintable():
        return text
    value.fault("is not a single line of text")
    return None


def _choice(
    entries: Mapping[str, Value], key: str, known: Mapping[str, _T], refused: Mapping[str, str] | None = None
) -> _T | None:
    return entries[key].choice(known, refused) if key in entries else None


def _choices(entries: Mapping[str, Value], key: str, known: Mapping[str, _T]) -> tuple[_T, ...]:
    chosen = [value.choice(known) for value in entries[key].each()] if key in entries else []
    return tuple(choice for choice in chosen if choice is not None)
