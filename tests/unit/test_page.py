"""The page: what it says of targets, cycles and the monitor itself, and that what it shows is never more than text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from lib.failure import Failure, Reason, Verdict
from lib.page import PageData, PageQuery, headline, render
from lib.page import words as page_words
from lib.page.view import STRIP_CYCLES, State, in_order, view_of
from lib.rested import Kind, RestedImage
from lib.result import Outcome, Step, StepName
from lib.target import Anonymous, StrangersMay
from lib.watch.status import status_of
from lib.watch.watched import Watched
from tests.unit.examples import NOON, PLAIN_STEPS, a_cycle, a_failed_cycle, a_lost_image, a_target, an_up_cycle
from tests.unit.watching import MadeUp

NBSP = "\N{NO-BREAK SPACE}"
VOID = {"meta", "link", "input", "br"}


class Shown(HTMLParser):
    """A page, parsed: fails if a tag is closed that is not open.

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
        """The details that are open."""
        return [attributes["id"] for attributes in self.all("details") if "open" in attributes]


class World(MadeUp):
    """Targets with a history, and pages of them."""

    def __init__(self):
        super().__init__()
        self.targets = []
        self.faults = ()

    def begin(self, *names, **options):
        self.targets.extend(
            a_target(name, reference=f"quay.io/acme/t{place}", **options)
            for place, name in enumerate(names, len(self.targets))
        )
        self.watch.replace(self.targets)

    def page(self, now=NOON + timedelta(seconds=62), **query):
        page = render(PageData(self.watch.targets, self.faults), PageQuery(**query), now)
        shown = Shown(page.html)
        return SimpleNamespace(found=page.found, html=page.html, shown=shown, text=shown.text, title=shown.title)

    def views(self, cycles=STRIP_CYCLES):
        both = zip(self.watch.targets, self.statuses(), strict=True)
        return [view_of(watched.record, status, NOON, cycles) for watched, status in both]

    def view(self, cycles=STRIP_CYCLES):
        return self.views(cycles)[0]

    def statuses(self):
        return status_of(self.watch.targets)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def four(world):
    """Of each kind one, the best first."""
    world.begin("good", "new", "odd", "bad")
    world.finish(an_up_cycle("good"), a_failed_cycle(Reason.DAEMON, "odd"), a_failed_cycle(target="bad"))
    return world


# What it says first.


@pytest.mark.parametrize(
    ("down", "unknown", "waiting", "up", "sentence"),
    [
        (2, 1, 1, 56, "2 of 60 registries are down"),
        (1, 0, 0, 1, "1 of 2 registries is down"),
        (3, 0, 0, 0, "All 3 registries are down"),
        (0, 2, 1, 7, "2 of 10 registries can't be judged"),
        (0, 0, 1, 4, "1 of 5 registries is waiting for a first verdict"),
        (0, 0, 5, 0, "All 5 registries are waiting for a first verdict"),
        (0, 0, 0, 60, "All 60 registries are up"),
        (1, 0, 0, 0, "t0 is down"),
        (0, 0, 1, 0, "t0 is waiting for a first verdict"),
        (0, 0, 0, 0, "No registry is watched"),
    ],
)
def test_the_worst_is_said_in_one_sentence(world, down, unknown, waiting, up, sentence):
    names = [f"t{number}" for number in range(down + unknown + waiting + up)]
    world.begin(*names)
    world.finish(*(a_failed_cycle(target=name) for name in names[:down]))
    world.finish(*(a_failed_cycle(Reason.WARM, name) for name in names[down : down + unknown]))
    world.finish(*(an_up_cycle(name) for name in names[down + unknown + waiting :]))
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
    views = four.views()
    assert [view.name for view in in_order(views)] == ["bad", "odd", "new", "good"]


# One target.


