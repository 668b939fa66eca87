"""Blanking: the one place through which text that others wrote leaves the program, without the secrets in it.

There are two kinds: known ones (a password, the logins of a Docker configuration), however they are encoded and
wherever a line breaks them; and those that only their place gives away (a URL's user and query, what follows Bearer).
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from urllib.parse import unquote

from lib.secret import SECRET_PLACEHOLDER, Secret

_Span = tuple[int, int]


def without_secrets(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Given a text that docker, a helper or a registry wrote, and the secrets that are known, return what may be shown.

    A placeholder replaces each secret; the rest is unchanged. Blanking a text again changes nothing more.
    """
    if not text:
        return text
    secrets = tuple(secrets)
    needles = tuple({needle for secret in secrets for needle in _needles(secret)})
    spaced = tuple(text for text in (secret.reveal() for secret in secrets) if re.search(_GAP, text) and text.strip())
    while (shown := _blanked(text, (*_known(text, needles, _GAP), *_known(text, spaced), *_by_place(text)))) != text:
        text = shown  # the text beside a placeholder can now be a secret by its place
    return text


def _blanked(text: str, spans: Iterable[_Span]) -> str:
    shown: list[str] = []
    end = 0
    for start, stop in sorted(spans):
        if start > end or not shown:
            shown += [text[end:start], SECRET_PLACEHOLDER]
        end = max(end, stop)
    return "".join((*shown, text[end:]))


# --- known secrets ---

#: Fewer letters of base64, or of one line of several, are too few to search for.
_FEW_LETTERS = 4

#: Stands for a placeholder while secrets are searched for: a character that no text has, so that no match spans it.
_BARRIER = "\ufdd0"

