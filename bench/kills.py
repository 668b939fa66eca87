"""Kills: what a monitor leaves when it is killed at any moment, and whether the next one removes it.

    python -m bench.kills --kills 100 --engine docker-buildkit

It needs root. It prints its figures, and ends with 1 if anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.counts import read_counts
from bench.surroundings import Surroundings
from lab.archive import file_system
from lab.daemon import LabError, await_true
from lab.engine import Engine
from lab.engine_table import engines
from lab.engines import Debians
from lab.folder import processes
from lab.misbehaviour import plain, silence
from lab.monitor import Monitor
from lab.port import on_loopback
from lab.proxy import Proxy
from lab.registry import Registry
from lab.session import Lab
from lab.snapshot import take_snapshot
from lib.cycle.payload import INSTANCE_LABEL
from lib.failure.reason import Verdict
from lib.history.database import Database
from lib.history.hours import Bounds, Hours
from lib.neighbours import Neighbours
from lib.target import Builder

#: The same moments in every run, as far as a busy machine allows.
_SEED = 20261124
#: Of so many lives one is ended while it starts.
_EARLY_EVERY = 4
#: Of so many kills one is followed by a second one, of the monitor that starts after it.
_PAIR_EVERY = 3
#: Of so many that answer, one lives until it has forgotten all who died before it.
_FORGOTTEN_EVERY = 4
#: Of so many that answer, one is ended by SIGTERM or SIGINT in place of SIGKILL.
_ASKED_EVERY = 4
_LIFE_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0
#: How long an image may come and stay after its monitor's death.
_LATE_SECONDS = 20.0
#: How long a signal may take to end it.
_STOP_SECONDS = 10.0
#: The kernel ends docker with its monitor; that takes a moment.
_ORPHAN_SECONDS = 30.0

_WELL = ("one", "two")
#: Its registry never acknowledges a layer: docker would wait there for ever.
_HANGING = "hanging"
#: No hour is later.
_LAST_HOUR = 2**40


class Mortal(Monitor):
    """A monitor that can be ended before it answers, and by any signal."""

    is_awaited = True

    def answers(self) -> bool:
        """Return whether it answers, if that is awaited."""
        return super().answers() if self.is_awaited else True

    def end(self, number: signal.Signals) -> int | None:
        """Given a signal, end it, and return its exit code."""
        return self._end(number)


@dataclass(slots=True)
class Toll:
    """The results of all the kills.

    Attributes:
        killed: by SIGKILL, after it had answered, while it started, and while it started after another one's.
        asked: by SIGTERM or SIGINT.
        stop_seconds: how long each of those took.
        left: what SIGKILL left: how many images, and folders, and children that lived on for a moment.
        faults: what is not as it should be.
    """

    killed: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    stop_seconds: list[float] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Killing:
    """A monitor of three targets on an engine, started and ended again and again.

    Attributes:
        toll: the results.
    """

    def __init__(
        self, lab: Lab, engine: Engine, folder: Path, seed: int = _SEED, builder: Builder = Builder.AUTO
    ) -> None:
        """Given a lab, an engine, a folder to make, what chooses the moments, and the builder, start what it takes."""
        self.toll = Toll()
        self._engine = engine
        self._builder = builder
        self._folder = folder
        self._temporary, self._state = folder / "temporary", folder / "state"
        self._temporary.mkdir(parents=True)
        self._neighbours = Neighbours(self._temporary, "")
        self._moments = random.Random(seed)
        registry = lab.enter(Registry(folder / "registry"))
        name, _, port = registry.host.rpartition(":")
        self._proxy = lab.enter(Proxy(on_loopback, (name, int(port)), plain))
        lab.enter(self._proxy.rule(silence, "PATCH", "/blobs/uploads/"))
        self._repositories = {target: f"{registry.host}/kills/{target}" for target in _WELL}
        self._repositories[_HANGING] = f"{self._proxy.host}/kills/{_HANGING}"
        self._surroundings = Surroundings.with_temporary_folder(engine, self._temporary)
        self._known: Counter[str] = Counter()

    def run(self, kills: int) -> Toll:
        """Given how often, kill it, with signals in between, and return the results. Raise LabError."""
        docker = self._engine.docker
        kept = docker("import", "-", "somebody/kept:1", stdin=file_system("kept")).stdout.strip()
        container = docker("create", "--network=none", kept, "command").stdout.strip()
        before = take_snapshot(self._engine)
        while (killed := self.toll.killed.total()) < kills:
            if self._moments.randrange(_EARLY_EVERY):
                self._live_and_die()
            else:
                self._die_early("at its start")
            if self.toll.killed.total() > killed and not self._moments.randrange(_PAIR_EVERY):
                self._die_early("in a pair")
        with self._monitor() as monitor:
            self._await_cycles(monitor)
            self._await_the_end_of_the_dead()
            self._stop(monitor, signal.SIGTERM)
        after = take_snapshot(self._engine)
        if after != before:
            self.toll.faults.append(f"the engine held {before}, and holds {after}")
        if "Traceback" in monitor.log.read_text(encoding="utf-8"):
            self.toll.faults.append("it logged a traceback")
        docker("rm", container)
        docker("rmi", kept)
        return self.toll

    def _live_and_die(self) -> None:
        """One life, ended at any moment after a cycle of each healthy target."""
        # dockerd does not release an upload while its connection lasts, and has room for five of them in all.
        self._proxy.hang_up()
        with self._monitor() as monitor:
            self._await_cycles(monitor)
            self._look_for_leftovers(of_dead=True)
            if not self._moments.randrange(_FORGOTTEN_EVERY):
                self._await_the_end_of_the_dead()
            time.sleep(self._moments.uniform(0, _LIFE_SECONDS))
            self._look_for_failures(monitor)
            if not self._moments.randrange(_ASKED_EVERY):
                self._stop(monitor, self._moments.choice((signal.SIGTERM, signal.SIGINT)))
            else:
                monitor.kill()
                self.toll.killed["in its life"] += 1
                self._look_at_the_dead()

    def _die_early(self, when: str) -> None:
        """A life that is ended while it starts. Given what that is counted as."""
        monitor = self._monitor()
        monitor.is_awaited = False
        with monitor:
            time.sleep(self._moments.uniform(0, _LIFE_SECONDS / 2))
            monitor.kill()
        self.toll.killed[when] += 1
        self._look_at_the_dead()

    def _stop(self, monitor: Mortal, number: signal.Signals) -> None:
        own = self._living()
        begun = time.monotonic()
        code = monitor.end(number)
        seconds = time.monotonic() - begun
        self.toll.asked[number.name] += 1
        self.toll.stop_seconds.append(seconds)
        if code != 0 or seconds > _STOP_SECONDS:
            self.toll.faults.append(f"{number.name}: exit code {code} after {seconds:.1f} s")
        self._look_for_leftovers(of_dead=False)
        self.toll.faults += [f"left behind: folder {folder}" for folder in own & self._folders()]

    def _look_at_the_dead(self) -> None:
        """Count what a killed monitor left. Its children have to be gone at once, and its history intact."""
        self.toll.left["children"] += len(processes(self._temporary))
        await_true(lambda: not processes(self._temporary), _ORPHAN_SECONDS, "the children of a killed monitor to end")
        self.toll.left["images"] += len(self._images())
        self.toll.left["folders"] += len(self._folders())
        self._look_at_history()

    def _look_at_history(self) -> None:
        """The file is intact, and no verdict's time has become less."""
        if not (self._state / "history.sqlite3").exists():
            return
        copy = self._folder / "copy"
        shutil.copytree(self._state, copy)  # looking at it would repair what a crash left
        with closing(sqlite3.connect(copy / "history.sqlite3")) as connection:
            answers = connection.execute("PRAGMA integrity_check").fetchall()
        if answers != [("ok",)]:
            self.toll.faults.append(f"the history is damaged: {answers}")
        with closing(Database(copy / "history.sqlite3")) as database:
            for target, repository in self._repositories.items():
                stood = Hours(database.kept(f"{repository}:latest", Bounds(1, 1)).hours).total(0, _LAST_HOUR)
                known = int(sum(stood.values()))
                if known < self._known[target]:
                    self.toll.faults.append(f"the history of {target} lost {self._known[target] - known} s")
                self._known[target] = known
        shutil.rmtree(copy)

    def _look_for_failures(self, monitor: Monitor) -> None:
        """No cycle of a healthy target may fail: neither for what a dead monitor left, nor for what it pushed."""
        failures = read_counts(monitor.get("/metrics")[1]).failures
        failed = [f"{target} failed: {reason}" for (target, reason), number in failures.items() if number]
        self.toll.faults += [f"{text}: {monitor.get('/status')[1]}" for text in failed if not text.startswith(_HANGING)]

    def _look_for_leftovers(self, *, of_dead: bool) -> None:
        """Given whether only what dead monitors left counts, find what is left."""
        with suppress(LabError):  # the engine may have been busy with something when its client died
            await_true(lambda: not self._images_of_dead(), _LATE_SECONDS, "late images to go")
        left = [f"image {image} of {instance}" for image, instance in self._images_of_dead().items()]
        if not of_dead:
            left += [f"process {pid}" for pid in processes(self._temporary)]
        self.toll.faults += [f"left behind: {one}" for one in left]

    def _await_the_end_of_the_dead(self) -> None:
        """Wait until the living monitor has forgotten all others."""
        try:
            await_true(lambda: self._folders() == self._living(), _PATIENCE_SECONDS, "the dead to be forgotten")
        except LabError:
            self.toll.faults.append(f"folders of the dead: {self._folders() - self._living()}")

    def _living(self) -> set[str]:
        return {name for name in self._folders() if self._neighbours.is_living(name)}

    def _images_of_dead(self) -> dict[str, str]:
        living = self._living()
        return {image: instance for image, instance in self._images().items() if instance not in living}

    def _images(self) -> dict[str, str]:
        """Return the instances that made the images that are on the engine now, by the images' IDs."""
        docker = self._engine.docker
        ids = docker("images", "--all", "--quiet", f"--filter=label={INSTANCE_LABEL}").stdout.split()
        made = {}
        for image in ids:
            # A living monitor may just have removed it.
            told = docker("inspect", f'--format={{{{index .Config.Labels "{INSTANCE_LABEL}"}}}}', image, check=False)
            if told.returncode == 0:
                made[image] = told.stdout.strip()
        return made

    def _folders(self) -> set[str]:
        """Return the instances that have a private folder now.

        One that died before it had locked its folder is left out: that has a hidden name, and goes after a minute.
        """
        return {folder.name.rpartition("-")[2] for folder in self._temporary.glob("registry-monitor-*")}

    def _await_cycles(self, monitor: Monitor) -> None:
        """Wait for a cycle of each healthy target: by then what the dead left has to be gone."""

        def is_done() -> bool:
            cycles = read_counts(monitor.get("/metrics")[1]).cycles
            return all(cycles[target, Verdict.UP] for target in _WELL)

        try:
            await_true(is_done, _PATIENCE_SECONDS, "a cycle of each target to be up")
        except LabError as error:
            raise LabError(f"{error}; /status is:\n{monitor.get('/status')[1]}") from None

    def _monitor(self) -> Mortal:
        file = self._folder / "config.yml"
        targets: list[dict[str, str]] = [
            {"name": target, "repository": repository} for target, repository in self._repositories.items()
        ]
        targets[-1] |= {"step-timeout": "4s", "run-test-every": "1h", "retry-every": "1h"}
        common = {"run-test-every": "100ms", "retry-every": "100ms", "payload-size": "64KiB", "builder": self._builder}
        file.write_text(json.dumps(common | {"targets": targets}), encoding="utf-8")  # JSON is YAML
        # Without it, nobody knows the dead but by their folders.
        state = [f"-state-dir={self._state}"] * self._moments.randrange(2)
        return Mortal(self._folder, self._surroundings, f"-config={file}", *state)


def main(arguments: Sequence[str]) -> int:
    """Given the command line, kill as often as is asked for, print the result, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    cells = {cell.name: cell for cell in engines()}
    parser.add_argument("--engine", choices=cells, default="docker", help="as docs/engines.md names it")
    parser.add_argument("--seed", type=int, default=_SEED, help="what chooses the moments")
    asked = parser.parse_args(arguments)
    with Lab() as lab:
        cell = cells[asked.engine]
        engine = lab.enter(cell.start(lab.folder / "engine", Debians(lab.folder)))
        if not isinstance(engine, Engine):
            parser.error(f"{asked.engine} has no daemon, whose work could outlive its client")
        toll = Killing(lab, engine, lab.folder / "kills", asked.seed, Builder(cell.builder)).run(asked.kills)
    print(f"kill -9: {_told(toll.killed)}; they left {_told(toll.left)}")
    print(f"signals: {_told(toll.asked)}; it ended after {max(toll.stop_seconds):.1f} s at most")
    print("\n".join(toll.faults) or "each next start removed what was left; engine and history are intact")
    return int(bool(toll.faults))


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
