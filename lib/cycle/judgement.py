"""What a pulled image proves: whether it is what this monitor pushed, and whether it came over the network.

If a digest is not the one that was pushed last, the labels decide. All functions here are pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from datetime import UTC, datetime

from lib.cycle.payload import Labels
from lib.docker.answers import Image, Pulled
from lib.failure import Failure, Reason
from lib.result import Push

#: The original monitor (quay/registry-monitor) committed a container with this message and this command.
_ORIGINAL_COMMENT = re.compile(r"Updated at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}")
_ORIGINAL_COMMAND = re.compile(r'"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}" > foo')


def made_by_original(image: Image) -> bool:
    """Given an image, return whether the original monitor made it."""
    return (
        _ORIGINAL_COMMENT.fullmatch(image.comment) is not None
        and image.command[:2] == ("sh", "echo")
        and _ORIGINAL_COMMAND.fullmatch(" ".join(image.command[2:])) is not None
    )


def is_removable(pulled: Pulled, image: Image) -> bool:
    """Given a pull and the image that it brought, return whether the monitor may remove its name.

    It may if the image is a monitor's; if something of it was moved, since then it was not here before; and if it keeps
    another name, unless it had this one before, with which it would lose its names by digest.
    """
    keeps_another = len(image.tags) > 1 and not pulled.up_to_date
    return Labels.from_dict(image.labels) is not None or is_new_here(pulled) or keeps_another


def is_new_here(pulled: Pulled) -> bool:
    """Given a pull, return whether its image was not on this host before."""
    return pulled.moved > 0 and not pulled.up_to_date


def judge_found(
    image: Image, digest: str | None, last: Push | None, is_ours: Callable[[str], bool], given_up: Container[str] = ()
) -> Failure | None:
    """Judge a monitor's image that the first pull of a cycle brought.

    Given the image, its digest, this monitor's last push (None: none yet), what recognises an instance of this monitor,
    and the tokens of pushes that it gave up, return what is wrong with it, None if nothing is.
    """
    labels = Labels.from_dict(image.labels)
    if labels is None or last is None or not is_ours(labels.instance) or labels.token in given_up:
        return None
    if labels.created > last.created:
        return None  # a push that was cut off, but published all the same
    if labels.created < last.created:
        return _stale(labels, last)
    return None if image.image_id == last.image_id else _altered(digest, last)


def judge_pulled_back(
    digest: str | None,
    image: Image | None,
    pushed: Push,
    is_ours: Callable[[str], bool],
    given_up: Container[str] = (),
) -> Failure | None:
    """Judge the image that came back after the push.

    Given its digest, the image (looked at only if the digest is not the pushed one), the push, what recognises an
    instance of this monitor, and the tokens of pushes that it gave up, return what is wrong with it, None if nothing
    is.
    """
    if digest == pushed.digest:
        return None
    labels = Labels.from_dict(image.labels) if image else None
    if image is None or labels is None:
        return _altered(digest, pushed)
    if not is_ours(labels.instance):
        return Failure(
            Reason.FOREIGN,
            f"the tag showed another monitor's image (target {labels.target!r}, made {_utc(labels.created)})"
            " right after our push: two monitors share one tag; give each a tag or repository of its own",
        )
    if labels.token in given_up:
        return Failure(
            Reason.DAEMON,
            f"the tag showed an image of ours made {_utc(labels.created)}, whose push was given up then: the engine"
            " finished it only now, over the newer one",
        )
    if labels.created < pushed.created:
        return _stale(labels, pushed)
    return None if image.image_id == pushed.image_id else _altered(digest, pushed)


def judge_transfer(pulled: Pulled, payload_layers: int, base_layers: int) -> Failure | None:
    """Given a pull, and how many layers of payload and of its base the image has, say whether it proves a transfer."""
    whole = pulled.moved >= payload_layers and pulled.already <= base_layers
    # If some layers of the base were moved, and others were not, nobody can tell which ones are the payload's.
    if whole and (pulled.moved == payload_layers or pulled.already == 0):
        return None
    return Failure(
        Reason.WARM,
        f"the engine moved {pulled.moved} layers over the network and said that it had {pulled.already} already, with"
        f" {payload_layers} of payload on a base of {base_layers}: this pull proves nothing about the registry",
    )


def foreign(reference: str) -> Failure:
    """Given the name under which the first pull found an image that no monitor made, return that as a failure."""
    return Failure(
        Reason.FOREIGN,
        f"{reference} holds an image that no monitor made, and nothing was pushed over it: give the monitor a"
        " repository or tag of its own, or set `overwrite` to let it replace this image",
    )


def shared_with(target: str) -> Failure:
    """Given the name of another target of this monitor whose image came back instead of this one's, return that as a
    failure.
    """
    return Failure(
        Reason.FOREIGN,
        f"the tag showed the image of this monitor's own target {target!r} right after our push: both reach one"
        " repository and tag, and take turns from now on",
    )


def _stale(labels: Labels, last: Push) -> Failure:
    return Failure(
        Reason.STALE,
        f"the registry gave an image of ours made {_utc(labels.created)}, older than the one it acknowledged as"
        f" {last.digest}, made {_utc(last.created)}: it went back in time",
    )


def _altered(digest: str | None, last: Push) -> Failure:
    return Failure(
        Reason.INTEGRITY, f"the registry gave {digest or 'an image without a digest'}, but {last.digest} was pushed"
    )


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
