"""Rested images, as values: each was pushed once, stays in the registry for long, and is pulled now and then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.failure import Failure, Reason, Scope, Verdict
from lib.result import read_moment, read_text, rfc3339

_MANY_LAYERS = 40

#: The platforms of an index. The layers of both hold the same bytes, under different names.
PLATFORMS = ("linux/amd64", "linux/arm64")


class Kind(StrEnum):
    """What a rested image is made of: registries lose some kinds more easily than others."""

    SINGLE = "single"
    LAYERS = "layers"
    INDEX = "index"

    @property
    def layers(self) -> int:
        """How many layers it has; if it is an index, each of its images."""
        return _MANY_LAYERS if self is Kind.LAYERS else 1

    @property
    def platforms(self) -> tuple[str | None, ...]:
        """The platforms that a check pulls it for, one after the other; None: whichever the engine takes."""
        return PLATFORMS if self is Kind.INDEX else (None,)

    @classmethod
    def of(cls, number: int) -> Kind:
        """Given the number of a rested image, return the kind that it is to have, if the engine can hold that."""
        return (cls.INDEX, cls.SINGLE, cls.LAYERS)[number % 3]


@dataclass(frozen=True, slots=True)
class RestedImage:
    """One rested image.

    Attributes:
        number: which of its target's, from 1 on.
        tag: its tag.
        kind: what it is made of.
        acted: when it was last pushed or checked, or when that was last tried.
        digest, created: what was pushed, and when it was made; None until then.
        checked: when it was last checked, None before that.
        succeeded: when a check last found it intact, None if none did.
        verdict: of the last check; or of the push, for as long as that fails. None before both.
        failure: why it is not `up`, None if it is.
        is_lost: what the last conclusive check said, None before that.
    """

    number: int
    tag: str
    kind: Kind
    acted: datetime
    digest: str | None = None
    created: datetime | None = None
    checked: datetime | None = None
    succeeded: datetime | None = None
    verdict: Verdict | None = None
    failure: Failure | None = None
    is_lost: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return its JSON shape in `/status`."""
        return {
            "tag": self.tag,
            "digest": self.digest,
            "created": self.created and rfc3339(self.created),
            "kind": str(self.kind),
            "last_check": self.checked and rfc3339(self.checked),
            "verdict": self.verdict and str(self.verdict),
            "reason": self.failure and str(self.failure.reason),
            "detail": self.failure and self.failure.detail,
        }

    def to_row(self) -> dict[str, Any]:
        """Return all of it, for JSON in the history; the number is kept beside it there."""
        return self.to_dict() | {
            "acted": self.acted.isoformat(),
            "created": self.created and self.created.isoformat(),
            "last_success": self.succeeded and rfc3339(self.succeeded),
            "scope": self.failure and str(self.failure.scope),
            "lost": self.is_lost,
        }

    @classmethod
    def from_row(cls, number: int, row: dict[str, Any]) -> RestedImage:
        """Given its number and what `to_row()` returned, return it. Raise KeyError or ValueError for anything else."""
        failure = None
        if row["reason"] is not None:
            reason, scope = Reason(row["reason"]), Scope(row["scope"])
            explicit_scope = None if scope is reason.scope else scope
            failure = Failure(reason, read_text(row["detail"]), explicit_scope=explicit_scope)
        digest = None if row["digest"] is None else read_text(row["digest"])
        created, is_lost = _moment(row["created"]), row["lost"]
        if (digest is None) != (created is None) or not (is_lost is None or isinstance(is_lost, bool)):
            raise ValueError("not a rested image")
        return cls(
            number=number,
            tag=read_text(row["tag"]),
            kind=Kind(row["kind"]),
            acted=read_moment(row["acted"]),
            digest=digest,
            created=created,
            checked=_moment(row["last_check"]),
            succeeded=_moment(row["last_success"]),
            verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
            failure=failure,
            is_lost=is_lost,
        )


@dataclass(frozen=True, slots=True)
class Cold:
    """The state of the rested images of one target.

    Attributes:
        images: those that were pushed, and those whose push was tried, in the order of their numbers.
    """

    images: tuple[RestedImage, ...] = ()

    @property
    def pushed(self) -> list[RestedImage]:
        """Those that were pushed."""
        return [image for image in self.images if image.digest is not None]

    @property
    def lost(self) -> list[RestedImage]:
        """Those that their last conclusive check did not find intact."""
        return [image for image in self.images if image.is_lost]

    @property
    def up(self) -> bool | None:
        """Whether none is lost; None before the first conclusive check."""
        if all(image.is_lost is None for image in self.images):
            return None
        return not self.lost

    @property
    def oldest(self) -> datetime | None:
        """When the oldest was made, None if there is none."""
        return min((image.created for image in self.images if image.created), default=None)

    @property
    def last_success(self) -> datetime | None:
        """When a check last found one intact, None if none did."""
        return max((image.succeeded for image in self.images if image.succeeded), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return its JSON shape."""
        return {"up": self.up, "images": [image.to_dict() for image in self.images]}


def _moment(value: object) -> datetime | None:
    return None if value is None else read_moment(value)
