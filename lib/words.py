"""What docker printed, reduced to what says why it failed.

Progress and notices go; what can hold misleading words (addresses, names, paths, digests) is taken out before anybody
matches. What the words mean is `lib.failure`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

#: How far back from its end an output is searched for an error.
LINES_SEARCHED = 60

#: An error is matched by its beginning and its end of this many characters: what is longer is somebody's HTML. So no
#: text, however long, costs more than one pass to find its lines.
CHARACTERS_MATCHED = 3000

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")

# Every pattern is tried at a line's beginning.
_NOISE = re.compile(
    r"""
      \S+:\ (?:Pulling|Preparing|Waiting|Pushing|Pushed|Downloading|Download\ complete|Extracting|Verifying|Retrying|Layer\ already
               |Already\ exists|Pull\ complete|Mounted|Skipped|digest:)
    | [0-9a-f]{12}:\ *\w*ing                                  # a terminal's progress, overwritten
    | (?:Digest|Status):\ | Using\ default\ tag | The\ push\ refers\ to | Trying\ to\ pull | Pulling\ \S+\ \(
    | Sending\ build\ context | Step\ \d+/\d+ | \ *--->\ | Removing\ intermediate | Untagged: | Deleted:
    | \#\d+\ (?!.*\berror\b) | \[\+\]\ | \ =>\ | -{4,} | \ *>\ \[ | \ *\d+\ \|\  | Dockerfile:\d+ | Copying\ | Getting\ image
    | See\ 'docker | Run\ 'docker | Usage:\  | What's\ [Nn]ext | \ *View\ | \ *Learn\ more | For\ more\ (?:help|information)
    | Username(?:\ \(.*\))?: | Password: | Login\ did\ not | Authenticating\ with | Emulate\ Docker
    | DEPRECATED: | \ +(?:BuildKit|Install\ the\ buildx|environment-variable)
    | (?:\w+:?\ )*(?:failed|completed|exited)\ with\ (?:exit\ )?code\ \d+\W*$ # what ran docker reports its exit
    | make(?:\[\d+\])?:\  | info\ Visit | exit\ status\ \d+\W*$ | \#+$ | [\W_]*$
    """,
    re.VERBOSE | re.IGNORECASE,
)

# Logged rather than reported as the error: the error itself is elsewhere, unless this is all that there is.
_ASIDE = re.compile(
    r"""(?:level=(?:debug|info|warning|error) | time="?\S+\ level=(?:debug|info|warning|error) | time="[^"]*"\ level=(?!fatal)
        | (?:DEBU|INFO|WARN|ERRO)\[ | \[?warn(?:ing)?\b | notice: | \[DEPRECATION | \*\*\ Message)""",
    re.VERBOSE | re.IGNORECASE,
)

_URL = re.compile(r"""\bhttps?://[^\s"'`<>\\]+""", re.IGNORECASE)
_MARKUP = re.compile(r"<[^<>]*>")
_DIGEST = re.compile(r"\b[0-9a-f]{12,}\b")
# A path, a repository or an image. Tried at the beginning of a word only, so that it stays linear.
_NAME = re.compile(r"""(?<![^\s"'`(\[])(?!i/o\b|input/output\b)[^\s"'`(\[]*/[^\s"'`]*""")
# The HTTP status of the engine's own API, as its clients in other languages print it.
_ENGINE_STATUS = re.compile(r"\(HTTP code \d+\) [a-z ]+ - ", re.IGNORECASE)


def errors(stdout: str, stderr: str) -> Iterator[str]:
    """Given what a failed docker command printed, return what can be its error, the last first, each on one line.

    Standard output counts where standard error has nothing to say, and an aside where there is nothing else.
    """
    said = [list(islice(_lines_backwards(text), LINES_SEARCHED)) for text in (stderr, stdout)]
    for aside in (False, True):
        for lines in said:
            wanted = [line for line in lines if aside or not _ASIDE.match(line)]
            if wanted:
                return _joined_backwards(wanted)
    return iter(())


def plain(error: str) -> str:
    """Given an error, return it without what is no word of docker's, and cut where it is very long."""
    if len(error) > 2 * CHARACTERS_MATCHED:
        error = f"{error[:CHARACTERS_MATCHED]} … {error[-CHARACTERS_MATCHED:]}"
    for pattern, mark in ((_ENGINE_STATUS, ""), (_URL, "URL"), (_MARKUP, " "), (_DIGEST, "DIGEST"), (_NAME, "NAME")):
        error = pattern.sub(mark, error)
    return " ".join(error.split())


def _lines_backwards(text: str) -> Iterator[str]:
    for line in reversed(text.splitlines()):
        visible = _CONTROL.sub("", _ANSI.sub("", line)).rstrip()
        if not _NOISE.match(visible[:CHARACTERS_MATCHED]):
            yield visible.strip()


def _joined_backwards(lines: list[str]) -> Iterator[str]:
    """Given lines, the last first, put those together that are one error broken over several."""
    error = ""
    for line in lines:
        if error and not _is_continued(line, error):
            yield error
            error = ""
        error = f"{line} {error}".rstrip()
    yield error


def _is_continued(line: str, following: str) -> bool:
    return line.endswith(":") or following.startswith("<")
