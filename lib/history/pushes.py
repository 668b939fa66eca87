"""Pushes: what this monitor pushed to one repository and tag, through any of its targets.

Two targets can reach one repository by two names, such as an internal and a public host. That shows when one's tag
first gives an image of the other. From then on the two share one memory here, and take turns.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping

from lib.history import History
from lib.history.acknowledged import Acknowledged
from lib.result import Push

_log = logging.getLogger(__name__)

#: Pushes that were given up and may still be published: without a limit, a registry that fails for a year would fill
#: memory.
_MOST_GIVEN_UP = 1000

#: Acknowledged pushes by which another target recognises this one: more than are made while one cycle runs.
_MOST_RECENT = 20

_ADVICE = "If they are to be watched independently, give each a repository or tag of its own."

#: The holder may change which targets are one. Never held while waiting for a disk.
_joining = threading.Lock()


class Pushes:
    """What was pushed to one repository and tag: a cycle's memory. Cycles of targets that share it take turns.

    Attributes:
        reference: repository and tag.
        last: the last push that the registry acknowledged, by any of the doors; None if there is none. lost: the last
            push that was forgotten because the registry had lost it; None if there is none.
        begun: tokens of pushes that were begun here and not acknowledged: under way, or given up.
        doors: the memories that are known to be of this repository and tag, including this one, by their names for it.
        acknowledged: the last pushes there, by any of the doors, whether or not the registry lost them since.
    """

    def __init__(
        self,
        reference: str,
        history: History,
        last: Push | None = None,
        all_pushes: Callable[[], Mapping[str, Pushes]] = dict[str, "Pushes"],
    ) -> None:
        """Given repository and tag, where pushes are kept for good, the last one kept there, and what returns the
        pushes of all targets by the targets' names.
        """
        self.last = last
        self.lost: Push | None = None
        self.begun: deque[str] = deque(maxlen=_MOST_GIVEN_UP)
        self.doors: Mapping[str, Pushes] = {reference: self}
        self.acknowledged = Acknowledged(last)
        self.reference = reference
        self._history = history
        self._all = all_pushes
        self._recent: deque[str] = deque((last.token,) if last else (), _MOST_RECENT)

    @property
    def given_up(self) -> frozenset[str]:
        """Tokens of pushes that any of the doors began and gave up: a registry can publish them much later."""
        with _joining:
            return frozenset(token for door in self.doors.values() for token in door.begun)

    def begin(self, token: str) -> None:
        """Given the token of a push that is about to begin, know it from now on."""
        with _joining:
            self.begun.append(token)

    def pushed(self, push: Push) -> None:
        """Keep a push that the registry acknowledged; with a state-dir, it is on the disk on return."""
        with _joining:
            if push.token in self.begun:
                self.begun.remove(push.token)
            self._recent.append(push.token)
            for door in self.doors.values():
                door.acknowledged.add(push)
        self._keep(push)

    def forget(self) -> None:
        """Forget the last push: the registry has lost it, and that was reported.

        Doors that were one are separate again, until a new image shows that they still are one: a name can lead
        elsewhere.
        """
        self.lost = self.last
        doors = self._keep(None)
        for door in doors.values():
            door.part()

    def part(self) -> None:
        """Separate from all other doors, until a new push shows that they are one."""
        with _joining:
            self.doors = {self.reference: self}
            self._recent.clear()

    def is_ours(self, instance: str) -> bool:
        """Given an instance from an image's label, return whether it is this monitor, now or before a restart."""
        return self._history.is_ours(instance)

    def has_pushed(self, token: str) -> bool:
        """Given the token of an image, return whether it was recently pushed from here. Takes no lock."""
        return token in self._recent or token in self.begun

    def token_of(self, digest: str | None) -> str | None:
        """Given the digest of an image, return the token of any target's push of it, None if none pushed it."""
        pushes = (door.acknowledged.find(digest) for door in tuple(self._all().values()) if digest)
        return next((push.token for push in pushes if push is not None), None)

    def of_target(self, name: str) -> Pushes | None:
        """Given a target's name, return what was pushed for it, None if there is no such target now."""
        return self._all().get(name)

    def target_names(self, name: str) -> frozenset[str]:
        """Given the name of its own target, return it and the names of the targets that are one with it."""
        return frozenset({name} | {other for other, pushes in self._all().items() if pushes.reference in self.doors})

    def recognise(self, token: str) -> str | None:
        """Given the token of an image that this tag shows, return the name of the other target that pushed it, None if
        none did. The two are one from now on; the first time, that is logged.
        """
        everybody = self._all()
        own_name = next((name for name, pushes in everybody.items() if pushes is self), None)
        if own_name is None:
            return None  # a reload took this target away
        with _joining:
            others = (name for name, other in everybody.items() if other is not self and other.has_pushed(token))
            other_name = next(others, None)
            if other_name is None or self.reference in everybody[other_name].doors:
                return other_name
            other = everybody[other_name]
            # The tag shows what the other pushed: our pushes came before that.
            last = other.last or self.last
            doors = {**self.doors, **other.doors}
            for door in doors.values():
                door.doors, door.last = doors, last
        _log.warning(
            "two targets turn out to reach one repository and tag: they take turns from now on, and are judged as one",
            extra={
                "target": own_name,
                "other_target": other_name,
                "repositories": ", ".join(doors),
                "advice": _ADVICE,
            },
        )
        return other_name

    def _keep(self, push: Push | None) -> Mapping[str, Pushes]:
        with _joining:
            doors = self.doors
            for door in doors.values():
                door.last = push
        for reference in doors:
            self._history.keep_push(reference, push)
        return doors
