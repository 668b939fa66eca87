"""Surroundings: what a monitor runs in, if that is not just an engine's environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.engine import Engine
from lab.folder import MARK


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Takes an engine's place in front of a `lab.monitor.Monitor`.

    Attributes:
        env: the monitor's environment.
    """

    env: Mapping[str, str]

    @classmethod
    def with_temporary_folder(cls, engine: Engine, folder: Path) -> Self:
        """Given an engine and a folder of the lab, return the surroundings in which that is for temporary files.

        The monitor and its children are marked with the folder, so that `lab.folder.processes` finds them.
        """
        return cls({**engine.env, "TMPDIR": str(folder), MARK: str(folder)})