#: What can come between the characters of a secret: the end of a line, and what cannot be seen.
_GAP = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b|[\s\x00-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+"

#: How a text can be encoded, by a character that every text so encoded has.
_ENCODINGS = {
    "%": r"(?:%[0-9A-Fa-f]{2})+",
    "+": r"\+",
    "\\": r"(?:\\u[0-9A-Fa-f]{4})+|\\.",
    "&": r"&(?:#\w{1,8}|\w{1,8});",
}
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@lru_cache(maxsize=256)
def _needles(secret: Secret) -> frozenset[str]:
    """Return what to look for in a decoded text without its gaps: the secret, its lines, and its base64 form."""
    text = secret.reveal()
    raw = text.encode(errors="surrogatepass")
    plain = re.sub(_GAP, "", text)
    if not plain:
        return frozenset()
    found = {plain}
    # If it has several lines, docker or a helper may print just one.
    lines = [re.sub(_GAP, "", line) for line in text.splitlines()]
    found |= {line for line in lines if len(line) >= _FEW_LETTERS}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        found |= {whole, whole.rstrip("=")}
        for before in range(3):
            # The first and the last letter can hold bits of the neighbouring text.
            inner = encode(bytes(before) + raw).decode().rstrip("=")[(4 * before + 2) // 3 : -1]
            if len(inner) > _FEW_LETTERS:
                found.add(inner)
    return frozenset(found)


def _known(text: str, needles: Sequence[str], gap: str = "(?!)") -> Iterator[_Span]:
    """Given a text, what to look for in its decoded form, and what to leave out meanwhile, return where that is."""
    if not needles:
        return
    used = tuple(form for sign, form in _ENCODINGS.items() if sign in text)
    # As it is, in each encoding, and in all at once: so it is found even if the text before it looks encoded.
    for forms in {(), *((form,) for form in used), used}:
        encoded = re.compile("|".join((re.escape(SECRET_PLACEHOLDER), *forms, gap)), re.DOTALL)
        left_out = re.compile(gap)

        def decode(token: str, left_out: re.Pattern[str] = left_out) -> Iterator[tuple[str, int]]:
            return ((left_out.sub("", part), width) for part, width in _characters(token))

        if forms:
            decoded = encoded.sub(lambda found: "".join(part for part, _ in decode(found[0])), text)
        else:  # for most texts this is all: a cycle's outputs take a millisecond or two
            decoded = left_out.sub("", text.replace(SECRET_PLACEHOLDER, _BARRIER))
        places: list[_Span] = []
        for needle in filter(decoded.__contains__, needles):
            places = places or list(_places(text, encoded, decode))
            at = decoded.find(needle)
            while at >= 0:
                yield places[at][0], places[at + len(needle) - 1][1]
                at = decoded.find(needle, at + 1)


def _places(text: str, encoded: re.Pattern[str], decode: Callable[[str], Iterable[tuple[str, int]]]) -> Iterator[_Span]:
    """Return the position in a text of each character of its decoded form."""
    end = 0
    for found in encoded.finditer(text):
        yield from ((at, at + 1) for at in range(end, found.start()))
        end = found.start()
        for part, width in decode(found[0]):
            yield from repeat((end, end + width), len(part))
            end += width
        end = found.end()
    yield from ((at, at + 1) for at in range(end, len(text)))


def _characters(token: str) -> Iterable[tuple[str, int]]:
    """Given a piece of a text that is encoded or a gap, return the characters that it stands for, with their width."""
    if token == SECRET_PLACEHOLDER:
        return [(_BARRIER, len(token))]
    if token[0] == "%":
        return [
            (one, 3 * len(one.encode(errors="surrogateescape"))) for one in unquote(token, errors="surrogateescape")
        ]
    if token.startswith("\\u") and len(token) > len("\\u"):
        return [(one, 3 * len(one.encode("utf-16-le", "surrogatepass"))) for one in json.loads(f'"{token}"')]
    if token[0] == "\\":
        return [(_ESCAPED.get(token[1:], token[1:]), len(token))]
    if token[0] == "&":
        return [(html.unescape(token), len(token))]
    return [(token.replace("+", " "), len(token))]


# --- secrets that their place gives away ---

_HIDDEN = re.escape(SECRET_PLACEHOLDER)
_LETTERS = r"[\w.~+/=%-]"
#: The rest of a long text without spaces that a line's end broke.
_NEXT_LINE = rf"""(?:[ \t]*\r?\n[ \t]*(?:&|{_LETTERS}){{16,}}(?=["'\s]|\Z))*"""

#: A word, as far as a URL can reach, and what a URL's parts begin with, as they are and within another URL.
_WORD = re.compile(rf"""(?:{_HIDDEN}|[^\s"`<>])+""")
_AUTHORITY = re.compile(rf"(?::|%3A)(?:/|%2F){{2}}((?:{_HIDDEN}|[^\s/?#\"`<>])*)", re.IGNORECASE)
_REST = re.compile(_NEXT_LINE)
_QUERY = re.compile(r"\?|%3F", re.IGNORECASE)
_PAIR = re.compile(r"=|%3D", re.IGNORECASE)
_USER_ENDS = re.compile(r"@(?!sha\d+:)|%40", re.IGNORECASE)
#: What ends a sentence or a quotation, not a secret.
_AFTER = ".,:;!'\\)]}"

#: A value whose name says that it is secret, also outside a URL: in a form, in JSON.
_NAMED = re.compile(
    rf"""
    \b (?:x-\w+-(?:signature|credential|security-token) | sig | signature | (?:\w+_)?token | password | passwd
        | (?:\w+_)?secret | api_?key) (?:=|%3D) (?P<form> (?:{_HIDDEN}|[^\s"'`<>&,;])+ )
    | (?<=["']) (?:(?:\w+_)?secret | auth | (?:\w+_?)?token | password | passwd) \\?["'] \s* : \s* \\?["']
        (?P<json> [^"'\\]+ )
    """,
    re.IGNORECASE | re.VERBOSE,
)

#: Known messages of such helpers: only the words of this table are shown, and none of their others.
_HELPERS_WORDS = re.compile(
    r"""
    (?<![\w-]) (?: credentials\ not\ found\ in\ native\ keychain | (?:keychain|collection|store) | is | pass
        | (?:not\ |un)initiali[sz]ed | locked | not\ implemented | not\ provided | executable\ file\ not\ found
        | cannot\ autolaunch\ d-bus | org\.freedesktop\.secrets | decryption\ failed | no\ secret\ key
        | expired | access\ denied | not\ allowed | timed\ out ) (?![\w-])
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: Everything that a credential helper printed on standard output, as docker quotes it; the end can be lost.
_HELPER = re.compile(r", out: `(?P<said>.*(?=`)|.*)", re.DOTALL)

_WEB_TOKEN = re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*)*")

_SCHEME = re.compile(
    rf"""
    (?P<header> authorization(?:\W|%[0-9a-f]{{2}}){{1,5}} )? (?:(?<!\w)|(?<=%20)) (?P<scheme> basic | bearer )
    (?P<between> (?:\s|%20|[:=+\\"'(\[]){{1,6}} (?: (?:auth\w* | tokens? | credentials? ) (?:\s|[:=\\"'])+ ){{0,2}} )
    (?P<token> (?:{_HIDDEN}|{_LETTERS})+ {_NEXT_LINE} )
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: Words that follow "Basic" or "Bearer" in a sentence or a challenge.
_ORDINARY = re.compile(
    r"""
    (?: auth\w* | tokens? | credentials? | challenges? | schemes? | logins? | access | headers? | http | user\w*
    | passwords? | methods? | types? | requests? | responses? | grants? | errors? | docker | www-\w+
    | is | was | are | not | no | and | or | but | in | for | of | from | with | to | by | on | at | only | must | has
    | required | requires | failed | failure | missing | invalid | expired | denied | rejected | refused | unsupported
    | disabled | enabled | provided | given | found | unknown
    | (?: realm | service | scope | charset | error\w* )=.* )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_LIKE_A_TOKEN = re.compile(r"\d|[a-z][A-Z]|[=+~_%]")
_FEW, _MANY = 4, 20


#: Every text that has a secret by its place has one of these: most texts have none, and are done with at once.
_SIGN = re.compile(r"[?@=`]|%3F|%40|%3D|basic|bearer|eyJ|[\"']\s*:", re.IGNORECASE)


def _by_place(text: str) -> Iterator[_Span]:
    if not _SIGN.search(text):
        return
    for word in _WORD.finditer(text):
        yield from _in_url(word)
    for found in _SCHEME.finditer(text):
        token = found["token"].rstrip(_AFTER)
        if _is_token(found, token):
            yield found.start("token"), found.start("token") + len(token)
    for found in _NAMED.finditer(text):
        start = max(found.start("form"), found.start("json"))
        yield start, start + len((found["form"] or found["json"]).rstrip(_AFTER))
    for found in _HELPER.finditer(text):
        yield from _in_helper(found["said"], found.start("said"))
    for found in _WEB_TOKEN.finditer(text):
        yield found.span()


def _in_url(word: re.Match[str]) -> Iterator[_Span]:
    text = word[0]
    start = None
    for found in _AUTHORITY.finditer(text):
        start = found.start() if start is None else start
        users = list(_USER_ENDS.finditer(found[1]))
        if users and users[-1].start():
            yield word.start() + found.start(1), word.start() + found.start(1) + users[-1].start()
    query = _QUERY.search(text, start or 0)
    if query is not None and (start is not None or (query.start() and _PAIR.search(text, query.end()))):
        end = len(text.rstrip(_AFTER))
        if end > query.end():
            rest = _REST.match(word.string, word.end()) if end == len(text) else None
            yield word.start() + query.end(), rest.end() if rest else word.start() + end


def _in_helper(said: str, at: int) -> Iterator[_Span]:
    end = 0
    for start, stop in (*(found.span() for found in _HELPERS_WORDS.finditer(said)), (len(said), len(said))):
        if said[end:start].strip():
            yield at + end + (said[end] == " "), at + start - (said[start - 1] == " ")
        end = stop


def _is_token(found: re.Match[str], token: str) -> bool:
    """Given what follows "Basic" or "Bearer", return whether it is a token, not a word of the sentence."""
    if len(token) < _FEW or _ORDINARY.fullmatch(token):
        return False
    as_in_a_header = found["scheme"][0].isupper() and not found["between"].strip(" ")
    return bool(found["header"] or as_in_a_header or _LIKE_A_TOKEN.search(token) or len(token) > _MANY)
