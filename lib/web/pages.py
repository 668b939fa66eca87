"""Pages: what there is to read, and the answers to those who may read it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from prometheus_client.exposition import gzip_accepted

from lib.health import Health
from lib.metrics import Metrics
from lib.page import PageData, PageQuery, render
from lib.page.template import content_security_policy
from lib.quoting import some_of
from lib.watch import Watch
from lib.watch.status import all_ok, status_of
from lib.web.kept import Kept

#: How old a page may be: those who reload it more often than that get the same one.
PAGE_SECONDS = 1.0

#: What the browser lets a page do, and what it tells others about it.
_PAGE_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", content_security_policy()),
    ("Referrer-Policy", "no-referrer"),
    ("Vary", "Accept-Encoding"),
)

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer.

    Attributes:
        status: its status.
        headers: its own; those that all answers have are added.
        body: its body.
        tag: its ETag, empty if clients shall not ask whether they have it already.
    """

    status: HTTPStatus
    headers: Headers
    body: bytes
    tag: str = ""

    @property
    def caching(self) -> str:
        """Its `Cache-Control`. A tag helps only a browser that keeps the page, and asks before it shows it again."""
        return "no-cache" if self.tag else "no-store"

    def is_known_by(self, if_none_match: str) -> bool:
        """Given the header of this name, return whether the client has it already."""
        known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return self.status is HTTPStatus.OK and bool(self.tag) and not known.isdisjoint({self.tag, "*"})


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    Attributes:
        parameters: those of the URL.
        accept, accept_encoding: the headers of these names.
    """

    parameters: dict[str, list[str]]
    accept: str
    accept_encoding: str

    @property
    def wants_json(self) -> bool:
        """Whether the answer is to be JSON. `format` in the URL outweighs the header."""
        if "format" in self.parameters:
            return self.parameters["format"][-1] == "json"
        return any(part.partition(";")[0].strip() == "application/json" for part in self.accept.split(","))


@dataclass(frozen=True, slots=True)
class Pages:
    """What there is to read.

    Attributes:
        watch: the targets.
        health: whether we can judge.
        metrics: the metrics.
    """

    watch: Watch
    health: Health
    metrics: Metrics
    _rendered: Kept[Answer] = field(default_factory=lambda: Kept(PAGE_SECONDS), init=False, repr=False)

    def show_page(self, query: Query) -> Answer:
        """Show all of it to people: 404 if a target is asked for that does not exist."""
        asked = (PageQuery.of(query.parameters), bool(gzip_accepted(query.accept_encoding)))
        return self._rendered.get(asked, lambda: self._render(*asked))

    def _render(self, asked: PageQuery, is_compressed: bool) -> Answer:  # noqa: FBT001  as it is remembered
        page = render(PageData(self.watch.targets, self.health.faults), asked, datetime.now(UTC))
        headers, body = [*_PAGE_HEADERS], page.html.encode(errors="replace")
        if is_compressed:
            headers.append(("Content-Encoding", "gzip"))
            body = gzip.compress(body, compresslevel=1, mtime=0)
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        status = HTTPStatus.OK if page.found else HTTPStatus.NOT_FOUND
        return Answer(status, [*headers, ("ETag", tag)], body, tag)

    def show_status(self, query: Query) -> Answer:
        """Say whether the registries work: 200 if all those asked for do, else 503."""
        targets = self.watch.targets
        if (wanted := query.parameters.get("target")) is not None:
            if unknown := set(wanted) - {watched.target.name for watched in targets}:
                return text(HTTPStatus.NOT_FOUND, f"no target is named {', '.join(sorted(unknown))}\n")
            targets = tuple(watched for watched in targets if watched.target.name in wanted)
        statuses = status_of(targets)
        ok, now = all_ok(statuses), datetime.now(UTC)
        if query.wants_json:
            return _json(ok, {"ok": ok, "targets": [status.to_dict(now) for status in statuses]})
        return _lines(ok, [status.to_line(now) for status in statuses])

    def show_health(self, query: Query) -> Answer:
        """Say whether the monitor can judge: 200 if so, else 503."""
        faults = self.health.faults
        ok = not faults
        return _json(ok, {"ok": ok, "faults": list(faults)}) if query.wants_json else _lines(ok, faults)

    def show_metrics(self, query: Query) -> Answer:
        """Give all metrics in the format that is asked for."""
        headers, body = self.metrics.exposition.answer(query.accept, query.accept_encoding)
        return Answer(HTTPStatus.OK, headers, body)

    def show_healthy(self, _: Query) -> Answer:
        """Say that this process answers."""
        return text(HTTPStatus.OK, "healthy\n")

    def show_ready(self, _: Query) -> Answer:
        """Say whether there is a verdict on every target: 200 if so, else 503."""
        waiting = [status.target.name for status in status_of(self.watch.targets) if status.standing is None]
        words = f"no verdict yet on {some_of(waiting)}" if waiting else "ready"
        return text(_status(not waiting), f"{words}\n")


def text(status: HTTPStatus, words: str, *headers: tuple[str, str]) -> Answer:
    """Given a status, words, and further headers, return them as plain text."""
    return Answer(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], words.encode())


def _lines(ok: bool, lines: Iterable[str]) -> Answer:  # noqa: FBT001  it is the first line
    return text(_status(ok), "".join(f"{line}\n" for line in ("true" if ok else "false", *lines)))


def _json(ok: bool, shape: dict[str, Any]) -> Answer:  # noqa: FBT001  as above
    return Answer(_status(ok), [("Content-Type", "application/json")], json.dumps(shape, indent=2).encode() + b"\n")


def _status(ok: bool) -> HTTPStatus:  # noqa: FBT001  as above
    return HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE
