"""Each docker verb has its argv, and docker's output is read in the words of every CLI."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.command import Completed, Ending, Stopped
from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.answers import Image
from lib.docker.printed import OUTPUT_LINES
from lib.failure import Reason, Scope
from lib.secret import Secret
from lib.tail import TAIL_BYTES
from tests.unit.support import (
    CLIENT_VERSION,
    CLIS,
    HOST,
    INSPECT,
    NAME,
    NO_DAEMON,
    NOT_THERE,
    PASSWORD,
    SWEEP,
    VERSION,
    Script,
    described,
    digest_of,
    hangs,
    is_missing,
    missing,
    pulled,
    pushed,
    real_output,
    removed,
)

PLATFORMS = ("linux/amd64", "linux/arm64")


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def docker(script, tmp_path):
    return Docker(script.runner, "docker", {"PATH": "/bin", "DOCKER_HOST": "unix:///run/d.sock"}, tmp_path)


def failure_of(call, *arguments):
    with pytest.raises(DockerError) as raised:
        call(*arguments)
    return raised.value


# What is run.


@pytest.mark.parametrize("deadline", [3.0, 20.0])
def test_every_command_has_its_deadline_and_the_private_config(script, docker, tmp_path, deadline):
    """The environment is the given one with the target's own DOCKER_CONFIG, and nothing of the monitor's."""
    script.on("pull", NAME, out=pulled(digest_of(1)))

    docker.pull(NAME, deadline)

    (command,) = script.runner.commands
    assert command.env == {"PATH": "/bin", "DOCKER_HOST": "unix:///run/d.sock", "DOCKER_CONFIG": str(tmp_path)}
    assert (command.deadline, command.stdin, command.cleanup) == (deadline, None, False)


def test_a_password_goes_by_standard_input_alone(script, docker):
    """Login's argv names the user and the host; the password is its input, as it is."""
    given_input = []
    script._fp.register(
        ["docker", "login", "--username", "acme+robot", "--password-stdin", HOST], stdin_callable=given_input.append
    )

    docker.login(HOST, "acme+robot", Secret(PASSWORD), 5)

    assert given_input == [PASSWORD.encode()]
    assert PASSWORD not in str(script.runner.commands)


def test_what_cleans_up_is_marked_so(script, docker):
    """for_cleanup() gives a CLI whose commands also run while the monitor stops; the first stays as it is."""
    script.on("rmi", NAME, times=2)

    docker.for_cleanup().rmi((NAME,), 5)
    docker.rmi((NAME,), 5)

    assert [command.cleanup for command in script.runner.commands] == [True, False]


def test_the_program_may_have_any_name(script, tmp_path):
    """The CLI is the one that was named."""
    script._fp.register(["/opt/podman", "tag", "a", "b"])

    Docker(script.runner, "/opt/podman", {}, tmp_path).tag("a", "b", 5)

    assert script.ran == [("tag", "a", "b")]


# What docker really printed.


@pytest.mark.parametrize("cli", CLIS)
def test_real_versions_are_read(script, docker, cli):
    """Client and server are distinguished."""
    script.on_real(cli, "version", *VERSION)

    assert docker.version(3)[1] == "20.10.24+dfsg1"


@pytest.mark.parametrize("cli", CLIS)
def test_a_real_cold_pull_is_read(script, docker, cli):
    """Each layer that came over the network is counted once, however many states of it are printed."""
    script.on_real(cli, "pull_cold", "pull", NAME)
    real = real_output(cli, "push")

    answer = docker.pull(NAME, 5)

    assert (answer.moved, answer.already, answer.up_to_date, answer.retries) == (2, 0, False, 0)
    assert f"latest: digest: {answer.digest} size:" in real.stdout
    assert answer.output[-1] == NAME


@pytest.mark.parametrize("cli", CLIS)
@pytest.mark.parametrize(("run", "up_to_date"), [("pull_warm", False), ("pull_up_to_date", True)])
def test_a_real_pull_that_moved_nothing_is_read(script, docker, cli, run, up_to_date):
    """If the engine had everything, nothing was moved, whatever the status says about a newer image."""
    script.on_real(cli, run, "pull", NAME)

    answer = docker.pull(NAME, 5)

    assert (answer.moved, answer.already, answer.up_to_date) == (0, 0, up_to_date)
    assert answer.digest.startswith("sha256:")