def test_a_failure_is_told_in_plain_words_with_dockers_own_and_what_to_do(world):
    world.begin("quay")
    world.finish(an_up_cycle(started=NOON - timedelta(minutes=2)), a_failed_cycle())
    page = world.page()
    for words in (
        "quay is down",
        "Down for 62 s, since 12:00 UTC.",
        "Push failed after 50 s: the registry answered with a server error. server_error",
        "The registry is at fault; its users are affected.",
        "Retrying in 1 second received unexpected HTTP status: 503 Service Unavailable",
        Reason.SERVER_ERROR.advice,
    ):
        assert words in page.text
    assert page.title == "quay is down: push server_error · registry-monitor"
    assert page.shown.opened() == ["output"]


def test_where_the_output_is_not_kept_the_detail_stands_for_it(world):
    world.begin("quay")
    step = Step(StepName.PULL, Outcome.FAILED, 1.0, Failure(Reason.DNS, "no such host"))
    world.finish(a_cycle((step,), "quay", NOON, 1.0))
    assert "no such host" in world.page().text


def test_what_we_say_of_an_answer_that_went_well_for_docker_is_shown_and_dockers_words_are_to_be_opened(world):
    world.begin("quay")
    step = Step(StepName.PULL, Outcome.FAILED, 1.0, Failure(Reason.STALE, "it went back"), output=("Status: new",))
    world.finish(a_cycle((step,), "quay", NOON, 1.0))
    page = world.page()
    assert "its users are affected. it went back What to do:" in page.text
    assert "What docker said last Status: new" in page.text
    assert page.shown.opened() == []


def test_each_step_is_shown_against_its_usual(world):
    world.begin("quay")
    for place, seconds in enumerate((1.0, 2.0, 3.0, 30.0)):
        steps = tuple(Step(name, Outcome.OK, seconds if name is StepName.PUSH else 0.1) for name in PLAIN_STEPS)
        world.finish(a_cycle(steps, "quay", NOON + timedelta(minutes=2 * place), 5.0))
    steps = {step.name: step for step in world.view().steps}
    assert list(steps) == list(PLAIN_STEPS)
    assert steps[StepName.PUSH].usual_seconds == 2.5
    assert steps[StepName.PUSH].slow == 12.0
    assert steps[StepName.PULL].slow is None
    assert "Push 30 s 12 times as long 2.5 s" in world.page().text


def test_a_step_is_shown_in_its_phases(world):
    """In words, and in the bar by their shapes: no colour is needed to tell them apart, and no bar on a phone."""
    world.begin("quay")
    pull = Step(StepName.PULL, Outcome.OK, 2.0, spent=(0.5, 1.0, 0.5))
    world.finish(a_cycle((pull, Step(StepName.PUSH, Outcome.OK, 4.0)), "quay", NOON, 6.0))
    page = world.page()
    assert "Pull 2.0 s 2.0 s resolve 0.50 s transfer 1.0 s unpack 0.50 s Push 4.0 s" in page.text
    assert "Unpack is this host's own disk" in page.text
    for part in (
        '<rect class="resolve" x="0.0" width="12.5" y="2" height="2"/>',
        '<rect class="transfer" x="12.5" width="25.0" height="6"/>',
        '<rect class="unpack" x="37.5" width="12.5" y="0.5" height="5"/>',
        '<rect class="ok" width="100.0" height="6"/>',
    ):
        assert part in page.html


def test_where_nobody_knows_the_phases_none_are_shown(world):
    world.begin("quay")
    world.finish(an_up_cycle())
    assert "resolve" not in world.page().text
    assert "Unpack" not in world.page().text


def test_steps_that_were_not_reached_keep_their_usual(world):
    world.begin("quay")
    world.finish(an_up_cycle(started=NOON - timedelta(minutes=2)), a_failed_cycle())
    text = world.page().text
    assert "Pull skipped 0.25 s" in text
    assert "Push failed after 50 s, 5 retries 0.25 s" in text
    assert "Pull back not reached 0.25 s" in text


def test_availability_says_what_was_not_measured(world):
    world.begin("quay")
    now = NOON
    for cycle, seconds in ((an_up_cycle(), 60), (a_failed_cycle(), 30), (a_failed_cycle(Reason.WARM), 10)):
        world.finish(cycle)
        world.clock.advance(seconds)
        now += timedelta(seconds=seconds)
    text = world.page(now).text
    assert "24 h 66.66% down for 30 s, unknown for 10 s; 99.88% not measured" in text


