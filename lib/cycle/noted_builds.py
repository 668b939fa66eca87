"""Noted builds: what a build with BuildKit leaves in its cache is noted in the private folder until it is removed.

If the process is killed meanwhile, the next one finds the note: older versions of BuildKit don't say whose a record is.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lib.cycle.build_cache import CacheFootprint, remove_footprint
from lib.cycle.payload import Context
from lib.docker import Docker
from lib.instance import Instance
from lib.neighbours import BUILD_NOTE

#: How long a killed build is assumed to have continued, at most. The longer, the more records of others are in that
#: time.
_LONGEST = timedelta(minutes=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


class NotedBuilds:
    """The builds that left something. Any thread may use it."""

    def __init__(self, instance: Instance) -> None:
        """Given this process's instance."""
        self._instance = instance

    def began(self, context: Context, began: datetime) -> None:
        """Given what is built from, and when the build began, note it: nobody knows yet when it will end."""
        self.ended(CacheFootprint(context, began, began + _LONGEST))

    def ended(self, footprint: CacheFootprint) -> None:
        """Given what a build left, note it."""
        shape = {
            "context": asdict(footprint.context),
            "began": footprint.began.isoformat(),
            "ended": footprint.ended.isoformat(),
        }
        self._instance.note(_note_of(footprint.context), json.dumps(shape))

    def removed(self, footprint: CacheFootprint) -> None:
        """Given what a build had left, which is now removed, forget it."""
        self._instance.done(_note_of(footprint.context))

    def remove_those_of_the_dead(self, docker: Docker, seconds: float) -> None:
        """Given the docker CLI, and the deadline of each command, remove what builds of dead instances left. Raise
        DockerError.
        """
        neighbours = self._instance.neighbours
        noted = [(name, _read(path)) for name, path in tuple(neighbours.left.items()) if name.startswith(BUILD_NOTE)]
        # The oldest first: if it is not known when one ended, those before it are already gone.
        for name, footprint in sorted(noted, key=lambda one: one[1].began if one[1] else _NEVER):
            if footprint is None or remove_footprint(docker, footprint, seconds)[1]:
                neighbours.done(name)


def _note_of(context: Context) -> str:
    return f"{BUILD_NOTE}{Path(context.folder).name}"


def _read(path: Path) -> CacheFootprint | None:
    """Given a note, return its content; None if it can't be read, for example because a disk was full."""
    try:
        shape = json.loads(path.read_text(encoding="utf-8"))
        context = Context(**shape["context"] | {"layer_bytes": tuple(shape["context"]["layer_bytes"])})
        began, ended = (datetime.fromisoformat(shape[name]) for name in ("began", "ended"))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return CacheFootprint(context, began, min(ended, datetime.now(UTC)))
