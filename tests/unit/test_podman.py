"""Podman in docker's place: asked by whole names, and what podman 4.3 and 5.4 really printed is read as docker's is."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from lib.docker import BuiltBy, Docker, DockerError
from lib.docker.podman import PODMAN
from lib.failure import Reason
from lib.secret import Secret
from tests.unit.support import HOST, INSPECT, NAME, Script, digest_of

ID, DIGEST = digest_of("a"), digest_of(1)
BARE = ID.removeprefix("sha256:")
STORE = ("info", "--format", "{{.Store.GraphRoot}}/{{.Store.GraphDriverName}}")
LATER = datetime(2026, 12, 1, 4, tzinfo=UTC)
HELD = "registry-monitor-held/x:held"
WHOLE_HELD = f"docker.io/{HELD}"

#: What podman 5.4 says before anything else, on a host with old control groups.
WARNING = (
    'time="2026-11-24T14:08:18Z" level=warning msg="Using cgroups-v1 which is deprecated in favor of cgroups-v2"\n'
)

ONE, OTHER = "1c9525b424fd" + "0" * 52, "eab733dc8e96" + "1" * 52


def logged(message):
    return f'time="2026-11-24T13:59:05Z" level=debug msg="{message}"\n'


def copied(*layers, downloaded=(), config=BARE):
    """Return what a pull prints with its debug log: the configuration is downloaded, too, and is not a layer."""
    lines = [WARNING, logged("Called pull.PersistentPreRunE"), f"Trying to pull {NAME}...\n"]
    lines += [logged(f"Downloading /v2/lab/canary/blobs/sha256:{config}"), "Getting image source signatures\n"]
    for layer in layers:
        lines.append(f"Copying blob sha256:{layer}\n")
        if layer in downloaded:
            lines.append(logged(f"Downloading /v2/lab/canary/blobs/sha256:{layer}"))
            lines.append(logged(f"GET http://{HOST}/v2/lab/canary/blobs/sha256:{layer}"))
    return "".join([*lines, f"Copying config sha256:{config}\n", "Writing manifest to image destination\n"])


def described(*names, labels=None):
    shape = {"Id": BARE, "Digest": DIGEST, "RepoTags": list(names), "Config": {"Labels": labels}, "RootFS": {}}
    return json.dumps([shape], indent=5) + "\n"


@pytest.fixture
def script(fp):
    return Script(fp)


@pytest.fixture
def podman(script, tmp_path):
    return Docker(script.runner, "docker", {"PATH": "/bin"}, tmp_path, PODMAN, builder=BuiltBy.BUILDAH)


@pytest.mark.parametrize(("downloaded", "moved", "already"), [((ONE, OTHER), 2, 0), ((ONE,), 1, 1), ((), 0, 2)])
def test_a_pull_tells_what_was_downloaded_from_what_was_there(script, podman, downloaded, moved, already):
    """Without its debug log podman prints the same, whether a layer came over the network or was there."""
    script.on("--log-level=debug", "pull", NAME, out=f"{BARE}\n", err=copied(ONE, OTHER, downloaded=downloaded))
    script.on("image", "inspect", "--format", "{{.Digest}}", NAME, out=f"{DIGEST}\n")

    pulled = podman.pull(NAME, 5)

    assert (pulled.digest, pulled.moved, pulled.already) == (DIGEST, moved, already)
    assert not any("level=" in line for line in pulled.output)


def test_a_pull_for_a_platform_names_it(script, podman):
    script.on("--log-level=debug", "pull", "--platform", "linux/arm64", NAME, err=copied(ONE, downloaded=(ONE,)))
    script.on("image", "inspect", "--format", "{{.Digest}}", NAME, out=f"{DIGEST}\n")

    assert podman.pull(NAME, 5, "linux/arm64").moved == 1


def test_a_pull_that_fails_is_judged_by_its_error(script, podman):
    """What it logged before is not an error."""
    error = (
        f"Error: initializing source docker://{NAME}: reading manifest latest in {HOST}/lab/canary: manifest unknown\n"
    )
    script.on("--log-level=debug", "pull", NAME, err=WARNING + logged("Ping https: timeout") + error, code=125)

    with pytest.raises(DockerError) as raised:
        podman.pull(NAME, 5)

    assert (raised.value.failure.reason, raised.value.failure.not_there) == (Reason.NOT_FOUND, True)
    assert raised.value.answer.output == (error.strip(),)


def test_a_push_notes_the_digest(script, podman, tmp_path):
    """Podman prints none."""
    note = tmp_path / "pushed-digest"
    script.on("push", "--digestfile", str(note), NAME, does=lambda: note.write_text(DIGEST))

    assert podman.push(NAME, 5).digest == DIGEST
    assert not note.exists()


def test_a_push_without_a_digest_is_none(script, podman, tmp_path):
    """A digest of before must not be taken for this one's."""
    script.on("push", "--digestfile", str(tmp_path / "pushed-digest"), NAME)

    with pytest.raises(DockerError, match="noted no digest"):
        podman.push(NAME, 5)


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("alpine:3", "docker.io/library/alpine:3"),
        ("acme/canary", "docker.io/acme/canary"),
        ("quay.io/acme/canary:1", "quay.io/acme/canary:1"),
        ("localhost/x:1", "localhost/x:1"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x"),
        (ID, ID),
        ("abcdef123456", "abcdef123456"),
        ("scratch", "scratch"),
    ],
)
def test_names_are_whole(podman, name, whole):
    """For a short name podman would look up in its configuration which registry's is meant."""
    assert podman.whole_name(name) == whole