#: What docker's CLI prints of a pull that podman 4.3 and 5.4 do for it: each layer's end, then the image's own ID.
PODMANS_PULL = """315afa9ec13e: {0}
0b9c57770f37: {0}
3361c5622ab2: Pulling fs layer
3361c5622ab2: Download complete
3361c5622ab2: Download complete
127.0.0.1:5888/lab/canary:latest
"""


@pytest.mark.parametrize(("state", "moved", "already"), [("Download complete", 2, 0), ("Already exists", 0, 2)])
@pytest.mark.parametrize("digests", [[f"other/name@{digest_of('c')}"], []])
def test_a_pull_of_podmans_service_is_read(script, docker, state, moved, already, digests):
    """The image is not a layer, and its digest in this repository is asked for; None if that is not clear."""
    digests = [*digests, f"127.0.0.1:5888/lab/canary@{digest_of('d')}"] if digests else []
    script.on("pull", NAME, out=PODMANS_PULL.format(state))
    script.on(*INSPECT, NAME, out=described(digest_of("a"), digests=digests))

    answer = docker.pull(NAME, 5)

    assert (answer.moved, answer.already, answer.digest) == (moved, already, digest_of("d") if digests else None)


@pytest.mark.parametrize(
    ("name", "digests", "digest"),
    [
        ("h:5000/a:x", ["h:5000/a@1"], "1"),
        ("h:5000/a@1", ["h:5000/a@1"], "1"),
        ("h:5000/a", ["h:5000/a@1"], "1"),
        ("docker.io/library/a:x", ["a@1"], "1"),
        ("a:x", ["a@1", "b@2"], "1"),
        ("a:x", ["a@1", "a@2"], None),
        ("a:x", [], None),
    ],
)
def test_the_digest_of_an_image_in_a_repository(name, digests, digest):
    """Only one that leaves no doubt."""
    assert Image(digest_of("a"), digests=tuple(digests)).digest_under(name) == digest


def test_a_build_of_podmans_is_known_by_its_bare_id(script, docker, tmp_path):
    """Whichever CLI asked for it."""
    for image_id in (digest_of("a"), "a" * 64):
        argv = ("--quiet", "--no-cache", "--force-rm", "--network", "none", "--tag", NAME, str(tmp_path))
        script.on("build", *argv, out=f"{image_id}\n")

    built = [docker.build(tmp_path, NAME, 5) for _ in range(2)]

    assert [one.image_id for one in built] == [digest_of("a")] * 2
    assert [one.by_podman for one in built] == [False, True]


@pytest.mark.parametrize("cli", CLIS)
def test_a_real_build_push_and_removal_are_read(script, docker, cli, tmp_path):
    """The image's ID, the acknowledged digest and what was deleted come from the lines that say so."""
    argv = ("build", "--quiet", "--no-cache", "--force-rm", "--network", "none", "--tag", NAME, str(tmp_path))
    script.on_real(cli, "build", *argv)
    script.on_real(cli, "push", "push", NAME)
    script.on_real(cli, "rmi_two", "rmi", NAME, "other/name:x")

    built = docker.build(tmp_path, NAME, 5)
    answer = docker.push(NAME, 5)
    gone = docker.rmi((NAME, "other/name:x"), 5)

    assert built.image_id == real_output(cli, "build").stdout.strip()
    assert f"latest: digest: {answer.digest} size: 733" in answer.output
    assert gone.deleted[0] == built.image_id
    assert len(gone.deleted) == 8


def test_platforms_are_named_where_they_are_asked_for(script, docker, tmp_path):
    """An index is built of all at once, and pulled for one."""
    flags = ("--quiet", "--no-cache", "--force-rm", "--platform", "linux/amd64,linux/arm64", "--network", "none")
    script.on("build", *flags, "--tag", NAME, str(tmp_path), out=f"{digest_of('a')}\n")
    script.on("pull", "--platform", "linux/arm64", NAME, out=pulled(digest_of(1)))

    assert docker.build(tmp_path, NAME, 5, PLATFORMS).image_id == digest_of("a")
    assert docker.pull(NAME, 5, "linux/arm64").digest == digest_of(1)


