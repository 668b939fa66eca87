"""The table of docker's words: what each way of putting it means.

The rules stand in the order in which they are tried, and the first that fits decides. The order matters where an error
holds the words of several reasons: the host's troubles come before the network's, and those before the registry's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lib.failure.reason import Reason
from lib.failure.words import phrases

#: Verbs of the registry's steps, all that can reach a registry, and those that never leave the host.
STEPS = frozenset({"login", "pull", "push"})
_REACHING_OUT = STEPS | {"build"}
_EVERYWHERE = _REACHING_OUT | {"rmi", "rm", "tag", "inspect", "images", "ps", "version", "context"}


@dataclass(frozen=True, slots=True)
class Rule:
    """Words that have one meaning.

    Attributes:
        reason: what they mean.
        words: the words.
        verbs: the docker commands for which they mean that.
    """

    reason: Reason
    words: re.Pattern[str]
    verbs: frozenset[str]

    def fits(self, verb: str, error: str) -> bool:
        """Given a verb and an error as `words.plain()` leaves it, return whether the rule holds for them."""
        return verb in self.verbs and self.words.search(error) is not None


def _rule(reason: Reason, words: str, verbs: frozenset[str] = _REACHING_OUT) -> Rule:
    return Rule(reason, phrases(words), verbs)


def _status(codes: str) -> str:
    """Given HTTP statuses as a regular expression, return one for all the ways in which engines name a status."""
    return rf"(?:status|code|http|request to \w+|registry|token \w*)\W{{1,3}}(?:code\W{{1,2}})?(?:{codes})\b"


# `URL` and `…` in an error stand for the addresses and names that were taken out of it.
_HOST = (
    # A proxy between the CLI and a daemon on TCP: all other words of this error speak of the daemon.
    _rule(Reason.PROXY, "tunnel or ssl forbidden"),
    _rule(
        Reason.DAEMON,
        r"""
        connect to the docker (?:daemon|api) | is the docker daemon running | daemon is (?:not running|shutting down)
        connect to podman | docker desktop is | docker_engine | bad response from docker engine
        error during connect | error occurred trying to connect | dial unix | for api route and version
        client version \S+ is too | (?:min|max)imum supported api version
        code = unavailable desc = (?:connection|transport|error reading) | failed to dial grpc
        """,
        _EVERYWHERE,
    ),
    # The CLI itself crashed, or was killed by the kernel for want of memory.
    _rule(
        Reason.CLI,
        r"^panic: | ^fatal error: | goroutine \d+ \[ | sigsegv | segmentation fault | ^(?:\S+ )?killed$",
        _EVERYWHERE,
    ),
    # "name invalid" is a registry's word: it refused a name that docker accepts.
    _rule(
        Reason.REFERENCE,
        r"""
        invalid reference format | parsing reference | repository name must be | invalid tag format
        missing port in address | too many colons | invalid (?:port|registry endpoint) | did not resolve to an alias
        (?<!name invalid: )invalid repository name | not a valid (?:repository|tag|reference)
        """,
        _EVERYWHERE,
    ),
    _rule(
        Reason.CLI,
        r"""
        unknown (?:shorthand )?flag | flag needs an argument | flag provided but | invalid argument .{0,300} flag
        (?:requires|accepts) (?:(?:exactly|at least|at most) )?(?:\d|one|no) ?arg | not a docker command
        unknown (?:docker )?command | cannot perform an interactive login | non.tty | --password-stdin | --username
        command not found | docker: not found | exec format error | buildx component is missing
        unable to resolve docker endpoint | current context \S+ is not found | error loading config file
        """,
        _EVERYWHERE,
    ),
    # The registry's disk, told by the registry; a push itself writes next to nothing on the host.
    _rule(
        Reason.SERVER_ERROR,
        r"(?:unknown:|from registry:|filesystem:).{0,300}(?:no space left|file system|input/output error)",
        frozenset({"push"}),
    ),
    _rule(
        Reason.DISK_FULL,
        r"""
        no space left | not enough (?:free |disk )*space | disk quota exceeded | enospc | disk is full
        """,
        _EVERYWHERE,
    ),
    # A disk on which nothing can be written, or a daemon without the rights that its work takes.
    _rule(
        Reason.DAEMON,
        r"""
        read-only file system | input/output error | too many open files
        \b(?:open|mkdir|write|l?stat|l?chown|unlink\w*|rename|remove|exec)\W+permission denied
        (?:register|extract) layer.{0,300}(?:permitted|permission denied|invalid argument|file exists|no such file)
        """,
        _EVERYWHERE,
    ),
    _rule(
        Reason.CREDENTIAL_HELPER,
        r"""
        (?:getting|storing|saving|erasing|listing|retrieving) credentials | docker-credential- | credential helper
        credentials not found in native | pass not initialized | org\.freedesktop | autolaunch d-bus
        """,
        _EVERYWHERE,
    ),
    _rule(Reason.CLI, "executable file not found", _EVERYWHERE),
    _rule(
        Reason.IN_USE,
        r"""
        conflict[:,] | image is (?:being used|in use|referenced) | must (?:be )?force | cannot be forced
        dependent child | image used by | remove root filesystem
        """,
        frozenset({"rmi", "rm"}),
    ),
    # The image is gone from this host, whatever registries have.
    _rule(
        Reason.DAEMON,
        r"""
        does not exist locally | no such image | (?:tag|reference|layer) does not exist
        content digest \S+ not found
        """,
        _EVERYWHERE - {"build"},
    ),
    # In a build it can be the build's own hunger.
    _rule(Reason.DAEMON, "cannot allocate memory | resource temporarily unavailable", _EVERYWHERE - {"build"}),
    # These quote what a command inside a build said, which is about that command.
    _rule(
        Reason.BUILD,
        r"""
        did not complete successfully | executor failed running | returned a non-zero code | internal compiler error
        dockerfile parse error | unknown instruction | cannot allocate memory
        no such image | layer does not exist | failed to export image
        """,
    ),
)

_NETWORK = (
    # A proxy that refuses CONNECT is only quoted with its status phrase: `Get "https://…": Forbidden`. And how a
    # connection to the proxy failed is told in the words of refused, dns and tls.
    _rule(
        Reason.PROXY,
        rf"""
        proxyconnect | proxy authentication | {_status("407")} | socks connect | invalid proxy | unknown scheme
        (?:get|head|put|post|patch) "?URL"?:? (?:forbidden|method not allowed|bad request|authenticationrequired)\.?$
        squid | zscaler | bluecoat | err_access_denied
        """,
    ),
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
    # Firewalls of this host refuse with `connect: permission denied`, which no registry said.
    _rule(
        Reason.UNREACHABLE,
        r"""
        no route to host | (?:network|host) is (?:unreachable|down) | unreachable (?:host|network)
        assign requested address | connect: (?:permission denied|operation not permitted|invalid argument)
        """,
    ),
    # After the network, which can fail in the middle of a build; before "not found", which here is a file.
    _rule(
        Reason.BUILD,
        r"""
        (?:read|open|find) dockerfile | dockerfile cannot be empty | compute cache key | calculate checksum
        max depth exceeded | failed to build: (?!failed to solve) | (?:copy|add) failed | target stage
        (?:prepare|checking|build) context | parse stage name | should not be blank | evaluate symlinks
        """,
    ),
)

_REGISTRY = (
    # "Quota exceeded for quota metric 'requests per minute'" of Google's registries is a rate.
    _rule(
        Reason.RATE_LIMITED,
        rf"""
        too ?many ?requests | {_status("429")} | rate[ -](?:limit|exceeded) | pull limit | too many failed login
        quota exceeded for quota metric | resource_exhausted | throttl | request rate | slow ?down | error code: 1015
        """,
    ),
    _rule(
        Reason.QUOTA,
        rf"""
        quota | {_status("507|402")} | insufficient (?:storage|space) | payment required | disk usage is too high
        configured upper limit | limit is \d | limit ?exceeded | maximum (?:allowed )?(?:number|size)
        (?:storage|size|space|repositor\w+|images?|tags?|account|plan) (?:\w+ )?limit
        (?:exceed|reach)\w* (?:\w+ ){{0,4}}(?:limit|maximum|storage)
        """,
    ),
    _rule(
        Reason.REJECTED,
        rf"""
        {_status("400|405|409|412|413|415|422|451")} | bad request | method not allowed | precondition failed
        too large | read[ -]?only | maintenance mode | immutab | (?:can ?not|can't|may not) be overwritten
        (?:^|: )unsupported | is unsupported | unsupported media | (?:manifest|name|tag) invalid
        schema (?:version )?1 | image format v1 | unavailable for legal | (?:configured|security) polic | is not signed
        """,
    ),
    # 401 asks who you are, 403 says that it knows, and no. Registries do not use them with that care: ECR answers an
    # expired token with 403, and Quay, Harbor and Artifactory a lack of rights with 401.
    _rule(
        Reason.UNAUTHORIZED,
        r"""
        (?:token|jwt|session|credentials?|password|key) (?:has |have |is )?expired | expired (?:token|credential)
        unauthenticated | invalid_token | no basic auth
        """,
    ),
    _rule(
        Reason.DENIED,
        r"""
        resource is (?:denied|not authorized) | unauthorized (?:to )?access | not authorized to perform
        insufficient_scope | (?:not|n't) have (?:the )?permission | permission_denied | permission .{0,200} denied
        """,
    ),
    # Harbor answers 401 for a project that does not exist.
    _rule(Reason.NOT_FOUND, r"project \S+ not found"),
    _rule(
        Reason.UNAUTHORIZED,
        rf"""
        unauthorized | {_status("401")} | http basic: access denied | login failed | two-factor
        auth\w+ (?:is )?(?:required|failed|error) | account (?:\w+ )?(?:locked|disabled|suspended|expired)
        (?:incorrect|invalid|wrong|bad) (?:user|login|password|credential|api ?key|token)
        """,
    ),
    _rule(
        Reason.DENIED,
        rf"""denied | forbidden | {_status("403")} | not (?:authorized|allowed|permitted) | no pull access""",
    ),
    # The manifest is there, and what it names is not: lost, or not yet on every replica.
    _rule(
        Reason.SERVER_ERROR,
        r"""
        content descriptor | content at URL not found | unknown blob | blob (?:upload )?unknown | blob .{0,200}not found
        pulling image configuration:.{0,200}(?:unknown|not found)
        """,
    ),
    _rule(
        Reason.NOT_FOUND,
        rf"""
        not found | {_status("404")} | do(?:es)? not exist | (?:manifest|name|repository) unknown | not known to
        unknown (?:manifest|repository|image) | no such (?:manifest|repository) | no matching manifest | was deleted
        """,
    ),
    _rule(
        Reason.INTEGRITY,
        r"""
        verification failed | unexpected commit | size validation | (?:not|n't) match | corrupt | magic number
        (?:digest|checksum|size|hash|diffid|length)s? (?:\w+ ){0,3}mismatch | mismatched
        (?:wrong|invalid) di(?:gest|ff) | digest invalid | invalid (?:checksum|tar header) | gzip | zlib | zstd
        """,
    ),
    _rule(Reason.TIMEOUT, _status("408")),
    # 504 speaks of a timeout too: behind the registry's door, which is the registry's affair. The rest is what docker
    # says where it gets HTML, nothing, or something else that no registry answers.
    _rule(
        Reason.SERVER_ERROR,
        rf"""
        {_status("5[0-9][0-9]")} | internal (?:server )?error | bad gateway | gateway time-? ?out
        service (?:\w+ )?unavailable | unknown error | healthy upstream | upstream connect | backend fetch
        unmarshal | invalid character | end of json | unexpected (?:http|status) | parsing http | missing or empty
        missing signature | mediatype in manifest | try again later
        """,
    ),
)

_CONNECTION = (
    # docker says so when it is told to stop, and we did not tell it.
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
        http 206 | unexpected end | short read | cannot reuse body
        """,
    ),
)

_REST = (
    # Where no network is involved, these are the engine's.
    _rule(
        Reason.DAEMON,
        r"""
        (?:register|extract) layer | file system | snapshot | overlay | rpc error | deadline exceeded
        time(?:d )?out | \beof\b | reset by | broken pipe | connection refused
        """,
        _EVERYWHERE,
    ),
    # An error code that docker does not know hides the status, and leaves only the registry's own words.
    _rule(Reason.SERVER_ERROR, "(?:^|: )unknown: | from registry:"),
)

RULES = (*_HOST, *_NETWORK, *_REGISTRY, *_CONNECTION, *_REST)
