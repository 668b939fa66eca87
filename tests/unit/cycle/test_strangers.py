"""Strangers: when a pull and a push without a login are tried, what they prove, and that they leave nothing behind."""

from dataclasses import replace

import pytest

from lib.command import Stopped
from lib.docker import BuiltBy
from lib.secret import PasswordFile
from lib.target import Anonymous, Credentials, StrangersMay
from tests.unit.cycle.world import DENIED, SERVER_ERROR, at_digest, our, theirs
from tests.unit.examples import HandClock, a_failed_cycle, an_up_cycle
from tests.unit.fake_docker import GONE, HUNG, STOPPED, fails, says
from tests.unit.support import AMBIGUOUS, HOST, NAME, NOT_THERE, PASSWORD

PUSHED = our("a")
UP = replace(an_up_cycle("lab"), pushed_digest=PUSHED.digest)
STRANGER = f"{HOST}/lab/canary:latest-stranger"
UNKNOWN = StrangersMay()
KEPT_OUT = StrangersMay(pull=False, push=False)


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def make_strangers(make_world, clock):
    """A world whose registry has what was pushed, and has accounts; and what finds out what others can do there."""

    def make(*may, **changed):
        world = make_world(**{"anonymous": Anonymous.REFUSED, "anonymous_every": 3600.0} | changed)
        world.registry.put(NAME, PUSHED)
        world.registry.strangers_may[HOST] = set(may)
        return world, world.strangers(clock.monotonic)

    return make


@pytest.fixture
def make_private(make_strangers):
    """The same, with `expect-private` alone."""
    return lambda *may, **more: make_strangers(
        *may, **{"anonymous": None, "expect_private": True, "expect_private_every": 3600.0} | more
    )


def pulls(world):
    return [name for name, _ in world.registry.pulls]


def levels(caplog):
    return [record.levelname for record in caplog.records]


# The pull.


def test_a_pull_that_succeeds_is_told_loudly_and_leaves_nothing(make_private, caplog):
    """It goes without any login, and by the digest: no name of an image of the host is touched."""
    world, strangers = make_private("pull")

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=True)
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert "private" in told.advice
    assert world.registry.pulls == [(at_digest(PUSHED), None)]
    world.check()


def test_a_registry_that_lets_only_its_users_in_is_private(make_private, caplog):
    _, strangers = make_private()

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    assert caplog.records == []


@pytest.mark.parametrize("words", [AMBIGUOUS, NOT_THERE, "unauthorized: authentication required\n"])
def test_a_refusal_is_one(make_private, caplog, words):
    world, strangers = make_private("pull")
    world.docker.when("pull", instead=fails(words))

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    assert caplog.records == []


@pytest.mark.parametrize("before", [None, False, True])
@pytest.mark.parametrize(
    "instead",
    [
        fails(SERVER_ERROR),
        GONE,
        HUNG,
        fails("toomanyrequests: slow down\n"),
        says("0123456789ab: Retrying in 1 second\n", "unauthorized: authentication required\n", 1),
    ],
)
def test_what_is_no_refusal_proves_nothing(make_private, caplog, instead, before):
    """The last finding stands."""
    world, strangers = make_private("pull")
    world.docker.when("pull", instead=instead)

    assert strangers.check(UP, StrangersMay(pull=before)) == StrangersMay(pull=before)
    assert levels(caplog) == ["WARNING"]
    world.check()


def test_an_image_that_is_still_here_proves_nothing(make_private):
    world, strangers = make_private("pull")
    world.has(PUSHED, at_digest(PUSHED))

    assert strangers.check(UP, UNKNOWN) == UNKNOWN
    assert pulls(world) == []
    world.check()


def test_it_is_tried_once_an_interval(make_private, clock):
    world, strangers = make_private("pull")
    for seconds, tries in ((0.0, 1), (3599.0, 1), (1.0, 2)):
        clock.advance(seconds)
        strangers.check(UP, UNKNOWN)
        assert len(pulls(world)) == tries


@pytest.mark.parametrize(("asked_for", "cycle"), [(False, UP), (True, a_failed_cycle(target="lab"))])
def test_it_is_tried_only_where_asked_for_and_after_a_cycle_that_was_up(make_private, asked_for, cycle):
    world, strangers = make_private("pull", expect_private=asked_for)

    assert strangers.check(cycle, UNKNOWN) == UNKNOWN
    assert world.docker.commands == []


def test_it_has_the_deadline_of_a_step(make_private):
    world, strangers = make_private("pull", step_timeout=7.0)
    strangers.check(UP, UNKNOWN)

    assert [command.deadline for command in world.docker.commands if command.argv[1] == "pull"] == [7.0]


@pytest.mark.parametrize("pushed", [PUSHED, theirs("e")])
def test_a_stop_in_the_middle_leaves_nothing(make_private, pushed):
    """If the daemon still finishes it after its client was ended, the result is removed, since no cycle follows."""
    world, strangers = make_private("pull")
    world.registry.put(NAME, pushed)
    world.docker.when("pull", instead=STOPPED, is_late=True)

    with pytest.raises(Stopped):
        strangers.check(replace(UP, pushed_digest=pushed.digest), UNKNOWN)

    assert world.slept
    world.check()


