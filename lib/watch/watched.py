"""Watched: one target, and all that belongs to it.

Its cycle runner, its record, its metric series, its progress, and its other listeners. None of it is looked up by name:
a cycle of a target that a reload replaced ends in objects that nobody reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from lib.cycle import CycleRunner
from lib.cycle.strangers import Strangers
from lib.failure import Verdict
from lib.history import History
from lib.history.pushes import Pushes
from lib.metrics.target import Series
from lib.progress import Listener, Observer, Progress
from lib.result import Cycle, Step, StepName
from lib.secret import PasswordFile
from lib.stamp import Stamp, stamp_of
from lib.target import StrangersMay, Target
from lib.watch.heartbeat import Heartbeat
from lib.watch.record import Record, Standing
from lib.watch.rested import Rested
from lib.watch.visits import Visits

#: Given a target, its pushes, and who follows its cycles, returns what runs them.
RunnerFor = Callable[[Target, Pushes, Observer], CycleRunner]


class Watched:
    """A target that is watched. One thread at a time runs its turns; any may read.

    Attributes:
        target: the target.
        record: the results of its cycles. pushes: what was pushed to its repository and tag.
        rested: its rested images.
        visits: the requests to its registry beside its cycles.
        series: its metrics.
        progress: how far its cycle has got.
        heartbeat: reports its verdicts to a service, None if none does.
    """

    def __init__(
        self,
        target: Target,
        record: Record,
        pushes: Pushes,
        rested: Rested,
        visits: Visits,
        progress: Progress,
        runner_for: RunnerFor,
        history: History,
        listeners: Iterable[Listener] = (),
    ) -> None:
        """Given the target, what is known of its past, its visits, its progress, what makes its cycle runner, the
        history, and who listens.
        """
        self.target = target
        self.record = record
        self.pushes = pushes
        self.rested = rested
        self.visits = visits
        self.progress = progress
        self.series = Series(target, progress, lambda: record.strangers, lambda: rested.cold, lambda: visits.found)
        self._runner_for = runner_for
        self._history = history
        url = target.heartbeat_url
        self.heartbeat = Heartbeat(target.name, url, self.series.count_heartbeat) if url else None
        self._listeners = tuple(filter(None, (*listeners, self.heartbeat)))
        self._runner: CycleRunner | None = None
        self._strangers: Strangers | None = None
        self._fault: Exception | None = None
        self._login_used = self._login_seen = _login_of(target)
        # What it showed last, if that is known.
        self._shown = next((cycle.pulled_digest for cycle in record.recent(1)), None)
        if (standing := record.standing()) is not None:
            last = standing.cycle if standing.age_seconds is not None else None
            stands = not is_stale(target, standing)
            self.series.remember(last, record.last_success(), downs=standing.downs, stands=stands)

    def listen(self, listener: Listener) -> None:
        """Given one more listener, report to it, too. Only before its first turn."""
        self._listeners = (*self._listeners, listener)

    # Its turn.

    def take_turn(self, lag: float) -> Cycle:
        """Run a cycle, and what belongs to it. Given how many seconds after it was due the turn begins, return the
        cycle.

        Raise Stopped if the monitor is being stopped meanwhile.
        """
        self._fault = None
        self._login_used = _login_of(self.target)
        self._tell_lag(lag)
        runner = self._runner = self._runner or self._runner_for(self.target, self.pushes, self)
        self.progress.cycle_started()
        before = self.pushes.last
        try:
            cycle = runner()
        finally:
            self.progress.cycle_finished()
        if self.target.delete_superseded:
            self.visits.superseded.replaced(before, self.pushes.last)
        if self.finished(cycle, lag):
            self._do_the_rest(runner, cycle)
        self.progress.live()
        return cycle

    def _tell_lag(self, lag: float) -> None:
        """Given how many seconds late a turn begins, report that, unless it is there to see a fault's end."""
        standing, progress = self.record.standing(), self.progress
        if standing is None or standing.cycle.verdict is not Verdict.UP:
            return
        overran = progress.due is not None and progress.seen > progress.due
        for listener in self._listeners:
            with self._putting_off_faults():
                listener.cycle_begins(self.target, lag, overran=overran)

    def _do_the_rest(self, runner: CycleRunner, cycle: Cycle) -> None:
        """Given a reported cycle, try what else is due: that takes time, and says nothing about the cycle."""
        if self.target.strangers_may != StrangersMay():
            strangers = self._strangers = self._strangers or Strangers(runner)
            self.record.strangers = strangers.check(cycle, self.record.strangers)
        self.progress.live()  # the rest of the turn has as much time as a cycle
        for image in self.rested.take_turn(runner, cycle):
            self.series.count_rested(image)
            for listener in self._listeners:
                listener.rested_finished(self.target, image)
        self.visits.after(cycle)

    # When its turns come.

    def interval_after(self, cycle: Cycle | None) -> float:
        """Given the cycle of its last turn (None: it broke off), return the seconds from its start to the next."""
        pace = self.record.pace
        if cycle is None and not pace.is_held_back:
            return min(self.target.run_every, self.target.retry_every)
        return pace.seconds

    @property
    def is_held_back(self) -> bool:
        """Whether it has to wait longer than others that are not up, since its registry refused it."""
        return self.record.pace.is_held_back

    @property
    def first_pause(self) -> float:
        """How many seconds its first turn has to wait.

        A restart is not a reason to ask a registry again that refuses. But somebody who restarts the monitor has often
        fixed something, so it waits for the usual interval at most.
        """
        standing = self.record.standing()
        if standing is None or not standing.pace.is_held_back:
            return 0.0
        return min(self.target.run_every, standing.pause_seconds)

    def has_new_login(self) -> bool:
        """Return whether its login has changed since its last turn. Only once it is the same as at the last such
        question: a file that is just being written is not a password yet.
        """
        seen, self._login_seen = self._login_seen, _login_of(self.target)
        return self._login_used != self._login_seen == seen

    @property
    def shares(self) -> frozenset[str]:
        """The images that its cycles have on the host, by repository and tag: its own, and those that show the same.

        A read-only target's is also known by its digest: two targets can be names, or mirrors, of one image.
        """
        source = self.pushes.of_target(self.target.replica_of) if self.target.replica_of else None
        digests = filter(None, (self.target.expect_digest, self._shown)) if self.target.read_only else ()
        return frozenset((*self.pushes.doors, *(source.doors if source else ()), *digests))

    @property
    def staying(self) -> tuple[str, ...]:
        """Why images of its cycles stay on this host, in docker's words; empty if none does."""
        return self._runner.staying if self._runner else ()

    def takes_turns_with(self, other: Watched) -> bool:
        """Given another, return whether the two must never have a cycle at the same time.

        Each would remove the other's images, or find the other's layers on the host when it pulls.
        """
        return self.target.name == other.target.name or not self.shares.isdisjoint(other.shares)

    def close(self) -> None:
        """Remove what its cycles shared; there will be no more."""
        self.record.retire()
        if self._runner is not None:
            self._runner.close()

    # The one way in: its cycle's reports. Whatever fails here, all listeners get them, and the cycle continues: the
    # first fault is raised when the cycle is recorded.

    def step_started(self, step: StepName) -> None:
        """Note a step that begins."""
        with self._putting_off_faults():
            self.progress.step_started(step)
        for listener in self._listeners:
            with self._putting_off_faults():
                listener.step_started(self.target, step)

    def step_finished(self, step: Step) -> None:
        """Note a step that has ended."""
        with self._putting_off_faults():
            self.progress.step_finished(step)
        for listener in self._listeners:
            with self._putting_off_faults():
                listener.step_finished(self.target, step)

    def finished(self, cycle: Cycle, lag: float) -> bool:
        """Given a finished cycle, and how many seconds after it was due it began, record, count and report it.

        Return whether that was done: a cycle that ends after its target was replaced no longer says anything. Raise the
        first fault that occurred in reporting this cycle.
        """
        with self._putting_off_faults():
            finished = self.record.add(cycle)
            if finished is None:
                return False
            self._history.keep_finished(finished)
        self._shown = cycle.pulled_digest or self._shown
        with self._putting_off_faults():
            standing = self.record.standing()
            self.series.finish(cycle, lag, standing.downs if standing else 0)
        for listener in self._listeners:
            with self._putting_off_faults():
                listener.cycle_finished(cycle)
        if self._fault is not None:
            raise self._fault
        return True

    @contextmanager
    def _putting_off_faults(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  it is raised later
            self._fault = self._fault or error


def is_stale(target: Target, standing: Standing) -> bool:
    """Given a target, and its state, return whether its last cycle ended too long ago, or nobody knows when.

    Counted from the cycle's end, a working monitor is never stale: the next cycle begins within the interval in force,
    and ends within cycle-timeout.
    """
    age = standing.age_seconds
    return age is None or age > standing.pace.fresh_seconds(target)


def _login_of(target: Target) -> tuple[Stamp, ...]:
    """Given a target, return what shows that its login has changed: stamps of files, since nothing else can change."""
    files = []
    if target.credentials and isinstance(target.credentials.password, PasswordFile):
        files.append(target.credentials.password.path)
    if target.docker_config:
        files.append(target.docker_config / "config.json")
    return tuple(map(stamp_of, files))
