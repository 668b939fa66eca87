"""Failure: one failed step, judged; and classify(): the words of a failed docker command -> Failure.

Nothing else in the program reads docker's words when it fails. The words that tell nothing are `lib.words`' to remove;
what a reason means and whose fault it is stands in `lib.reason`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lib import words
from lib.reason import ADVICE, Reason, Scope, Verdict

__all__ = ["ADVICE", "Failure", "Reason", "Scope", "Verdict", "classify"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed step, judged.

    Attributes:
        reason: why.
        detail: the last meaningful line that docker printed, whole; or our own sentence where docker said nothing.
        not_there: docker's words can mean that the image or repository does not exist (an empty repository).
    """

    reason: Reason
    detail: str
    not_there: bool = False

    @property
    def scope(self) -> Scope:
        """Whose fault it is."""
        return self.reason.scope


@dataclass(frozen=True, slots=True)
class _Rule:
    """Words that have one meaning.

    Attributes:
        reason: what they mean.
        pattern: the words, as a verbose regular expression that ignores case.
        verbs: the docker commands for which they mean that.
    """

    reason: Reason
    pattern: str
    verbs: frozenset[str]
    regex: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "regex", re.compile(self.pattern, re.VERBOSE | re.IGNORECASE))


#: Verbs whose failure can be the registry's, and those that never leave the host.
_STEPS = frozenset({"login", "pull", "push"})
_REMOTE = _STEPS | {"build"}
_LOCAL = frozenset({"rmi", "tag", "inspect", "images", "version", "context"})
_ALL = _REMOTE | _LOCAL


def _status(codes: str) -> str:
    """Given HTTP statuses as a regular expression, return one for the ways in which engines name a status."""
    return rf"(?:status|code|http|request\ to\ \w+|registry|token\ \w*)\W{{1,3}}(?:code\W{{1,2}})?(?:{codes})\b"


