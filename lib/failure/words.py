"""What docker printed, reduced to what says why it failed.

Progress and notices go; what can hold misleading words (addresses, names, paths, digests) is taken out before anybody
matches. What the words mean is `lib.failure`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

#: How far back from its end an output is searched for an error.
LINES_SEARCHED = 60

#: An error is matched by its beginning and its end of this many characters: what is longer is somebody's HTML. So no
#: text, however long, costs more than one pass to find its lines.
CHARACTERS_MATCHED = 3000


def phrases(text: str) -> re.Pattern[str]:
    """Given regular expressions, apart by ` | ` or a line's end, return one for any of them, in any case."""
    alternatives = [phrase.strip() for line in text.splitlines() for phrase in line.split(" | ")]
    return re.compile("|".join(filter(None, alternatives)), re.IGNORECASE)


_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*|[@-Z\\^_])")
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")

# What a line of no use begins with.
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

# What a line begins with that was logged, not reported: the error is elsewhere, unless this is all that there is.
_ASIDE = phrases(
    r"""
    (?:time=(?:"[^"]*"|\S+) )?level=(?!fatal) | (?:DEBU|INFO|WARN|ERRO)\[
    \[?warn(?:ing)?\b | notice: | \[DEPRECATION | \*\* Message
    """
)

_URL = re.compile(r"""\bhttps?://[^\s"'`<>\\]+""", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]*>")
_DIGEST = re.compile(r"\b[0-9a-f]{12,}\b")
# A path, a repository or an image. Tried at the beginning of a word only, so that it stays linear.
_NAME = re.compile(r"""(?<![^\s"'`(\[])(?!i/o\b|input/output\b|(?:username|login)/password\b)[^\s"'`(\[]*/[^\s"'`]*""")
# The HTTP status of the engine's own API, as its clients in other languages print it.
_ENGINE_STATUS = re.compile(r"\(HTTP code \d+\) [a-z ]+ - ", re.IGNORECASE)


def errors(stdout: str, stderr: str) -> list[str]:
    """Given what a failed docker command printed, return what can be its error, the last first, each on one line.

    Standard output counts where standard error has nothing to say, and an aside where there is nothing else.
    """
    said = [list(islice(_lines_backwards(text), LINES_SEARCHED)) for text in (stderr, stdout)]
    for aside in (False, True):
        for lines in said:
            wanted = [line for line in lines if aside or not _ASIDE.match(line)]
            if wanted:
                return _joined(reversed(wanted))[::-1]
    return []


def plain(error: str) -> str:
    """Given an error, return it without what is no word of docker's, and cut where it is very long."""
    if len(error) > 2 * CHARACTERS_MATCHED:
        error = f"{error[:CHARACTERS_MATCHED]} … {error[-CHARACTERS_MATCHED:]}"
    for pattern, mark in ((_ENGINE_STATUS, ""), (_URL, "URL"), (_MARKUP, " "), (_DIGEST, "DIGEST"), (_NAME, "…")):
        error = pattern.sub(mark, error)
    return " ".join(error.split())


def _lines_backwards(text: str) -> Iterator[str]:
    for line in reversed(text.splitlines()):
        visible = _INVISIBLE.sub("", _ESCAPE.sub("", line)).rstrip()
        if not _NOISE.match(visible[:CHARACTERS_MATCHED]):
            yield visible.strip()


def _joined(lines: Iterable[str]) -> list[str]:
    """Given lines, return them with those put together that are one error broken over several."""
    joined: list[str] = []
    for line in lines:
        if joined and (line.startswith("<") or _goes_on(joined[-1])):
            joined[-1] += f" {line}"
        else:
            joined.append(line)
    return joined


def _goes_on(error: str) -> bool:
    # What stands below "errors:" is a registry's list of them.
    return error.endswith(":") or "errors:" in error[:CHARACTERS_MATCHED]
