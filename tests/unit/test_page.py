"""The page: what it says of targets, cycles and the monitor itself, and that what it shows is never more than text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from examples import NOON, PLAIN_STEPS, HandClock, a_cycle, a_failed_cycle, a_target, an_up_cycle

from lib.failure import ADVICE, Reason, Scope, Verdict
from lib.history import History
from lib.page import Asked, Watched, headline, render
from lib.page import words as page_words
from lib.page.view import STRIP_CYCLES, State, in_order, view_of
from lib.result import Outcome, Step, StepName
from lib.status import status_of
from lib.under_way import UnderWay

NBSP = "\N{NO-BREAK SPACE}"
VOID = {"meta", "link", "input", "br"}


class Shown(HTMLParser):
    """A page, read: fails where a tag is closed that is not open.

    Attributes:
        text: all its text, its spaces made one.
        tags: its tags with their attributes.
        title: its title.
    """

    def __init__(self, html):
        super().__init__()
        self.tags, self._open, self._texts, self._titles = [], [], [], []
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join("".join(self._texts).split()).replace(NBSP, " ")
        self.title = "".join(self._titles)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        if self._open and self._open[-1] not in {"style", "script"}:
            (self._titles if self._open[-1] == "title" else self._texts).append(text)

    def all(self, tag):
        """The attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def opened(self):
        """The details that stand open."""
        return [attributes["id"] for attributes in self.all("details") if "open" in attributes]


class World:
    """Targets with a history, and pages of them."""

    def __init__(self):
        self.clock = HandClock()
        self.history = History("instance", self.clock.monotonic)
        self.targets = []
        self.under_way = UnderWay(self.clock.monotonic)
        self.faults = ()

    def watch(self, *names, **options):
        self.targets.extend(
            a_target(name, reference=f"quay.io/acme/t{place}", **options)
            for place, name in enumerate(names, len(self.targets))
        )
        self.history.replace(self.targets)

    def record(self, *cycles):
        for cycle in cycles:
            self.history.record(cycle)

    def statuses(self):
        return status_of(self.targets, self.history.standing)

    def page(self, now=NOON + timedelta(seconds=62), **asked):
        page = render(Watched(self.statuses(), self.history, self.under_way, self.faults), Asked(**asked), now)
        shown = Shown(page.html)
        return SimpleNamespace(found=page.found, html=page.html, shown=shown, text=shown.text, title=shown.title)

    def view(self, cycles=STRIP_CYCLES):
        return view_of(self.statuses()[0], self.history, NOON, cycles)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def four(world):
    """Of each kind one, the best first."""
    world.watch("good", "new", "odd", "bad")
    world.record(an_up_cycle("good"), a_failed_cycle(Reason.DAEMON, "odd"), a_failed_cycle(target="bad"))
    return world


# What it says first.


@pytest.mark.parametrize(
    ("down", "unknown", "waiting", "up", "sentence"),
    [
        (2, 1, 1, 56, "2 of 60 registries are down"),
        (1, 0, 0, 1, "1 of 2 registries is down"),
        (3, 0, 0, 0, "All 3 registries are down"),
        (0, 2, 1, 7, "2 of 10 registries can't be judged"),
        (0, 0, 1, 4, "1 of 5 registries is not known yet"),
        (0, 0, 5, 0, "All 5 registries are not known yet"),
        (0, 0, 0, 60, "All 60 registries are up"),
        (1, 0, 0, 0, "t0 is down"),
        (0, 0, 1, 0, "t0 is not known yet"),
        (0, 0, 0, 0, "No registry is watched"),
    ],
)
def test_the_worst_is_said_in_one_sentence(world, down, unknown, waiting, up, sentence):
    names = [f"t{number}" for number in range(down + unknown + waiting + up)]
    world.watch(*names)
    world.record(*(a_failed_cycle(target=name) for name in names[:down]))
    world.record(*(a_failed_cycle(Reason.WARM, name) for name in names[down : down + unknown]))
    world.record(*(an_up_cycle(name) for name in names[down + unknown + waiting :]))
    assert headline(world.statuses()) == sentence
    page = world.page()
    assert page.title.startswith(sentence)
    assert sentence in page.text