def test_what_a_stop_right_after_it_leaves_is_removed(make_private):
    """A pull that worked is undone, though the monitor is being stopped by then."""
    world, strangers = make_private("pull")
    world.docker.when("pull", after=world.docker.stop)

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=True)
    world.check()


def test_a_public_repository_that_strangers_can_read_is_as_it_has_to_be(make_strangers, caplog):
    """Nothing is pushed, and no login is used."""
    world, strangers = make_strangers("pull", "push", anonymous=Anonymous.PULL)

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=True)
    assert caplog.records == []
    assert not {"login", "push"} & set(world.docker.verbs())
    world.check()


def test_a_public_repository_that_strangers_cannot_read_is_told(make_strangers, caplog):
    _, strangers = make_strangers(anonymous=Anonymous.PULL)

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert "public" in told.advice
    assert "no basic auth credentials" in told.detail


# The push.


@pytest.mark.parametrize("builder", list(BuiltBy))
def test_a_registry_that_refuses_both_is_as_it_has_to_be(make_strangers, caplog, builder):
    world, strangers = make_strangers(of_world={"builder": builder})

    assert strangers.check(UP, UNKNOWN) == KEPT_OUT
    assert caplog.records == []
    assert STRANGER not in world.registry.images
    assert [command.argv[2] for command in world.docker.commands if command.argv[1] == "push"] == [STRANGER]
    world.check()


@pytest.mark.parametrize("builder", list(BuiltBy))
def test_a_push_that_succeeds_is_told_with_what_was_pushed(make_strangers, caplog, builder):
    """The image is small, is a monitor's by its labels, and is gone from the host; in the registry it stays."""
    labels = (("quay.expires-after", "2d"),)
    world, strangers = make_strangers("push", image_labels=labels, of_world={"builder": builder})

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False, push=True)
    pushed = world.registry.images[STRANGER]
    (told,) = caplog.records
    assert (told.levelname, told.pushed, told.digest) == ("ERROR", STRANGER, pushed.digest)
    assert "delete the tag" in told.advice
    assert pushed.labels["registry-monitor.target"] == "lab"
    assert pushed.labels["quay.expires-after"] == "2d"
    assert len(pushed.layers) == 1
    assert world.registry.images[NAME] == PUSHED
    world.check()


@pytest.mark.parametrize("words", [DENIED, "unauthorized: authentication required\n", "no basic auth credentials\n"])
def test_a_push_is_refused_by_these_words(make_strangers, words):
    world, strangers = make_strangers("push")
    world.docker.when("push", instead=fails(words))

    assert strangers.check(UP, UNKNOWN).push is False
    world.check()


@pytest.mark.parametrize("before", [None, False, True])
@pytest.mark.parametrize(
    ("verb", "instead"),
    [
        ("push", fails(SERVER_ERROR)),
        ("push", fails("name unknown: repository name not known to registry\n")),
        ("push", says("0123456789ab: Retrying in 1 second\n", DENIED, 1)),
        ("push", HUNG),
        ("login", fails("Error response from daemon: login attempt failed with status: 401 Unauthorized\n")),
        ("build", fails("the build broke\n")),
        ("build", GONE),
        ("images", GONE),
    ],
)
def test_what_is_no_refusal_of_the_push_proves_nothing(make_strangers, caplog, verb, instead, before):
    """Nor is a refusal of the login that is needed to look at what is there."""
    world, strangers = make_strangers("push")
    world.docker.when(verb, instead=instead)

    assert strangers.check(UP, StrangersMay(False, before)) == StrangersMay(False, before)
    assert levels(caplog) == ["WARNING"]
    assert STRANGER not in world.registry.images
    world.check()


@pytest.mark.parametrize("instead", [fails(SERVER_ERROR), fails(DENIED), HUNG])
def test_where_it_is_not_known_what_is_there_nothing_is_pushed(make_strangers, instead):
    world, strangers = make_strangers("push")
    world.docker.when("pull", instead=instead, only=lambda command: command.argv[2] == STRANGER)

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    assert "push" not in world.docker.verbs()
    world.check()


def test_nothing_is_pushed_over_what_no_monitor_made(make_strangers, caplog):
    """It is looked at with the target's own login: strangers may not be allowed to see it."""
    world, strangers = make_strangers("push")
    world.registry.put(STRANGER, theirs("e"))

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    (told,) = caplog.records
    assert (told.levelname, STRANGER in told.detail) == ("WARNING", True)
    assert "push" not in world.docker.verbs()
    assert world.registry.images[STRANGER] == theirs("e")
    assert world.registry.pulls[-1] == (STRANGER, "monitor")
    world.check()