@pytest.mark.parametrize("cli", CLIS)
def test_a_real_removal_of_a_name_alone_deletes_nothing(script, docker, cli):
    """Removing a name is not a deletion."""
    script.on_real(cli, "rmi_only_untags", "rmi", NAME)

    assert docker.rmi((NAME,), 5).deleted == ()


@pytest.mark.parametrize("cli", CLIS)
def test_real_descriptions_are_read_and_missing_images_left_out(script, docker, cli):
    """Of several names, those that exist are described, each under the requested name."""
    held = "registry-monitor-held/x:held"
    script.on_real(cli, "inspect", *INSPECT, NAME, held)
    script.on_real(cli, "inspect_missing", *INSPECT, NAME, held)

    found = docker.find((NAME, held), 5)

    assert found.keys() == {NAME}
    assert found[NAME].tags == (NAME,)
    assert found[NAME].digests[0].startswith("127.0.0.1:5888/lab/canary@sha256:")
    assert found[NAME].labels["registry-monitor.target"] == "lab"
    assert found[NAME].layers == 2
    assert docker.find((NAME, held), 5) == {}


@pytest.mark.parametrize(
    "words",
    [
        "layer does not exist",
        f"content digest {digest_of('d')}: not found",
        f"NotFound: snapshot {digest_of('d')} does not exist: not found",
    ],
)
def test_an_image_that_is_just_being_removed_is_left_out(script, docker, words):
    """Another target's cycle may remove its own between the list and the look at what is on it."""
    said = f"{missing('c')}Error response from daemon: {words}\n"
    script.on(*INSPECT, NAME, "b", "c", out=described(digest_of("a")), err=said, code=1)

    assert docker.find((NAME, "b", "c"), 5) == {NAME: Image(digest_of("a"), tags=(NAME,), layers=1)}


@pytest.mark.parametrize(
    "came_in_between",
    [
        f"content digest {digest_of('a')}: not found",
        f"NotFound: snapshot {digest_of('a')} does not exist: not found",
        f"NotFound: snapshot extract-534813049-Y5Ti {digest_of('a')} does not exist: not found",
        "NotFound: snapshot does not exist: not found",
        "lstat /data/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/17/fs: no such file or directory",
        "layer does not exist",
        "a disk usage operation is already running",
    ],
)
def test_a_list_that_somebody_else_kept_docker_from_is_asked_for_once_more(script, docker, came_in_between):
    """Something was removed or unpacked meanwhile (containerd's store), or two asked for the disk usage (20.10)."""
    script.on(*SWEEP, err=f"Error response from daemon: {came_in_between}\n", code=1, times=2)
    script.on(*SWEEP, out=f"{digest_of('b')}\n")

    assert docker.images_with({"registry-monitor.instance": None}, 5) == (digest_of("b"),)


@pytest.mark.parametrize("refusal", ["page not found", "404 Not Found"])
def test_a_list_that_is_refused_is_asked_for_once(script, docker, refusal):
    """It is by a proxy in front of the engine, and would be each time."""
    script.on(*SWEEP, err=f"Error response from daemon: {refusal}\n", code=1)

    assert failure_of(docker.images_with, {"registry-monitor.instance": None}, 5).failure.scope is Scope.HOST
    assert script.ran == [SWEEP]


NOW = ("info", "--format", "{{.SystemTime}}")


@pytest.mark.parametrize(
    "said", ["2026-11-30T21:48:40.123456789Z", "2026-11-30T22:48:40.1+01:00", "2026-11-30T21:48:40Z"]
)
def test_the_engines_time_is_read(script, docker, said):
    script.on(*NOW, out=f"{said}\n")

    assert docker.now(5) == datetime(2026, 11, 30, 21, 48, 40, tzinfo=UTC)


@pytest.mark.parametrize(("said", "code"), [("", 0), ("now", 0), ("2026-13-41T29:48:40Z", 0), ("", 1)])
def test_an_engine_that_says_no_time_is_a_failure(script, docker, said, code):
    """Some gate in front of it may refuse that."""
    script.on(*NOW, out=f"{said}\n", err="Error response from daemon: 403 Forbidden\n" if code else "", code=code)

    assert failure_of(docker.now, 5).failure.scope is Scope.HOST


