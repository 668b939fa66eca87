"""The results of measurements: figures with their goals, and what to draw."""

from __future__ import annotations

from dataclasses import dataclass

from bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Limit:
    """What a figure must not pass.

    Attributes:
        value: the limit, in the figure's unit.
        at_least: whether it is the least, and not the most. The most counts on either side of zero.
    """

    value: float
    at_least: bool = False

    def is_kept(self, number: float) -> bool:
        """Given a number, return whether it is within the limit."""
        return number >= self.value if self.at_least else abs(number) <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured.

    Attributes:
        key: its name, `MEASUREMENT.WHAT`.
        title: what it is, in words.
        unit: of all its numbers; empty for a ratio.
        spread: the number.
        goal: what it has to be on a machine that does nothing else, None if it is only shown. gross: for a ratio, what
            it has to be even on a busy machine.
    """

    key: str
    title: str
    unit: str
    spread: Spread
    goal: Limit | None = None
    gross: Limit | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it has a goal, and is not within that."""
        return self.goal is not None and not self.goal.is_kept(self.spread.value)

    @property
    def is_grossly_missed(self) -> bool:
        """Whether something must be broken."""
        return self.gross is not None and not self.gross.is_kept(self.spread.value)


@dataclass(frozen=True, slots=True)
class Boxes:
    """A plot of how numbers are spread: a box for each name.

    Attributes:
        name: of its file.
        title: what it shows.
        unit: of the numbers.
        boxes: the numbers by name.
    """

    name: str
    title: str
    unit: str
    boxes: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Lines:
    """A plot of how numbers grow with something.

    Attributes:
        name: of its file.
        title: what it shows.
        unit: of the numbers.
        along: with what they grow.
        steps: of that, in their order.
        lines: the numbers by name, one for each step.
        logarithmic: whether the scale is.
    """

    name: str
    title: str
    unit: str
    along: str
    steps: list[str]
    lines: dict[str, list[float]]
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one measurement.

    Attributes:
        title: what was measured.
        method: how, in a paragraph.
        figures: the numbers.
        plots: what is drawn of them.
    """

    title: str
    method: str
    figures: tuple[Figure, ...]
    plots: tuple[Boxes | Lines, ...] = ()
