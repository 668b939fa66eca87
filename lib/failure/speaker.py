"""Who said why a docker command failed. Others between the operator and the registry use the same words.

A speaker is recognised by the position of the words, by the path or URL that they name and by the verb, before their
meaning is looked up. `lib.failure.rules` then looks only for what this speaker can be guilty of.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from lib.failure.quoted import Said, status
from lib.failure.reason import Reason, Scope
from lib.failure.words import Words, phrases

_NETWORK = tuple(reason for reason in Reason if reason.scope is Scope.NETWORK)
_LOCAL = (Reason.DAEMON, Reason.DISK_FULL, Reason.REFERENCE, Reason.BUILD, Reason.IN_USE)
_REGISTRY = (
    Reason.SERVER_ERROR,
    Reason.RATE_LIMITED,
    Reason.NOT_FOUND,
    Reason.QUOTA,
    Reason.REJECTED,
    Reason.INTEGRITY,
    Reason.UNAUTHORIZED,
    Reason.DENIED,
)


class Speaker(Enum):
    """Who said why a docker command failed.

    Attributes:
        guilty: the reasons that it can be guilty of.
        otherwise: the reason if its words have none of these meanings; None if nobody knows.
    """

    guilty: frozenset[Reason]
    otherwise: Reason | None

    # The program, and those on the way to the engine.
    HELPER = "credential helper", (Reason.CREDENTIAL_HELPER,)
    DOOR = "context, ssh or socket of the engine", (Reason.DAEMON,)
    GATE = "proxy before the engine's socket", (Reason.DAEMON,)
    PLUGIN = "authorization plugin", (Reason.DAEMON,)
    CLI = "docker program", (Reason.CLI, Reason.REFERENCE, Reason.BUILD)
    # Those that work on this host.
    ENGINE = "engine", _LOCAL
    RUNTIME = "containerd or runtime", (Reason.DAEMON, Reason.DISK_FULL, Reason.BUILD)
    # Outside.
    PROXY = "proxy on the way", (Reason.PROXY,)
    TOKEN = "token server", _REGISTRY
    STORE = "object store or CDN", (Reason.SERVER_ERROR, Reason.RATE_LIMITED)
    REGISTRY = "registry", _REGISTRY
    WAY = "network, or who answers there", (None, *_NETWORK, *_REGISTRY, Reason.CLI)
    UNKNOWN = "nobody knows", (None, *Reason)

    def __init__(self, _: str, reasons: tuple[Any, ...]) -> None:
        """Given a name for readers, and the reasons: the first is the one if no words fit."""
        self.otherwise = reasons[0]
        self.guilty = frozenset(reasons)


# Signs in docker's own words, without the addresses and names in them.

_HELPER = phrases(
    r"""
    (?:getting|storing|saving|erasing|listing|retrieving) credentials | getting username and password
    docker-credential- | credentials? (?:helper|store)\b | credentials not found in native | gdbus | d-bus
    dbus-(?:launch|daemon) | pass not initialized | pass store is | org\.freedesktop | secret ?service
    locked collection | the keychain | wincred | gpg:
    """
)
_PLUGIN = phrases(r"denied by plugin | plugin \S+ not found | plugin \S+ failed with error | authz ?plugin")
_DOOR = phrases(
    r"""
    connect to the docker (?:daemon|api) | is the docker daemon running | daemon is (?:not running|shutting down)
    connect to podman | docker desktop is | docker_engine | bad response from docker engine | docker daemon socket
    error during connect | error occurred trying to connect | dial unix | for api route and version
    client version \S+ is too | (?:min|max)imum supported api version | requires api version
    api returned a \d+ | tls-enabled daemon | client authentication \(--tlsverify | docker system dial-stdio
    \bssh: | command \[ssh | host key verification | permission denied \(publickey | kex_exchange
    failed to dial grpc | code = unavailable desc = (?:connection|transport|error reading)
    """
)
#: The engine's API, by the names that its clients give it.
_SOCKET = re.compile(r"https?://(?:%2F|docker(?:\.example\.com)?/)|unix://", re.IGNORECASE)
#: An answer to the CLI that is a page, or only a status: neither is an engine's way, nor how it quotes a registry. Or
#: BuildKit waits in vain for what the CLI has to open beside the build.
_GATE = Words(
    r"""error\ response\ from\ daemon:\s*(?:<(?:!doctype|html|\?xml|head|body|h1|center|title)
    |(?:40[0-9]\ |50[0-9]\ )?(?:forbidden|bad\ gateway|service\ unavailable|gateway\ time-?out|method\ not\ allowed
       |404\ page\ not\ found|page\ not\ found)\W*$
    |client\ sent\ an\ http\ request)
    |no\ active\ session\ for\ \S+:\ context\ deadline\ exceeded""",
    re.VERBOSE,
)
# It does not understand its arguments, or it crashed, or the kernel killed it for lack of memory.
_CLI = phrases(
    r"""
    unknown (?:shorthand )?flag | flag needs an argument | flag provided but | invalid argument .{0,300} flag
    (?:requires|accepts) (?:(?:exactly|at least|at most) )?(?:\d|one|no) ?arg | not a docker command
    unknown (?:docker )?command | cannot perform an interactive login | non.tty | --password-stdin | --username
    command not found | docker: not found | exec format error | buildx component is missing | executable file not found
    unable to resolve docker endpoint | current context \S+ is not found | error loading config file
    ^panic: | ^fatal error: | goroutine \d+ \[ | sigsegv | segmentation fault | ^(?:\S+ )?killed$
    """
)
#: A refusal that quotes no registry: docker names what it asked for, and a registry's code or status.
_REFUSAL = Words(
    r"error response from daemon:\s(?!(?:pull|push) access|.{0,300}(?:authorization failed|basic auth|log ?in))"
    r".{0,300}(?:denied|forbidden|blocked|not (?:authorized|allowed|permitted))"
)
_RUNTIME = phrases(
    r"""
    oci runtime | \brunc (?:create|run|init|did) | \bcrun: | container_linux\.go | starting container process
    failed to create (?:shim )?task | \bcgroups? ?v\d | \bshim task | namespace \{ | mount namespace
    \bcontainerd(?:: | is |\.sock)
    """
)
# The digest of a layer is verified before it is unpacked: whatever goes wrong after that is this host's fault.
_ENGINE = phrases(
    r"""
    (?:register|extract|unpack|apply|add)(?:ing)? (?:\w+ )?layer | applylayer | processing tar file | tar file\(
    overlay mount | snapshotter | (?:prepare|extraction|create|commit|stat|remove) (?:\w+ )?snapshot
    snapshot \S+ (?:does|already) | graph ?driver | layer ?(?:store|db) | device ?mapper | creating lease | \bgrpc:
    lease \S+: not found | content \S+: not found | for client certificate | configure storage | kernel does not
    registries configuration | source image rejected | load config file | thin pool | grpc connection
    locked for \S+ \(since | content store | no connector | mount callback
    "transport: | storing blob | committing the finished image | creating temporary | containers-storage | fork/exec
    """
)
# Errors that only this host's kernel gives, even while dialling.
_KERNEL = phrases(
    r"""
    no buffer space | too many open files | cannot allocate memory | resource temporarily unavailable
    socket: permission | (?:address family|protocol) (?:is )?not supported | address already in use
    (?:connect|sendto|bind): (?:permission denied|operation not permitted|invalid argument)
    """
)
#: What only a kernel says of an operation, and what others also say of connections.
_ERRNO = phrases(
    r"""
    no space left on device | .{0,20}quota exceeded | not enough space.{0,20} | there is not enough.{0,20}
    access is denied | operation not (?:permitted|supported) | function not implemented | file exists
    no such (?:file or directory|device(?: or address)?|process) | (?:is|not) a directory | directory not empty
    file name too long | read-only file system | (?:input/output|remote i/o|exec format) error | file too large
    too many (?:open files(?: in system)?|links|levels of symbolic links) | stale (?:nfs )?file handle | bad message
    structure needs cleaning | transport endpoint is.{0,20} | bad (?:file descriptor|address) | bad system call
    (?:device or resource|text file) busy | invalid (?:argument|cross-device link|exchange) | cannot allocate memory
    no (?:locks|data|buffer space) available | argument list too long | value too large.{0,30}
    resource (?:temporarily unavailable|deadlock avoided) | interrupted system call | unknown error \d+
    """
).pattern
_SHARED_ERRNO = phrases(
    """
    permission denied | not supported | host is down | software caused | connection timed out | unexpected eof
    numerical result | key has | required key
    """
).pattern
#: The operation on a path, as Go names it in an error: `open /var/lib/docker/x: permission denied`.
_OPERATION = phrases(
    r"""
    open(?:at2?)? | creat | close | p?read | p?write | l?seek | f?truncate | f(?:data)?sync | syncfs | [lf]?stat\w*
    newfstatat | mkdir(?:at)? | mknod | mkfifo | u?n?mount | link(?:at)? | symlink(?:at)? | readlink | rename(?:at2?)?
    remove(?:all)? | unlink(?:at)? | rmdir | [lf]?ch(?:mod|own)\w* | l?u?ch?times\w* | utimensat | chroot | pivot_root
    chdir | readdir\w* | fdopendir | getdents | l?(?:get|set|list|remove)xattr(?: [\w.]+)? | flock | fcntl | ioctl
    mmap | copy_file_range | sendfile | (?:fork/)?exec | walk | dial
    """
).pattern
#: An operation on a path of this host, or a path and what the kernel says of it.
_FILE = r"""(?:/(?![/]|v2/)|\.\.?/|[a-z]:\\)[^:"'`\n]{0,300}["'`]?: """
_PATH = Words(
    rf"""\b(?:{_OPERATION}) ["'`]?{_FILE}"""
    rf"""|(?:^|(?<=[\s"'`(=:])){_FILE}(?:[^:\n]{{1,60}}: ){{0,2}}(?:{_ERRNO}|{_SHARED_ERRNO})"""
)
_ENDS_IN_ERRNO = Words(rf"(?:^|: )(?:{_ERRNO})(?:: unknown)?\W*$")

_PROXY = phrases(
    r"""
    proxyconnect | socks connect | invalid proxy
    (?:get|head|put|post|patch) "?URL"?:? (?:forbidden|method not allowed|bad request|authenticationrequired)\.?$
    unknown scheme
    """
)
#: A proxy between the CLI and an engine on TCP, and a status that no registry uses.
_TUNNEL = phrases("tunnel or ssl forbidden")
_PROXY_LOGIN = phrases(f"{status('407')} | proxy authentication")
#: Proxies that sign the page with which they refuse.
_PROXY_PAGE = phrases(r"\bsquid\b | zscaler | blue ?coat | err_access_denied | forcepoint | fortigate | mcafee web")
_TOKEN = phrases(
    r"to authorize(?! redirect) | fetch \w+ token | bearer token | auth(?:entication)? token | auth challenge"
)
_BLOB = phrases(
    r"""
    pulling image config | (?:fetching|reading)(?: \w+)? blob | parsing image config | httpreadseeker
    download failed after | authorize redirect
    """
)
_REFUSED = phrases(rf"{status('403')} | forbidden")

_ENDPOINT = re.compile(r"https?://[^/?]*(?P<path>[^?]*)(?P<query>.*)", re.DOTALL)
_API = re.compile(r"/v2/(?!token\b|auth\b)|/v2$|/v1/|/?$", re.IGNORECASE)
_REALM = re.compile(r"token|\bauth\b|oauth|\bservice=|\bscope=", re.IGNORECASE)


def _serves(url: str) -> Speaker | None:
    """Given the URL of a request, return who serves it: the API's paths are the registry's, others are not."""
    endpoint = _ENDPOINT.match(url)
    if endpoint is None:
        return None
    if _API.match(endpoint["path"]):
        return Speaker.REGISTRY
    return Speaker.TOKEN if _REALM.search(endpoint["path"] + endpoint["query"]) else Speaker.STORE


def _is_a_proxys(said: Said) -> bool:
    """Whether the answer is a proxy's: a registry's own message, after its code, can also mention a proxy."""
    if said.is_page and _PROXY_PAGE.search(said.words):
        return True
    return (said.is_page or not said.code) and _PROXY_LOGIN.search(said.words) is not None


def _refuses_a_blob(said: Said) -> bool:
    """Whether a server refuses what its manifest promised, or refuses with a page: no registry says denied that way."""
    if said.code != "denied" and not _REFUSED.search(said.words):
        return False
    method, url = said.request
    gets_blob = "/blobs/" in url and method in ("get", "status code", "content at", "from")
    return said.is_page or gets_blob or said.moves_layers or _BLOB.search(said.own_words) is not None


#: The table of signs: the speaker is the first one whose sign is there. `own` are docker's own words.
_SIGNS: tuple[tuple[Speaker, Callable[[Said], Any]], ...] = (
    (Speaker.PROXY, lambda said: _TUNNEL.search(said.own_words)),
    (Speaker.HELPER, lambda said: _HELPER.search(said.own_words)),
    (Speaker.PLUGIN, lambda said: _PLUGIN.search(said.own_words)),
    (Speaker.DOOR, lambda said: _DOOR.search(said.own_words) or _SOCKET.search(said.own)),
    (Speaker.GATE, lambda said: _GATE.search(said.own)),
    (Speaker.CLI, lambda said: _CLI.search(said.own_words)),
    (Speaker.PROXY, lambda said: _PROXY.search(said.own_words) or _is_a_proxys(said)),
    (Speaker.RUNTIME, lambda said: _RUNTIME.search(said.own_words)),
    (Speaker.ENGINE, lambda said: _ENGINE.search(said.own_words) or _PATH.search(said.own)),
    (Speaker.ENGINE, lambda said: _KERNEL.search(said.own_words)),
    (Speaker.STORE, lambda said: said.is_answer and _refuses_a_blob(said)),
    (Speaker.TOKEN, lambda said: said.is_answer and _TOKEN.search(said.own_words)),
    (Speaker.TOKEN, lambda said: said.is_answer and _serves(said.request[1]) is Speaker.TOKEN),
    (Speaker.STORE, lambda said: said.is_answer and _serves(said.request[1]) is Speaker.STORE),
    (Speaker.REGISTRY, lambda said: said.is_answer),
    (Speaker.WAY, lambda said: said.request[1]),
    (Speaker.ENGINE, lambda said: _ENDS_IN_ERRNO.search(said.own_words)),
    (Speaker.GATE, lambda said: _REFUSAL.search(said.own_words)),
)


def speaker_of(said: Said) -> Speaker:
    """Given an error, return who spoke."""
    return next((speaker for speaker, is_heard in _SIGNS if is_heard(said)), Speaker.UNKNOWN)
