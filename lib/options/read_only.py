"""What can be set for a read-only target, and which targets a replica can have as its source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lib.options.source import Setting, Source
from lib.options.table import TARGET_OPTIONS
from lib.quoting import nearest, quoted

_PUSHING = frozenset(option.name for option in TARGET_OPTIONS if option.pushes)


@dataclass(frozen=True, slots=True)
class Listed:
    """A target in a list, whatever else may be wrong with it.

    Attributes:
        name: its label, None if it has none. is_read_only: whether it only pulls. replica_of: the setting that names
            its source, None if there is none.
    """

    name: str | None
    is_read_only: bool
    replica_of: Setting | None

    @classmethod
    def of(cls, settings: Source) -> Listed:
        """Given the settings of a target, return it."""
        name, repository = (settings.get(key, Setting(None, "")).value for key in ("name", "repository"))
        name = name or (repository.repository if repository else None)
        return cls(name, is_read_only(settings), settings.get("replica-of"))


def is_read_only(settings: Source) -> bool:
    """Given the settings of a target, return whether it only pulls."""
    return "read-only" in settings and settings["read-only"].value is True


def without_defaults_for_pushes(settings: Source, own: Source) -> Source:
    """Given the settings of a target, and its own, return them, if it only pulls without the defaults for targets that
    push.
    """
    if not is_read_only(settings):
        return settings
    return {name: setting for name, setting in settings.items() if name not in _PUSHING or name in own}


def read_only_faults(settings: Source) -> Iterator[str]:
    """Given the settings of a target, yield those that contradict that it only pulls, or that it pushes."""
    if is_read_only(settings):
        for name in sorted(_PUSHING & settings.keys()):
            if settings[name].value is not False:
                yield f"{settings[name].place}: excludes read-only: such a target builds and pushes nothing"
        return
    for name in ("expect-digest", "replica-of"):
        if name in settings:
            yield f"{settings[name].place}: needs read-only beside it: a target that pushes is compared with its pushes"


def replica_faults(targets: Sequence[Listed]) -> Iterator[str]:
    """Given all targets, yield what is wrong with the sources that replicas name."""
    by_name = {target.name: target for target in targets if target.name is not None}
    sources = [name for name, target in by_name.items() if not target.is_read_only]
    for target in targets:
        if target.replica_of is None or target.replica_of.value is None:
            continue
        name, place = target.replica_of.value, target.replica_of.place
        source = by_name.get(name)
        if source is None:
            near = nearest(name, sources)
            hint = f"did you mean {near}?" if near else "it has to be the name of a target that pushes"
            yield f"{place}: there is no target {quoted(name)}: {hint}"
        elif source is target:
            yield f"{place}: {quoted(name)} is this target itself: name the target that pushes what this one shows"
        elif source.is_read_only:
            yield f"{place}: {quoted(name)} is read-only, too: name the target that pushes what this one shows"
