"""Monitor: everything wired together, for one run of the program."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from threading import Thread

from lib import __version__
from lib.command import ShRunner, Stopped
from lib.cycles import Cycles
from lib.docker import DockerError
from lib.environment import SetupError, docker_environment
from lib.health import Health
from lib.history import History
from lib.instance import Instance
from lib.log import log_cycle, setup_logging
from lib.metrics import Metrics
from lib.once import Narrator, Silence, exit_code, run_cycles, to_json
from lib.options import Options, OptionsError
from lib.result import Cycle
from lib.schedule import Schedule
from lib.steps import Observer, Observers
from lib.target import Target
from lib.values import Output
from lib.web import ListenError, Pages, start_web

_log = logging.getLogger(__name__)

#: How long cycles under way have to clean up once the monitor is to stop; it is gone within 10 s of the signal.
STOP_SECONDS = 8.0

_BY_SIGNAL = 128


class MonitorError(Exception):
    """The monitor can't run on this host as it is asked to. Its text says what is wrong and what to do."""


class Monitor:
    """One run of the program.

    Attributes:
        signals: where whoever catches a signal puts it.
    """

    def __init__(self, options: Options, env: Mapping[str, str]) -> None:
        """Given the options and the program's environment, make ready. Raise MonitorError."""
        setup_logging(options.loglevel, options.log_format)
        self.signals: SimpleQueue[signal.Signals | tuple[Cycle, ...]] = SimpleQueue()
        self._options = options
        self._runner = ShRunner()
        try:
            self._environment = docker_environment(env, options.docker, self._runner)
            self._instance = Instance()
        except SetupError as error:
            raise MonitorError(str(error)) from None
        except OSError as error:
            raise MonitorError(
                f"no private folder can be made: {error}; set TMPDIR to one that can be written"
            ) from None
        self._history = History(self._instance.name)

    def run_once(self) -> int:
        """Run one cycle of every target, print what came of them, and return the exit code."""
        options = self._options
        observer = Narrator(sys.stdout, options.targets) if options.output is Output.TEXT else Silence()
        self._history.replace(options.targets)
        cycles = self._cycles(observer)

        def run() -> None:
            try:
                self.signals.put(run_cycles(cycles, options.targets, options.concurrency, observer.cycle_finished))
            except Stopped:
                return

        worker = Thread(target=run, name="once", daemon=True)
        worker.start()
        try:
            finished = self.signals.get()
            while finished is signal.SIGHUP:
                finished = self.signals.get()
            if isinstance(finished, signal.Signals):
                self._runner.stop()
                worker.join(STOP_SECONDS)
                return _BY_SIGNAL + finished
        finally:
            self._instance.close()
        if options.output is Output.JSON:
            sys.stdout.write(f"{to_json(finished)}\n")
        return exit_code(finished)

    def serve(self, read_options: Callable[[], Options]) -> int:
        """Monitor until SIGTERM or SIGINT; at SIGHUP, read the options again. Return the exit code.

        Given what reads the options. Raise MonitorError where the address can't be listened on.
        """
        options = self._options
        health = Health(lambda: self._ask_docker(cycles, metrics), lambda: schedule.workers())  # noqa: PLW0108  it comes below
        metrics = Metrics(__version__, lambda: not health.faults, options.namespace)
        cycles = self._cycles(Observers(metrics, health))
        schedule = Schedule(cycles, lambda *finished: self._note(metrics, *finished), options.concurrency)

        def watch(targets: tuple[Target, ...]) -> None:
            self._history.replace(targets)
            metrics.replace(targets)
            schedule.replace(targets)

        try:
            pages = Pages(schedule.targets, self._history, health, metrics)
            web = start_web((options.listen_host, options.listen_port), pages)
        except ListenError as error:
            self._instance.close()
            raise MonitorError(str(error)) from None
        _log.info("listening", extra={"host": options.listen_host or "*", "port": web.port})
        health.start()
        watch(options.targets)
        while self.signals.get() is signal.SIGHUP:
            try:
                watch(read_options().targets)
            except OptionsError as error:
                metrics.set_reloaded(successful=False)
                for fault in error.faults:
                    _log.error("the configuration was not reloaded", extra={"detail": fault})
            else:
                metrics.set_reloaded(successful=True)
                _log.info("the configuration was reloaded", extra={"targets": len(schedule.targets())})
        _log.info("stopping")
        self._runner.stop()
        schedule.stop(STOP_SECONDS)
        health.stop()
        web.close()
        self._instance.close()
        return 0

    def _cycles(self, observer: Observer) -> Cycles:
        return Cycles(
            program=self._options.docker,
            runner=self._runner,
            env=self._environment,
            instance=self._instance,
            memory=self._history,
            observer=observer,
        )

    def _note(self, metrics: Metrics, target: Target, cycle: Cycle, lag: float) -> None:
        self._history.record(cycle)
        metrics.observe(target, cycle, lag)
        log_cycle(cycle)

    @staticmethod
    def _ask_docker(cycles: Cycles, metrics: Metrics) -> str | None:
        """Return what keeps docker from working, None where it works."""
        try:
            metrics.set_build(*cycles.docker_versions())
        except DockerError as error:
            return f"docker can't be used ({error.failure.reason}): {error.failure.detail}"
        return None
