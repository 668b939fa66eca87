"""Refusals: somebody in front of the engine (a socket proxy, an authorization plugin) does not let a request through.

Their words hardly ever say which one. The docker command does: each makes one request to the engine's API, apart from
those that all of them begin with.
"""

from __future__ import annotations

from lib.failure.quoted import Said
from lib.failure.speaker import Speaker
from lib.failure.words import phrases

#: What they say when they refuse, rather than fail themselves.
_REFUSED = {
    Speaker.GATE: phrases(
        r"\b40[1345]\b | forbidden | denied | blocked | not (?:authorized|allowed|permitted|found) | no active session"
    ),
    Speaker.PLUGIN: phrases("denied by plugin"),
    Speaker.DOOR: phrases(
        r"""
        request returned (?:40\d )?(?:unauthorized|forbidden|not found|method not allowed) for api route
        api returned a 40[1345]
        """
    ),
}

#: The request by which a docker command does its work, by the command as failures name it. docs/socket-proxies.md lists
#: the others.
REQUESTS = {
    "build": "POST /build",
    "builder": "POST /build/prune",
    "images": "GET /images/json",
    "info": "GET /info",
    "inspect": "GET /images/NAME/json",
    "login": "POST /auth",
    "ps": "GET /containers/json",
    "pull": "POST /images/create",
    "push": "POST /images/NAME/push",
    "rm": "DELETE /containers/ID",
    "rmi": "DELETE /images/NAME",
    "system": "GET /system/df",
    "tag": "POST /images/NAME/tag",
    "version": "GET /version",
}


def refused(verb: str, said: Said, speaker: Speaker) -> str | None:
    """Given a docker command that failed, its error and who spoke, return the request that was refused; None if none
    was.
    """
    words = _REFUSED.get(speaker)
    if words is None or not words.search(said.own_words):
        return None
    return "POST /session" if "no active session" in said.own_words else REQUESTS.get(verb)