# In this order, the first that fits decides. The order matters where an error holds the words of several reasons:
# the host's own troubles come before the network's, and those before what a registry says.
_RULES = (
    # --- the host ---
    # A proxy between the CLI and a daemon on TCP: all other words of this error speak of the daemon.
    _Rule(Reason.PROXY, r"tunnel\ or\ ssl\ forbidden", _ALL),
    _Rule(
        Reason.DAEMON,
        r"""connect\ to\ the\ docker\ (?:daemon|api) | is\ the\ docker\ daemon\ running | connect\ to\ podman
        | error\ during\ connect | error\ occurred\ trying\ to\ connect | dial\ unix | docker_engine | daemon\ is\ shutting\ down
        | daemon\ is\ not\ (?:running|ready) | client\ version\ \S+\ is\ too | (?:min|max)imum\ supported\ api\ version
        | for\ api\ route\ and\ version | bad\ response\ from\ docker\ engine
        | code\ =\ unavailable\ desc\ =\ (?:connection|transport|error\ reading) | failed\ to\ dial\ grpc | listing\ workers""",
        _ALL,
    ),
    # The CLI itself crashed.
    _Rule(Reason.CLI, r"^panic: | ^fatal\ error: | goroutine\ \d+\ \[ | sigsegv | segmentation\ fault | ^(?:\S+\ )?killed$", _ALL),
    # The registry's words for a bad name come as its error codes, and mean that it refused a name that docker accepts.
    _Rule(
        Reason.REFERENCE,
        r"""invalid\ reference\ format | error\ parsing\ reference | (?<!name\ invalid:\ )invalid\ repository\ name | invalid\ tag\ format
        | cannot\ parse\ (?:reference|repository) | repository\ name\ must\ be | not\ a\ valid\ (?:repository|tag|reference)""",
        _ALL,
    ),
    _Rule(
        Reason.CLI,
        r"""unknown\ (?:shorthand\ )?flag | flag\ needs\ an\ argument | flag\ provided\ but | invalid\ argument\ .*\ for\ .*flag
        | (?:requires|accepts)\ (?:exactly|at\ (?:least|most)|no)?\ ?(?:\d+|one|argument)
        | cannot\ perform\ an\ interactive\ login | --(?:password|username)\S*\ (?:option\ )?(?:require|and|is|are)
        | must\ provide\ --username | not\ a\ docker\ command | unknown\ (?:docker\ )?command | buildx\ component\ is\ missing
        | command\ not\ found | docker:\ not\ found | unable\ to\ resolve\ docker\ endpoint | current\ context\ \S+\ is\ not\ found
        | error\ loading\ config\ file | (?:exec\ format|no\ such\ exec)\ error | not\ a\ (?:tty|terminal) | non.tty""",
        _ALL,
    ),
    # A full disk of the registry, told by the registry; a push writes next to nothing on the host.
    _Rule(Reason.SERVER_ERROR, r"(?:unknown:|from\ registry:|filesystem:|blob\ upload).*no\ space\ left", frozenset({"push"})),
    _Rule(
        Reason.DISK_FULL,
        r"no\ space\ left | not\ enough\ (?:free\ |disk\ )*space | disk\ quota\ exceeded | enospc | disk\ is\ full | out\ of\ (?:disk\ )?space",
        _ALL,
    ),
    _Rule(
        Reason.CREDENTIAL_HELPER,
        r"""(?:getting|storing|saving|erasing|listing|retrieving|looking\ up)\ credentials | docker-credential- | credential\ helper
        | credentials\ not\ found\ in\ native | pass\ not\ initialized | org\.freedesktop | autolaunch\ d-bus""",
        _ALL,
    ),
    _Rule(
        Reason.IN_USE,
        r"conflict: | image\ is\ (?:being\ used|in\ use|referenced) | must\ (?:be\ )?forced? | cannot\ be\ forced | dependent\ child | used\ by",
        frozenset({"rmi"}),
    ),
    # What a command inside a build said of itself is quoted here, and is about that command.
    _Rule(
        Reason.BUILD,
        r"""did\ not\ complete\ successfully | executor\ failed\ running | returned\ a\ non-zero\ code | dockerfile\ parse\ error
        | unknown\ instruction | internal\ compiler\ error | cannot\ allocate\ memory""",
        _REMOTE,
    ),
    # --- the network ---
    # A proxy's refusal of CONNECT is its bare status phrase: `Get "https://…": Forbidden`. It can hold words of tls and refused.
    _Rule(
        Reason.PROXY,
        rf"""proxyconnect | proxy\ authentication | {_status("407")} | socks\ connect | proxy:\ unknown\ scheme | invalid\ proxy
        | (?:get|head|put|post|patch)\ "?URL"?:?\ (?:forbidden|method\ not\ allowed|bad\ request|authorized\w*)\.?$
        | squid | zscaler | err_access_denied | bluecoat | mcafee\ web\ gateway""",
        _REMOTE,
    ),
    # A lookup fails in the words of the connection to the resolver: `i/o timeout`, `connection refused`.
    _Rule(
        Reason.DNS,
        r"""\blookup\ [^\ ]+ | no\ such\ host | name\ resolution | name\ or\ service\ not\ known | server\ misbehaving | getaddrinfo
        | could\ not\ resolve\ host | no\ address\ associated""",
        _REMOTE,
    ),
    _Rule(
        Reason.TLS,
        r"""x509 | certificate | http\ response\ to\ https | tls:\  | does\ not\ look\ like\ a\ tls | ssl\ routines | malformed\ http\ response
        | http\ request\ (?:was\ sent\ )?to\ (?:an\ )?https | handshake\ failure | ssl_error""",
        _REMOTE,
    ),
    _Rule(
        Reason.BUILD,
        r"""(?:read|open|find)\ dockerfile | compute\ cache\ key | calculate\ checksum | max\ depth\ exceeded | failed\ to\ build:\ (?!failed\ to\ solve)
        | (?:copy|add)\ failed | prepare\ context | checking\ context | build\ context | dockerfile\ cannot\ be\ empty | target\ stage
        | parse\ stage\ name | base\ name\ .*\ should\ not\ be\ blank | evaluate\ symlinks | invalid\ from\ flag""",
        _REMOTE,
    ),
    # --- what the registry answered ---
    _Rule(
        Reason.RATE_LIMITED,
        rf"""too\ ?many\ ?requests | {_status("429")} | rate\ (?:limit|exceeded) | rate-limit | pull\ limit | too\ many\ failed\ login | throttl
        | quota\ exceeded\ for\ quota\ metric | resource_exhausted | reduce\ your\ request\ rate | slow\ ?down | error\ code:\ 1015""",
        _REMOTE,
    ),
    _Rule(
        Reason.QUOTA,
        rf"""quota | {_status("507|402")} | insufficient\ (?:storage|space) | configured\ upper\ limit | payment\ required | disk\ usage\ is\ too\ high
        | (?:storage|size|space|repositor\w+|images?|tags?|account|plan)\ (?:\w+\ )?limit | limit\ is\ \d | limit\ ?exceeded
        | (?:exceed|reach)\w*\ (?:\w+\ ){{0,4}}(?:limit|maximum|storage)""",
        _REMOTE,
    ),
    _Rule(
        Reason.REJECTED,
        rf"""read[\ -]?only | immutab | (?:can\ ?not|can't|may\ not)\ be\ overwritten | {_status("400|405|409|412|413|415|422|451")}
        | (?:entity|content|payload|body|manifest|layer|file)\ (?:is\ )?too\ large | ^(?:\S+:\ )*unsupported | is\ unsupported | (?:manifest|name|tag)\ invalid
        | bad\ request | method\ not\ allowed | precondition\ failed | unsupported\ media | unavailable\ for\ legal
        | schema\ ?(?:version\ )?1 | image\ format\ v1 | (?:configured|security|vulnerability|organization)\ polic | is\ not\ signed
        | maintenance\ mode""",
        _REMOTE,
    ),
    # --- who asks: 401 says who are you, 403 says not you; but the codes are not used with that care ---
    _Rule(Reason.UNAUTHORIZED, r"token\ (?:has\ |is\ )?expired | expired\ token | unauthenticated | invalid_token | no\ basic\ auth", _REMOTE),
    # A 401 that means 403: Quay's, Harbor's and Artifactory's.
    _Rule(
        Reason.DENIED,
        r"""resource\ is\ (?:denied|not\ authorized) | unauthorized\ (?:to\ )?access | insufficient_scope | (?:not|n't)\ have\ (?:the\ )?permission | permission_denied
        | permission\ .*\ denied | not\ authorized\ to\ perform""",
        _REMOTE,
    ),
    # Harbor's 401 for a project that does not exist.
    _Rule(Reason.NOT_FOUND, r"project\ \S+\ not\ found", _REMOTE),
    _Rule(
        Reason.UNAUTHORIZED,
        rf"""unauthorized | {_status("401")} | authenticat\w+\ (?:is\ )?(?:required|failed|error) | (?:incorrect|invalid|wrong|bad)\ (?:user|password|credential|api\ ?key|token)
        | http\ basic:\ access\ denied | login\ failed""",
        _REMOTE,
    ),
    _Rule(
        Reason.DENIED,
        rf"""denied | forbidden | {_status("403")} | not\ (?:authorized|allowed|permitted) | no\ pull\ access | accessdenied""",
        _REMOTE,
    ),
    # The manifest is there, and what it names is not: lost by the registry, or by a replica behind the same name.
    _Rule(
        Reason.SERVER_ERROR,
        r"""content\ descriptor | content\ at\ URL\ not\ found | blob\ (?:upload\ )?(?:\w+\ )?unknown | unknown\ blob | blob\ .*not\ found
        | pulling\ image\ configuration:.*(?:unknown|not\ found)""",
        _REMOTE,
    ),
    # Gone from the host itself.
    _Rule(Reason.DAEMON, r"does\ not\ exist\ locally | no\ such\ image | tag\ does\ not\ exist: | layer\ does\ not\ exist", _ALL),
    _Rule(
        Reason.NOT_FOUND,
        rf"""(?:manifest|name|repository)\ (?:\w+\ )?unknown | not\ found | {_status("404")} | (?:does|do)\ not\ exist | not\ known\ to
        | unknown\ (?:manifest|repository|image) | no\ matching\ manifest | no\ such\ (?:manifest|repository|tag) | was\ deleted""",
        _REMOTE,
    ),
    _Rule(
        Reason.INTEGRITY,
        r"""verification\ failed | unexpected\ commit | size\ validation | (?:digest|checksum|size|hash|diffid|length)s?\ (?:\w+\ ){0,3}mismatch | mismatched
        | (?:not|n't)\ match | invalid\ (?:checksum|tar\ header) | (?:gzip|zlib|zstd|flate):? | magic\ number | corrupt | digest\ invalid
        | wrong\ (?:digest|diff) | invalid\ digest""",
        _REMOTE,
    ),
    _Rule(
        Reason.SERVER_ERROR,
        rf"""{_status("5[0-9][0-9]")} | internal\ (?:server\ )?error | bad\ gateway | service\ (?:\w+\ )?unavailable | gateway\ time-?\ ?out
        | unmarshal | invalid\ character | end\ of\ json | unexpected\ http | unexpected\ status | parsing\ http | missing\ or\ empty\ content
        | unknown\ error | healthy\ upstream | upstream\ connect | backend\ fetch | try\ again\ later | missing\ signature | web\ server\ is\ down""",
        _REMOTE,
    ),
    # --- the connection ---
    _Rule(Reason.CLI, r"context\ canceled", _REMOTE),
    _Rule(
        Reason.TIMEOUT,
        rf"""time(?:d\ )?-?out | deadline\ exceeded | request\ canceled | {_status("408")}""",
        _REMOTE,
    ),
    _Rule(Reason.REFUSED, r"(?:connection|actively)\ refused", _REMOTE),
    _Rule(
        Reason.UNREACHABLE,
        r"""no\ route\ to\ host | (?:network|host)\ is\ (?:unreachable|down) | unreachable | assign\ requested\ address
        | connect:\ (?:permission\ denied|operation\ not\ permitted|invalid\ argument)""",
        _REMOTE,
    ),
    _Rule(
        Reason.RESET,
        r"""\beof\b | reset\ by | broken\ pipe | closed\ (?:network\ )?connection | closed\ idle | forcibly | connection\ (?:was\ )?(?:aborted|closed|broken|reset|lost)
        | goaway | stream\ error | http2: | http\ 206 | stream\ closed | short\ read | unexpected\ end""",
        _REMOTE,
    ),
    # What is left of the engine's own troubles.
    _Rule(
        Reason.DAEMON,
        r"""register\ layer | file\ system | input/output\ error | snapshot | overlay | creating\ .*(?:lease|mount) | i/o\ timeout | deadline\ exceeded | \beof\b
        | reset\ by | broken\ pipe | connection\ refused | rpc\ error""",
        _ALL,
    ),
    # An error code that docker does not know hides the status, and leaves the registry's own words.
    _Rule(Reason.SERVER_ERROR, r"^(?:\S+:\ |error\ \w+\ \w+:\ )*unknown: | from\ registry:", _REMOTE),
)

