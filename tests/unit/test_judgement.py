"""Digests and labels decide what a pulled image proves: nothing passes for success that is not what was pushed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.cycle.judgement import foreign, judge_found, judge_pulled_back, judge_transfer, made_by_original
from lib.docker.answers import Image, Pulled
from lib.failure import Reason, Scope, Verdict
from lib.result import Push
from tests.unit.support import MADE, digest_of, labels_of

PUSH = Push(digest_of(1), digest_of("a"), "token", "me", MADE)
EARLIER, LATER = MADE - timedelta(minutes=2), MADE + timedelta(minutes=2)


OURS = ("me", "me before a restart")


def is_ours(instance):
    return instance in OURS


def image(image_id=PUSH.image_id, **labels):
    return Image(image_id, labels=labels_of(**labels).to_dict())


def reason(failure):
    return failure and str(failure.reason)


instances = st.sampled_from(["me", "me before a restart", "another"])
moments = st.sampled_from([EARLIER, MADE, LATER]) | st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001  a bound, its zone is beside it
    datetime(9999, 1, 1),  # noqa: DTZ001  the same
    timezones=st.just(UTC),
)
ids = st.sampled_from([PUSH.image_id, digest_of("b")])
digests = st.none() | st.sampled_from([PUSH.digest, digest_of(2)])
images = st.builds(image, ids, instance=instances, created=moments) | st.builds(Image, ids)


@pytest.mark.parametrize(
    ("found", "last", "wanted"),
    [
        (image(), None, None),  # nothing to compare with
        (image(), PUSH, None),  # the digests differ, the image does not
        (image(digest_of("b"), created=LATER), PUSH, None),  # a push that was cut off, and published all the same
        (image(digest_of("b"), instance="another", created=EARLIER), PUSH, None),
        (image(digest_of("b"), created=EARLIER), PUSH, "stale"),
        (image(digest_of("b"), instance="me before a restart", created=EARLIER), PUSH, "stale"),
        (image(digest_of("b")), PUSH, "integrity"),
    ],
)
def test_the_first_pull_is_judged_by_labels(found, last, wanted):
    """Of this monitor's images, an older one is stale, a different one of the same moment altered, others are fine."""
    assert reason(judge_found(found, digest_of(2), last, is_ours)) == wanted


@pytest.mark.parametrize(
    ("digest", "found", "wanted"),
    [
        (PUSH.digest, None, None),
        (digest_of(2), image(), None),  # the digests differ, the image does not
        (None, image(), None),
        (None, None, "integrity"),
        (digest_of(2), None, "integrity"),
        (digest_of(2), Image(digest_of("b")), "integrity"),  # no labels at all
        (digest_of(2), Image(PUSH.image_id), "integrity"),
        (digest_of(2), image(digest_of("b")), "integrity"),
        (digest_of(2), image(digest_of("b"), created=LATER), "integrity"),
        (digest_of(2), image(digest_of("b"), created=EARLIER), "stale"),
        (digest_of(2), image(digest_of("b"), instance="another"), "foreign"),
        (digest_of(2), image(digest_of("b"), instance="another", created=EARLIER), "foreign"),
    ],
)
def test_what_comes_back_is_judged_by_digest_and_else_by_labels(digest, found, wanted):
    """The pushed digest is proof; without it only the same image is, and every other one has its reason."""
    assert reason(judge_pulled_back(digest, found, PUSH, is_ours)) == wanted


GIVEN_UP = {"token"}


@pytest.mark.parametrize("created", [EARLIER, MADE, LATER])
@pytest.mark.parametrize("instance", OURS)
def test_a_push_that_was_given_up_may_come_late(instance, created):
    """The first pull may bring what was never acknowledged, however old; right after a push, the engine is to blame."""
    late = image(digest_of("b"), instance=instance, created=created)

    failure = judge_pulled_back(digest_of(2), late, PUSH, is_ours, GIVEN_UP)

    assert judge_found(late, digest_of(2), PUSH, is_ours, GIVEN_UP) is None
    assert (failure.reason, failure.scope.verdict) == (Reason.DAEMON, Verdict.UNKNOWN)
    assert f"made {created:%Y-%m-%d %H:%M:%S} UTC, whose push was given up then" in failure.detail


def test_other_pushes_that_were_given_up_excuse_nothing():
    """Only the image of that very push may come late, and only if it is ours."""
    old = image(digest_of("b"), created=EARLIER)
    theirs = image(digest_of("b"), instance="another")

    assert reason(judge_found(old, digest_of(2), PUSH, is_ours, {"another token"})) == "stale"
    assert reason(judge_pulled_back(digest_of(2), old, PUSH, is_ours, {"another token"})) == "stale"
    assert reason(judge_pulled_back(digest_of(2), theirs, PUSH, is_ours, GIVEN_UP)) == "foreign"
    assert judge_pulled_back(PUSH.digest, None, PUSH, is_ours, GIVEN_UP) is None


@given(digests, st.none() | images, st.sampled_from([set(), GIVEN_UP]))
def test_no_other_image_ever_passes_for_the_pushed_one(digest, found, given_up):
    """Whatever comes back: it is accepted only with the pushed digest, or as the pushed image with our labels."""
    failure = judge_pulled_back(digest, found, PUSH, is_ours, given_up)

    is_the_pushed_one = digest == PUSH.digest or (
        found is not None and found.image_id == PUSH.image_id and found.labels.get("registry-monitor.instance") in OURS
    )
    assert failure is not None or is_the_pushed_one