def test_a_list_that_docker_never_gives_is_a_failure_by_its_deadline(script, docker):
    script.on(*SWEEP, err="Error response from daemon: a disk usage operation is already running\n", code=1, times=9)

    failure = failure_of(docker.images_with, {"registry-monitor.instance": None}, 0.25).failure

    assert failure.reason is Reason.DAEMON
    assert 1 < len(script.ran) < 9


@pytest.mark.parametrize("cli", CLIS)
def test_real_lists_of_images_are_read(script, docker, cli):
    """The IDs are given in their order, and wanted labels are filters."""
    script.on_real(cli, "images", *SWEEP)
    script.on("images", "--all", "--quiet", "--no-trunc", "--filter", "label=a=b", "--filter", "label=c")

    assert list(docker.images_with({"registry-monitor.instance": None}, 5)) == real_output(cli, "images").stdout.split()
    assert docker.images_with({"a": "b", "c": None}, 5) == ()


@pytest.mark.parametrize("cli", CLIS)
@pytest.mark.parametrize(
    ("run", "argv", "reason", "not_there"),
    [
        ("pull_empty", ("pull", NAME), Reason.NOT_FOUND, True),
        ("pull_nologin", ("pull", NAME), Reason.UNAUTHORIZED, False),
        ("pull_refused", ("pull", NAME), Reason.REFUSED, False),
        ("push_no_daemon", ("push", NAME), Reason.DAEMON, False),
        ("inspect_no_daemon", (*INSPECT, NAME), Reason.DAEMON, False),
        ("version_no_daemon", VERSION, Reason.DAEMON, False),
    ],
)
def test_real_failures_have_their_reason(script, docker, cli, run, argv, reason, not_there):
    """What docker said when it failed is judged, and its last words are the detail, in full."""
    script.on_real(cli, run, *argv)
    calls = {
        "pull": lambda: docker.pull(NAME, 5),
        "push": lambda: docker.push(NAME, 5),
        "image": lambda: docker.find((NAME,), 5),
        "version": lambda: docker.version(5),
    }

    failure = failure_of(calls[argv[0]]).failure

    assert (failure.reason, failure.not_there) == (reason, not_there)
    assert failure.detail in real_output(cli, run).stderr


# What goes wrong.


def test_a_failed_command_tells_how_far_it_came(script, docker):
    """Time, retries and the last lines of both outputs go with the failure, the error at the end."""
    progress = "".join(f"step {number}\n" for number in range(20))
    script.on("pull", NAME, out=progress + "6fda1dc5fc2d: Retrying in 1 second\n\n", err=NOT_THERE, code=1)

    error = failure_of(docker.pull, NAME, 5)

    assert error.answer.seconds == 0.25
    assert error.answer.retries == 1
    assert len(error.answer.output) == OUTPUT_LINES
    assert error.answer.output[-2:] == ("6fda1dc5fc2d: Retrying in 1 second", NOT_THERE.rstrip())
    assert str(error) == error.failure.detail


def test_a_deadline_is_a_timeout_with_the_last_words(script, docker):
    """What docker said before its deadline is not a reason, but is shown."""
    script.on("pull", NAME, out="1a2b3c4d5e6f: Downloading\n", does=hangs)
    script.on("push", NAME, does=hangs)

    spoken, silent = failure_of(docker.pull, NAME, 7).failure, failure_of(docker.push, NAME, 7).failure

    assert spoken.reason is silent.reason is Reason.TIMEOUT
    assert "the last thing that it printed: 1a2b3c4d5e6f: Downloading" in spoken.detail
    assert "it printed nothing" in silent.detail


def test_a_docker_that_somebody_stopped_is_starved():
    """The kernel says that it stood still, so its deadline says nothing about others."""
    completed = Completed(-9, "", "", 5.0, ending=Ending.DEADLINE, was_paused=True)

    failure = failure_of(Docker(lambda _: completed, "docker", {}, Path("/config")).push, NAME, 4).failure

    assert (failure.reason, failure.scope) == (Reason.STARVED, Scope.HOST)
    assert failure.detail.endswith("was ended after 5.0 s; somebody had stopped it meanwhile (SIGSTOP)")