@pytest.mark.parametrize(("there", "overwrite"), [(our("f", instance="other"), False), (theirs("e"), True)])
def test_what_a_monitor_made_is_replaced_and_with_overwrite_whatever_is_there(make_strangers, there, overwrite):
    world, strangers = make_strangers("push", overwrite=overwrite)
    world.registry.put(STRANGER, there)

    assert strangers.check(UP, UNKNOWN).push is True
    assert world.registry.images[STRANGER] != there
    world.check()


def test_an_image_of_the_host_that_has_this_name_keeps_it(make_strangers):
    world, strangers = make_strangers("push")
    world.has(theirs("e"), STRANGER)

    assert strangers.check(UP, UNKNOWN).push is True
    world.check()


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_very_image_that_is_there_keeps_its_names_on_this_host(make_strangers, overwrite):
    """That by digest too, which docker takes away with the last tag."""
    world, strangers = make_strangers(overwrite=overwrite)
    image = theirs("e")
    world.registry.put(STRANGER, image)
    world.has(image, STRANGER, at_digest(image, STRANGER))

    assert strangers.check(UP, UNKNOWN).push is (False if overwrite else None)
    world.check()


def test_without_a_login_of_its_own_it_looks_as_a_stranger(make_strangers):
    world, strangers = make_strangers("pull", "push", credentials=None)

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=True, push=True)
    assert "login" not in world.docker.verbs()


def test_logins_that_cannot_be_read_prove_nothing(make_strangers, tmp_path, caplog):
    world, strangers = make_strangers("push", credentials=Credentials("monitor", PasswordFile(tmp_path / "gone")))

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    assert levels(caplog) == ["WARNING"]
    world.check()


def test_a_full_disk_proves_nothing(make_strangers, caplog):
    world, strangers = make_strangers("push")
    (world.folders[0] / "stranger").touch()

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    assert "can't be written" in caplog.records[-1].detail


@pytest.mark.parametrize("verb", ["login", "pull", "build", "push", "image"])
def test_a_stop_in_the_middle_of_the_push_leaves_nothing(make_strangers, verb):
    world, strangers = make_strangers("push")
    world.has(theirs("e"), STRANGER)
    world.docker.when(
        verb, instead=STOPPED, is_late=verb != "login", only=lambda command: command.argv[-1] != at_digest(PUSHED)
    )

    with pytest.raises(Stopped):
        strangers.check(UP, UNKNOWN)

    world.check()


def test_all_that_is_tried_has_no_more_time_than_a_cycle(make_strangers, clock):
    """Health considers a worker stuck that shows nothing for longer."""
    world, strangers = make_strangers("push", step_timeout=60.0, cycle_timeout=100.0)
    for verb in ("pull", "login"):
        world.docker.when(verb, before=lambda: clock.advance(45.0))

    strangers.check(UP, UNKNOWN)
    deadlines = {command.argv[1]: command.deadline for command in world.docker.commands}
    assert (deadlines["login"], deadlines["build"], deadlines["push"]) == (55.0, 10.0, 10.0)


def test_a_time_that_is_over_proves_nothing(make_strangers, clock, caplog):
    world, strangers = make_strangers("push", cycle_timeout=100.0)
    world.docker.when("login", before=lambda: clock.advance(101.0))

    assert strangers.check(UP, UNKNOWN) == StrangersMay(pull=False)
    assert "cycle-timeout" in caplog.records[-1].detail
    world.check()


def test_the_password_is_blanked_in_what_is_logged(make_strangers, caplog):
    world, strangers = make_strangers("push")
    world.docker.when("login", instead=fails(f"cannot log in with {PASSWORD}\n"))

    strangers.check(UP, UNKNOWN)
    assert "cannot log in with" in caplog.records[-1].detail
    assert PASSWORD not in caplog.records[-1].detail


# What is logged, and when.


def test_what_stays_as_it_was_is_logged_once(make_strangers, clock, caplog):
    caplog.set_level("INFO")
    world, strangers = make_strangers("pull", "push")
    found = UNKNOWN
    for _ in range(3):
        found = strangers.check(UP, found)
        clock.advance(3600.0)
    assert levels(caplog) == ["ERROR", "ERROR"]

    world.registry.strangers_may[HOST] = set()
    for _ in range(2):
        found = strangers.check(UP, found)
        clock.advance(3600.0)
    assert levels(caplog)[2:] == ["INFO", "INFO"]
    assert found == KEPT_OUT


def test_with_expect_private_an_exposure_is_logged_each_time(make_private, clock, caplog):
    _, strangers = make_private("pull")
    for _ in range(2):
        strangers.check(UP, StrangersMay(pull=True))
        clock.advance(3600.0)
    assert levels(caplog) == ["ERROR", "ERROR"]


def test_both_options_together_are_one_pull_at_the_shorter_interval(make_strangers, clock):
    world, strangers = make_strangers("pull", expect_private=True, expect_private_every=60.0)
    for _ in range(3):
        strangers.check(UP, UNKNOWN)
        clock.advance(60.0)
    assert pulls(world).count(at_digest(PUSHED)) == 3
    assert world.docker.verbs().count("push") == 1
