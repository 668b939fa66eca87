"""The rules of deploy/prometheus as objects of the Prometheus operator: `python -m lab.prometheus_rules FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import indent

_RULES = Path(__file__).resolve().parents[1] / "deploy/prometheus"

_HEAD = """\
# The rules of deploy/prometheus for the Prometheus operator. Written by `python -m lab.prometheus_rules`: change those.
"""

_OBJECT = """\
---
{comment}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: registry-monitor-{name}
  namespace: registry-monitor
  labels:
    app.kubernetes.io/name: registry-monitor
spec:
  groups:
{groups}"""


def prometheus_rules() -> str:
    """Return them, one object for each file of rules."""
    return _HEAD + "".join(map(_object, ("settings", "recording", "alerts")))


def _object(name: str) -> str:
    comment, _, groups = (_RULES / f"{name}.yml").read_text(encoding="utf-8").partition("\ngroups:\n")
    return _OBJECT.format(name=name, comment=comment.rstrip(), groups=indent(groups, "  "))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(prometheus_rules(), encoding="utf-8")
