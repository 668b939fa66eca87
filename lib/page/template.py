"""The page's templates, and what they know in addition to what they are given.

The page is one answer that needs nothing else: `style.css` and `script.js` are inside it. Jinja is imported when
somebody first opens the page: a monitor that only Prometheus asks saves its memory and its start-up time.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from lib import __version__
from lib.page import words as page_words
from lib.page.view import STRIP_CYCLES, State, TargetView, key_of, state_of_rested
from lib.result import rfc3339
from lib.watch.record import WINDOWS

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup

_FOLDER = Path(__file__).parent

#: Failures that are shown in full on the page of all targets; the others can be opened.
_MOST_OPEN = 5

#: On the page of one target: marks in its strip, and cycles in its list; the others can be opened.
_STRIP_MOST = 120
_LISTED = 12

#: Lost rested images that are named; the others are counted.
_MOST_LOST = 10

_LABELS: dict[State, str] = {state: str(state) for state in State}

#: A colour and a shape for each state, 16 units wide.
_COLOURS: dict[State, str] = {
    State.DOWN: "#cf222e",
    State.UNKNOWN: "#9a6700",
    State.STALE: "#9a6700",
    State.WAITING: "#6e7781",
    State.UP: "#1a7f37",
}
_SHAPES: dict[State, tuple[str, str]] = {
    State.DOWN: ("M5 0h6l5 5v6l-5 5H5l-5-5V5z", "M5 5l6 6m0-6l-6 6"),
    State.UNKNOWN: ("M8 0l8 8-8 8-8-8z", "M6 6.2c.3-2.6 4-2.4 4 .1 0 1.5-2 1.5-2 3m0 1.7v1"),
    State.STALE: ("M8 0a8 8 0 1 0 0 16A8 8 0 1 0 8 0z", "M8 3.5v4.5l3 2"),
    State.WAITING: ("M8 0a8 8 0 1 0 0 16A8 8 0 1 0 8 0z", "M3.5 8h1.5m2.300 0h1.5m2.200 0h1.5"),
    State.UP: ("M8 0a8 8 0 1 0 0 16A8 8 0 1 0 8 0z", "M4.5 8.3l2.5 2.5 4.5-5"),
}


@cache
def content_security_policy() -> str:
    """Return the policy under which the page's own style and script work, and nothing else does."""
    style, script = (_hash_of(name) for name in ("style.css", "script.js"))
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; img-src data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def template(name: str) -> Template:
    """Given the name of a template's file, return it."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415  see above
    from markupsafe import Markup  # noqa: PLC0415  it is Jinja's

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= {
        "code": _code,
        "count": page_words.count,
        "failure": page_words.failure_in_words,
        "key": key_of,
        "moment": page_words.moment,
        "percent": page_words.percent,
        "rfc3339": rfc3339,
        "sentence": page_words.sentence,
        "size": page_words.size,
        "span": page_words.span,
    }
    environment.globals |= {
        "favicon": _favicon,
        "labels": _LABELS,
        "listed": _LISTED,
        "marks": _marks,
        "most_lost": _MOST_LOST,
        "most_open": _MOST_OPEN,
        "script": Markup((_FOLDER / "script.js").read_text()),  # noqa: S704  it is ours
        "shapes": {state: Markup(_shape(state, "var(--page)")) for state in State},  # noqa: S704  the same
        "state_of_rested": state_of_rested,
        "strip_cycles": STRIP_CYCLES,
        "strip_most": _STRIP_MOST,
        "style": Markup((_FOLDER / "style.css").read_text()),  # noqa: S704  the same
        "url": _url,
        "version": __version__,
        "windows": [window.words for window in WINDOWS],
    }
    return environment


def _url(**parameters: str) -> str:
    return f"?{urlencode(parameters)}"


def _marks(view: TargetView, most: int, now: datetime) -> Markup:
    """Given a target, how many of its cycles to show at most, and the time, return a link to each, oldest first.

    1,000 targets have 20,000 of these, for which the template would take ten times as long.
    """
    from markupsafe import Markup, escape  # noqa: PLC0415  it is Jinja's

    address = escape(_url(target=view.name))
    pieces = []
    for past in reversed(view.cycles[:most]):
        cycle, key, failed, verdict = past.cycle, past.key, past.cycle.failed, past.cycle.verdict
        came_of_it = f"{failed.name} {failed.reason}" if failed else page_words.span(cycle.seconds)
        title = f"{page_words.moment(cycle.started, now)}: {verdict}, {came_of_it}"
        gap = "<i></i>" if past.gap_seconds else ""
        link = f'<a tabindex="-1" class="{verdict}" href="{address}&amp;cycle={key}#c{key}" title="{title}"></a>'
        pieces.append(gap + link)
    return Markup("".join(pieces))  # noqa: S704  apart from the names, all of it is ours


def _favicon(state: State) -> str:
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="{_COLOURS[state]}">'
    svg = f"{opening}{_shape(state, '#fff')}</svg>"
    return f"data:image/svg+xml,{quote(svg)}"


def _shape(state: State, line_colour: str) -> str:
    outline, line = _SHAPES[state]
    return f'<path d="{outline}"/><path d="{line}" fill="none" stroke="{line_colour}" stroke-width="2"/>'


def _code(text: str) -> Markup:
    """Given a text of ours with `names` written like this, return it with them as code."""
    from markupsafe import Markup, escape  # noqa: PLC0415  it is Jinja's

    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  it was escaped


def _hash_of(name: str) -> str:
    digest = hashlib.sha256((_FOLDER / name).read_bytes()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
