"""The environment of the lab's programs: the caller's, without variables that would lead them out of the lab."""

from __future__ import annotations

import os
from pathlib import Path

from lab.folder import MARK

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PREFIXES = (
    "DOCKER_",
    "BUILDKIT_",
    "BUILDX_",
    "REGISTRY_",
    "PROMETHEUS_",
    "UNDER_DOCKER",
    "STATE_DIRECTORY",
    "NOTIFY_",
    "COLUMNS",
    "LINES",
)


def lab_environment(folder: Path) -> dict[str, str]:
    """Given a folder of the lab, return the environment for the programs that belong to it, marked with it.

    Left out are the caller's settings of Docker, of the monitor, of the registry (which takes every `REGISTRY_…` for
    its own), proxies, and the size that a terminal is said to have, as tox does.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_PREFIXES) and name.lower() not in _PROXIES
    }
    path = env.get("PATH", os.defpath).split(os.pathsep)
    env["PATH"] = os.pathsep.join([*path, *(sbin for sbin in _SYSTEM_FOLDERS if sbin not in path)])
    env[MARK] = str(folder)
    return env


def inside_environment(folder: Path) -> dict[str, str]:
    """Given a folder of the lab, return the environment for its programs of another Debian, marked with it.

    Nothing in it names a file of this machine, and its proxies lead them to packages.
    """
    env = {name: value for name, value in lab_environment(folder).items() if name in ("PATH", MARK)}
    env |= {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}
    return env | {"LC_ALL": "C.UTF-8"}
