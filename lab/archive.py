"""The archive of a file system: what `docker import` makes an image of, without any builder."""

from __future__ import annotations

import io
import tarfile


def file_system(text: str) -> bytes:
    """Given a text, return the archive (tar) of a file system with one file, which holds it."""
    content = text.encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
