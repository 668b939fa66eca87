"""What docker printed, reduced to the part that says why it failed.

Progress and notices are dropped; parts that can contain misleading words (addresses, names, paths, digests) are removed
before matching. `lib.failure` decides what the words mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice

#: How far back from its end an output is searched for an error.
LINES_SEARCHED = 60

#: Only this many characters at the beginning and the end of an error are matched: longer ones are somebody's HTML. So
#: no text, however long, costs more than one pass to find its lines.
CHARACTERS_MATCHED = 3000


class Words:
    """A regular expression, in any case, that is compiled when it is first needed: most runs never meet a failure."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        """Given the expression and flags of `re`."""
        self.pattern = pattern
        self._flags = flags | re.IGNORECASE

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self._flags)

    def search(self, text: str) -> re.Match[str] | None:
        """Given a text, return where the expression first fits."""
        return self._compiled.search(text)

    def match(self, text: str) -> re.Match[str] | None:
        """Given a text, return the match of the expression at its beginning."""
        return self._compiled.match(text)


def phrases(text: str) -> Words:
    """Given regular expressions, apart by ` | ` or a line's end, return one for any of them, in any case."""
    alternatives = [phrase.strip() for line in text.splitlines() for phrase in line.split(" | ")]
    return Words("|".join(filter(None, alternatives)))


_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*|[@-Z\\^_])")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")

# What a useless line begins with.
_NOISE = phrases(
    r"""
    \S+: (?:Pulling|Preparing|Waiting|Pushing|Pushed|Downloading|Download complete|Extracting|Verifying|Retrying)
    \S+: (?:Layer already|Already exists|Pull complete|Mounted|Skipped|digest:) | [0-9a-f]{12}: *\w*ing
    Digest: | Status: (?:Downloaded|Image) | Using default tag | The push refers to | Trying to pull | Pulling \S+ \(
    Sending build context | Step \d+/\d+ | \s*---> | Removing intermediate | Untagged: | Deleted:
    \#\d+ (?!.*\berror\b) | \[\+\] | \s*=> | -{4,} | \s*> \[ | \s*\d+ \|(?: |$) | Dockerfile:\d+
    Copying | Getting image | Storing signatures | Username(?: \(.*\))?: | Password: | Authenticating with
    See 'docker | Run 'docker | Usage: | What's next | \s*View | \s*Learn more | For more (?:help|info) | Emulate Docker
    DEPRECATED: | \s+(?:BuildKit|Install the buildx|environment-variable)
    (?:\w+:? )*(?:failed|completed|exited) with (?:exit )?code \d+\W*$ | exit status \d+\W*$
    \#\#\[error\]Process completed | script returned exit code | make(?:\[\d+\])?: | info Visit | [\W_]*$
    """
)

# What a logged line begins with: the error is elsewhere, unless there is nothing else.
_ASIDE = phrases(
    r"""
    (?:time=(?:"[^"]*"|\S+) )?level=(?!fatal) | (?:DEBU|INFO|WARN|ERRO)\[
    \[?warn(?:ing)?\b | notice: | \[DEPRECATION NOTICE\](?!.*(?:is disabled|been removed|no longer)) | \*\* Message
    """
)

URL = re.compile(r"""\bhttps?://[^\s"'`<>\\]+""", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]*>")
_TAG = phrases(r"</?(?:h1|h2|title|center|hr|body|p|error|code|message)>")
_HIDDEN = re.compile(r"<(style|script)\b[^<]*</\1>", re.IGNORECASE)
_DIGEST = re.compile(r"\b[0-9a-f]{12,}\b")
# A path, a repository or an image. Tried at the beginning of a word only, so that it stays linear.
_NAME = re.compile(r"""(?<![^\s"'`(\[])(?!i/o\b|input/output\b|(?:username|login)/password\b)[^\s"'`(\[]*/[^\s"'`]*""")

