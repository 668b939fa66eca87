"""The list: 39 outages, as their victims reported them, and what brings each about here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.faults import outside
from lab.faults.outside import HTML, blob_get, certified, error, layer_put, manifest_get, manifest_put, request
from lab.faults.rig import Fault, Rig
from lab.faults.rows import (
    DNS,
    LOGIN,
    NAMED,
    PULL,
    PULL_BACK,
    PUSH,
    REJECTED,
    RETRYING,
    SERVER_ERROR,
    STALE,
    TIMEOUT,
    TLS,
    UNAUTHORIZED,
    USUAL,
    Row,
    Setting,
)
from lab.faults.speakers import XML, by_redirect
from lab.misbehaviour import answer, downloading, silence, slowed, stalled, tls, uploading
from lab.outages import Outage
from lab.outages.replays import (
    at_another_door,
    budget_ends,
    certificate_ends,
    garbage_collected,
    index_children_deleted,
    layer_lost,
    manifest_truncated,
    rested,
    slow,
    some_requests_fail,
    stale_replica,
    strangers_let_in,
    strangers_shut_out,
)
from lab.proxy import Proxy
from lab.resolver import Failing
from lib.result import StepName

_RESTED = "`cold-images`"
_THERE = "a `read-only` target there"
_AT_A_CHECK = "seen within `cold-images` times `cold-every`; alerted with a second image or check"

_SIGNATURE = XML.replace(b"AccessDenied", b"SignatureDoesNotMatch")


def _cycle(
    number: int,
    name: str,
    happened: str,
    step: StepName,
    fault: Fault,
    says: str,
    setting: Setting = USUAL,
    *,
    watched: str = "",
    within: str = "",
    note: str = "",
) -> Outage:
    """Return an outage that a cycle meets as one of its steps begins."""
    row = Row(step, f"{number} {name}", fault, says, setting)
    return Outage(number, name, happened, says, row=row, watched=watched, within=within, note=note)


@contextmanager
def _from_a_store_of_somebody_else(rig: Rig) -> Iterator[None]:
    ground = rig.lane.ground
    listen, upstream = ground.network.listen, rig.lane.proxy.upstream
    with Proxy(listen, upstream, tls(ground.stranger.issue(rig.lane.name))) as store:
        to = answer(307, headers={"Location": f"https://{store.host}/store/data"})
        with blob_get(to)(rig):
            yield


#: All of them.
OUTAGES: tuple[Outage, ...] = (
    _cycle(
        1,
        "quay.io, 19 and 28 May 2020",
        "a storm of connections locked the database: no push worked, some pulls did",
        PUSH,
        manifest_put(answer(503, HTML, "text/html")),
        SERVER_ERROR,
    ),
    _cycle(
        2,
        "quay.io, 22 March 2021",
        "pods restarted with cold caches, the database was overloaded",
        PULL,
        manifest_get(answer(504, HTML, "text/html")),
        SERVER_ERROR,
    ),
    Outage(
        3,
        "quay.io, 26 and 27 July",
        "a bad network to the database: latency, now and then a timeout",
        "transfer takes longer",
        replay=slow(100_000),
        within="45 min (RegistrySlow)",
    ),
    Outage(
        4,
        "quay.io, 12 to 16 November 2023",
        "a migration truncated old manifests; new images were intact",
        "rested image lost: server_error",
        replay=rested(manifest_truncated),
        watched=_RESTED,
        within=_AT_A_CHECK,
    ),
    _cycle(
        5,
        "quay.io, 14 November 2023",
        "the storage answered 403 SignatureDoesNotMatch",
        PULL,
        by_redirect(blob_get, answer(403, _SIGNATURE, "application/xml")),
        SERVER_ERROR,
    ),
    _cycle(
        6,
        "quay.io (seen by Aptible)",
        "requests for manifests were answered, those for layers were not",
        PULL,
        blob_get(silence),
        TIMEOUT,
    ),
    Outage(
        7,
        "quay.io, 18 February and 30 March 2026",
        "500 and 502 for some requests for layers",
        "docker's own retries, or server_error",
        replay=some_requests_fail(4, "GET"),
        within="30 min (RegistryShaky), or as two failed cycles",
    ),
    _cycle(
        8,
        "Docker Hub, 3 October 2016",
        "latency after a migration",
        PUSH,
        layer_put(uploading(slowed(10_000))),
        TIMEOUT,
    ),
    _cycle(
        9,
        "Docker Hub, 5 July 2020",
        "a rule against bots made downloads hang in some regions",
        PULL,
        blob_get(downloading(stalled(20_000))),
        TIMEOUT,
        note="only from a region, an engine and a kernel that the rule matched",
    ),
    Outage(
        10,
        "Docker Hub, 7 October 2020",
        "layers of old images were not found",
        "rested image lost: server_error",
        replay=rested(layer_lost),
        watched=_RESTED,
        within=_AT_A_CHECK,
    ),
    Outage(
        11,
        "Docker Hub, 3 and 4 April 2021",
        "fewer than 3 % of all requests failed, for 37 hours",
        "docker's own retries, or server_error",
        replay=some_requests_fail(33),
        within="an hour (RegistryShaky)",
    ),
    _cycle(
        12,
        "Docker Hub, 29 July 2025",
        "a third party's outage, in Asia and the Pacific only",
        PULL,
        request(answer(503)),
        SERVER_ERROR,
        note="only from there",
    ),
    _cycle(13, "Docker Hub, 20 October 2025", "AWS us-east-1 was down", LOGIN, request(answer(503)), SERVER_ERROR),
    _cycle(
        14,
        "Spain, 2025 and 2026",
        "providers block the store's addresses during football matches",
        PULL,
        _from_a_store_of_somebody_else,
        TLS,
        RETRYING,
        note="only from there",
    ),
    Outage(
        15,
        "Docker Hub over IPv6, 2023 and 2024",
        "the token server and store failed over IPv6, or were slow",
        note="docker silently falls back to IPv4, so a cycle only gets slower; an engine with only IPv6 would see it as"
        " `unreachable`",
    ),
    _cycle(
        16,
        "GitHub, 2021 to 2023 (four)",
        "DNS, MySQL, Redis; pushes of manifests failed",
        PUSH,
        manifest_put(answer(500, error("UNKNOWN", "unknown error"))),
        SERVER_ERROR,
    ),
    _cycle(
        17,
        "GitHub, 13 July 2020",
        "clusters could not resolve the name of their own registry",
        LOGIN,
        outside.unresolved(Failing.NO_SUCH_HOST),
        DNS,
        NAMED,
        note="only from inside",
    ),
    _cycle(
        18,
        "GitLab.com, 4 February 2020",
        "a wrong configuration was deployed",
        LOGIN,
        request(answer(502, HTML, "text/html")),
        SERVER_ERROR,
    ),
    _cycle(
        19,
        "GitLab.com, spring 2023",
        "what was pushed could not be pulled",
        PULL_BACK,
        blob_get(answer(404, error("BLOB_UNKNOWN", "blob unknown to registry"))),
        SERVER_ERROR,
    ),
    Outage(
        20,
        "GitLab.com, January and February 2022",
        "a redirect to the CDN broke a client that is not docker, from outside of Google's cloud",
        note="the docker CLI was not affected",
    ),
    Outage(
        21,
        "GitLab.com, 5 to 8 February 2021",
        "the pull-through cache was broken for three days",
        SERVER_ERROR,
        replay=at_another_door(answer(500, error("UNKNOWN", "unknown error")), "/manifests/"),
        watched="a `read-only` target through the cache",
    ),
    Outage(
        22,
        "GitLab.com, 22 December 2021",
        "images with foreign (Windows) layers were answered with 500",
        SERVER_ERROR,
        replay=at_another_door(answer(500, error("UNKNOWN", "unknown error")), "/manifests/"),
        watched="a `read-only` target on such an image",
    ),
    Outage(
        23,
        "GitLab.com, 5 April 2024",
        "garbage collection and autovacuum: 4.4 % of requests were slow or failed, for 7 hours",
        "docker's own retries, or server_error",
        replay=some_requests_fail(23),
        within="an hour (RegistryShaky)",
    ),
    Outage(
        24,
        "registry.k8s.io, September and October 2022",
        "the store of one region answered 403",
        SERVER_ERROR,
        replay=at_another_door(answer(403, XML, "application/xml"), "/blobs/"),
        watched=_THERE,
    ),
    Outage(
        25,
        "registry.k8s.io, 2023 to 2025",
        "one region failed, in the end for one pull in five to ten",
        SERVER_ERROR,
        replay=at_another_door(answer(503), "/manifests/"),
        watched=_THERE,
    ),
    Outage(
        26,
        "MCR, 2 July 2022 and 9 January 2024",
        "the certificate of a region's store expired",
        "certificate expires in 9 days",
        replay=certificate_ends,
        watched=_THERE,
        within="14 days before (CertificateExpires)",
    ),
    _cycle(
        27,
        "MCR, 4 February 2020 and 23 April 2024",
        "some edges showed a wrong certificate",
        LOGIN,
        certified(name="other.invalid"),
        TLS,
        NAMED,
        watched=_THERE,
        note="only at those edges",
    ),
    Outage(
        28,
        "Meteor",
        "the certificate of their own registries expired after five years, and nobody watched it",
        "certificate expires in 9 days",
        replay=certificate_ends,
        within="14 days before (CertificateExpires)",
    ),
    Outage(
        29,
        "GCR, 25 to 28 April 2022",
        "pulls took longer",
        "transfer takes longer",
        replay=slow(100_000),
        within="45 min (RegistrySlow)",
    ),
    Outage(
        30,
        "Harbor and distribution, several",
        "garbage collection deleted layers of tagged images",
        "rested image lost: not_found",
        replay=rested(garbage_collected),
        watched=_RESTED,
        within=_AT_A_CHECK,
    ),
    Outage(
        31,
        "GHCR clean-up jobs, several",
        "the images of an index have no tags, and were deleted as untagged",
        "rested image lost: server_error",
        replay=index_children_deleted,
        watched="`cold-images` of 3 or more, on an engine that can hold an index",
        within=_AT_A_CHECK,
    ),
    Outage(
        32,
        "ghcr.io, July and 3 November 2022",
        "anonymous pulls of public images were refused",
        "anonymous pull refused",
        replay=strangers_shut_out,
        watched="`anonymous: pull`",
        within="`anonymous-every`",
    ),
    _cycle(
        33,
        "Harbor, several",
        "a robot account had expired; a project's quota was reached, and reported as 403",
        LOGIN,
        outside.password_changed,
        UNAUTHORIZED,
        note="only your own account and project; nothing warns beforehand",
    ),
    Outage(
        34,
        "Docker Hub's limits, several",
        "the budget of pulls was used up",
        "7 of 100 pulls left",
        replay=budget_ends,
        within="before it is used up (RateLimitLow)",
        note="only your own account and address",
    ),
    Outage(
        35,
        "ACR, March 2026",
        "looked healthy; a replica showed replaced images",
        STALE,
        replay=stale_replica,
        watched="a `read-only` target there, `replica-of` the source",
        within="`replica-within`",
    ),
    Outage(
        36,
        "mirrors, several",
        "a mirror kept showing an old `latest`",
        STALE,
        replay=stale_replica,
        watched="a `read-only` target there, `replica-of` the source",
        within="`replica-within`",
    ),
    _cycle(
        37,
        "proxies before registries, several",
        "a limit on the size of a body refused large layers",
        PUSH,
        layer_put(answer(413, HTML, "text/html")),
        REJECTED,
        RETRYING,
        watched="a second target with a large `payload-size` and a long `run-test-every`",
    ),
    Outage(
        38,
        "signatures, several",
        "referrers were deleted or limited, and images seemed to be unsigned",
        note="no docker command asks for referrers",
    ),
    Outage(
        39,
        "exposed registries (Unit 42, 2020)",
        "80 let strangers pull, 92 let them push",
        "anonymous pull works, anonymous push works",
        replay=strangers_let_in,
        watched="`anonymous: refused`",
        within="`anonymous-every`",
    ),
)
