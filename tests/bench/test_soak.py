"""The soak in short: a gross leak shows in a minute."""

from __future__ import annotations

import pytest

from bench.counts import Watch
from bench.footprint import FIGURES, Figure, Footprint, Sample
from bench.soak import soak
from lib.failure.reason import Reason

CYCLES = 100
RESTS = 2
#: In the second half of a short soak some failures occur for the first time.
MOST_GROWTH_KIB = 8 * 1024

# The soak itself takes about two minutes, on a machine that does nothing else.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def short(ground):
    """The result of a short soak."""
    return soak(ground, CYCLES, each=1, outages=3, rests=RESTS, retrying=False)


def at_rest(short, name):
    """Return a number of the footprint at each rest."""
    return [getattr(rest.footprint, name) for rest in short.rests]


def test_every_reason_is_met(short):
    """A soak ends when each failure has been counted, and every target is up without: there is one for each reason."""
    assert set(Reason) - set(short.reasons) == {Reason.REFERENCE}, "it is refused before anything runs"
    assert short.counts.cycles["healthy", "up"] > 10


def test_nothing_is_left_when_it_has_ended(short):
    """No process, no temporary file; and the engine holds just what it held before."""
    assert short.left == ()
    assert (short.exit_code, "Traceback" in short.log) == (0, False)
    assert short.stop_seconds < 10


@pytest.mark.parametrize(
    "name",
    ["threads", "open_files", "children", "temporary_files", "images", "containers", "volumes", "build_records"],
)
def test_what_is_counted_does_not_grow(short, name):
    """At rest there is as much of it as ever."""
    assert len(short.rests) >= RESTS
    assert len(set(at_rest(short, name))) == 1


def test_memory_does_not_grow_much(short):
    """Far below a leak of a whole output or image a cycle."""
    memory = [rest.footprint.memory_kib for rest in short.settled]
    assert max(memory) - min(memory) < MOST_GROWTH_KIB


# How it is counted, and how growth is judged.


class Telling:
    """A stand-in for a monitor: /metrics with so many cycles, one number after the other."""

    def __init__(self, *cycles):
        self._cycles = iter(cycles)

    def get(self, path):
        number = next(self._cycles)
        return 200, f'registry_monitor_cycles_total{{target="a",verdict="up"}} {number}\n' if number else ""


def test_counts_go_on_over_a_reload(monkeypatch):
    """A reload that changes a target resets its counters."""
    monkeypatch.setattr("bench.counts._FRESH_SECONDS", -1.0)
    watch = Watch(Telling(3, 5, 0, 2, 2, 9))

    assert [watch.counts().finished for _ in range(6)] == [3, 5, 5, 7, 7, 14]


def series(*numbers):
    """Return samples, ten cycles apart, with so many threads each."""
    others = dict.fromkeys(Footprint.__dataclass_fields__, 0.0)
    footprints = [Footprint(**others | {"threads": number}) for number in numbers]
    return [Sample(at * 10, at, footprint) for at, footprint in enumerate(footprints)]


@pytest.mark.parametrize(
    ("numbers", "flat"),
    [
        ([4, 4, 4, 4, 4, 4, 4, 4], True),
        ([4, 5, 4, 90, 4, 5, 4, 5], True),
        ([4, 4, 4, 4, 5, 5, 5, 5], False),
        ([9, 8, 7, 6, 5, 4, 3, 2], True),
    ],
    ids=["still", "a peak", "one more", "less and less"],
)
def test_a_peak_is_no_growth_and_a_step_is(numbers, flat):
    """What grows is distinguished from what wavers."""
    (threads,) = (figure for figure in FIGURES if figure.name == "threads")
    assert threads.is_flat(series(*numbers)) is flat


def test_growth_is_told_by_a_thousand_cycles():
    """One more in ten cycles is a hundred more in a thousand."""
    assert Figure("threads", "threads", 0.5, "").growth(series(1, 2, 3, 4)) == 100
