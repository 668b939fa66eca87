"""Monitor: everything wired together, for one run of the program."""

from __future__ import annotations

import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread

from lib import __version__
from lib.command import ShRunner, Stopped
from lib.cycle.host import Host
from lib.docker.environment import docker_environment, engine_of, user_plugins
from lib.ending import BY_SIGNAL, NotNow, ended_by
from lib.health import Health
from lib.history import History
from lib.history.store import Store
from lib.instance import Instance
from lib.log import setup_logging
from lib.malloc import give_back_what_is_free
from lib.metrics import Metrics, Totals
from lib.metrics.file import MetricsFile
from lib.once import JsonReporter, LineReporter, Reporter, can_be_drawn_on, exit_code, run_cycles
from lib.options import Options, changed
from lib.options.values import Output
from lib.registry_api import RegistryApi
from lib.result import Cycle
from lib.service import Service, Systemd, sentence
from lib.watch import Watch
from lib.watch.heartbeat import wait_for_heartbeats
from lib.watch.keeping_up import KeepingUp
from lib.watch.log import CycleLog, watching
from lib.watch.logins import Logins
from lib.watch.schedule import Schedule
from lib.watch.status import status_of
from lib.watch.summary import Summary
from lib.watch.visits import Visits
from lib.watch.watched import Watched
from lib.web.app import start_web
from lib.web.pages import Pages

_log = logging.getLogger(__name__)

#: How long running cycles have to clean up once the monitor is to stop; it is gone within 10 s of the signal.
STOP_SECONDS = 8.0

#: How long their docker commands have to end before that. If all is well, they need less.
_PATIENCE_SECONDS = 1.5

#: If they took longer, there is no time for docker after them.
_LATE_SECONDS = 5.0

#: How often the main thread wakes: a signal that the kernel hands to another thread does not wake it.
_LOOK_UP_SECONDS = 0.5

#: How long the history has after that to finish writing.
_STORE_SECONDS = 0.8

#: How long `once` waits for requests to a registry beside the cycle: nobody makes them again.
_VISIT_SECONDS = 5.0


