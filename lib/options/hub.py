"""Docker Hub's limits on pulls, and whether a configuration keeps to them.

The figures are Docker's own ("Docker Hub pull usage and limits", docs.docker.com/docker-hub/usage/pulls, in force since
April 2025, read on 2026-12-01). Within 6 hours: 100 pulls without a login, by IPv4 address or IPv6 /64 subnet; 200 with
the login of a personal account; no limit with that of a paid one. A pull is a GET of a manifest, a HEAD is not: so a
cycle makes two, a read-only one makes one, and a base image that is here already makes none (as a registry's access log
shows, with docker 28). Finding its store, for the certificate there, takes one an hour.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lib.quoting import some_of
from lib.reference import DEFAULT_HOST
from lib.target import VISIT_SECONDS, Anonymous, Target

_WINDOW_SECONDS = 6 * 3600.0
_WITHOUT_LOGIN, _PERSONAL = 100, 200


@dataclass(slots=True)
class _Pulls:
    """Pulls that count together.

    Attributes:
        number: how many pulls within 6 hours, if all is well.
        targets: the names of the targets that make them.
    """

    number: float = 0.0
    targets: list[str] = field(default_factory=list)


def hub_warnings(targets: Iterable[Target]) -> Iterator[str]:
    """Given all targets, yield a sentence for each of Docker Hub's limits that they would break together."""
    pulls: defaultdict[str | None, _Pulls] = defaultdict(_Pulls)
    for target in targets:
        for account, number in _pulls_of(target):
            pulls[account].number += number
            if target.name not in pulls[account].targets:
                pulls[account].targets.append(target.name)
    for account, counted in pulls.items():
        limit, allowed = _PERSONAL, f"a personal account has {_PERSONAL}, a paid one has no limit"
        if account is None:
            limit, allowed = _WITHOUT_LOGIN, f"an address has {_WITHOUT_LOGIN}"
        if counted.number > limit:
            times = math.ceil(10 * counted.number / limit) / 10
            yield (
                f"Docker Hub: {round(counted.number)} pulls in 6 hours {account or 'without a login'}, made by"
                f" {some_of(counted.targets)}; {allowed}: let run-test-every be {times} times as long"
            )


def _pulls_of(target: Target) -> Iterator[tuple[str | None, float]]:
    """Given a target, yield with whose login (None: without one) it pulls how often from Docker Hub in 6 hours."""
    if target.registry != DEFAULT_HOST:
        return
    cycles = _WINDOW_SECONDS / target.run_every
    login = None
    if target.credentials is not None:
        login = f"with the account {target.credentials.username}"
    elif target.docker_config is not None:
        login = f"with the login in {target.docker_config}"
    yield login, cycles if target.read_only else 2 * cycles
    if target.watch_certificates:
        yield login, _WINDOW_SECONDS / VISIT_SECONDS
    if target.anonymous is Anonymous.PULL:
        yield None, min(cycles, _WINDOW_SECONDS / target.anonymous_every)
    if target.cold_images:
        yield login, min(cycles, _WINDOW_SECONDS / target.cold_every)
