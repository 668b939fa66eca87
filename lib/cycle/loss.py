"""Loss: when the registry has lost or turned back what was pushed, that is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lib.cycle.steps import StepFailed
from lib.failure import Reason, Verdict
from lib.history.pushes import Pushes


@contextmanager
def forgotten_if_lost(pushes: Pushes) -> Iterator[None]:
    """Given what was pushed, run a pull of it. If that shows a loss, forget the push, and raise StepFailed as it does.

    This cycle reports the loss; the next begins again, or it would report nothing else for ever.
    """
    try:
        yield
    except StepFailed as failed:
        # An image that is not there on this host says nothing of the registry.
        lost = failed.failure.not_there and failed.failure.scope.verdict is Verdict.DOWN
        if lost or failed.failure.reason is Reason.STALE:
            pushes.forget()
        raise
