"""Collections of real texts, if there are any beside the repository: most must be understood.

Without them this module holds no test at all, so that nothing looks as if it had been tried.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from lib.failure import WRONG_USAGE, Failure, classify

COLLECTIONS = sorted((Path(__file__).parents[3] / "shared" / "failures").glob("corpus*.jsonl"))

#: What a cycle knows besides the words, and `classify()` does not.
KNOWN_ELSEWHERE = ("Retrying in", "access to the requested resource is not authorized")


def rows_of(collection: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in collection.read_text(encoding="utf-8").splitlines()]
    return [
        row
        for row in rows
        if not (KNOWN_ELSEWHERE[0] in row.get("stdout", "") and row["stderr"].endswith(KNOWN_ELSEWHERE[1]))
    ]


def classified(row) -> Failure:
    usage = None if row["engine"] == "podman" else WRONG_USAGE
    return classify(row["command"], row["exit_code"], row.get("stdout", ""), row["stderr"], usage)


def said(rows) -> str:
    return "".join(f"\n{row['command']}: not {classified(row).reason}: …{row['stderr'][-160:]!r}" for row in rows)


if COLLECTIONS:

    @pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda path: path.stem)
    def test_reasons(collection):
        """At least 98 of 100 texts get a reason that is right enough."""
        rows = rows_of(collection)
        misses = [row for row in rows if classified(row).reason not in row["allowed"]]
        assert len(misses) <= 0.02 * len(rows), said(misses)

    @pytest.mark.parametrize("collection", COLLECTIONS, ids=lambda path: path.stem)
    def test_verdicts(collection):
        """At least 99 of 100 texts get the right verdict."""
        rows = rows_of(collection)
        misses = [
            row
            for row in rows
            if classified(row).reason not in row["allowed"] and classified(row).scope.verdict != row["verdict"]
        ]
        assert len(misses) <= 0.01 * len(rows), said(misses)
