"""Stamp: shows whether a file has changed, without reading it."""

from __future__ import annotations

from pathlib import Path

#: Device, inode, size and time of the last change; None for a file that isn't there.
Stamp = tuple[int, int, int, int] | None


def stamp_of(path: Path) -> Stamp:
    """Given a path, return the stamp of the file that is there now."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