@pytest.mark.parametrize(
    ("cycle", "said"),
    [(an_up_cycle(), "100% never down;"), (a_failed_cycle(Reason.WARM), "no data not judged, unknown")],
)
def test_availability_without_an_outage_says_so(world, cycle, said):
    world.begin("quay")
    world.finish(cycle)
    world.clock.advance(60)
    assert f"24 h {said}" in world.page(NOON + timedelta(seconds=60)).text


def test_every_kept_cycle_can_be_opened_and_one_be_asked_for(world):
    world.begin("quay")
    started = [NOON + timedelta(minutes=2 * number) for number in range(40)]
    world.finish(a_failed_cycle(started=started[0]), *(an_up_cycle(started=moment) for moment in started[1:]))
    keys = [f"c{int(moment.timestamp() * 1000)}" for moment in reversed(started)]
    now = started[-1] + timedelta(minutes=1)
    page = world.page(now)
    assert [details["id"] for details in page.shown.all("details") if details["id"] != "earlier"] == keys
    assert page.shown.opened() == []
    links = [link["href"].partition("#")[2] for link in page.shown.all("a") if link.get("tabindex") == "-1"]
    assert links == keys[::-1]
    assert world.page(now, cycle=keys[3][1:]).shown.opened() == [keys[3]]
    assert world.page(now, cycle=keys[-1][1:]).shown.opened() == ["earlier", keys[-1]]
    assert "The last one that was not up: push server_error, 79 min ago" in page.text


def test_a_pause_of_which_nothing_is_known_shows(world):
    world.begin("quay")
    world.finish(*(an_up_cycle(started=NOON + timedelta(minutes=minutes)) for minutes in (-300, -2, 0)))
    assert [past.gap_seconds > 0 for past in world.view().cycles] == [False, True, False]
    assert "4 h 58 min without a record" in world.page().text


def test_what_it_does_and_how_often(world):
    world.begin("quay", payload_bytes=256 * 1024, payload_layers=3)
    text = world.page().text
    assert (
        "Every 2 min, or 30 s after a cycle that was not up, unless the registry refused it, it pushes 256"
        " KiB of fresh random bytes in 3 layers" in text
    )
    assert "to quay.io/acme/t0:latest" in text


def test_before_the_first_verdict_it_says_how_long_that_takes(world):
    world.begin("quay")
    page = world.page()
    assert "quay is waiting for a first verdict" in page.text
    assert "at most 5 min" in page.text


def test_what_is_out_of_date_is_no_longer_called_up(world):
    world.begin("quay", "hub")
    world.finish(an_up_cycle("quay"), an_up_cycle("hub"))
    world.clock.advance(500)
    world.finish(an_up_cycle("hub"))
    assert world.page().title.startswith("1 of 2 registries has no fresh verdict")
    assert "No cycle has finished for 8 min, though one is due every 2 min." in world.page().text
    assert world.page(verdict=State.STALE).text.count("has no fresh verdict") == 1


def test_when_the_next_cycle_is_due_is_shown_and_why_that_is_late(world):
    world.begin("quay", "hub")
    world.finish(a_failed_cycle(Reason.UNAUTHORIZED, "quay"), an_up_cycle("hub"))
    for watched, seconds in zip(world.watch.targets, (1920.0, 40.0), strict=True):
        watched.progress.due = world.clock.now + seconds
    refused = world.page(NOON, target="quay").text
    assert "The next is due in 32 min." in refused
    tries = "The next try is at 12:32 UTC: the registry refused the last one"
    assert tries in refused
    assert world.page(NOON).text.count(tries) == 1
    well = world.page(NOON, target="hub").text
    assert "The next is due in 40 s." in well
    assert "The next try" not in well
    assert "The next is due now." in world.page(NOON + timedelta(minutes=1), target="hub").text
    world["hub"].step_started(StepName.PULL)
    assert "The next is due" not in world.page(NOON, target="hub").text