@pytest.mark.parametrize(
    ("states", "waited"),
    [("Preparing Waiting", True), ("Preparing", False), ("Waiting Pushing", False), ("", False)],
)
def test_a_transfer_that_never_began_is_a_timeout_all_the_same(states, waited):
    """That each layer was "Waiting" is kept for code that knows more; it is not a reason."""
    out = "".join(f"1a2b3c4d5e6f: {state}\n" for state in states.split())
    completed = Completed(-15, out, "", 4.0, ending=Ending.DEADLINE)

    error = failure_of(Docker(lambda _: completed, "docker", {}, Path("/config")).push, NAME, 4)

    assert (error.failure.reason, error.only_waited) == (Reason.TIMEOUT, waited)


def test_what_docker_says_once_it_is_told_to_end_is_not_told(script, docker):
    """Newer CLIs then try by themselves, and blame the registry's certificate: nobody should read that."""
    misleading = 'Get "https://127.0.0.1:5888/v2/": tls: failed to verify certificate: x509: unknown authority\n'
    script.on("login", "--username", "monitor", "--password-stdin", HOST, err=misleading, does=hangs)

    error = failure_of(docker.login, HOST, "monitor", Secret(PASSWORD), 4)

    assert error.failure.detail == "docker login passed its deadline, and was ended after 0.2 s; it printed nothing"
    assert error.answer.output == ()


def test_an_error_says_whether_we_ended_the_command(script, docker):
    """What ended by itself, however it failed, is distinguished from what was ended by force."""
    script.on("pull", NAME, does=hangs)
    script.on("pull", NAME, err="context deadline exceeded\n", code=1)
    script.on("pull", NAME, does=is_missing)

    assert [failure_of(docker.pull, NAME, 5).deadline_passed for _ in range(3)] == [True, False, False]


def test_words_of_missing_images_before_a_deadline_are_no_answer(script, docker):
    """A question that was ended half way has found nothing out, whatever it had said until then."""
    script.on(*INSPECT, NAME, "b", err=missing("b"), does=hangs)

    error = failure_of(docker.find, (NAME, "b"), 5)

    assert (error.failure.reason, error.deadline_passed) == (Reason.TIMEOUT, True)


def test_the_cli_names_its_version_without_a_daemon(script, docker):
    """It is asked in the one way that never reaches for the daemon; what does not work is a failure."""
    script.on(*CLIENT_VERSION, out="Docker version 28.2.2, build e6534b4\n")
    docker.client_version(2)
    script.on(*CLIENT_VERSION, does=hangs)
    script.on(*CLIENT_VERSION, code=-9)

    hung, killed = (failure_of(docker.client_version, 2) for _ in range(2))

    assert script.ran == [CLIENT_VERSION] * 3
    assert (hung.deadline_passed, killed.failure.reason) == (True, Reason.CLI)


def test_a_docker_that_can_t_be_started_is_the_hosts_fault(script, docker):
    """CommandError becomes reason cli, with its words."""
    script.on("pull", NAME, does=is_missing)

    failure = failure_of(docker.pull, NAME, 5).failure

    assert (failure.reason, failure.detail) == (Reason.CLI, "docker pull could not be run: docker: not found")


def test_stopped_goes_through(script, docker):
    """If the monitor is being stopped, that is not a failure of docker's."""

    def stops():
        raise Stopped

    script.on("pull", NAME, does=stops)

    with pytest.raises(Stopped):
        docker.pull(NAME, 5)


def test_a_push_without_a_digest_acknowledges_nothing(script, docker):
    """A push that worked, but named no digest, is a failure of the registry's in unknown words."""
    script.on("push", NAME, out="The push refers to repository [x]\n")

    error = failure_of(docker.push, NAME, 5)

    assert error.failure.reason is Reason.UNCLASSIFIED
    assert error.answer.output == ("The push refers to repository [x]",)


BUILDX = ("buildx", "inspect")


