"""The context managers that most parts of the lab are: something that is closed, or that holds others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from types import TracebackType
from typing import Self


class Closing(ABC):
    """Something that runs, or is held, from when it is made until it is closed. A context manager."""

    @abstractmethod
    def close(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Holding(ABC):
    """Something made of others, which it holds from entry to exit. A context manager."""

    @abstractmethod
    def prepare(self, held: ExitStack) -> None:
        """Given what ends when this does, take what it is made of."""

    def __enter__(self) -> Self:
        with ExitStack() as held:
            self.prepare(held)
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()
