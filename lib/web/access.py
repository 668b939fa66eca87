"""Access: the web configuration as its files are now, checked again for every connection."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from lib.stamp import Stamp, stamp_of
from lib.web.config import WebConfig, WebConfigError, read_web_config
from lib.web.tls import TlsError, tls_context

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for a connection.

    Attributes:
        config: what the file says.
        context: the TLS context, None for plain HTTP.
    """

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None


class Access:
    """Says which rules are in force."""

    def __init__(self, path: Path | None) -> None:
        """Given the web configuration file, None for neither TLS nor login, read it. Raise WebConfigError."""
        self._path = path
        self._reading = Lock()
        self._stamps: dict[Path, Stamp] = {}
        self._faults: tuple[str, ...] = ()
        self._rules = Rules() if path is None else self._read(path, WebConfig())

    def rules(self) -> Rules:
        """Return the rules in force: while the files are at fault or being read, the previous ones. A fault is logged
        once.

        No connection waits for one that reads the files.
        """
        if self._path is not None and self._reading.acquire(blocking=False):
            try:
                # While there is a fault, a file that is not known yet may be what fixes it.
                if self._faults or any(stamp_of(path) != stamp for path, stamp in self._stamps.items()):
                    self._read_again(self._path)
            finally:
                self._reading.release()
        return self._rules

    def _read_again(self, path: Path) -> None:
        faults, self._faults = self._faults, ()
        try:
            self._rules = self._read(path, self._rules.config)
        except WebConfigError as error:
            self._faults = error.faults
            for fault in () if error.faults == faults else error.faults:
                _log.error("the web configuration stays as it was", extra={"detail": fault})
        else:
            _log.info("the web configuration was read again", extra={"file": str(path)})

    def _read(self, path: Path, before: WebConfig) -> Rules:
        # A stamp is taken before its file is read: no change is ever missed.
        stamps = {path: stamp_of(path)}
        config = read_web_config(path)
        stamps |= {file: stamp_of(file) for file in (config.tls.files if config.tls else ())}
        try:
            context = tls_context(config.tls) if config.tls else None
        except TlsError as error:
            raise WebConfigError([f"{path}: {error}"]) from None
        if opened := _opened(before, config):
            raise WebConfigError([f"{path}: {opened}: that takes a restart"])
        self._stamps = stamps
        return Rules(config, context)


def _opened(before: WebConfig, after: WebConfig) -> str | None:
    """Given the rules in force and the new ones, return which door the new ones would open.

    A file that an editor is just writing lacks its end, which must not let everybody in.
    """
    if before.tls is not None and after.tls is None:
        return "no longer has `tls_server_config`"
    if before.tls is not None and after.tls is not None and after.tls.verify < before.tls.verify:
        return "no longer asks clients for a certificate"
    if before.users and not after.users:
        return "no longer has `basic_auth_users`"
    return None
