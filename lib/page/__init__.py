"""The page for people: what is asked for, and its HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lib.page.template import template
from lib.page.view import ALL_CYCLES, STRIP_CYCLES, State, in_order, state_of, view_of
from lib.watch.status import TargetStatus, status_of
from lib.watch.watched import Watched

#: What is said of one target, and of several: "2 of 60 registries are down".
_SAID: dict[State, tuple[str, str]] = {
    State.DOWN: ("is down", "are down"),
    State.UNKNOWN: ("can't be judged", "can't be judged"),
    State.STALE: ("has no fresh verdict", "have no fresh verdict"),
    State.WAITING: ("is waiting for a first verdict", "are waiting for a first verdict"),
    State.UP: ("is up", "are up"),
}


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What the page is to show.

    Attributes:
        target: the name of the one target; None for all.
        cycle: the key of its cycle that is shown open; empty for none.
        name: a text that the targets' names or repositories contain, in any case.
        verdict: their state; None for all.
    """

    target: str | None = None
    cycle: str = ""
    name: str = ""
    verdict: State | None = None

    @classmethod
    def of(cls, parameters: dict[str, list[str]]) -> PageQuery:
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
        """Given what is shown of a target, return whether it is one of those that are asked for."""
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
class PageData:
    """What there is to show.

    Attributes:
        targets: the targets.
        faults: what keeps the monitor from judging.
    """

    targets: Sequence[Watched]
    faults: Sequence[str]


def render(data: PageData, query: PageQuery, now: datetime) -> Page:
    """Given what there is to show, what of it is asked for, and the time, return the page.

    If there is only one target, its page is the page of all.
    """
    statuses = status_of(data.targets)
    both = list(zip(data.targets, statuses, strict=True))
    states = Counter(state_of(status) for status in statuses)
    shown = {
        "query": query,
        "faults": data.faults,
        "now": now,
        "states": states,
        "summary": headline(statuses),
        "total": len(statuses),
        "worst": _worst(states),
    }
    if query.target is None and len(statuses) != 1:
        fitting = [view_of(watched.record, status, now, STRIP_CYCLES) for watched, status in both if query.fits(status)]
        return Page(found=True, html=template("all.html").render(shown, views=in_order(fitting)))
    one = next((one for one in both if query.target in {None, one[1].target.name}), None)
    if one is None:
        return Page(found=False, html=template("none.html").render(shown))
    watched, status = one
    view = view_of(watched.record, status, now, ALL_CYCLES)
    shown |= {"view": view, "own_summary": headline([status]), "worst": view.state}
    shown |= {"under_way": watched.progress.step, "under_way_seconds": watched.progress.step_seconds}
    return Page(found=True, html=template("one.html").render(shown))


def headline(statuses: Sequence[TargetStatus]) -> str:
    """Given what is shown of all targets, return the worst of it in one sentence without its full stop."""
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
    return next((state for state in State if states[state]), State.WAITING)
