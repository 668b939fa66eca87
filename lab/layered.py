"""An image of many layers, as an archive for `docker load`: no builder has to make one layer after the other."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

from lab.archive import file_system


def layered_image(name: str, layers: int, architecture: str) -> bytes:
    """Given an image's name, how many layers it is to have, and for which architecture, return its archive."""
    contents = [file_system(f"{name}, layer {number}") for number in range(layers)]
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in contents]},
        "history": [{"created_by": f"layer {number}"} for number in range(layers)],
    }
    names = [f"{number}/layer.tar" for number in range(layers)]
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": names}]
    files = {"manifest.json": _json(manifest), "config.json": _json(config), **dict(zip(names, contents, strict=True))}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(shape: object) -> bytes:
    return json.dumps(shape).encode()