def test_one_that_was_held_back_shows_no_pause_of_which_nothing_is_known(world):
    world.begin("quay")
    minutes = (0, 2, 4, 8, 16, 32, 64, 124, 190)
    world.finish(*(a_failed_cycle(Reason.DENIED, started=NOON + timedelta(minutes=minute)) for minute in minutes))
    assert [past.gap_seconds > 0 for past in reversed(world.view().cycles)] == [False] * 8 + [True]


def test_an_image_that_stays_on_this_host_is_told(world, monkeypatch):
    world.begin("quay")
    monkeypatch.setattr(Watched, "staying", ("conflict: <a> is used by b",))
    page = world.page(target="quay").text
    assert "A test image stays on this host until what uses it is removed: conflict: <a> is used by b" in page


def test_what_strangers_can_pull_is_told_loudly_and_only_where_it_has_to_be_private(world):
    world.begin("open")
    world.begin("closed", expect_private=True)
    world.finish(an_up_cycle("open"), an_up_cycle("closed"))
    world["open"].record.strangers = StrangersMay(pull=True, push=True)
    assert "Strangers" not in world.page().text
    assert "that is not known yet" in world.page(target="closed").text
    world["closed"].record.strangers = StrangersMay(pull=True)
    page = world.page()
    assert "Strangers can pull the test image." in page.text
    assert page.text.index("closed") < page.text.index("open up for")
    assert "must be refused: it was not." in world.page(target="closed").text
    world["closed"].record.strangers = StrangersMay(pull=False)
    assert "must be refused: it was." in world.page(target="closed").text


def test_what_strangers_can_push_or_cannot_pull_is_told_loudly(world):
    world.begin("open", anonymous=Anonymous.REFUSED)
    world.begin("public", anonymous=Anonymous.PULL)
    world.finish(an_up_cycle("open"), an_up_cycle("public"))
    page = world.page(target="open").text
    assert page.count("must be refused: that is not known yet.") == 2
    assert "quay.io/acme/t0:latest-stranger" in page
    assert "must work: that is not known yet." in world.page(target="public").text

    world["open"].record.strangers = StrangersMay(pull=False, push=False)
    world["public"].record.strangers = StrangersMay(pull=True)
    assert "Strangers" not in world.page().text
    assert world.page(target="open").text.count("must be refused: it was.") == 2
    assert "must work: it did." in world.page(target="public").text

    world["open"].record.strangers = StrangersMay(pull=True, push=True)
    world["public"].record.strangers = StrangersMay(pull=False)
    page = world.page().text
    for said in ("Strangers can push.", "Strangers can pull the test image.", "Strangers can't pull the test image."):
        assert said in page
    assert "quay.io/acme/t0:latest-stranger" in page
    assert world.page(target="open").text.count("must be refused: it was not.") == 2
    assert "must work: it did not." in world.page(target="public").text


def test_a_replica_is_shown_with_its_source_and_its_lag(world):
    world.begin("quay")
    world.begin("mirror", read_only=True, replica_of="quay")
    assert (
        "A replica of quay that may be up to 10 min behind. How far it is behind is not known."
        in world.page(target="mirror").text
    )
    up = an_up_cycle("mirror")
    cycle = replace(up, steps=up.steps[:1], replication_lag=0.0, pushed_digest=None)
    world.finish(an_up_cycle("quay"), cycle)
    page = world.page(target="mirror").text
    assert "behind. At its last pull it showed the last push." in page
    assert "it pulls quay.io/acme/t1:latest, and removes what that brought. A step" in page
    assert f"pulled {cycle.pulled_digest}" in page
    assert "behind quay" not in world.page().text
    world.finish(replace(cycle, replication_lag=240.0))
    assert "behind. At its last pull it was 4 min behind." in world.page(target="mirror").text
    assert ", 4 min behind quay" in world.page().text


def test_the_digest_that_a_tag_must_have_is_shown(world):
    world.begin("debian", read_only=True, expect_digest="sha256:abc")
    assert "The tag must have the digest sha256:abc." in world.page(target="debian").text