def test_the_monitors_own_faults_come_before_all_else(four):
    four.faults = ("the docker daemon has not answered for 100 s", "worker of quay: its thread has died")
    page = four.page()
    assert page.title.startswith("The monitor has a fault · 1 of 4 registries is down")
    assert all(fault in page.text for fault in four.faults)
    assert page.text.index(four.faults[0]) < page.text.index("Push failed")


def test_what_needs_somebody_comes_first(four):
    text = four.page().text
    places = [text.index(name) for name in ("bad down for", "odd unknown for", "good", "new")]
    assert places[0] < places[1] < min(places[2:])


def test_targets_are_in_the_order_in_which_to_look_at_them(four):
    views = [view_of(status, four.history, NOON, STRIP_CYCLES) for status in four.statuses()]
    assert [view.name for view in in_order(views)] == ["bad", "odd", "new", "good"]


# One target.


def test_a_failure_is_told_in_plain_words_with_dockers_own_and_what_to_do(world):
    world.watch("quay")
    world.record(an_up_cycle(started=NOON - timedelta(minutes=2)), a_failed_cycle())
    page = world.page()
    for words in (
        "quay is down",
        "Down for 62 s, since 12:00 UTC.",
        "Push failed after 50 s: the registry answered with a server error. server_error",
        "The fault is the registry's",
        "Retrying in 1 second received unexpected HTTP status: 503 Service Unavailable",
        ADVICE[Reason.SERVER_ERROR],
    ):
        assert words in page.text
    assert page.title == "quay is down: push server_error · registry-monitor"
    assert page.shown.opened() == ["output"]


def test_where_the_output_is_not_kept_the_detail_stands_for_it(world):
    world.watch("quay")
    step = Step(StepName.PULL, Outcome.FAILED, 1.0, Reason.DNS, Scope.NETWORK, "no such host")
    world.record(a_cycle(Verdict.DOWN, (step,), "quay", NOON, 1.0))
    assert "no such host" in world.page().text


def test_only_the_end_of_long_output_is_shown(world):
    world.watch("quay")
    lines = tuple(f"line {number}." for number in range(100))
    step = Step(StepName.PULL, Outcome.FAILED, 1.0, Reason.DNS, Scope.NETWORK, "detail", output=lines)
    world.record(a_cycle(Verdict.DOWN, (step,), "quay", NOON, 1.0))
    text = world.page().text
    assert "line 99." in text
    assert "line 88." in text
    assert "line 87." not in text


def test_each_step_is_shown_against_its_usual(world):
    world.watch("quay")
    for place, seconds in enumerate((1.0, 2.0, 3.0, 30.0)):
        steps = tuple(Step(name, Outcome.OK, seconds if name is StepName.PUSH else 0.1) for name in PLAIN_STEPS)
        world.record(a_cycle(Verdict.UP, steps, "quay", NOON + timedelta(minutes=2 * place), 5.0))
    steps = {step.name: step for step in world.view().steps}
    assert list(steps) == list(PLAIN_STEPS)
    assert steps[StepName.PUSH].usual_seconds == 2.5
    assert steps[StepName.PUSH].slow == 12.0
    assert steps[StepName.PULL].slow is None
    assert "Push 30 s 12 times as long 2.5 s" in world.page().text


def test_steps_that_were_not_reached_keep_their_usual(world):
    world.watch("quay")
    world.record(an_up_cycle(started=NOON - timedelta(minutes=2)), a_failed_cycle())
    text = world.page().text
    assert "Pull skipped 0.25 s" in text
    assert "Push failed after 50 s, 5 retries 0.25 s" in text
    assert "Pull back not reached 0.25 s" in text


def test_availability_says_what_was_not_measured(world):
    world.watch("quay")
    world.record(an_up_cycle(), an_up_cycle(), a_failed_cycle(), a_failed_cycle(Reason.WARM))
    text = world.page().text
    assert "24 h 66.66% 2 up, 1 down, 1 unknown; 99.99% not measured" in text


