"""Monitor: everything wired together, for one run of the program."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Thread

from lib import __version__
from lib.command import ShRunner, Stopped
from lib.cycle.cycles import Cycles
from lib.cycle.steps import Observer, Observers
from lib.docker import DockerError
from lib.docker.environment import SetupError, docker_environment, user_plugins
from lib.failure import Reason
from lib.health import Health
from lib.history import History
from lib.history.store import StateInUse, Store
from lib.instance import Instance
from lib.log import setup_logging
from lib.memory import give_back_what_is_free
from lib.metrics import Metrics
from lib.once import JsonWriter, Narrator, Teller, can_be_drawn_on, exit_code, run_cycles
from lib.options import Options, OptionsError
from lib.options.values import Output
from lib.result import Cycle
from lib.service import Service, Systemd, sentence
from lib.status import status_of
from lib.target import Target
from lib.under_way import UnderWay
from lib.watch import Watch
from lib.web.app import ListenError, Pages, start_web

_log = logging.getLogger(__name__)

#: How long cycles under way have to clean up once the monitor is to stop; it is gone within 10 s of the signal.
STOP_SECONDS = 8.0

#: How often the main thread looks up: a signal that the kernel hands to another thread does not wake it.
_LOOK_UP_SECONDS = 0.5

#: How long the history has to be written to its end, after that.
_STORE_SECONDS = 0.8

#: What one run keeps, whatever its configuration says later: the attributes of Options by the options' names.
_FOR_A_RUN = {
    "listen": ("listen_host", "listen_port"),
    "loglevel": ("loglevel",),
    "log-format": ("log_format",),
    "concurrency": ("concurrency",),
    "state-dir": ("state_dir",),
    "docker": ("docker",),
    "web-config": ("web_config",),
}

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
        setup_logging(options.loglevel, options.log_format, journal=env.get("JOURNAL_STREAM"))
        self.signals: SimpleQueue[signal.Signals | tuple[Cycle, ...] | Exception] = SimpleQueue()
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
        try:
            self._store = Store(options.state_dir, self._instance.name) if options.state_dir else None
        except StateInUse as error:
            self._instance.close()
            raise MonitorError(str(error)) from None
        self._history = History(self._instance.name, store=self._store)
        self._systemd = Systemd(env)
        self._plugins = user_plugins(env)
        self._term = env.get("TERM", "")

    def run_once(self) -> int:
        """Run one cycle of every target, print what came of them, and return the exit code."""
        options = self._options
        teller = self._teller()
        self._history.replace(options.targets)
        cycles = self._cycles(teller, is_only=True)

        def run_cycle(target: Target) -> Cycle:
            cycle = cycles(target)
            self._history.record(cycle)
            cycles.check_privacy(target, cycle)
            return cycle

        def run() -> None:
            try:
                self.signals.put(run_cycles(run_cycle, options.targets, options.concurrency, teller.cycle_finished))
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001  it is raised where somebody waits for it
                self.signals.put(error)

        worker = Thread(target=run, name="once", daemon=True)
        try:
            with teller:
                worker.start()
                finished = self._next_signal()
                while finished is signal.SIGHUP:
                    finished = self._next_signal()
                if isinstance(finished, signal.Signals):
                    self._runner.stop()
                    worker.join(STOP_SECONDS)
                    return _BY_SIGNAL + finished
                if isinstance(finished, Exception):
                    raise finished
                teller.all_finished(finished)
        finally:
            self._close()
        return exit_code(finished)

    def serve(self, read_options: Callable[[], Options]) -> int:
        """Monitor until SIGTERM or SIGINT; at SIGHUP, read the options again. Return the exit code.

        Given what reads the options. Raise MonitorError where the address can't be listened on.
        """
        give_back_what_is_free()
        options = self._options
        health = Health(lambda: self._ask_docker(cycles, metrics), lambda: schedule.workers())  # noqa: PLW0108  it comes below
        metrics = Metrics(__version__, lambda: not health.faults, options.namespace)
        under_way = UnderWay()
        cycles = self._cycles(Observers(metrics, health, under_way))
        watch = Watch(cycles, self._history, metrics, options.concurrency)
        schedule = watch.schedule
        # Before anybody can ask for them; and none is tested before it is sure that no other monitor is on that port.
        watch.replace(options.targets)
        try:
            pages = Pages(schedule.targets, self._history, health, metrics, under_way)
            web = start_web((options.listen_host, options.listen_port), pages, options.web_config)
        except ListenError as error:
            self._close()
            raise MonitorError(str(error)) from None
        _log.info("listening", extra={"host": options.listen_host or "*", "port": web.port})
        health.start()
        schedule.start()
        service = Service(
            self._systemd,
            lambda: sentence(status_of(schedule.targets(), self._history.standing), health.faults),
            lambda: health.stuck,
        )
        service.ready()
        while self._next_signal() is signal.SIGHUP:
            service.reloading()
            try:
                reloaded = read_options()
            except OptionsError as error:
                metrics.set_reloaded(successful=False)
                service.reloaded(accepted=False)
                for fault in error.faults:
                    _log.error("the configuration was not reloaded, and nothing was changed", extra={"detail": fault})
            else:
                watch.replace(reloaded.targets)
                metrics.set_reloaded(successful=True)
                _log.info("the configuration was reloaded", extra={"targets": len(reloaded.targets)})
                for name in _changed_for_a_run(options, reloaded):
                    _log.warning("an option was changed that takes a restart", extra={"option": name})
                service.reloaded(accepted=True)
        _log.info("stopping")
        service.stopping()
        self._runner.stop()
        schedule.stop(STOP_SECONDS)
        health.stop()
        web.close()
        self._close()
        return 0

    def _teller(self) -> Teller:
        """Return who tells people of the cycles of `once`, as they asked for it."""
        if self._options.output is Output.JSON:
            return JsonWriter(sys.stdout)
        if not can_be_drawn_on(sys.stdout, self._term):
            return Narrator(sys.stdout, self._options.targets)
        from lib.once.terminal import Terminal, console_on  # noqa: PLC0415  with rich, which nobody else needs

        return Terminal(console_on(sys.stdout), self._options.targets)

    def _cycles(self, observer: Observer, *, is_only: bool = False) -> Cycles:
        return Cycles(
            program=self._options.docker,
            runner=self._runner,
            env=self._environment,
            instance=self._instance,
            memory=self._history,
            observer=observer,
            is_only=is_only,
            plugins=self._plugins,
        )

    def _next_signal(self) -> signal.Signals | tuple[Cycle, ...] | Exception:
        """Wait for what comes next in `signals`, and return it."""
        while True:
            try:
                return self.signals.get(timeout=_LOOK_UP_SECONDS)
            except Empty:
                continue

    def _close(self) -> None:
        if self._store is not None:
            self._store.close(_STORE_SECONDS)
        self._instance.close()
        self._systemd.close()

    def _ask_docker(self, cycles: Cycles, metrics: Metrics) -> str | None:
        """Return what keeps docker from working, None where it works."""
        try:
            metrics.set_build(*cycles.docker_versions())
            cycles.tell_engine({target.builder for target in self._options.targets})
        except DockerError as error:
            # It was asked for nothing that leaves the host: an answer that does not come is the daemon's.
            reason = Reason.DAEMON if error.deadline_passed else error.failure.reason
            return f"docker can't be used ({reason}): {error.failure.detail}"
        return None


def _changed_for_a_run(before: Options, after: Options) -> list[str]:
    """Given the options of this run, and those that were read since, return the names of what can't change in a run."""
    return [
        name
        for name, attributes in _FOR_A_RUN.items()
        if any(getattr(before, attribute) != getattr(after, attribute) for attribute in attributes)
    ]