def test_buildx_builds_in_the_engine_only(script, docker, tmp_path):
    """Without the engine's own BuildKit it would make one in a container: it is asked first, and nothing is built."""
    docker = replace(docker, builder=BuiltBy.BUILDKIT, with_buildx=True, env={"DOCKER_HOST": "tcp://proxy:2375"})
    script.on(*BUILDX, out="Name:   default\nDriver: docker-container\n\nNodes:\nName: default\n")

    failure = failure_of(docker.build, tmp_path, NAME, 5).failure

    assert script.ran == [BUILDX]
    assert (failure.reason, failure.scope) == (Reason.DAEMON, Scope.HOST)
    assert "tcp://proxy:2375" in failure.detail
    assert "POST /grpc" in failure.detail


def test_buildx_that_can_not_say_where_it_would_build_builds_nothing(script, docker, tmp_path):
    """For example, the engine is away."""
    script.on(*BUILDX, err=NO_DAEMON, code=1)

    failure = failure_of(replace(docker, with_buildx=True).build, tmp_path, NAME, 5).failure

    assert failure.reason is Reason.DAEMON


def test_a_context_can_have_a_name(script, docker, tmp_path):
    """By it, BuildKit says what came from where."""
    script.on(*BUILDX, out="Name:   default\nDriver: docker\n")
    flags = ("--quiet", "--no-cache", "--force-rm", "--network", "none", "--build-context", f"mine={tmp_path}")
    script.on("build", *flags, "--tag", NAME, str(tmp_path), out=f"{digest_of('a')}\n")

    assert replace(docker, with_buildx=True).build(tmp_path, NAME, 5, context_name="mine").image_id == digest_of("a")


def test_a_build_without_an_id_is_a_failed_build(script, docker, tmp_path):
    """A build that worked, but named no image, built nothing that could be pushed."""
    argv = ("build", "--quiet", "--no-cache", "--force-rm", "--network", "none", "--tag", NAME, str(tmp_path))
    script.on(*argv, out="Sending build context\n")

    assert failure_of(docker.build, tmp_path, NAME, 5).failure.reason is Reason.BUILD


def test_a_pull_without_a_digest_has_none(script, docker):
    """What docker did not say is not made up."""
    script.on("pull", NAME, out=pulled(None))

    assert docker.pull(NAME, 5).digest is None


def test_a_layer_that_was_here_is_never_counted_as_moved(script, docker):
    """If an engine says both about one layer, it moved nothing that proves anything."""
    layers = "0123456789ab: Already exists\n0123456789ab: Pull complete\nfedcba987654: Pull complete\n"
    script.on("pull", NAME, out=f"{layers}Status: Downloaded newer image for {NAME}\n")

    answer = docker.pull(NAME, 5)

    assert (answer.moved, answer.already) == (1, 1)


def test_describe_gives_the_image(script, docker):
    """What docker describes is the image; if it says that there is nothing to describe, there is none."""
    script.on(*INSPECT, NAME, out=described(digest_of("a")))
    script.on(*INSPECT, NAME, out="[]\n")

    assert docker.describe(NAME, 5) == Image(digest_of("a"), tags=(NAME,), layers=1)
    assert docker.describe(NAME, 5) is None


def test_describe_fails_where_the_image_is_missing(script, docker):
    """An image that is gone from the host is distinguished from a daemon that does not work."""
    script.on(*INSPECT, NAME, err=missing(NAME), code=1)

    failure = failure_of(docker.describe, NAME, 5).failure

    assert failure.not_there
    assert NAME in failure.detail


NO_DESCRIPTIONS = ["", "?\n", "{", "null\n", "[1]\n", '{"Id": 5}\n', '{"Id": null, "Config": 3}\n']


@pytest.mark.parametrize("text", NO_DESCRIPTIONS)
def test_describe_fails_where_the_description_is_none(script, docker, text):
    """Then nobody knows whose image it is: that is not an answer, and the host's fault."""
    script.on(*INSPECT, NAME, out=text)

    failure = failure_of(docker.describe, NAME, 5).failure

    assert failure.reason is Reason.DAEMON
    assert NAME in failure.detail
    assert not failure.not_there


