"""The base is built on under a name, and stays as it is."""

from dataclasses import replace

import pytest

from lib.cycle.base import Base, find_base, is_base, log_push
from lib.cycle.steps import StepFailed, Steps
from lib.docker.answers import Image, Pushed
from lib.reference import parse_reference
from tests.unit.cycle.world import theirs
from tests.unit.support import NAME, digest_of

BASE = theirs("9", layers=2)
ID = BASE.image_id


def found(world, **options):
    """Return the base of a target with such options."""
    target = replace(world.target, **options)
    return find_base(target, Steps(target, world.observed, world.cli), world.cli, world.stranger)


def to_build_on(world, reference=NAME):
    """Return the base that a test image of this name is built on."""
    return found(world, reference=parse_reference(reference), base_layer_id=ID)


def test_without_a_base_the_image_is_built_from_scratch():
    """It has no layer, and is nobody's."""
    assert Base() == Base("scratch", layers=0, borrowed=False)


def test_a_named_base_has_its_layers(world):
    """Its layers are those that may be here already when the test image comes back."""
    world.registry.put("alpine:3", BASE)

    assert found(world, base_image=parse_reference("alpine:3")) == Base("alpine:3", layers=2)


def test_a_named_base_that_is_gone_is_the_failure_of_its_step(world):
    with pytest.raises(StepFailed):
        found(world, base_image=parse_reference("alpine:3"))


def test_names_to_build_on_do_not_count_as_others(world):
    """If an image has only names of ours, for this test image or another, they stay."""
    world.host.add(BASE)
    for reference in (NAME, "quay.io/a/b:c"):
        to_build_on(world, reference)

    assert not to_build_on(world).borrowed
    world.host.add(BASE, "user/base:1")
    assert to_build_on(world).borrowed


def test_a_push_onto_a_base_is_told(caplog):
    """How many layers were moved, and how many were mounted or there already: only then can its time be understood."""
    caplog.set_level("DEBUG")
    log_push("quay", Base("alpine:3", layers=3), Pushed(1.0, digest=digest_of(1), moved=1, mounted=2, already=1))

    (event,) = caplog.records
    assert (event.target, event.base_layers) == ("quay", 3)
    assert (event.layers_moved, event.layers_mounted, event.layers_already_there) == (1, 2, 1)


def test_a_push_onto_nothing_needs_no_telling(caplog):
    """All of its layers are the payload's."""
    caplog.set_level("INFO")
    log_push("quay", Base(), Pushed(1.0, digest=digest_of(1), moved=1))

    assert caplog.records == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, False),
        (ID, True),
        (ID.removeprefix("sha256:"), True),
        (ID.removeprefix("sha256:")[:12], True),
        (digest_of(1), True),  # its digest
        (digest_of(2), False),
        ("8" * 12, False),
    ],
)
def test_a_base_is_known_by_id_or_digest(wanted, expected):
    """`base-layer-id` names an image's ID, in part or in full, or its digest."""
    assert is_base(Image(ID), digest_of(1), wanted) is expected
    assert not is_base(Image(digest_of(7)), None, wanted)
