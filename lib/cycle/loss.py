"""Loss: if the registry has lost a push, or gone back to an older one, the push is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.cycle.steps import StepFailed
from lib.failure import Reason, Verdict
from lib.history.pushes import Pushes


@contextmanager
def forgotten_if_lost(pushes: Pushes) -> Iterator[None]:
    """Given the pushes, run a pull of the last one. If that shows a loss, forget the push, and raise StepFailed as the
    pull does.

    This cycle reports the loss; the next one starts over, since otherwise it would report the loss for ever.
    """
    try:
        yield
    except StepFailed as failed:
        # If an image is not on this host, that says nothing about the registry.
        lost = failed.failure.not_there and failed.failure.scope.verdict is Verdict.DOWN
        if lost or failed.failure.reason is Reason.STALE:
            pushes.forget()
        raise