class Monitor:
    """One run of the program."""

    def __init__(self, options: Options, env: Mapping[str, str]) -> None:
        """Given the options and the program's environment, get ready. Raise whatever prevents that."""
        setup_logging(options.loglevel, options.log_format, journal=env.get("JOURNAL_STREAM"))
        self._signals: SimpleQueue[signal.Signals | tuple[Cycle, ...] | Exception] = SimpleQueue()
        self._options = options
        self._runner = ShRunner()
        self._environment = docker_environment(env, options.docker, self._runner)
        try:
            self._instance = Instance(engine=engine_of(self._environment, options.docker))
        except OSError as error:
            raise NotNow(f"no private folder can be made: {error}; set TMPDIR to one that can be written") from None
        try:
            self._store = Store(options.state_dir, self._instance.name) if options.state_dir else None
        except BaseException:
            self._instance.close()
            raise
        self._history = History(self._instance.name, self._store)
        self._systemd = Systemd(env)
        self._plugins = user_plugins(env)
        self._term = env.get("TERM", "")
        self._host: Host | None = None
        self._targets: tuple[Watched, ...] = ()
        self._stopping_since = math.inf
        self._is_to_end = self._is_to_reload = False

    def receive(self, number: signal.Signals) -> None:
        """Given a signal that was caught, act on it soon. Reloads that wait are one."""
        if number is not signal.SIGHUP:
            self._is_to_end = True
        elif self._is_to_reload:
            return
        else:
            self._is_to_reload = True
        self._signals.put(number)

    def run_once(self) -> int:
        """Run one cycle of every target, print the results, and return the exit code."""
        options = self._options
        worker = Thread(target=self._run_cycles, name="once", daemon=True)
        try:
            host = self._make_host(is_only=True)
            visits_for = partial(Visits, api_for=RegistryApi, patience=_VISIT_SECONDS)
            watch = Watch(host.runner_for, self._history, visits_for=visits_for)
            self._targets = watch.replace(options.targets)
            write_metrics = self._counted(watch, host)
            reporter = self._reporter(self._targets)
            for watched in self._targets:
                watched.listen(reporter)
                if options.renew_cold:
                    watched.rested.renew()
            with reporter:
                worker.start()
                finished = self._next_signal()
                while finished is signal.SIGHUP:
                    finished = self._next_signal()
                if isinstance(finished, signal.Signals):
                    worker.join(self._end_commands())
                    return BY_SIGNAL + finished
                if isinstance(finished, Exception):
                    raise finished
                reporter.all_finished(finished, status_of(self._targets))
                wait_for_heartbeats(watched.heartbeat for watched in self._targets)
                write_metrics()
        finally:
            self._close(is_late=worker.is_alive())
        return exit_code(finished)

    def serve(self, read_options: Callable[[], Options]) -> int:
        """Monitor until SIGTERM or SIGINT; at SIGHUP, read the options again. Return the exit code.

        Given what reads the options. Raise whatever keeps it from beginning, such as ListenError.
        """
        give_back_what_is_free()
        with ExitStack() as end:
            end.callback(self._close_in_time)
            host = self._make_host()
            schedule = Schedule(self._options.concurrency)
            health = Health(host.ask, schedule.workers)
            totals = Totals()
            keeping_up = KeepingUp(lambda: {watched.target.name for watched in watch.targets})
            file = MetricsFile(self._options.metrics_file, lambda: metrics.own.text())  # noqa: PLW0108  there are none yet
            watch = Watch(
                host.runner_for,
                self._history,
                lambda record: (totals, health, file, CycleLog(record), Summary(record), keeping_up),
                visits_for=partial(Visits, api_for=RegistryApi),
            )
            metrics = self._metrics(watch, host, health, totals)
            # Before anybody can ask about them; and none is tested before it is certain that no other monitor is on
            # that port.
            schedule.replace(watch.replace(self._options.targets))
            logins = Logins(lambda: watch.targets, schedule.hurry)
            service = Service(
                self._systemd,
                lambda: sentence(status_of(watch.targets), health.faults),
                lambda: health.stuck,
            )
            web = start_web(self._options.listen, Pages(watch, health, metrics), self._options.web_config)
            end.callback(web.close)
            listening = {"host": self._options.listen.host or "*", "port": web.port}
            _log.info(watching(self._options.targets, web.url), extra=listening)
            end.callback(file.stop)
            end.callback(logins.stop)
            end.callback(health.stop)
            health.start()
            end.callback(lambda: schedule.stop(self._end_commands()))
            schedule.start()
            logins.start()
            file.start()
            end.callback(self._begin_to_stop, service)
            service.ready()
            while self._next_signal() is signal.SIGHUP and not self._is_to_end:
                self._is_to_reload = False
                service.reloading()
                faults = self._reload(read_options, watch, schedule)
                metrics.set_reloaded(successful=not faults)
                service.reloaded(faults)
        return 0

    def _reload(self, read_options: Callable[[], Options], watch: Watch, schedule: Schedule) -> Sequence[str]:
        """Given what reads the options again, and the watch, give it the new targets. Return why they can't be used,
        one fault a line: then nothing is changed.
        """
        try:
            reloaded = self._as_long_as_it_runs(read_options)
        except Exception as error:  # noqa: BLE001  whatever it is, the monitor continues as before
            faults = ended_by(error)[1].splitlines()
            for fault in faults:
                _log.error("the configuration was not reloaded, and nothing was changed", extra={"detail": fault})
            return faults
        if reloaded is None:
            return ["the monitor stops"]
        schedule.replace(watch.replace(reloaded.targets))
        schedule.hurry(watch.targets)
        _log.info("the configuration was reloaded", extra={"targets": len(reloaded.targets)})
        for name in changed(self._options, reloaded):
            _log.warning("a changed option takes effect only after a restart", extra={"option": name})
        return ()

    def _as_long_as_it_runs(self, read_options: Callable[[], Options]) -> Options | None:
        """Given what reads the options, return them; None if the monitor is to end before. Raise what reading raises.

        A file may never end, and a signal does not interrupt whoever is about to read it, or another thread's reading:
        so it is not this thread that reads.
        """
        read: Future[Options] = Future()

        def run() -> None:
            try:
                read.set_result(read_options())
            except BaseException as error:  # noqa: BLE001  it is raised by the thread that waits for it
                read.set_exception(error)

        Thread(target=run, name="reload", daemon=True).start()
        while not self._is_to_end:
            if wait((read,), _LOOK_UP_SECONDS).done:
                return read.result()
        return None

    def _begin_to_stop(self, service: Service) -> None:
        _log.info("stopping")
        self._stopping_since = time.monotonic()
        service.stopping()

    def _counted(self, watch: Watch, host: Host) -> Callable[[], object]:
        """Given targets that have one cycle, and the host, have that counted if metrics are wanted; return what writes
        the metrics after it.
        """
        path = self._options.metrics_file
        if path is None:
            return lambda: None
        health, totals = Health(host.ask, tuple), Totals()
        for watched in watch.targets:
            watched.listen(health)
            watched.listen(totals)
        metrics = self._metrics(watch, host, health, totals)

        def write() -> None:
            health.ask()
            MetricsFile(path, metrics.own.text).write()

        return write

    def _metrics(self, watch: Watch, host: Host, health: Health, totals: Totals) -> Metrics:
        namespace = self._options.namespace
        return Metrics(__version__, watch.series, totals, health.can_judge, host.docker_versions, namespace)

    def _end_commands(self) -> float:
        """End the running docker commands. Return how many seconds their cycles have to clean up after them."""
        begun = time.monotonic()
        self._runner.stop(_PATIENCE_SECONDS)
        return begun + STOP_SECONDS - time.monotonic()

    def _close_in_time(self) -> None:
        self._close(is_late=time.monotonic() - self._stopping_since > _LATE_SECONDS)

    def _run_cycles(self) -> None:
        with suppress(Stopped):
            try:
                self._signals.put(run_cycles(self._targets, self._options.concurrency))
            except Exception as error:  # noqa: BLE001  it is raised by the thread that waits for it
                self._signals.put(error)

    def _make_host(self, *, is_only: bool = False) -> Host:
        self._host = Host(
            program=self._options.docker,
            runner=self._runner,
            env=self._environment,
            instance=self._instance,
            history=self._history,
            builders={target.builder for target in self._options.targets},
            is_only=is_only,
            plugins=self._plugins,
        )
        return self._host

    def _reporter(self, targets: Sequence[Watched]) -> Reporter:
        if self._options.output is Output.JSON:
            return JsonReporter(sys.stdout)
        if not can_be_drawn_on(sys.stdout, self._term):
            return LineReporter(sys.stdout, self._options.targets)
        from lib.once.terminal import Terminal, console_on  # noqa: PLC0415  with rich, which nobody else needs

        return Terminal(console_on(sys.stdout), targets)

    def _next_signal(self) -> signal.Signals | tuple[Cycle, ...] | Exception:
        while True:
            try:
                return self._signals.get(timeout=_LOOK_UP_SECONDS)
            except Empty:
                continue

    def _close(self, *, is_late: bool) -> None:
        if self._store is not None:
            self._store.close(_STORE_SECONDS)
        if self._host is None:
            self._instance.close()
        else:
            self._host.close(is_late=is_late)
        self._systemd.close()
