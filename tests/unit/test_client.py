"""What the docker program is shows in its own help, and each builder is asked for in the words of that program."""

import pytest

from lib.docker import BuiltBy, Docker
from lib.docker.client import Client
from lib.docker.podman import Podman
from lib.target import Builder
from tests.unit.support import Script, hangs, is_missing

HELP = ("build", "--help")
CLASSIC_HELP = "\nUsage:  docker build [OPTIONS] PATH | URL | -\n\nBuild an image from a Dockerfile\n"
BUILDX_HELP = "Start a build\n\nUsage:  docker buildx build [OPTIONS] PATH | URL | -\n\nOptions:\n"
PROVENANCE = "      --provenance string    Shorthand for --attest=type=provenance\n"
PODMAN_HELP = "Build an image\n\nUsage:\n  podman build [options] [CONTEXT]\n"
NO_BUILDX = "ERROR: BuildKit is enabled but the buildx component is missing or broken.\n"


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def docker(script, tmp_path):
    return Docker(script.runner, "docker", {"PATH": "/bin"}, tmp_path)


@pytest.mark.parametrize(
    ("wanted", "helps", "builder", "flags"),
    [
        (Builder.AUTO, [CLASSIC_HELP], BuiltBy.CLASSIC, ("--force-rm",)),
        (Builder.CLASSIC, [CLASSIC_HELP], BuiltBy.CLASSIC, ("--force-rm",)),
        (Builder.BUILDKIT, [CLASSIC_HELP], BuiltBy.BUILDKIT, ()),
        (Builder.BUILDKIT, [BUILDX_HELP], BuiltBy.BUILDKIT, ()),
        (Builder.BUILDKIT, [BUILDX_HELP + PROVENANCE], BuiltBy.BUILDKIT, ("--provenance=false",)),
        # A CLI of some day, without the classic builder: `auto` does without it, of `classic` the build will tell.
        (Builder.AUTO, [BUILDX_HELP, BUILDX_HELP + PROVENANCE], BuiltBy.BUILDKIT, ("--provenance=false",)),
        (Builder.CLASSIC, [BUILDX_HELP], BuiltBy.CLASSIC, ("--force-rm",)),
    ],
)
def test_the_builder_is_the_wanted_one(script, docker, wanted, helps, builder, flags):
    """By classic where the CLI has it; buildx is told to leave its attestation out where it makes one."""
    for text in helps:
        script.on(*HELP, out=text)

    equipped = Client().equipped(docker, wanted)

    assert (type(equipped), equipped.builder, equipped.build_flags) == (Docker, builder, flags)
    assert equipped.env["DOCKER_BUILDKIT"] == ("1" if builder is BuiltBy.BUILDKIT else "0")
    assert (equipped.config, equipped.runner) == (docker.config, docker.runner)


@pytest.mark.parametrize("wanted", Builder)
def test_podman_builds_by_itself_whatever_is_wanted(script, docker, wanted):
    """Podman is known by its help, under any name, and has one builder."""
    script.on(*HELP, out=PODMAN_HELP)

    equipped = Client().equipped(docker, wanted)

    assert (type(equipped), equipped.builder) == (Podman, BuiltBy.BUILDAH)


def test_it_is_asked_once_for_each_builder(script, docker):
    """All targets and cycles share one answer."""
    script.on(*HELP, out=CLASSIC_HELP, times=2)
    client = Client()

    for wanted in (Builder.CLASSIC, Builder.BUILDKIT, Builder.CLASSIC, Builder.BUILDKIT):
        client.equipped(docker, wanted)

    assert script.ran == [HELP, HELP]


@pytest.mark.parametrize("answer", [{"does": hangs}, {"does": is_missing}, {"err": NO_BUILDX, "code": 1}])
def test_one_that_does_not_answer_is_docker_and_is_asked_again(script, docker, answer):
    """What is wrong is told by the cycle; the CLI may be there at the next one."""
    script.on(*HELP, **answer)
    script.on(*HELP, out=PODMAN_HELP)
    client = Client()

    before, after = (client.equipped(docker, Builder.BUILDKIT) for _ in range(2))

    assert (type(before), before.builder) == (Docker, BuiltBy.BUILDKIT)
    assert type(after) is Podman