def test_another_failure_beside_missing_images_is_a_failure(script, docker):
    """Nothing is wrong only if every error says that an image is missing."""
    script.on(*INSPECT, NAME, "b", err=missing("b") + NO_DAEMON, code=1)

    assert failure_of(docker.find, (NAME, "b"), 5).failure.reason is Reason.DAEMON


def test_a_name_that_docker_calls_otherwise_gets_no_image_of_another(script, docker):
    """Docker shortens the names of missing images of its hub: the image that exists is still the one under its name."""
    hub = f"docker.io/acme/canary@{digest_of(3)}"
    script.on(*INSPECT, hub, NAME, out=described(digest_of("a")), err=missing(hub.removeprefix("docker.io/")), code=1)

    assert docker.find((hub, NAME), 5) == {NAME: Image(digest_of("a"), tags=(NAME,), layers=1)}


def engine_of(*held):
    """Return a runner: an engine that holds these descriptions, each beside all that docker finds it by."""

    def engine(command):
        asked = command.argv[len(INSPECT) + 1 :]
        text = "".join(description for name in asked for names, description in held if name in names)
        gone = missing(*(name for name in asked if not any(name in names for names, _ in held)))
        return Completed(1 if gone else 0, text[-TAIL_BYTES:], gone, 0.1)

    return engine


def test_many_images_are_each_found_under_their_own_name(tmp_path):
    """Descriptions of more images than the kept output holds are neither lost nor given to others."""
    ids = [f"sha256:{number:064x}" for number in range(150)]
    engine = engine_of(*(((image_id,), described(image_id, (), layers=100)) for image_id in ids[1::2]))

    found = Docker(engine, "docker", {}, tmp_path).find(ids, 20)

    assert {name: image.image_id for name, image in found.items()} == {name: name for name in ids[1::2]}


@pytest.mark.parametrize(("images", "batches"), [(1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_images_are_looked_for_by_ten(script, docker, images, batches):
    """So that what is kept of an output holds all descriptions; and no command is run for nothing."""
    names = [f"lab/canary:{number}" for number in range(images)]
    for start, size in zip(range(0, images, 10), batches, strict=True):
        some = names[start : start + size]
        script.on(*INSPECT, *some, out="".join(described(digest_of("a"), (name,)) for name in some))

    assert list(docker.find(names, 5)) == names
    assert docker.find((), 5) == {}
    assert [len(argv) - len(INSPECT) for argv in script.ran] == batches


def test_an_image_is_found_by_whatever_it_was_asked_by(tmp_path):
    """By a name, one of the hub in full, a digest, its ID or the beginning of that: each is then the key."""
    asked = ("alpine:3", "docker.io/library/alpine:3", digest_of("a"), "a" * 64, "a" * 12)
    at = f"docker.io/acme/canary@{digest_of(3)}"
    text = described(digest_of("a"), ("alpine:3",), digests=(at.removeprefix("docker.io/"),))
    engine = engine_of(((*asked, at), text))

    found = Docker(engine, "docker", {}, tmp_path).find((*asked, at, "alpine:4", "b" * 12), 5)

    assert found.keys() == {*asked, at}
    assert {image.image_id for image in found.values()} == {digest_of("a")}


@pytest.mark.parametrize(
    "asked",
    ["library/alpine:3", "alpine", "quay.io/alpine:3", "aaa", "A" * 12, f"sha256:{'a' * 12}", "b" * 12, "a" * 65, ""],
)
def test_an_image_is_not_called_by_what_is_none_of_its_names(asked):
    """Neither half a name nor another's, nor what docker does not take as an ID."""
    assert not Image(digest_of("a"), tags=("alpine:3",)).is_called(asked)


def test_an_image_is_found_whatever_its_labels_hold(script, docker):
    """A character in a label that Python takes for a line's end, and docker does not, breaks no description."""
    shape = json.loads(described(digest_of("a")))
    shape["Config"]["Labels"] = {"note": "one\x85two\u2028three"}
    script.on(*INSPECT, NAME, out=json.dumps(shape, ensure_ascii=False) + "\n")

    assert docker.find((NAME,), 5)[NAME].labels == {"note": "one\x85two\u2028three"}


@pytest.mark.parametrize("text", NO_DESCRIPTIONS)
def test_a_description_that_is_none_finds_nothing(script, docker, text):
    """What does not describe an image is passed over."""
    script.on(*INSPECT, NAME, out=text)

    assert docker.find((NAME,), 5) == {}


# docker's own retries.


def countdown(layer, start):
    return [f"{layer}: Retrying in {left} second{'s' if left > 1 else ''}" for left in range(start, 0, -1)]


@given(st.data())
@settings(max_examples=25)
def test_each_countdown_is_one_retry_of_its_layer(data):
    """However the countdowns of several layers interleave, each counts once, whatever else is printed between."""
    layers = [f"{number:012x}" for number in range(data.draw(st.integers(0, 3)))]
    starts = {layer: data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)) for layer in layers}
    queues = [[line for start in starts[layer] for line in countdown(layer, start)] for layer in layers]
    lines = []
    while queues := [queue for queue in queues if queue]:
        lines.append(data.draw(st.sampled_from(queues)).pop(0))
        lines.append(data.draw(st.sampled_from(["", "6fda1dc5fc2d: Preparing", "Retrying in 5 seconds"])))

    completed = Completed(0, "\n".join(lines) + "\n" + pushed(digest_of(1)), "", 1.0)
    answer = Docker(lambda _: completed, "docker", {}, Path("/config")).push(NAME, 5)

    assert answer.retries == sum(map(len, starts.values()))


# Secrets.


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=4, max_size=30).filter(
        lambda text: text not in "<secret>" and not text.isspace()
    )
)
def test_no_form_of_the_password_is_left_in_what_docker_printed(password):
    """A password does not come through, as it is, in a URL, in JSON or in base64, wherever it is."""
    forms = [
        password,
        quote(password, safe=""),
        json.dumps(password)[1:-1],
        json.dumps(password, ensure_ascii=False)[1:-1],  # as Go writes it
        base64.b64encode(password.encode()).decode(),
    ]
    completed = Completed(1, "", "\n".join(forms) + "\n", 1.0)
    docker = Docker(lambda _: completed, "docker", {}, Path("/config")).with_secret(Secret(password))

    error = failure_of(docker.login, HOST, "monitor", Secret(password), 5)

    assert set(error.answer.output) == {"<secret>"}
    assert not any(form in error.failure.detail.replace("<secret>", "") for form in forms)


