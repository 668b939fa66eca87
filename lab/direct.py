"""HTTP on loopback, by none of the proxies that the caller may have."""

from __future__ import annotations

import urllib.error
import urllib.request

#: Opens a URL or a request.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, seconds: float) -> tuple[int, str]:
    """Given a URL, and a deadline, return the HTTP status and the text that it answers with. Raise OSError."""
    try:
        with DIRECT.open(url, timeout=seconds) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()
