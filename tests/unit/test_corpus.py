"""A collection of real texts, where one stands beside the repository: most must be understood.

Without it this module holds no test at all, so that nothing looks as if it had been tried.
"""

import json
from pathlib import Path

from lib.failure import Failure, classify

CORPUS = Path(__file__).parents[3] / "shared" / "failures" / "corpus.jsonl"

ROWS = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()] if CORPUS.exists() else []


def classified(row) -> Failure:
    return classify(row["command"], row["exit_code"], row.get("stdout", ""), row["stderr"])


def said(rows) -> str:
    return "".join(f"\n{row['command']}: not {classified(row).reason}: …{row['stderr'][-160:]!r}" for row in rows)


if ROWS:

    def test_reasons():
        """At least 97 of 100 texts get a reason that is right enough."""
        misses = [row for row in ROWS if classified(row).reason not in row["allowed"]]
        assert len(misses) <= 0.03 * len(ROWS), said(misses)

    def test_verdicts():
        """At least 99 of 100 texts get the right verdict."""
        misses = [
            row
            for row in ROWS
            if classified(row).reason not in row["allowed"] and classified(row).scope.verdict != row["verdict"]
        ]
        assert len(misses) <= 0.01 * len(ROWS), said(misses)