def test_a_lost_rested_image_is_told_loudly_with_its_age_and_what_is_wrong(world):
    world.begin("quay", "hub", cold_images=3)
    world.finish(an_up_cycle("quay"), an_up_cycle("hub"))
    whole = RestedImage(1, "canary-cold-1", Kind.SINGLE, NOON, "sha256:1", NOON, NOON, NOON, Verdict.UP, is_lost=False)
    foreign = Failure(Reason.FOREIGN, "canary-cold-3 holds somebody's image")
    unpushed = RestedImage(3, "canary-cold-3", Kind.INDEX, NOON, verdict=Verdict.UNKNOWN, failure=foreign)
    world["hub"].rested.images = (whole, a_lost_image(), unpushed)
    page = world.page()
    assert "1 of 2 rested images is lost: canary-cold-2." in page.text
    assert page.text.index("hub") < page.text.index("quay up for")
    page = world.page(target="hub")
    assert "canary-cold-1 single 62 s 62 s ago nothing" in page.text
    assert "canary-cold-2 layers 7 days 62 s ago lost, intact 2 days ago not_found manifest unknown" in page.text
    assert "canary-cold-3 index not pushed yet none yet could not be pushed foreign canary-cold-3 holds" in page.text
    assert "Pushed so far: 2 of 3 images. One more follows every 24 h" in page.text
    assert "lost" not in world.page(target="quay").text


@pytest.mark.parametrize(
    ("image", "words", "state"),
    [
        (
            replace(a_lost_image(), checked=None, verdict=None, failure=None, is_lost=None),
            "none yet not known yet",
            "waiting",
        ),
        (
            replace(a_lost_image(), verdict=Verdict.UNKNOWN),
            "62 s ago lost before; the last check was inconclusive",
            "down",
        ),
        (
            replace(a_lost_image(), verdict=Verdict.UNKNOWN, is_lost=False),
            "62 s ago the last check was inconclusive",
            "unknown",
        ),
        (replace(a_lost_image(), verdict=Verdict.UP, failure=None, is_lost=False), "62 s ago nothing", "up"),
        (replace(a_lost_image(), succeeded=None), "62 s ago lost not_found", "down"),
    ],
)
def test_each_state_of_a_rested_image_has_its_words(world, image, words, state):
    world.begin("quay", cold_images=1)
    world.finish(an_up_cycle("quay"))
    world["quay"].rested.images = (replace(image, number=1),)
    page = world.page()
    assert f"canary-cold-2 layers 7 days {words}" in page.text
    assert f'<svg class="icon {state}" aria-hidden="true"><use href="#i-{state}"/></svg> <bdi>canary' in page.html
    assert "1 image, pushed once each. Every 24 h" in page.text
    assert ("is lost" in page.text) is bool(image.is_lost)


def test_of_very_many_lost_images_some_are_named_and_all_counted(world):
    world.begin("quay", cold_images=12)
    world.finish(an_up_cycle("quay"))
    lost = a_lost_image()
    world["quay"].rested.images = tuple(replace(lost, number=number, tag=f"t{number}") for number in range(1, 13))
    assert "12 of 12 rested images are lost: t1, t2, t3, t4, t5, t6, t7, t8, t9, t10 and 2 more." in world.page().text


# Many targets.


def test_only_a_few_failures_stand_open(world):
    names = [f"t{number}" for number in range(9)]
    world.begin(*names)
    world.finish(*(a_failed_cycle(target=name) for name in names))
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
    assert PageQuery.of(parameters) == PageQuery("b", "1", "x", State.DOWN)
    assert PageQuery.of({"verdict": ["nonsense"]}) == PageQuery()


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
    world.begin(*names)
    step = Step(StepName.PUSH, Outcome.FAILED, 1.0, Failure(Reason.UNCLASSIFIED, HOSTILE), output=(HOSTILE,) * 3)
    world.finish(a_cycle((step,), HOSTILE, NOON, 1.0))
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
    world.begin("quay")
    world["quay"].step_started(StepName.PUSH)
    world.clock.advance(12)
    assert "A cycle is under way: push for 12 s." in world.page().text
    world["quay"].step_finished(Step(StepName.PUSH, Outcome.OK, 12.0))
    assert "under way" not in world.page().text
