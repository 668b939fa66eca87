"""The table of words, and what they mean.

The rules are in the order in which they are tried, and the first that fits decides, among those whose reason the
speaker can be guilty of (`lib.failure.speaker`). The order matters if an error has the words of several reasons: this
host's troubles come before the network's, and those before the registry's.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from lib.failure.quoted import Said, status
from lib.failure.reason import Reason
from lib.failure.words import Words, phrases


@dataclass(frozen=True, slots=True)
class Rule:
    """Words with one meaning.

    Attributes:
        reason: their meaning.
        words: the words.
        verbs: the docker commands for which they mean that; empty: all.
    """

    reason: Reason
    words: Words
    verbs: frozenset[str] = frozenset()


def _rule(reason: Reason, words: str, *verbs: str) -> Rule:
    return Rule(reason, phrases(words), frozenset(verbs))


def meaning(said: Said, verb: str, guilty: Container[Reason]) -> Reason | None:
    """Given an error, the docker verb that failed and the reasons that its speaker can be guilty of, return its reason.

    None if no rule has its words. This host's troubles are only looked for in docker's own words.
    """
    for rules, words in ((_HOST, said.own_words), (_OUTSIDE, said.words)):
        for rule in rules:
            if rule.reason in guilty and (not rule.verbs or verb in rule.verbs) and rule.words.search(words):
                return rule.reason
    return None


# `URL` and `…` in an error stand for the addresses and names that were taken out of it.
_HOST = (
    # "name invalid" is a registry's word: it refused a name that docker accepts.
    _rule(
        Reason.REFERENCE,
        r"""
        invalid reference format | parsing reference | repository name must be | invalid tag format
        missing port in address | too many colons | invalid (?:port|registry endpoint) | did not resolve to an alias
        invalid repository name | not a valid (?:repository|tag|reference)
        """,
    ),
    _rule(
        Reason.DISK_FULL,
        """
        no space left | not enough (?:free |disk )*space | there is not enough | disk quota exceeded | enospc
        disk is full
        """,
    ),
    # Nothing has been built yet.
    _rule(Reason.CLI, "buildx component is missing", "build"),
    # A disk on which nothing can be written.
    _rule(Reason.DAEMON, "read-only file system | input/output error"),
    _rule(
        Reason.IN_USE,
        r"""
        conflict[:,] | image is (?:being used|in use|referenced) | must (?:be )?force | cannot be forced
        dependent child | image used by | remove root filesystem
        """,
        "rmi",
        "rm",
    ),
    # These quote a command inside a build, and are about that command; the build itself can have used up the memory.
    _rule(
        Reason.BUILD,
        r"""
        did not complete successfully | executor failed running | returned a non-zero code | internal compiler error
        dockerfile parse error | unknown instruction | cannot allocate memory
        no such image | layer does not exist | failed to export image
        """,
        "build",
    ),
    # The image is gone from this host, whatever registries still have.
    _rule(
        Reason.DAEMON,
        r"""
        does not exist locally | no such image | (?:tag|reference|layer) does not exist | content digest \S+ not found
        """,
    ),
    _rule(
        Reason.BUILD,
        r"""
        (?:read|open|find) dockerfile | dockerfile cannot be empty | compute cache key | calculate checksum
        max depth exceeded | failed to build: (?!failed to solve) | (?:copy|add) failed | target stage
        (?:prepare|checking|build) context | parse stage name | should not be blank | evaluate symlinks
        """,
    ),
)

# `URL` and `…` in an error stand for the addresses and names that were taken out of it.
_NETWORK = (
    # A lookup fails in the words of the connection to the resolver: `i/o timeout`, `connection refused`.
    _rule(
        Reason.DNS,
        r"""
        \blookup [^ ]+ | no such host | name resolution | name or service not known | server misbehaving
        could not resolve host | getaddrinfo | enotfound | eai_again
        """,
    ),
    # Not "TLS handshake timeout", which is a timeout. "… is before …" can also mean that this host's clock is wrong.
    _rule(
        Reason.TLS,
        r"""
        x509 | certificate | tls: | handshake failure | ssl routines | does not look like a tls
        malformed http response | http response to https | http request (?:was sent )?to (?:an )?https
        """,
    ),
    _rule(
        Reason.UNREACHABLE,
        r"""
        no route to host | (?:network|host) is (?:unreachable|down) | unreachable (?:host|network)
        assign requested address
        """,
    ),
)

_REGISTRY = (
    # "Quota exceeded for quota metric 'requests per minute'" of Google's registries is a rate.
    _rule(
        Reason.RATE_LIMITED,
        rf"""
        too ?many ?requests | {status("429")} | rate[ -](?:limit|exceeded) | pull limit | too many failed login
        quota exceeded for quota metric | resource_exhausted | throttl | request rate | slow ?down | error code: 1015
        """,
    ),
    _rule(
        Reason.QUOTA,
        rf"""
        quota | {status("507|402")} | insufficient (?:storage|space) | payment required | disk usage is too high
        configured upper limit | limit is \d | limit ?exceeded | maximum (?:allowed )?(?:number|size)
        (?:storage|size|space|repositor\w+|images?|tags?|account|plan) (?:\w+ )?limit
        (?:exceed|reach)\w* (?:\w+ ){{0,4}}(?:limit|maximum|storage)
        """,
    ),
    _rule(
        Reason.REJECTED,
        rf"""
        {status("400|405|409|412|413|415|422|451")} | bad request | method not allowed | precondition failed
        too large | read[ -]?only | maintenance mode | immutab | (?:can ?not|can't|may not) be overwritten
        (?:^|: )unsupported | is unsupported | unsupported media | (?:manifest|name|tag) invalid
        \bpush(?:es|ing)?\b[^.]{{0,60}}\bdisabled | (?:size|number|parameter) invalid | manifest unverified
        schema (?:version )?1 | image format v1 | is no longer supported since | unavailable for legal
        (?:configured|security) polic | is not signed
        """,
    ),
    # The registry lost track of what it stores: docker has tried five times by then.
    _rule(Reason.SERVER_ERROR, "blob upload invalid | range invalid"),
    # 401 asks who you are, 403 says that it knows, and no. Registries do not use them with that care: ECR answers an
    # expired token with 403, and Quay, Harbor and Artifactory a lack of rights with 401.
    _rule(
        Reason.UNAUTHORIZED,
        r"""
        (?:token|jwt|session|credentials?|password|key) (?:has |have |is )?expired | expired (?:token|credential)
        unauthenticated | invalid_token | no basic auth | credentials (?:\w+ )?not (?:provided|given)
        (?:json|api|private|service account) key
        """,
    ),
    _rule(
        Reason.DENIED,
        r"""
        resource is (?:denied|not authorized) | unauthorized (?:to )?access | not authorized to perform
        insufficient(?:_scope| permissions?| rights| privileges?) | permission_denied
        (?:not|n't) have (?:the )?permission | permission .{0,200} denied
        """,
    ),
    # Harbor answers 401 for a project that does not exist.
    _rule(Reason.NOT_FOUND, r"project \S+ not found"),
    _rule(
        Reason.UNAUTHORIZED,
        rf"""
        unauthorized | {status("401")} | http basic: access denied | login failed | two-factor
        auth\w+ (?:is )?(?:required|failed|error) | account (?:\w+ )?(?:locked|disabled|suspended|expired)
        (?:incorrect|invalid|wrong|bad) (?:user|login|password|credential|api ?key|token)
        """,
    ),
    _rule(
        Reason.DENIED,
        rf"""
        denied | forbidden | {status("403")} | (?<!method )not (?:authorized|allowed|permitted) | no pull access
        """,
    ),
    # The manifest is there, but not what it names: lost, or not yet on every replica.
    _rule(
        Reason.SERVER_ERROR,
        r"""
        content descriptor | content at URL not found | unknown blob | blob (?:upload )?unknown | blob .{0,200}not found
        (?:pulling|parsing) image configuration:.{0,200}(?:unknown|not found)
        """,
    ),
    _rule(
        Reason.NOT_FOUND,
        rf"""
        not found | {status("404")} | do(?:es)? not exist | (?:manifest|name|repository) unknown | not known to
        unknown (?:manifest|repository|image) | no such (?:manifest|repository) | no matching manifest | was deleted
        """,
    ),
    _rule(
        Reason.INTEGRITY,
        r"""
        verification failed | unexpected commit | size validation | (?:not|n't) match | corrupt | magic number
        (?:digest|checksum|size|hash|diffid|length)s? (?:\w+ ){0,3}mismatch | mismatched
        (?:wrong|invalid) di(?:gest|ff)(?! in response) | digest invalid | invalid (?:checksum|tar header)
        got digest | gzip | zlib | zstd
        """,
    ),
    # Other requests that it understood and refused.
    _rule(Reason.REJECTED, status("4(?!08)[0-9][0-9]")),
    # 504 mentions a timeout too: one behind the registry's front door, which is the registry's problem. The rest is
    # what docker says if it gets HTML, nothing, or something else that no registry answers.
    _rule(
        Reason.SERVER_ERROR,
        rf"""
        {status("5[0-9][0-9]|408")} | internal (?:server )?error | bad gateway | gateway time-? ?out
        service (?:\w+ )?unavailable | unknown error | healthy upstream | upstream connect | backend fetch
        unmarshal | invalid character | end of json | unexpected (?:http|status) | parsing http | missing or empty
        missing signature | mediatype in manifest | try again later | no location header | expected http 206
        did not include a token | token response | auth scheme | no realm | content range
        discard to offset | redirects | parse location | not a valid digest | content digest in response
        v1 container registry | rootfs | (?:manifest|layer media) (?:type|format) | encountered remote
        """,
    ),
    _rule(Reason.SERVER_ERROR, status("[1-3][0-9][0-9]")),
)

_CONNECTION = (
    # docker says so when it is asked to stop, and we did not ask it.
    _rule(Reason.CLI, "context canceled"),
    _rule(
        Reason.TIMEOUT, r"time(?:d )?-?out | timedout | deadline exceeded | request canceled | did not properly respond"
    ),
    _rule(Reason.REFUSED, "(?:connection|actively) refused | econnrefused"),
    _rule(
        Reason.RESET,
        r"""
        \beof\b | reset by | econnreset | broken pipe | closed (?:network )?connection | closed idle | forcibly
        connection (?:was )?(?:aborted|closed|broken|reset|lost) | http2: | goaway | stream (?:error|closed)
        unexpected end | short read | cannot reuse body | closed pipe | malformed chunk | contentlength=
        transport connection broken
        """,
    ),
)

#: What docker says of an engine that hangs up, if it did not talk to anybody else.
_CUT = _rule(
    Reason.DAEMON,
    r"rpc error | deadline exceeded | time(?:d )?-?out | \beof\b | reset by | broken pipe | connection refused",
)

_OUTSIDE = (*_NETWORK, *_REGISTRY, *_CONNECTION, _CUT)