def test_every_verb_takes_whole_names(script, podman, tmp_path):
    """And what podman prints is read as docker's: an ID with its algorithm."""
    flags = ("--quiet", "--no-cache", "--force-rm", "--network", "none")
    script.on("build", *flags, "--tag", "docker.io/acme/x:1", str(tmp_path), out=f"{BARE}\n")
    script.on("tag", ID, WHOLE_HELD)
    script.on("rmi", WHOLE_HELD, out=f"Untagged: {WHOLE_HELD}\nDeleted: {BARE}\n", err=WARNING)

    assert podman.build(tmp_path, "acme/x:1", 5).image_id == ID
    podman.tag(ID, HELD, 5)
    assert podman.rmi((HELD,), 5).deleted == (ID,)


HOLDER = "a0c96b1e833e608daad3f60c8d2b1b8d957599dc4c7c839f4dfba8b2c78e32f5"
LISTED = ("ps", "--all", "--external", "--no-trunc", "--format", "{{.ID}} {{.Status}}")
#: What podman 4.3 says.
HELD_BY = (
    f"Error: image used by {HOLDER}: image is in use by a container: consider listing external containers and "
    "force-removing image\n"
)


def test_what_a_build_that_was_ended_by_force_worked_in_goes_with_its_image(script, podman):
    script.on("rmi", ID, err=HELD_BY, code=2)
    script.on(*LISTED, out=f"{ONE} Exited (0) 2 hours ago\n{HOLDER} Storage\n")
    script.on("rm", "--force", HOLDER, out=f"{HOLDER}\n")
    script.on("rmi", ID, out=f"Deleted: {BARE}\n")

    assert podman.remove_ours((ID,), 5).deleted == (ID,)


@pytest.mark.parametrize("listed", [f"{HOLDER} Exited (0) 2 hours ago\n", f"{ONE} Storage\n", ""])
def test_a_container_of_a_users_stays_and_so_does_the_image(script, podman, listed):
    script.on("rmi", ID, err=HELD_BY, code=2)
    script.on(*LISTED, out=listed)

    with pytest.raises(DockerError) as raised:
        podman.remove_ours((ID,), 5)

    assert raised.value.failure.reason is Reason.IN_USE
    assert [argv[0] for argv in script.ran] == ["rmi", "ps"]


def test_a_container_that_does_not_go_is_tried_once(script, podman):
    script.on("rmi", ID, err=HELD_BY, code=2, times=2)
    script.on(*LISTED, out=f"{HOLDER} Storage\n")
    script.on("rm", "--force", HOLDER, out=f"{HOLDER}\n")

    with pytest.raises(DockerError):
        podman.remove_ours((ID,), 5)


def test_images_are_found_by_the_names_that_were_asked(script, podman):
    """A missing one is not a failure, in the words of either release."""
    script.on(
        *INSPECT,
        NAME,
        WHOLE_HELD,
        out=described(NAME),
        err=f"Error: inspecting object: {WHOLE_HELD}: image not known\n",
        code=125,
    )
    script.on(
        *INSPECT,
        NAME,
        WHOLE_HELD,
        out="[]\n",
        err=f"{WARNING}Error: {NAME}: image not known\n{WHOLE_HELD}: image not known\n",
        code=125,
    )
    script.on(*INSPECT, WHOLE_HELD, out=described(NAME, WHOLE_HELD, labels={"a": "b"}))

    found = podman.find((NAME, HELD), 5)

    assert (found.keys(), found[NAME].image_id) == ({NAME}, ID)
    assert podman.find((NAME, HELD), 5) == {}
    assert podman.find((HELD,), 5)[HELD].tags == (NAME, HELD)


