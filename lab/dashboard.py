"""The dashboard, asked as Grafana would ask: its panels, with all that can be chosen at its top chosen."""

from __future__ import annotations

import json
from typing import Any

from lab.alerting import DEPLOY

DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/registry-monitor.json").read_text())
#: The queries of each panel, by its title.
PANELS: dict[str, list[dict[str, Any]]] = {
    panel["title"]: panel["targets"] for panel in DASHBOARD["panels"] if panel["type"] != "row"
}

_CHOSEN = {"$target": ".*", "$instance": ".*", "$job": "registry-monitor"}


def filled_in(expression: str, window_seconds: int) -> str:
    """Given a query, and over how many seconds events are counted, return it with all targets and monitors chosen."""
    for name, value in {**_CHOSEN, "$__rate_interval": "60s", "$window": f"{window_seconds}s"}.items():
        expression = expression.replace(name, value)
    if "$" in expression:
        raise ValueError(f"a variable that is not known: {expression}")
    return expression