def test_every_kept_cycle_can_be_opened_and_one_be_asked_for(world):
    world.watch("quay")
    started = [NOON + timedelta(minutes=2 * number) for number in range(40)]
    world.record(a_failed_cycle(started=started[0]), *(an_up_cycle(started=moment) for moment in started[1:]))
    keys = [f"c{int(moment.timestamp() * 1000)}" for moment in reversed(started)]
    now = started[-1] + timedelta(minutes=1)
    page = world.page(now)
    assert [details["id"] for details in page.shown.all("details") if details["id"] != "earlier"] == keys
    assert page.shown.opened() == []
    links = [link["href"].partition("#")[2] for link in page.shown.all("a") if link.get("tabindex") == "-1"]
    assert links == keys[::-1]
    assert world.page(now, cycle=keys[3][1:]).shown.opened() == [keys[3]]
    assert world.page(now, cycle=keys[-1][1:]).shown.opened() == ["earlier", keys[-1]]
    assert "The last that was not up: push server_error, 79 min ago" in page.text


def test_a_pause_of_which_nothing_is_known_shows(world):
    world.watch("quay")
    world.record(*(an_up_cycle(started=NOON + timedelta(minutes=minutes)) for minutes in (-300, -2, 0)))
    assert [past.gap_seconds > 0 for past in world.view().cycles] == [False, True, False]
    assert "4 h 58 min of which nothing is kept" in world.page().text


def test_what_it_does_and_how_often(world):
    world.watch("quay", payload_bytes=256 * 1024, payload_layers=3)
    text = world.page().text
    assert (
        "Every 2 min, or 30 s after a cycle that was not up, it pushes 256 KiB of fresh random bytes in 3 layers"
        in text
    )
    assert "to quay.io/acme/t0:latest" in text


def test_before_the_first_verdict_it_says_how_long_that_takes(world):
    world.watch("quay")
    page = world.page()
    assert "quay is not known yet" in page.text
    assert "at most 5 min" in page.text


def test_what_is_out_of_date_is_no_longer_called_up(world):
    world.watch("quay", "hub")
    world.record(an_up_cycle("quay"), an_up_cycle("hub"))
    world.clock.advance(500)
    world.record(an_up_cycle("hub"))
    assert world.page().title.startswith("1 of 2 registries has no fresh verdict")
    assert "No cycle has come to an end for 8 min, though one is due every 2 min." in world.page().text
    assert world.page(verdict=State.STALE).text.count("has no fresh verdict") == 1


def test_what_strangers_can_pull_is_told_loudly_and_only_where_it_has_to_be_private(world):
    world.watch("open")
    world.watch("closed", expect_private=True)
    world.record(an_up_cycle("open"), an_up_cycle("closed"))
    world.history.set_exposed("open", True)
    assert "Strangers" not in world.page().text
    assert "that has not been tried yet" in world.page(target="closed").text
    world.history.set_exposed("closed", True)
    page = world.page()
    assert "Strangers can pull the test image." in page.text
    assert page.text.index("closed") < page.text.index("open up for")
    assert "must be refused: it was not." in world.page(target="closed").text
    world.history.set_exposed("closed", False)
    assert "must be refused: it was." in world.page(target="closed").text


# Many targets.


def test_only_a_few_failures_stand_open(world):
    names = [f"t{number}" for number in range(9)]
    world.watch(*names)
    world.record(*(a_failed_cycle(target=name) for name in names))
    assert world.page().shown.opened() == ["o-t0", "o-t1", "o-t2", "o-t3", "o-t4"]


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["bad", "odd", "new", "good"]),
        ({"name": "D"}, ["bad", "odd", "good"]),
        ({"name": "acme/T0"}, ["good"]),
        ({"name": "nobody"}, []),
        ({"verdict": State.DOWN}, ["bad"]),
        ({"verdict": State.WAITING}, ["new"]),
        ({"name": "o", "verdict": State.UP}, ["good"]),
    ],
)
def test_the_filter_shows_what_fits_and_how_many_that_are(four, asked, names):
    page = four.page(**asked)
    shown = [tag["id"][2:] for name, tag in page.shown.tags if name in {"article", "tr"} and "id" in tag]
    assert shown == names
    assert (f"{len(names)} of 4 shown." in page.text) == bool(asked)
    assert page.title.startswith("1 of 4 registries is down")


