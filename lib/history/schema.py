"""Schema: the tables of the history's file, version after version, and how one becomes the next."""

from __future__ import annotations

#: The `PRAGMA user_version` of the newest. A new schema gets the next number, and a row below that makes it.
SCHEMA_VERSION = 3

#: The SQL that turns a file of each version into one of the next; 0 is an empty file. No content is lost.
_STEPS = {
    0: """
CREATE TABLE instances (name TEXT PRIMARY KEY, started REAL NOT NULL);
CREATE TABLE pushes (
    reference TEXT PRIMARY KEY, digest TEXT NOT NULL, image_id TEXT NOT NULL, token TEXT NOT NULL,
    instance TEXT NOT NULL, created TEXT NOT NULL
);
CREATE TABLE standings (reference TEXT PRIMARY KEY, since TEXT NOT NULL, ended REAL NOT NULL);
CREATE TABLE cycles (
    id INTEGER PRIMARY KEY, reference TEXT NOT NULL, ended REAL NOT NULL, failed INTEGER NOT NULL,
    cycle TEXT NOT NULL, output TEXT NOT NULL
);
CREATE INDEX cycles_by_reference ON cycles (reference, failed);
CREATE TABLE hours (
    reference TEXT NOT NULL, hour INTEGER NOT NULL, up INTEGER NOT NULL, down INTEGER NOT NULL,
    unknown INTEGER NOT NULL, covered_ms INTEGER NOT NULL, PRIMARY KEY (reference, hour)
) WITHOUT ROWID;
""",
    1: """
CREATE TABLE rested (
    reference TEXT NOT NULL, number INTEGER NOT NULL, image TEXT NOT NULL, PRIMARY KEY (reference, number)
) WITHOUT ROWID;
""",
    # Cycles were counted, and the time that they covered: that time is divided in proportion. Invalid rows are left
    # out.
    2: """
CREATE TABLE verdict_hours (
    reference TEXT NOT NULL, hour INTEGER NOT NULL, up_ms INTEGER NOT NULL, down_ms INTEGER NOT NULL,
    unknown_ms INTEGER NOT NULL, PRIMARY KEY (reference, hour)
) WITHOUT ROWID;
INSERT OR IGNORE INTO verdict_hours SELECT reference, hour,
    CAST(1.0 * covered_ms * up / (up + down + unknown) AS INTEGER),
    CAST(1.0 * covered_ms * down / (up + down + unknown) AS INTEGER),
    CAST(1.0 * covered_ms * unknown / (up + down + unknown) AS INTEGER)
FROM hours;
DROP TABLE hours;
""",
}


def step_from(version: int) -> str:
    """Given a version, return the SQL that turns a file of it into one of the next, all or nothing."""
    return f"BEGIN IMMEDIATE; {_STEPS[version]} PRAGMA user_version = {version + 1}; COMMIT;"
