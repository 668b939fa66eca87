"""An error taken apart: docker's own words, and those that it quotes from somebody outside.

The distribution API answers with a code and a message, and engines print both: `denied: no such image signature`. The
words after a code, or in the body of an HTTP answer, are that server's, whatever they sound like; those before it are
docker's. So a full disk is this host's only if docker says so itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from lib.failure.words import URL, Words, bounded, phrases, plain


def status(codes: str) -> str:
    """Given a regular expression for HTTP statuses, return one for all the ways in which engines write a status."""
    who = r"(?:(?:status|(?<!exit )code)(?: code)?(?: URL)?|http|request to \w+|registry|token \w*)"
    return rf"{who}\W{{1,3}}(?:code\W{{1,2}})?(?:{codes})\b(?!\.\d)"


#: The error codes of the distribution API, as all engines print them. `unknown` and `unavailable` are also words that
#: containerd puts behind an error of its own.
_CODE = r"""(?:
    (?:unknown|unavailable)(?=:\ |:$)
  | (?:unsupported|unauthorized|denied|toomanyrequests
    | (?:digest|size|range|name|tag|manifest|blob\ upload|pagination\ number|query\ parameter)\ invalid
    | (?:name|manifest|blob|blob\ upload|manifest\ blob)\ unknown | unknown\ blob | manifest\ unverified
    )(?=:\ |:?\s*$)
)"""

#: Where somebody outside begins to speak: after a code, in an HTTP body, after words that say so.
_QUOTE = Words(
    rf"""
    (?:^|(?<=:\ )|(?<=[\["`])) (?P<code>(?-i:{_CODE}))
    | (?:error\ from\ registry|server\ message):
    | error\ parsing\ http(?:\ \d+)?\ response(?:\ body)?:
    | statuscode:\ \d+,
    | unexpected\ status\ code\ \[\d+\]
    """,
    re.VERBOSE | re.MULTILINE,
)

#: Podman tries mirrors first, and quotes how each of them failed before it says how the registry did.
_MIRRORS = re.compile(r"\(Mirrors also failed: \[.*?\]\): ", re.DOTALL)

_PAGE = phrases(r"</?(?:!doctype|html|head|body|title|h1|center|error)\b | <\?xml")

#: The URL of a request; docker also names pages of its documentation.
_REQUEST = re.compile(
    r"""\b(get|head|post|put|patch|delete|status code|content at|from)(?: request to)?\s+["'\\]*"""
    r"""(https?://[^\s"'`<>\\]+)""",
    re.IGNORECASE,
)
_ANSWER = phrases(rf"{status('[1-5][0-9][0-9]')} | unexpected http status | in http response body")
_ADDRESS = phrases(
    r"""
    \b\d{1,3}(?:\.\d{1,3}){3}:\d | \[[0-9a-f:]+\]:\d | \blookup \S | docker://
    (?:container|docker) registry \S+: | (?:from|any) registry | resolve reference | to authorize | to do request
    layer upload | uploading (?:layer|manifest) | blob \S+ exists | reading manifest | bearer token | logging into
    """
)
_DOCUMENTATION = re.compile(r"https?://(?:docs\.|(?:www\.)?docker\.com|github\.com)", re.IGNORECASE)


@dataclass(frozen=True)
class Said:
    """An error, taken apart.

    Attributes:
        text: the whole error, as far as it is matched.
        own: the part that is docker's own words: everything, if it quotes nobody.
        code: the error code of the distribution API that it quotes, or an empty text.
        moves_layers: a pull was moving layers by then: only a layer can still be refused.
    """

    text: str
    own: str
    code: str
    moves_layers: bool

    @cached_property
    def words(self) -> str:
        """All words, without addresses, names and markup."""
        return plain(self.text)

    @cached_property
    def own_words(self) -> str:
        """Docker's own, likewise."""
        return plain(self.own)

    @property
    def is_quote(self) -> bool:
        """Whether somebody outside is quoted at all."""
        return len(self.own) < len(self.text)

    @cached_property
    def is_answer(self) -> bool:
        """Whether a server answered: with a code of the API, an HTTP status or a page."""
        return self.is_quote or self.is_page or _ANSWER.search(self.words) is not None

    @cached_property
    def is_page(self) -> bool:
        """Whether what was answered is HTML or XML."""
        return _PAGE.search(self.text) is not None

    @cached_property
    def request(self) -> tuple[str, str]:
        """Method and URL of the request that the error is about: the last one named. Empty texts if there is none."""
        named = _REQUEST.findall(self.own) or _REQUEST.findall(self.text)
        return (named[-1][0].lower(), named[-1][1]) if named else ("", "")

    @property
    def names_outside(self) -> bool:
        """Whether anything in it points outside this host: a status, a code, a URL or an address."""
        return (
            self.is_answer
            or any(not _DOCUMENTATION.match(url[0]) for url in URL.finditer(self.text))
            or _ADDRESS.search(self.text) is not None
        )


def taken_apart(error: str, *, moves_layers: bool = False) -> Said:
    """Given an error, and whether a pull was moving layers by then, return it with docker's own words separated."""
    text = _MIRRORS.sub("", bounded(error))
    quote = _QUOTE.search(text)
    if quote is None:
        return Said(text, text, "", moves_layers)
    return Said(text, text[: quote.start()], quote["code"] or "", moves_layers)
