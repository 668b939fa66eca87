"""BuildKit's cache: its records, as docker lists and removes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from lib.docker.cli import Cli

#: The Go template with which docker is asked for the records.
_RECORD = "{{.ID}} [{{.Parent}}] {{.CreatedAt}} {{.Shared}} {{.Size}} {{.Description}}"
_READ_RECORD = re.compile(
    r"^(?P<id>\w+)(?P<in_use>\*?) \[(?P<parents>[\w, ]*)\] (?P<created>[\d-]+ [\d:]+(?:\.\d{1,6})?)\d* \+0000 UTC"
    r" (?P<shared>true|false) (?P<number>[\d.]+)(?P<unit>B|[kMGT]B) ?(?P<description>.*)$",
    re.MULTILINE,
)
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

#: A line of a removal's output that begins with the ID of a record: the first column of a table, or the whole line.
_REMOVED = re.compile(r"^(?P<id>\w+)\*?(?:\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """A record of the cache, as docker describes it.

    Attributes:
        record_id: its ID.
        created: when the daemon made it.
        is_shared: an image has it, too.
        size_bytes: its size, to the three digits that docker prints.
        description: how BuildKit made it; empty for an intermediate result. is_in_use: a build uses it right now, and
            until that ends it can't be removed. parents: the IDs of those that it is made on.
    """

    record_id: str
    created: datetime
    is_shared: bool
    size_bytes: int
    description: str
    is_in_use: bool = False
    parents: tuple[str, ...] = ()


def records_since(docker: Cli, moment: datetime, deadline: float) -> tuple[CacheRecord, ...]:
    """Given a moment, return the records that were made since then, to the second. Raise DockerError."""
    return _records(docker, f'ge .CreatedAt "{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"', deadline)


def records_with(docker: Cli, texts: Iterable[str], deadline: float) -> tuple[CacheRecord, ...]:
    """Given texts without quotes, return the records whose description contains one of them. Raise DockerError."""
    conditions = (f'(gt (len (split .Description "{text}")) 1)' for text in texts)
    return _records(docker, f"or {' '.join(conditions)}", deadline)


def prune(docker: Cli, records: Iterable[CacheRecord], deadline: float) -> list[CacheRecord]:
    """Given records, remove those that are not in use, and no others; return those that docker says it removed.

    Raise DockerError.
    """
    # The filter is a regular expression. All at once, since a record can be a parent of another.
    wanted = {record.record_id: record for record in records}
    printed = docker.run("builder", ("prune", "--all", "--force", "--filter", f"id={'|'.join(wanted)}"), deadline)
    return [wanted[found["id"]] for found in _REMOVED.finditer(printed.stdout) if found["id"] in wanted]


def _records(docker: Cli, condition: str, deadline: float) -> tuple[CacheRecord, ...]:
    template = f"{{{{range .BuildCache}}}}{{{{if {condition}}}}}{_RECORD}{{{{println}}}}{{{{end}}}}{{{{end}}}}"
    completed = docker.listed("system", ("df", "--verbose", "--format", template), deadline)
    return tuple(_read(completed.stdout))


def _read(text: str) -> Iterator[CacheRecord]:
    for found in _READ_RECORD.finditer(text):
        number, unit = found["number"], found["unit"]
        yield CacheRecord(
            record_id=found["id"],
            created=datetime.fromisoformat(found["created"]).replace(tzinfo=UTC),
            is_shared=found["shared"] == "true",
            size_bytes=round(float(number) * _UNITS[unit]),
            description=found["description"],
            is_in_use=bool(found["in_use"]),
            parents=tuple(re.findall(r"\w+", found["parents"])),
        )