#: Words of `denied` that also fit what does not exist: registries do not tell strangers which of the two it is.
_MAY_NOT_EXIST = re.compile(r"does not exist or (?:may|no)|or it may not exist", re.IGNORECASE)

#: What a failure means whose words nobody has met. `unclassified` speaks of the registry, so only its steps have it.
_UNKNOWN_WORDS = {"build": Reason.BUILD, "rmi": Reason.IN_USE} | dict.fromkeys(_STEPS, Reason.UNCLASSIFIED)

_WRONG_USAGE = 125
_NEVER_RAN = (126, 127)
_SIGNALLED = range(129, 160)


def classify(verb: str, exit_code: int, stdout: str, stderr: str) -> Failure:
    """Given the verb of a docker command that failed, its exit code and what it printed, return why it failed.

    Never raises, whatever the texts.
    """
    said = list(words.errors(stdout, stderr))
    last = said[0] if said else f"docker {verb} {_ending(exit_code)} and said nothing of why"
    if exit_code < 0 or exit_code in _NEVER_RAN or exit_code in _SIGNALLED:
        # What it said before is not why it ended.
        return Failure(Reason.CLI, last if not said else f"docker {verb} {_ending(exit_code)}; it had said: {last}")
    for error in said:
        text = words.plain(error)
        for rule in _RULES:
            if verb in rule.verbs and rule.regex.search(text):
                return Failure(rule.reason, error, _not_there(rule.reason, text))
    if exit_code == _WRONG_USAGE:
        return Failure(Reason.CLI, last)
    return Failure(_UNKNOWN_WORDS.get(verb, Reason.DAEMON), last)


def _not_there(reason: Reason, text: str) -> bool:
    return reason is Reason.NOT_FOUND or (reason is Reason.DENIED and _MAY_NOT_EXIST.search(text) is not None)


def _ending(exit_code: int) -> str:
    return f"was ended by signal {-exit_code}" if exit_code < 0 else f"failed with exit code {exit_code}"
