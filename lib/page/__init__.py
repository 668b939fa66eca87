"""The page for people: what is asked for, and the HTML of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from lib.history import History
from lib.page.template import template
from lib.page.view import ALL_CYCLES, STRIP_CYCLES, State, in_order, state_of, view_of
from lib.status import TargetStatus
from lib.under_way import StepUnderWay

#: What is said of one target, and of several: "2 of 60 registries are down".
_SAID: dict[State, tuple[str, str]] = {
    State.DOWN: ("is down", "are down"),
    State.UNKNOWN: ("can't be judged", "can't be judged"),
    State.STALE: ("has no fresh verdict", "have no fresh verdict"),
    State.WAITING: ("is not known yet", "are not known yet"),
    State.UP: ("is up", "are up"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page is to show.

    Attributes:
        target: the name of the one target; None for all.
        cycle: the key of its cycle that is to stand open; empty for none.
        name: what the targets' names or repositories have in them, in whatever case.
        verdict: how they stand; None for all.
    """

    target: str | None = None
    cycle: str = ""
    name: str = ""
    verdict: State | None = None

    @classmethod
    def of(cls, parameters: dict[str, list[str]]) -> Asked:
        """Given a URL's parameters, return what is asked for."""
        last = {name: values[-1] for name, values in parameters.items()}
        verdict = last.get("verdict")
        return cls(
            target=last.get("target"),
            cycle=last.get("cycle", ""),
            name=last.get("name", "").strip(),
            verdict=State(verdict) if verdict in set(State) else None,
        )

    def fits(self, status: TargetStatus) -> bool:
        """Given what is said of a target, return whether it is one of those that are asked for."""
        wanted = self.name.casefold()
        named = any(wanted in str(name).casefold() for name in (status.target.name, status.target.reference))
        return named and self.verdict in {None, state_of(status)}


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        found: whether there is what was asked for.
        html: its text.
    """

    found: bool
    html: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What there is to show.

    Attributes:
        statuses: what is said of each target.
        history: what happened.
        under_way: returns the step that a target's cycle is in, by the target's name.
        faults: what keeps the monitor from judging.
    """

    statuses: Sequence[TargetStatus]
    history: History
    under_way: Callable[[str], StepUnderWay | None]
    faults: Sequence[str]


def render(watched: Watched, asked: Asked, now: datetime) -> Page:
    """Given what there is to show, what of it is asked for, and the time, return the page.

    Where there is but one target, its page is the page of all.
    """
    statuses, history = watched.statuses, watched.history
    states = Counter(state_of(status) for status in statuses)
    shown = {
        "asked": asked,
        "faults": watched.faults,
        "now": now,
        "states": states,
        "summary": headline(statuses),
        "total": len(statuses),
        "worst": _worst(states),
    }
    if asked.target is None and len(statuses) != 1:
        fitting = [view_of(status, history, now, STRIP_CYCLES) for status in statuses if asked.fits(status)]
        return Page(found=True, html=template("all.html").render(shown, views=in_order(fitting)))
    one = next((status for status in statuses if asked.target in {None, status.target.name}), None)
    if one is None:
        return Page(found=False, html=template("none.html").render(shown))
    view = view_of(one, history, now, ALL_CYCLES)
    shown |= {"view": view, "own_summary": headline([one]), "worst": view.state}
    shown |= {"under_way": watched.under_way(view.name)}
    return Page(found=True, html=template("one.html").render(shown))


def headline(statuses: Sequence[TargetStatus]) -> str:
    """Given what is said of all targets, return the worst of it in one sentence without its full stop."""
    states = Counter(state_of(status) for status in statuses)
    if not statuses:
        return "No registry is watched"
    worst = _worst(states)
    number, total = states[worst], len(statuses)
    one, several = _SAID[worst]
    if total == 1:
        return f"{statuses[0].target.name} {one}"
    if number == total:
        return f"All {total} registries {several}"
    return f"{number} of {total} registries {one if number == 1 else several}"


def _worst(states: Counter[State]) -> State:
    """Given how many targets are in each state, return the worst that one is in."""
    return next((state for state in State if states[state]), State.WAITING)
