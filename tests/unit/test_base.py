"""The base is built on under a name, and stays as it is."""

from pathlib import Path

import pytest

from lib.cycle.base import Base, is_base, named_base, tagged_base, tell_of_push
from lib.docker import Docker, DockerError
from lib.docker.answers import Image, Pushed
from tests.unit.support import INSPECT, NAME, Script, described, digest_of, missing

ID = digest_of("9")


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def docker(script):
    return Docker(script.runner, "docker", {}, Path("/config"))


def test_without_a_base_the_image_is_built_from_scratch():
    """Which has no layer, and is nobody's."""
    assert Base() == Base("scratch", layers=0, borrowed=False)


def test_a_named_base_has_its_layers(script, docker):
    """Its layers are those that may be here already when the test image comes back."""
    script.on(*INSPECT, "alpine:3", out=described(ID, ("alpine:3",), layers=2))

    assert named_base(docker, "alpine:3", 5) == Base("alpine:3", layers=2)


def test_a_named_base_that_is_gone_is_told(script, docker):
    """A base that does not exist is a failure of docker's."""
    script.on(*INSPECT, "alpine:3", err=missing("alpine:3"), code=1)

    with pytest.raises(DockerError):
        named_base(docker, "alpine:3", 5)


@pytest.mark.parametrize(
    ("image", "borrowed"),
    [
        (Image(ID, tags=("user/base:1",)), True),
        (Image(ID, digests=(f"host/base@{ID}",)), True),
        (Image(ID), False),  # taking the only name away would remove the image
    ],
)
def test_a_local_image_gets_a_name_to_build_on(script, docker, image, borrowed):
    """The name is the monitor's; it is only taken away from an image that keeps another."""
    script._fp.register(["docker", "tag", ID, script._fp.any()])

    base = tagged_base(docker, image, NAME, 5)

    assert script.ran == [("tag", ID, base.name)]
    assert base.name.startswith("registry-monitor-base/")
    assert base.borrowed is borrowed


def test_each_test_image_has_a_name_of_its_own_to_build_on(script, docker):
    """No cycle takes away what another one builds on; and a later cycle of the same target finds the same name."""
    script._fp.register(["docker", "tag", ID, script._fp.any()], occurrences=3)

    one, other, again = (
        tagged_base(docker, Image(ID), reference, 5).name for reference in (NAME, "quay.io/lab/canary:latest", NAME)
    )

    assert one == again != other


def test_names_to_build_on_do_not_count_as_others(script, docker):
    """Where names of ours, of this test image or another, are all that an image has, they stay."""
    script._fp.register(["docker", "tag", ID, script._fp.any()], occurrences=4)
    names = tuple(tagged_base(docker, Image(ID), reference, 5).name for reference in (NAME, "quay.io/a/b:c"))

    assert not tagged_base(docker, Image(ID, tags=names), NAME, 5).borrowed
    assert tagged_base(docker, Image(ID, tags=(*names, "user/base:1")), NAME, 5).borrowed


def test_a_push_onto_a_base_is_told(caplog):
    """How many layers were moved, and how many were mounted or there already: only then can its time be understood."""
    caplog.set_level("INFO")
    tell_of_push("quay", Base("alpine:3", layers=3), Pushed(1.0, digest=digest_of(1), moved=1, mounted=2, already=1))

    (event,) = caplog.records
    assert (event.target, event.base_layers) == ("quay", 3)
    assert (event.layers_moved, event.layers_mounted, event.layers_already_there) == (1, 2, 1)


def test_a_push_onto_nothing_needs_no_telling(caplog):
    """All of its layers are the payload's."""
    caplog.set_level("INFO")
    tell_of_push("quay", Base(), Pushed(1.0, digest=digest_of(1), moved=1))

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
    """What `base-layer-id` names is an image's ID, in part or whole, or its digest."""
    assert is_base(Image(ID), digest_of(1), wanted) is expected
    assert not is_base(Image(digest_of(7)), None, wanted)