# A line that can't begin a message: markup, an item of a list, the second sentence of a notice.
_CONTINUATION = phrases(r"< | \* | Suggest the author | More information at | Please contact the? ?admin")
# What continues to the end of the output: a registry's list of errors, what ssh said.
_LIST = phrases(r"errors: | stderr=")
_UNFINISHED = phrases(r"(?:error response from daemon:\s*)?\[DEPRECATION NOTICE\]")
# containerd prints the status of an answer on one line, and the registry's own errors below it.
_ANSWERED = re.compile(r"unexpected status (?:from|code) .*: \d{3} [\w '-]+$", re.IGNORECASE)
_CODE_BEGINS = re.compile(
    r"(?:denied|unauthorized|unknown|unsupported|unavailable|toomanyrequests"
    r"|[a-z]+(?: [a-z]+)? (?:unknown|invalid|unverified))(?:: |$)"
)
_PAGE_BEGINS = phrases(r"<!doctype | <html | <\?xml | <head\b")
_BEGINS = phrases("error | failed to | unexpected | received | get | head")
_PAGE_ENDS = phrases("</html> | </error>")

# The HTTP status of the engine's own API, as its clients in other languages print it.
_ENGINE_STATUS = re.compile(r"\(HTTP code \d+\) [a-z ]+ - ", re.IGNORECASE)


def errors(stdout: str, stderr: str) -> list[str]:
    """Given what a failed docker command printed, return what can be its error, the last first, each on one line.

    Standard output counts if standard error says nothing, and an aside if there is nothing else.
    """
    said = [list(islice(_lines_backwards(text), LINES_SEARCHED)) for text in (stderr, stdout)]
    for aside in (False, True):
        for lines in said:
            wanted = [line for line in lines if aside or not _ASIDE.match(line)]
            if wanted:
                return _joined(reversed(wanted))[::-1]
    return []


def plain(error: str) -> str:
    """Given an error, return docker's own words in it, cut if it is very long."""
    error = bounded(error)
    for pattern, mark in ((_ENGINE_STATUS, ""), (URL, "URL"), (_MARKUP, " "), (_DIGEST, "DIGEST"), (_NAME, "…")):
        error = pattern.sub(mark, error)
    return " ".join(error.split())


def shown(error: str) -> str:
    """Given an error, return it for people: on one line, and of an HTML or XML page only the text."""
    if _PAGE_BEGINS.search(error) is None and _TAG.search(error) is None:
        return " ".join(error.split())
    page = _HIDDEN.sub(" ", error.replace("\\r", " ").replace("\\n", " "))
    said = (" ".join(text.split()) for text in _MARKUP.split(page))
    # Title and heading say the same.
    return " ".join(filter(None, dict.fromkeys(said)))


def bounded(error: str) -> str:
    """Given an error, return it, or its beginning and its end if it is very long."""
    if len(error) <= 2 * CHARACTERS_MATCHED:
        return error
    return f"{error[:CHARACTERS_MATCHED]} … {error[-CHARACTERS_MATCHED:]}"


def _lines_backwards(text: str) -> Iterator[str]:
    for line in reversed(text.splitlines()):
        visible = _INVISIBLE.sub("", _ESCAPE.sub("", line)).rstrip()
        if not _NOISE.match(visible[:CHARACTERS_MATCHED]):
            yield visible.strip()


def _joined(lines: Iterable[str]) -> list[str]:
    joined: list[str] = []
    for line in lines:
        if joined and joined[-1].endswith(f": {line}"):
            continue  # an engine that quotes a registry's only message as a list
        if joined and (_CONTINUATION.match(line) or _goes_on(joined[-1], line)):
            joined[-1] += f"\n{line}"
        else:
            joined.append(line)
    return joined


def _goes_on(error: str, line: str) -> bool:
    beginning, end = error[:CHARACTERS_MATCHED], error[-CHARACTERS_MATCHED:]
    if error.endswith(":") or _LIST.search(beginning):
        return True
    if _UNFINISHED.match(beginning) and not error.endswith("."):
        return True
    if _ANSWERED.search(end) and _CODE_BEGINS.match(line):
        return True
    # An engine that quotes a page does so on one line.
    is_in_page = _PAGE_BEGINS.search(beginning) is not None and _PAGE_ENDS.search(end) is None
    return is_in_page and not error.endswith('"') and _BEGINS.match(line) is None
