"""Visits: requests to a registry's API beside the cycles of one target: certificates, rate limit, deletions.

Each visit has a thread of its own, so that neither a cycle nor the end of the monitor waits for it. It does not judge
the registry: what does not get through is absent, and logged once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

from lib.blanking import without_secrets
from lib.docker.keychain import Login, plain_login
from lib.failure import Scope, Verdict
from lib.reference import DEFAULT_HOST, Reference
from lib.registry_api import ERRORS, RegistryApi
from lib.registry_api.connection import RefusedError
from lib.registry_api.found import Certificate, Deletion, Found
from lib.result import Cycle
from lib.target import VISIT_SECONDS, Target
from lib.watch.superseded import Superseded

_log = logging.getLogger(__name__)

#: How long a visit can take before its connection is cut: a request takes a few seconds, one that hangs five.
_LONGEST_SECONDS = 60.0

#: Visits at the same time, of all targets: otherwise, if nothing gets through, a thousand would hang together.
_permits = threading.BoundedSemaphore(8)

#: Deletions in one visit: enough to catch up after an outage, without a storm.
_MOST_DELETIONS = 10

_NOT_FOUND = 404

#: What to do about a refused deletion, by its status.
_ADVICE = {
    401: "The login may not delete: give it the right to, or leave `delete-superseded` out.",
    403: "The login may not delete: give it the right to, or leave `delete-superseded` out.",
    404: (
        "The registry has it no more under its digest: it removes what has no tag by itself, or keeps it out of reach,"
        " as Quay does. `delete-superseded` does nothing here: leave it out, and see docs/registries.md."
    ),
    405: (
        "This registry deletes nothing by its API, or not as it is set up: distribution has to run with"
        " REGISTRY_STORAGE_DELETE_ENABLED=true."
    ),
}


#: Given a target's repository, and its login, returns the API.
ApiFor = Callable[[Reference, Login | None], RegistryApi]


@dataclass
class _Errand:
    """One kind of request.

    Attributes:
        what: what could not be done, in words. level: the level at which that is logged.
        due: when it is due next, by a clock that never jumps.
        is_due_once_up: whether the registry was not up the last time, so that it is due once the registry is up.
        problem: why it failed the last time, None if it did not.
    """

    what: str
    level: int = logging.INFO
    due: float = float("-inf")
    is_due_once_up: bool = False
    problem: str | None = None

    def is_due(self, now: float, cycle: Cycle) -> bool:
        """Given the time, and the cycle that has just ended, return whether it is due."""
        return now >= self.due or (self.is_due_once_up and cycle.verdict is Verdict.UP)


@dataclass
class Visits:
    """The visits to the registry of one target.

    Attributes:
        target: the target.
        superseded: the images that it pushed and replaced. kept: returns digests that must not be deleted.
        replicas_within: returns for how many seconds a replica may still show what was replaced.
        patience: for how many seconds the target's turn waits for a visit to end.
        api_for: makes the API of a registry, given the target and its login; None if no requests are to be made.
        monotonic: a clock that never jumps.
        found: their findings.
    """

    target: Target
    superseded: Superseded
    kept: Callable[[], frozenset[str]] = frozenset
    replicas_within: Callable[[], float] = lambda: 0.0
    patience: float = 0.0
    api_for: ApiFor | None = None
    monotonic: Callable[[], float] = time.monotonic
    found: Found = field(init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _api: RegistryApi | None = field(default=None, init=False)
    _began: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        deletions = dict.fromkeys(Deletion, 0) if self.target.delete_superseded else {}
        self.found = Found(deletions=deletions)
        self._certificates = _Errand("certificates can't be read")
        self._rate_limit = _Errand("the rate limit can't be read")
        self._deletions = _Errand("superseded images can't be deleted", logging.WARNING)

    def after(self, cycle: Cycle) -> None:
        """Given the cycle that has just ended, make the requests that are due now, if any are."""
        api_for, now = self.api_for, self.monotonic()
        if api_for is None:
            return
        if self._thread is not None and self._thread.is_alive():
            if self._api is not None and now - self._began > _LONGEST_SECONDS:
                self._api.abandon()
            return
        errands = [
            (errand, do)
            for errand, is_wanted, do in (
                (self._certificates, self.target.watch_certificates, lambda api: self._read_certificates(api, cycle)),
                (self._rate_limit, _lets_in(cycle), self._read_rate_limit),
                (self._deletions, bool(self._to_delete(cycle)), lambda api: self._delete(api, cycle)),
            )
            if is_wanted and errand.is_due(now, cycle)
        ]
        if not errands or not _permits.acquire(blocking=False):
            return
        self._began = now
        self._thread = threading.Thread(
            target=self._visit, args=(api_for, errands, cycle), name="registry API", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError:  # no thread can be started: it is tried again after the next cycle
            self._thread = None
            _permits.release()
            return
        self._thread.join(self.patience)

    # The thread of a visit.

    def _visit(
        self, api_for: ApiFor, errands: list[tuple[_Errand, Callable[[RegistryApi], float]]], cycle: Cycle
    ) -> None:
        try:
            for errand, do in errands:
                self._run(errand, partial(self._do, api_for, do), cycle)
        finally:
            self._api = None
            _permits.release()

    def _do(self, api_for: ApiFor, do: Callable[[RegistryApi], float]) -> float:
        """Given what makes the API, and what to do with it, do that, with one API for all. Raise one of ERRORS."""
        if self._api is None:
            self._api = api_for(self.target.reference, self._login())
        return do(self._api)

    def _run(self, errand: _Errand, do: Callable[[], float], cycle: Cycle) -> None:
        """Given what is due, and what does it and returns in how many seconds it is due again, do it."""
        try:
            pause = do()
        except RefusedError as error:
            advice = _ADVICE.get(error.status) if errand is self._deletions else None
            self._failed(errand, cycle, str(error), **({"advice": advice} if advice else {}))
        except ERRORS as error:
            self._failed(errand, cycle, f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001  a fault of ours must be seen, and is not a reason to stop asking
            errand.level = logging.ERROR
            self._failed(errand, cycle, f"this is a fault in the monitor itself: {type(error).__name__}: {error}")
        else:
            self._set_next(errand, cycle, pause)
            if errand.problem is not None:
                errand.problem = None
                _log.info(f"registry API: resolved: {errand.what}", extra={"target": self.target.name})

    def _failed(self, errand: _Errand, cycle: Cycle, problem: str, **fields: str) -> None:
        self._set_next(errand, cycle, VISIT_SECONDS)
        if errand.problem is None:
            detail = without_secrets(problem, self._api.secrets if self._api else ())
            extra = {"target": self.target.name, "detail": detail} | fields
            _log.log(errand.level, f"registry API: {errand.what}", extra=extra)
        errand.problem = problem

    def _set_next(self, errand: _Errand, cycle: Cycle, pause: float) -> None:
        errand.due = self.monotonic() + pause
        errand.is_due_once_up = cycle.verdict is not Verdict.UP

    def _login(self) -> Login | None:
        """Return the target's login, None if it has none that we may send. Raise ValueError."""
        credentials = self.target.credentials
        if credentials is not None:
            return Login(credentials.username, credentials.read_password())
        folder = self.target.docker_config
        return plain_login(folder, self.target.registry) if folder else None

    # The errands.

    def _read_certificates(self, api: RegistryApi, cycle: Cycle) -> float:
        found: list[Certificate] = []
        try:
            for certificate in chain(api.certificates(), api.store_certificate() if _lets_in(cycle) else ()):
                found.append(certificate)  # noqa: PERF402  those before one that can't be read count
        finally:
            self.found = replace(self.found, certificates=tuple(found))
        return VISIT_SECONDS

    def _read_rate_limit(self, api: RegistryApi) -> float:
        limit = None
        try:
            limit = api.rate_limit()
        finally:
            self.found = replace(self.found, rate_limit=limit)
        counts = limit is not None or self.target.registry == DEFAULT_HOST
        return 0.0 if counts else VISIT_SECONDS

    def _to_delete(self, cycle: Cycle) -> tuple[str, ...]:
        if not self.target.delete_superseded or cycle.verdict is not Verdict.UP:
            return ()
        kept = self.kept() | {digest for digest in (cycle.pushed_digest, cycle.pulled_digest) if digest}
        return self.superseded.due(self.replicas_within(), kept)[:_MOST_DELETIONS]

    def _delete(self, api: RegistryApi, cycle: Cycle) -> float:
        for digest in self._to_delete(cycle):
            try:
                api.delete(digest)
            except ERRORS as error:
                self._count(Deletion.FAILED)
                if isinstance(error, RefusedError) and error.status == _NOT_FOUND:
                    self.superseded.done(digest)
                raise
            self._count(Deletion.OK)
            self.superseded.done(digest)
        return 0.0

    def _count(self, outcome: Deletion) -> None:
        counted = dict(self.found.deletions)
        counted[outcome] += 1
        self.found = replace(self.found, deletions=counted)


def _lets_in(cycle: Cycle) -> bool:
    """Given a cycle, return whether the registry accepted its login: a wrong one, sent often, can be locked."""
    return cycle.failed is None or cycle.failed.scope is not Scope.CREDENTIALS