def test_what_is_asked_for_comes_from_the_url():
    parameters = {"target": ["a", "b"], "cycle": ["1"], "name": [" x "], "verdict": ["down"], "other": ["y"]}
    assert Asked.of(parameters) == Asked("b", "1", "x", State.DOWN)
    assert Asked.of({"verdict": ["nonsense"]}) == Asked()


def test_a_target_that_there_is_not_is_not_found(four):
    page = four.page(target="gone")
    assert not page.found
    assert "No registry has that name" in page.text
    assert four.page(target="good").found


def test_without_targets_it_says_so(world):
    assert "There is no target in the configuration." in world.page().text


# Whatever it shows.

HOSTILE = "</pre></script><script>alert('x')</script>\"'&<b>\x1b[31m\u202e"


@pytest.mark.parametrize("names", [(HOSTILE,), (HOSTILE, "other")])
def test_nothing_that_is_shown_is_more_than_text(world, names):
    world.watch(*names)
    step = Step(StepName.PUSH, Outcome.FAILED, 1.0, Reason.UNCLASSIFIED, Scope.REGISTRY, HOSTILE, output=(HOSTILE,) * 3)
    world.record(a_cycle(Verdict.DOWN, (step,), HOSTILE, NOON, 1.0))
    world.faults = (HOSTILE,)
    for asked in ({}, {"target": HOSTILE}, {"target": HOSTILE + "gone"}, {"name": HOSTILE}, {"cycle": HOSTILE}):
        page = world.page(**asked)
        assert len(page.shown.all("script")) == 1
        assert page.shown.all("b") == []
        assert all(not name.startswith("on") and name != "style" for _, tag in page.shown.tags for name in tag)


def test_no_two_elements_have_one_id_and_all_links_lead_here(four):
    for asked in ({}, {"target": "bad"}, {"target": "gone"}):
        page = four.page(**asked)
        ids = [tag["id"] for _, tag in page.shown.tags if "id" in tag]
        assert len(ids) == len(set(ids))
        links = [tag["href"] for tag in page.shown.all("a")]
        assert all(link.startswith("?") or link in {"status", "health", "metrics"} for link in links)


# Words.


def test_there_are_words_for_every_step_reason_and_scope():
    assert set(page_words.STEPS) == set(StepName)
    assert set(page_words.REASONS) == set(Reason)
    assert set(page_words.SCOPES) == set(Scope)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0.00 s"),
        (0.424, "0.42 s"),
        (0.999, "1.0 s"),
        (4.25, "4.2 s"),
        (9.96, "10 s"),
        (50.5, "50 s"),
        (89.6, "90 s"),
        (91, "2 min"),
        (360, "6 min"),
        (5399, "90 min"),
        (5400, "1 h 30 min"),
        (7200, "2 h"),
        (12_000, "3 h 20 min"),
        (35_999, "10 h"),
        (94_320, "26 h"),
        (172_799, "48 h"),
        (172_800, "2 days"),
        (5 * 86_400 + 9, "5 days"),
    ],
)
def test_spans_of_time(seconds, words):
    assert page_words.span(seconds).replace(NBSP, " ") == words


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (NOON, "12:00 UTC"),
        (NOON - timedelta(days=1), "23 Nov, 12:00 UTC"),
        (datetime(2025, 1, 2, 3, 4, tzinfo=UTC), "2 Jan 2025, 03:04 UTC"),
    ],
)
def test_moments(when, words):
    assert page_words.moment(when, NOON).replace(NBSP, " ") == words


@pytest.mark.parametrize(
    ("share", "words"), [(1, "100%"), (0.99999, "99.99%"), (0.9, "90%"), (0.985, "98.5%"), (0.29, "29%"), (0, "0%")]
)
def test_only_all_is_a_hundred_percent(share, words):
    assert page_words.percent(share) == words


def test_the_step_under_way_is_told_with_its_time_while_it_lasts(world):
    world.watch("quay")
    target = world.targets[0]
    world.under_way.step_started(target, StepName.PUSH)
    world.clock.advance(12)
    assert "A cycle is under way: push for 12 s." in world.page().text
    world.under_way.step_finished(target, Step(StepName.PUSH, Outcome.OK, 12.0))
    assert "under way" not in world.page().text
