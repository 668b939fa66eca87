"""What holds for every test: the caller's own settings of the monitor and of Docker change nothing."""

from __future__ import annotations

import os

import pytest

_PREFIXES = ("REGISTRY_MONITOR_", "DOCKER_", "PROMETHEUS_", "UNDER_DOCKER", "STATE_DIRECTORY")


@pytest.fixture(autouse=True)
def _neutral_environment(monkeypatch):
    for name in os.environ:
        if name.startswith(_PREFIXES):
            monkeypatch.delenv(name)
