"""The docker program's own help shows what it is, and each builder is asked for in that program's words."""

import pytest

from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.buildx import builds_index
from lib.docker.cli import DOCKER
from lib.docker.client import Client
from lib.docker.podman import PODMAN
from lib.failure import Reason, Scope
from lib.target import Builder
from tests.unit.support import INFO, NAME, NO_DAEMON, Script, hangs, is_missing

HELP = ("build", "--help")
CLASSIC_HELP = "\nUsage:  docker build [OPTIONS] PATH | URL | -\n\nBuild an image from a Dockerfile\n"
BUILDX_HELP = "Start a build\n\nUsage:  docker buildx build [OPTIONS] PATH | URL | -\n\nOptions:\n"
NAMED_CONTEXTS = "      --build-context stringArray   Additional build contexts\n"
PROVENANCE = "      --provenance string    Shorthand for --attest=type=provenance\n"
PODMAN_HELP = "Build an image\n\nUsage:\n  podman build [options] [CONTEXT]\n"
NERDCTL_HELP = (
    "Build an image from a Dockerfile. Needs buildkitd to be running.\nIf Dockerfile is not present and -f is not"
    " specified, it will look for Containerfile and build with it.\n\nUsage: nerdctl build [flags] PATH\n\nFlags:\n"
    "      --rm                  Remove intermediate containers after a successful build (default true)\n"
)
#: How the engine is asked for its classic builder, and what it says if it has it; how for its API.
ASKED = ("build", "--quiet", "-")
COMPLAINT = "Error response from daemon: the Dockerfile (Dockerfile) cannot be empty\n"
API = ("version", "--format", "{{.Server.APIVersion}}")
NO_BUILDX = "ERROR: BuildKit is enabled but the buildx component is missing or broken.\n"

PLATFORMS = ("linux/amd64", "linux/arm64")
IN_CONTAINERD = 'overlayfs [["driver-type","io.containerd.snapshotter.v1"]]\n'
#: What buildx 0.13 says of the builder that comes with Docker 26.1.
BUILDER = """Name:   default
Driver: docker

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.0.0+unknown
Platforms:        linux/amd64, linux/amd64/v2, linux/386
"""


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def docker(script, tmp_path):
    return Docker(script.runner, "docker", {"PATH": "/bin"}, tmp_path)


@pytest.mark.parametrize(
    ("wanted", "helps", "builder", "flags"),
    [
        (Builder.CLASSIC, [CLASSIC_HELP], BuiltBy.CLASSIC, ("--force-rm",)),
        (Builder.BUILDKIT, [CLASSIC_HELP], BuiltBy.BUILDKIT, ()),
        (Builder.BUILDKIT, [BUILDX_HELP], BuiltBy.BUILDKIT, ()),
        (Builder.BUILDKIT, [BUILDX_HELP + PROVENANCE], BuiltBy.BUILDKIT, ("--provenance=false",)),
        # A future CLI, without the classic builder: `auto` does without it, for `classic` the build will say so.
        (Builder.AUTO, [BUILDX_HELP, BUILDX_HELP + PROVENANCE], BuiltBy.BUILDKIT, ("--provenance=false",)),
        (Builder.CLASSIC, [BUILDX_HELP], BuiltBy.CLASSIC, ("--force-rm",)),
    ],
)
def test_the_builder_is_the_wanted_one(script, docker, wanted, helps, builder, flags):
    """By classic if the CLI has it; buildx is asked to leave its attestation out if it makes one."""
    for text in helps:
        script.on(*HELP, out=text)

    ready = Client().for_builder(docker, wanted)

    assert (ready.dialect, ready.builder, ready.build_flags) == (DOCKER, builder, flags)
    assert ready.env["DOCKER_BUILDKIT"] == ("1" if builder is BuiltBy.BUILDKIT else "0")
    # BuildKit keeps what is traced in its history.
    assert ready.env.get("OTEL_TRACES_SAMPLER") == ("always_off" if builder is BuiltBy.BUILDKIT else None)
    assert (ready.config, ready.runner) == (docker.config, docker.runner)


DEPRECATED = "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.\n"


@pytest.mark.parametrize(
    ("said", "builder"),
    [
        (COMPLAINT, BuiltBy.CLASSIC),
        (f"{DEPRECATED}\n{COMPLAINT}", BuiltBy.CLASSIC),
        ("Error response from daemon: no FROM statement found\n", BuiltBy.CLASSIC),
        ("Error response from daemon: the classic builder was removed\n", BuiltBy.BUILDKIT),
        ('Error response from daemon: invalid version "1"\n', BuiltBy.BUILDKIT),
        (f"{DEPRECATED}Error response from daemon: page not found\n", BuiltBy.BUILDKIT),
        ("Error response from daemon: <html><body><h1>403 Forbidden</h1>\nby rules.\n</html>\n", BuiltBy.BUILDKIT),
    ],
)
def test_auto_is_classic_if_cli_and_engine_both_have_it(script, docker, said, builder):
    """No engine says which builders it has: it is given nothing to build, and refuses that in one way or the other."""
    script.on(*HELP, out=CLASSIC_HELP)
    script.on(*ASKED, err=said, code=1)
    script.on(*HELP, out=BUILDX_HELP)

    assert Client().for_builder(docker, Builder.AUTO).builder is builder


