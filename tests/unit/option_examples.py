"""A value for each option."""

from __future__ import annotations

from pathlib import Path

from lib.options.table import Option

#: A value for each option that is not its default, in the form that `-check-config` shows; {} is a folder.
EXAMPLES = {
    "repository": "q.io/other",
    "tag": "t",
    "overwrite": "true",
    "expect-private": "true",
    "anonymous": "refused",
    "read-only": "true",
    "expect-digest": f"sha256:{64 * 'a'}",
    "replica-of": "other",
    "replica-within": "1s",
    "username": "u",
    "password": "hunter2",
    "password-file": "{}/password",
    "docker-config": "{}",
    "registry-host": "q.io",
    "base-image": "q.io/base:1",
    "public-base": "true",
    "base-layer-id": "4f83eba78c",
    "payload-size": "3KiB",
    "payload-layers": "3",
    "image-labels": "quay.expires-after=2d",
    "builder": "classic",
    "run-test-every": "1s",
    "retry-every": "1s",
    "step-timeout": "1s",
    "cycle-timeout": "1s",
    "propagation-timeout": "1s",
    "expect-private-every": "1s",
    "anonymous-every": "1s",
    "cold-images": "3",
    "cold-every": "1s",
    "heartbeat-url": "https://hc.example/ping/hunter2",
    "watch-certificates": "false",
    "delete-superseded": "true",
    "listen": "[::1]:80",
    "web-config": "{}/web.yml",
    "metrics-file": "{}/registry-monitor.prom",
    "loglevel": "warn",
    "log-format": "json",
    "config": "{}/monitor.yml",
    "concurrency": "3",
    "state-dir": "{}/state",
    "docker": "podman",
    "once": "true",
    "output": "json",
    "renew-cold": "true",
    "check-config": "true",
    "version": "true",
}


def flag_for(option: Option, text: str, folder: Path) -> str:
    """Given an option, a value of it as `-check-config` shows it, and a folder, return the flag that gives it: with a
    file in that folder, if only a file can.
    """
    if option.parse_entry is None:
        return f"-{option.name}={text}"
    file = folder / f"{option.name}.yml"
    file.write_text(f"{option.name}: {{{text.replace('=', ': ')}}}")
    return f"-config={file}"