def test_an_answer_that_worked_is_blanked_as_well(script, docker):
    """A password that docker prints when all is well is not kept either."""
    script.on("pull", NAME, out=f"using {PASSWORD}\n{pulled(digest_of(1))}")

    answer = docker.with_secret(Secret(PASSWORD)).pull(NAME, 5)

    assert "using <secret>" in answer.output
    assert PASSWORD not in str(answer)


def test_removed_names_are_read(script, docker):
    """Each deletion is returned, removed names are not."""
    script.on("rmi", NAME, "other:1", out=removed(digest_of("a"), digest_of("b")))

    assert docker.rmi((NAME, "other:1"), 5).deleted == (digest_of("a"), digest_of("b"))


def test_a_push_tells_its_layers_apart(script, docker):
    """Those that it moved, that the registry mounted, and that the repository had."""
    layers = "0a1b2c3d4e5f: Preparing\n0a1b2c3d4e5f: Pushed\n1a1b2c3d4e5f: Mounted from lab/base\n"
    more = "2a1b2c3d4e5f: Mounted from lab/base\n3a1b2c3d4e5f: Layer already exists\n"
    script.on("push", NAME, out=f"{layers}{more}latest: digest: {digest_of(1)} size: 733\n")

    pushed = docker.push(NAME, 5)

    assert (pushed.digest, pushed.moved, pushed.mounted, pushed.already) == (digest_of(1), 1, 2, 1)


def test_the_repositories_of_all_images_are_listed(script, docker):
    """With what has no name, and podman's names with their registry."""
    script.on(
        *("images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}"),
        out=f"{digest_of('a')} quay.io/acme/canary\n{digest_of('a')} docker.io/library/alpine\n"
        f"{digest_of('b')} <none>\nwarning: words\n",
    )
    assert docker.repositories(5.0) == {
        digest_of("a"): {"quay.io/acme/canary", "alpine"},
        digest_of("b"): {"<none>"},
    }