@given(digests, images)
def test_an_older_or_altered_image_of_ours_is_never_found_to_be_fine(digest, found):
    """At the first pull, an image of ours that is neither newer nor the pushed one is a failure of the registry."""
    failure = judge_found(found, digest, PUSH, is_ours)

    if failure is None:
        labels = found.labels
        not_ours = labels.get("registry-monitor.instance") not in OURS
        newer = not not_ours and datetime.fromisoformat(labels["registry-monitor.created"]) > PUSH.created
        assert not_ours or newer or found.image_id == PUSH.image_id
    else:
        assert failure.scope is Scope.REGISTRY


@given(moved=st.integers(0, 9), already=st.integers(0, 9), layers=st.integers(1, 9), base=st.integers(0, 9))
def test_a_pull_proves_a_transfer_only_where_all_of_the_payload_was_moved(moved, already, layers, base):
    """Whatever was moved: unless all layers of the payload certainly were, that is not a proof, and blames the host."""
    failure = judge_transfer(Pulled(1.0, moved=moved, already=already), layers, base)

    everything_moved = already == 0 and moved >= layers
    payload_moved = moved == layers and already <= base
    if everything_moved or payload_moved:
        assert failure is None
    else:
        assert (failure.reason, failure.scope.verdict) == (Reason.WARM, Verdict.UNKNOWN)


@given(payload=st.lists(st.booleans(), min_size=1, max_size=5), base=st.lists(st.booleans(), max_size=5))
def test_a_payload_layer_that_was_here_is_never_taken_for_a_moved_one(payload, base):
    """Given which layers the engine had: one of the payload's among them never passes for a transfer."""
    here = [*payload, *base]
    pulled = Pulled(1.0, moved=here.count(False), already=here.count(True))

    failure = judge_transfer(pulled, len(payload), len(base))

    assert failure is not None or not any(payload) or pulled.moved == len(payload)
    if not any(payload) and len(set(base)) < 2:  # the base is here, or is not
        assert failure is None


def test_moved_layers_of_the_base_do_not_stand_for_warm_ones_of_the_payload():
    """A base that was removed meanwhile is moved again; a payload layer that was here all the same proves nothing."""
    pulled = Pulled(1.0, moved=3, already=1)  # of a base of 3, moved, and a payload of 1, here already

    failure = judge_transfer(pulled, payload_layers=1, base_layers=3)

    assert reason(failure) == "warm"
    assert failure.detail == (
        "the engine moved 3 layers over the network and said that it had 1 already, with 1 of payload on a base of 3:"
        " this pull proves nothing about the registry"
    )


ORIGINAL = Image(
    digest_of("b"),
    comment="Updated at 2026-11-24 08:30:00 +0000",
    command=("sh", "echo", '"2026-11-24', "08:30:00", '+0000"', ">", "foo"),
)


def test_the_originals_image_is_known_by_its_commit():
    """Message and command together are the original monitor's, and nobody else's."""
    assert made_by_original(ORIGINAL)
    assert made_by_original(
        Image(digest_of("b"), comment=ORIGINAL.comment, command=("sh", "echo", '"2026-11-24 08:30:00 +0000" > foo'))
    )


@pytest.mark.parametrize(
    "other",
    [
        Image(digest_of("b")),
        Image(digest_of("b"), comment=ORIGINAL.comment),
        Image(digest_of("b"), command=ORIGINAL.command),
        Image(digest_of("b"), comment=ORIGINAL.comment + " by hand", command=ORIGINAL.command),
        Image(digest_of("b"), comment=ORIGINAL.comment, command=("sh", "-c", *ORIGINAL.command[1:])),
        Image(digest_of("b"), comment=ORIGINAL.comment, command=(*ORIGINAL.command, "&&", "true")),
    ],
)
def test_what_only_looks_like_the_originals_is_not(other):
    """An image that lacks a part of it, or has more, is somebody's."""
    assert not made_by_original(other)


def test_failures_say_what_happened_and_what_to_do():
    """Each message names both sides, and a fault of the set-up its remedy."""
    stale = judge_found(image(digest_of("b"), created=EARLIER), digest_of(2), PUSH, is_ours)
    shared = judge_pulled_back(digest_of(2), image(instance="another", target="theirs"), PUSH, is_ours)
    altered = judge_pulled_back(None, None, PUSH, is_ours)

    assert PUSH.digest in stale.detail
    assert "2026-11-24 08:28:00 UTC" in stale.detail
    assert "'theirs'" in shared.detail
    assert "tag or repository of its own" in shared.detail
    assert altered.detail == f"the registry gave an image without a digest, but {PUSH.digest} was pushed"
    assert foreign("quay.io/a/b:c").detail.startswith("quay.io/a/b:c holds an image that no monitor made")
    assert "`overwrite`" in foreign("quay.io/a/b:c").detail


def test_moments_in_messages_are_utc_as_they_say():
    """A label in another time zone is shown in UTC."""
    labels = labels_of(instance="another").to_dict() | {"registry-monitor.created": "2026-11-24T10:30:00+02:00"}

    failure = judge_pulled_back(digest_of(2), Image(digest_of("b"), labels=labels), PUSH, is_ours)

    assert "2026-11-24 08:30:00 UTC" in failure.detail
