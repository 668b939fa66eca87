"""A monitor with rested images: what it reports about them, and what was pushed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab.access import Accessed
from lab.daemon import await_true
from lab.monitor import SOON, Monitor, Surroundings
from lab.target import login, path_of

#: The tags of the first three, which differ in kind.
SINGLE, LAYERED, INDEX = "latest-cold-1", "latest-cold-2", "latest-cold-3"

#: Options with which a check comes after each cycle, and these follow each other.
OFTEN = ("-run-test-every=200ms", "-retry-every=200ms", "-payload-size=8KiB", "-cold-every=100ms")

#: How long what takes some turns may take: one that pushes or pulls 40 layers takes seconds, on a busy machine many.
LONG = 8 * SOON


def cold_of(monitor: Monitor) -> dict[str, Any]:
    """Given a monitor, return what its /status says of the rested images of its only target."""
    (target,) = json.loads(monitor.get("/status?format=json")[1])["targets"]
    cold: dict[str, Any] = target["cold"]
    return cold


def images_of(monitor: Monitor) -> dict[str, dict[str, Any]]:
    """Given a monitor, return what it says of each rested image, by its tag."""
    return {image["tag"]: image for image in cold_of(monitor)["images"]}


def verdicts_of(monitor: Monitor) -> set[str | None]:
    """Given a monitor, return the verdicts that its rested images have."""
    return {image["verdict"] for image in images_of(monitor).values()}


def metric(monitor: Monitor, name: str, labels: str = "") -> float | None:
    """Given a monitor, the name of a metric without its beginning, and a label, return its value; None if absent."""
    lines = monitor.get("/metrics")[1].splitlines()
    found = [line for line in lines if line.startswith(f"registry_monitor_cold_{name}{{") and labels in line]
    return float(found[0].rpartition(" ")[2]) if found else None


def pushes(registry: Accessed, repository: str) -> Counter[str]:
    """Given a registry and a repository's full name there, return how often each rested tag was pushed."""
    return Counter(tag for tag in registry.manifests_put(path_of(repository)) if "-cold-" in tag)


@contextmanager
def resting(folder: Path, engine: Surroundings, repository: str, images: int, *options: str) -> Iterator[Monitor]:
    """Run a monitor with rested images, and give it once all are pushed and were found intact.

    Given its folder, an engine, a repository's full name, how many images, and further options.
    """
    rested = (f"-cold-images={images}", f"-state-dir={folder / 'state'}", *OFTEN, *options)
    with Monitor(folder, engine, *login(repository), *rested) as monitor:
        await_whole(monitor, images)
        yield monitor


def await_whole(monitor: Monitor, images: int) -> None:
    """Given a monitor and how many rested images it has, wait until all are pushed and the last check was up."""
    await_true(lambda: metric(monitor, "images") == images, LONG, "all images to be pushed")
    await_true(lambda: bool(cold_of(monitor)["up"]) and verdicts_of(monitor) == {"up"}, LONG, "all to be whole")
    await_true(lambda: metric(monitor, "up") == 1, SOON, "the metric")


def await_loss(monitor: Monitor, tag: str) -> tuple[str, str]:
    """Given a monitor and a rested tag, wait until it is lost, while the target is up. Return reason and detail."""
    await_true(lambda: images_of(monitor)[tag]["verdict"] == "down", LONG, f"{tag} to be lost")
    await_true(lambda: metric(monitor, "up") == 0, SOON, "the metric")
    monitor.await_status(200)
    image = images_of(monitor)[tag]
    return image["reason"], image["detail"]
