"""Leftovers: what monitors made on this engine and did not remove. They are found by their owner, and removed.

A dead instance is forgotten only when nothing of it is left. If docker does not remove something, this process, or the
next one, tries again until it does.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial

from lib.cycle.build_cache import remove_abandoned
from lib.cycle.noted_builds import NotedBuilds
from lib.cycle.payload import INSTANCE_LABEL, LABELS, Labels
from lib.cycle.refusals import Refusals
from lib.cycle.removal import is_broken, remove_what_goes
from lib.cycle.unfinished import Unfinished
from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.answers import Image
from lib.failure import Failure
from lib.instance import Instance
from lib.neighbours import IMAGE_NOTE
from lib.target import Target

_log = logging.getLogger(__name__)

#: An image of another instance or target is a leftover once no cycle can need it, even if that cycle is not known to be
#: over.
_ABANDONED_AFTER = timedelta(hours=2)

#: How long after a process died its engine can still finish something for it.
_LATE_SECONDS = 5.0

#: How soon to try again to remove what stays, at first and in the end: the engine logs each try.
_AGAIN_SECONDS, _LONGEST_SECONDS = 5.0, 300.0

#: The deadline of each command as this process ends.
_LAST_SECONDS = 1.0


class Leftovers:
    """What is left on this engine, for all targets of this process. Any thread may use it.

    Attributes:
        builds: those that left something in BuildKit's cache. unfinished: images that podman began.
    """

    def __init__(
        self, instance: Instance, is_ours: Callable[[str], bool] = lambda _: False, refusals: Refusals | None = None
    ) -> None:
        """Given this process's instance, what recognises an instance of this monitor, now or before, and the refusals
        of commands that no cycle needs.
        """
        self.builds = NotedBuilds(instance)
        self.unfinished = Unfinished(instance)
        self._instance = instance
        self._is_ours = is_ours
        self._refusals = refusals or Refusals()
        self._dead: Mapping[str, float] = {}  # those that are not forgotten, each with when this process learnt of it
        self._died: frozenset[str] = frozenset()  # all that this process knows to be dead
        self._owed: frozenset[str] = frozenset()  # the IDs of images that docker did not remove
        self._staying: Mapping[str, tuple[str, Failure]] = {}  # the same, each with its target, and why
        self._told: set[str] = set()
        self._under_way: dict[str, tuple[str, Docker]] = {}  # the test images of cycles whose clean-up is not done
        self._due = math.inf
        self._pause = _AGAIN_SECONDS
        self._counting = threading.Lock()

    # This process's own cycles remove what they make.

    def expect(self, target: Target, docker: Docker) -> None:
        """Given a target whose cycle can make something from now on, and its docker CLI, note that."""
        self._under_way[target.reference.familiar] = (target.name, docker)
        self.unfinished.expect(target, docker)

    def expect_none(self, target: Target) -> None:
        """Given a target, note that nothing of its cycles is left, except what docker did not remove."""
        self._under_way.pop(target.reference.familiar, None)
        self.unfinished.expect_none(target.reference.familiar)

    def owe(self, image: Image) -> None:
        """Given a monitor's image that a pull of ours brought, and that docker did not remove, see that it is removed
        as soon as possible, whichever instance made it.
        """
        with self._counting:
            self._owed |= {image.image_id}
        self._instance.note(_note_of(image.image_id))

    def staying_for(self, target: str) -> tuple[str, ...]:
        """Given a target's name, return why images that should have been removed for it stay, in docker's words."""
        return tuple(failure.detail for name, failure in self._staying.values() if name == target)

    @property
    def are_due(self) -> bool:
        """Whether to look for leftovers again, whichever target comes first."""
        return time.monotonic() >= self._due

    def close(self, *, is_late: bool) -> bool:
        """Look one last time for what this process made, if it may have left something. Return whether that is gone.

        Given whether there is no time left for that.
        """
        if self._under_way and not is_late:
            _, docker = next(iter(self._under_way.values()))
            with suppress(DockerError):
                self.sweep(docker.for_cleanup(), None, _LAST_SECONDS)
                self._under_way.clear()
        return not self._under_way

    # Looking for them.

    def sweep(self, docker: Docker, target: Target | None, seconds: float) -> bool:
        """Remove what this process made for a target (None: for all, as it ends), and what dead instances made.

        Given also the docker CLI and the deadline of each command, return whether more can come. What somebody uses
        stays, and is logged: it keeps no cycle from running. Raise DockerError if docker itself does not work.
        """
        begun = time.monotonic()
        owed = self._look_at_neighbours(begun)
        self.unfinished.remove(docker, seconds)  # first: with one there, podman lists no others
        clocks = _Clocks(docker, seconds)
        is_over = partial(self._is_over, target=target, clocks=clocks)
        ids = docker.images_with({INSTANCE_LABEL: None}, seconds)
        images = docker.find(ids, seconds).values() if ids else ()
        name = target.reference.familiar if target else None
        labelled = {image.image_id: (image, labels) for image in images if (labels := Labels.from_dict(image.labels))}
        leftovers = [
            image
            for image, labels in labelled.values()
            # What has our name can be another target's only if that reaches our repository, and is not in its turn now.
            if image.image_id in owed or name in image.tags or is_over(labels)
        ]
        stayed = remove_what_goes(docker, leftovers, seconds)
        self._note_what_stays(leftovers, stayed, target)
        self._settle_owed(owed | self._owed, {*labelled} - {image.image_id for image in leftovers} | {*stayed})
        remaining = {labelled[image_id][1].instance for image_id in stayed}
        with self._refusals.excused("containers that a build leaves if the engine dies meanwhile stay"):
            remaining |= self._remove_containers(docker, is_over, seconds, target)
        self.builds.remove_those_of_the_dead(docker, seconds)
        is_over_for = partial(self._is_over_for, clocks=clocks)
        more = docker.builder is BuiltBy.BUILDKIT and remove_abandoned(docker, is_over_for, seconds)
        if not more:
            self._forget(remaining, begun)
        return more

    def _look_at_neighbours(self, now: float) -> frozenset[str]:
        """Given the time, find out who is dead. Return the IDs of the images to remove, whoever made them."""
        neighbours = self._instance.neighbours
        with suppress(OSError):
            dead = neighbours.look()
            with self._counting:
                self._dead = {name: self._dead.get(name, now - seconds) for name, seconds in dead.items()}
                self._died |= dead.keys()
        return self._owed | {_id_in(note) for note in tuple(neighbours.left) if note.startswith(IMAGE_NOTE)}

    def _is_dead(self, instance: str) -> bool:
        # Another instance of this monitor ended before this process began: only one at a time can use a state-dir.
        return instance in self._died or (instance != self._instance.name and self._is_ours(instance))

    def _is_over(self, labels: Labels, target: Target | None, clocks: _Clocks) -> bool:
        """Given the labels of a thing, and as for `sweep()`, return whether no cycle can still need it."""
        if labels.instance != self._instance.name:
            return self._is_over_for(labels.instance, labels.created, clocks)
        if target is None or labels.target == target.name:
            return True
        # A target that a reload removed no longer cleans up.
        is_under_way = any(labels.target == name for name, _ in tuple(self._under_way.values()))
        return not is_under_way and clocks.is_abandoned(labels.created)

    def _is_over_for(self, instance: str, created: datetime, clocks: _Clocks) -> bool:
        """Given another instance, and when a thing was made, return whether none of its cycles can still need that."""
        lives = self._instance.neighbours.is_living(instance)
        return self._is_dead(instance) or (not lives and clocks.is_abandoned(created))

    def _remove_containers(
        self, docker: Docker, is_over: Callable[[Labels], bool], seconds: float, target: Target | None
    ) -> set[str]:
        """Remove containers that a build left. Return the instances of those that stay. Raise as `sweep()`."""
        remaining = set()
        for container in docker.build_containers(LABELS, seconds):
            labels = Labels.from_dict(container.labels)
            if labels is None or not is_over(labels):
                continue
            try:
                docker.rm(container.container_id, seconds)
            except DockerError as error:
                if is_broken(error):
                    raise
                remaining.add(labels.instance)
                self._tell_once(container.container_id, error.failure, target)
        return remaining

    def _note_what_stays(
        self, images: Iterable[Image], stayed: Mapping[str, DockerError], target: Target | None
    ) -> None:
        """Given the images to be removed, and those that were not, each with why, log that, and remember it beyond this
        process.
        """
        parents = {image.parent for image in images if image.image_id in stayed}
        before = self._staying
        self._staying = {
            image_id: (before[image_id][0] if image_id in before else target.name if target else "", error.failure)
            for image_id, error in stayed.items()
            if image_id not in parents
        }
        for image_id, (_, failure) in self._staying.items():
            self._tell_once(image_id, failure, target)
        for image_id in stayed:
            self._instance.note(_note_of(image_id))
        with self._counting:
            is_same = self._owed.issuperset(stayed)
            self._pause = min(2 * self._pause, _LONGEST_SECONDS) if is_same else _AGAIN_SECONDS
            self._owed |= {*stayed}

    def _settle_owed(self, owed: frozenset[str], there: set[str]) -> None:
        """Given the IDs of images to be removed, whoever made them, and of all that are still there, forget those that
        are gone.
        """
        with self._counting:
            self._owed &= there
        for image_id in owed - there:
            self._instance.done(_note_of(image_id))

    def _forget(self, remaining: set[str], begun: float) -> None:
        """Given the instances of which something stays, and when a sweep began, forget the dead of which nothing stays,
        and decide when to look again.
        """
        with self._counting:
            late = {name for name, since in self._dead.items() if begun - since < _LATE_SECONDS}
            gone = self._dead.keys() - late - remaining
            self._dead = {name: since for name, since in self._dead.items() if name not in gone}
            self._due = begun + _LATE_SECONDS if late else begun + self._pause if self._owed else math.inf
        for name in gone:
            self._instance.neighbours.forget(name)

    def _tell_once(self, what: str, failure: Failure, target: Target | None) -> None:
        if what not in self._told:
            self._told.add(what)
            tell(failure, target)


class _Clocks:
    """The clocks of this host and of its engine, either of which can be wrong. The latter is asked at most once."""

    def __init__(self, docker: Docker, seconds: float) -> None:
        """Given the docker CLI, and how long asking it may take."""
        self._docker = docker
        self._seconds = seconds
        self._engine_now = cache(self._ask)

    def is_abandoned(self, created: datetime) -> bool:
        """Given when something was made, return whether, by both clocks, no cycle can still need it."""
        latest = created + _ABANDONED_AFTER
        return latest < datetime.now(UTC) and latest < self._engine_now()

    def _ask(self) -> datetime:
        try:
            return self._docker.now(self._seconds)
        except DockerError:  # not every endpoint says that much about its engine
            return datetime.now(UTC)


def tell(failure: Failure, target: Target | None) -> None:
    """Given why something could not be removed, and for which target that was tried, log it."""
    _log.warning(
        "could not clean up everything that this monitor made; it tries again later",
        extra={
            "target": target.name if target else None,
            "reason": str(failure.reason),
            "detail": failure.detail,
            "advice": failure.advice,
        },
    )


def _note_of(image_id: str) -> str:
    return f"{IMAGE_NOTE}{image_id.partition(':')[2]}"


def _id_in(note: str) -> str:
    return f"sha256:{note.removeprefix(IMAGE_NOTE)}"