def test_an_engine_that_is_away_is_asked_for_its_builders_again(script, docker):
    """Until then a cycle's own commands report that."""
    script.on(*HELP, out=CLASSIC_HELP, times=2)
    script.on(*ASKED, err=NO_DAEMON, code=1)
    script.on(*ASKED, err="Error response from daemon: page not found\n", code=1)
    script.on(*HELP, out=BUILDX_HELP)
    client = Client()

    before, after = (client.for_builder(docker, Builder.AUTO).builder for _ in range(2))

    assert (before, after) == (BuiltBy.CLASSIC, BuiltBy.BUILDKIT)


@pytest.mark.parametrize(
    ("text", "api", "names"),
    [
        (BUILDX_HELP + NAMED_CONTEXTS, "1.42", True),
        (BUILDX_HELP + NAMED_CONTEXTS, "1.41", False),
        (BUILDX_HELP + NAMED_CONTEXTS, "5.4.2", False),
        (BUILDX_HELP, None, False),
        (CLASSIC_HELP, None, False),
    ],
)
def test_contexts_have_names_if_cli_and_engine_both_know_them(script, docker, text, api, names):
    """BuildKit of Docker 20.10 would fetch a newer one from Docker Hub for that."""
    script.on(*HELP, out=text)
    if api:
        script.on(*API, out=f"{api}\n")

    ready = Client().for_builder(docker, Builder.BUILDKIT)

    assert (ready.names_contexts, ready.with_buildx) == (names, text is not CLASSIC_HELP and "buildx" in text)


@pytest.mark.parametrize("wanted", Builder)
def test_podman_builds_by_itself_whatever_is_wanted(script, docker, wanted):
    """Podman is known by its help, under any name, and has one builder."""
    script.on(*HELP, out=PODMAN_HELP)

    ready = Client().for_builder(docker, wanted)

    assert (ready.dialect, ready.builder) == (PODMAN, BuiltBy.BUILDAH)


@pytest.mark.parametrize("wanted", Builder)
def test_nerdctl_is_refused_by_a_sentence_that_says_what_it_lacks(script, docker, wanted):
    """Its own words would be a puzzle; none of its commands is run."""
    script.on(*HELP, out=NERDCTL_HELP)

    ready = Client().for_builder(docker, wanted)

    with pytest.raises(
        DockerError, match=r"^docker pull could not be run: docker: it is nerdctl, .*--force-rm"
    ) as failed:
        ready.pull(NAME, 1)
    assert (failed.value.failure.reason, failed.value.failure.scope) == (Reason.CLI, Scope.HOST)
    assert script.ran == [HELP]


def test_it_is_asked_once_for_each_builder(script, docker):
    """All targets and cycles share one answer."""
    script.on(*HELP, out=CLASSIC_HELP, times=2)
    client = Client()

    for wanted in (Builder.CLASSIC, Builder.BUILDKIT, Builder.CLASSIC, Builder.BUILDKIT):
        client.for_builder(docker, wanted)

    assert script.ran == [HELP, HELP]


@pytest.mark.parametrize("answer", [{"does": hangs}, {"does": is_missing}, {"err": NO_BUILDX, "code": 1}])
def test_one_that_does_not_answer_is_docker_and_is_asked_again(script, docker, answer):
    """The cycle reports what is wrong; the CLI may be there at the next one."""
    script.on(*HELP, **answer)
    script.on(*HELP, out=PODMAN_HELP)
    client = Client()

    before, after = (client.for_builder(docker, Builder.BUILDKIT) for _ in range(2))

    assert (before.dialect, before.builder) == (DOCKER, BuiltBy.BUILDKIT)
    assert after.dialect is PODMAN


@pytest.mark.parametrize(
    ("store", "builder", "holds"),
    [
        (IN_CONTAINERD, {"out": BUILDER}, True),
        (IN_CONTAINERD, {"out": BUILDER.replace("amd64,", "arm64,")}, True),
        (IN_CONTAINERD, {"out": BUILDER.replace("amd64,", "s390x,")}, False),
        # The engine's socket lets no BuildKit through: a container of its own would be started.
        (IN_CONTAINERD, {"out": BUILDER.replace("docker", "docker-container", 1)}, False),
        (IN_CONTAINERD, {"err": "docker: unknown command: docker buildx\n\nRun 'docker --help'\n", "code": 1}, False),
        (IN_CONTAINERD, {"err": "docker: 'buildx' is not a docker command.\nSee 'docker --help'\n", "code": 1}, False),
        ('overlay2 [["Backing Filesystem","extfs"]]\n', None, False),
    ],
)
def test_whether_an_index_can_be_held_is_asked_of_store_and_builder(script, docker, store, builder, holds):
    """By what they are, and not by their versions."""
    script.on(*INFO, out=store)
    if builder:
        script.on("buildx", "inspect", **builder)

    assert builds_index(docker, PLATFORMS, 5) is holds
    assert len(script.ran) == (2 if builder else 1)


@pytest.mark.parametrize("answer", [{"does": hangs}, {"err": NO_DAEMON, "code": 1}])
def test_a_builder_that_does_not_answer_says_nothing(script, docker, answer):
    """A decision by it is final."""
    script.on(*INFO, out=IN_CONTAINERD)
    script.on("buildx", "inspect", **answer)

    with pytest.raises(DockerError):
        builds_index(docker, PLATFORMS, 5)


def test_an_engine_that_may_not_be_asked_for_its_store_holds_no_index(script, docker):
    """A proxy in front of it refuses that for as long as it is there."""
    script.on(*INFO, out=" null\nError response from daemon: Forbidden\n")
    assert not builds_index(docker, PLATFORMS, 5)