def test_it_is_described_as_docker_would(script, podman):
    """With the same attributes."""
    script.on(*INSPECT, NAME, out=described(NAME, labels={"a": "b"}))

    image = podman.describe(NAME, 5)

    assert (image.image_id, image.tags, image.labels) == (ID, (NAME,), {"a": "b"})


def test_its_logins_are_in_the_private_folder(script, podman, tmp_path):
    """It would read and write the user's own otherwise."""
    script.on("login", "--username", "me", "--password-stdin", HOST, out="Login Succeeded!\n")

    podman.login(HOST, "me", Secret("word"), 5)

    (command,) = script.runner.commands
    assert command.env["REGISTRY_AUTH_FILE"] == str(tmp_path / "config.json")


def test_it_is_its_own_server(script, podman):
    """There is no daemon whose version could differ."""
    script.on("version", "--format", "{{.Client.Version}}", out="5.4.2\n", err=WARNING)
    script.on("info", "--format", "{{.Store.GraphDriverName}}", out="overlay\n")

    assert podman.version(5) == ("podman 5.4.2", "podman 5.4.2")
    assert podman.store(5) == "containers/storage (overlay)"
    assert abs(podman.now(5) - datetime.now(UTC)) < timedelta(minutes=1)


def _id(mark):
    return 64 * mark


def test_an_image_without_a_manifest_was_not_written_to_its_end(script, podman, tmp_path):
    """As the lists of podman 4.3 and 5.4 have such ones; of one that was pulled, with when it was built."""
    images = [
        {"id": _id("a"), "created": "2026-12-01T03:27:32.334550994Z"},
        {"id": _id("b"), "created": "2026-12-01T03:29:17.412233055Z", "big-data-names": ["sha256:b"]},
        {
            "id": _id("c"),
            "created": "2026-12-01T03:30:00Z",
            "big-data-names": ["sha256:c", "manifest-sha256:d", "manifest"],
        },
        {"id": _id("e"), "created": "2026-11-30T03:30:00Z"},
        {"id": "--all", "created": "2026-12-01T03:27:32.334550994Z"},
    ]
    (tmp_path / "overlay-images").mkdir()
    (tmp_path / "overlay-images/images.json").write_text(json.dumps(images))
    pulled = tmp_path / "overlay-images" / _id("e")
    pulled.mkdir()
    os.utime(pulled, (LATER.timestamp(), LATER.timestamp()))
    script.on(*STORE, out=f"{tmp_path}/overlay\n", err=WARNING)

    assert podman.unfinished(5) == {
        _id("a"): datetime(2026, 12, 1, 3, 27, 32, 334550, UTC),
        _id("b"): datetime(2026, 12, 1, 3, 29, 17, 412233, UTC),
        _id("e"): LATER,
    }


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", "[{}]", '[{"id": "a", "created": 1}]'])
def test_a_list_that_cant_be_read_names_none(script, podman, tmp_path, text):
    """It is on another host, or of a podman yet to come."""
    if text is not None:
        (tmp_path / "overlay-images").mkdir()
        (tmp_path / "overlay-images/images.json").write_text(text)
    script.on(*STORE, out=f"{tmp_path}/overlay\n")

    assert podman.unfinished(5) == {}


def test_what_builds_worked_in_goes_by_their_mark(script, podman, tmp_path):
    for container, hosts in {"a": ["ours:127.0.0.1"], "b": ["theirs:127.0.0.1"], "c": ["x.ours:127.0.0.1"]}.items():
        note = tmp_path / "overlay-containers" / _id(container) / "userdata/buildah.json"
        note.parent.mkdir(parents=True)
        note.write_text(json.dumps({"CommonBuildOpts": {"AddHost": hosts}}))
    script.on(*STORE, out=f"{tmp_path}/overlay\n", err=WARNING)
    script.on("rm", "--force", _id("a"))

    podman.remove_marked(["ours", "others"], 5)

    assert script.ran[1:] == [("rm", "--force", _id("a"))]
    assert podman.marked("ours").build_flags[-2:] == ("--add-host", "ours:127.0.0.1")


def test_docker_ends_what_it_began(script, tmp_path):
    docker = Docker(script.runner, "docker", {}, tmp_path)

    docker.remove_marked(["ours"], 5)

    assert docker.unfinished(5) == {}
    assert docker.marked("ours") == docker
