"""The payload has the size that was asked for, is new each time, and its labels say whose it is, whatever the name."""

import errno
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.cycle.payload import (
    CREATED_LABEL,
    INSTANCE_LABEL,
    MARKED_BYTES,
    TARGET_LABEL,
    TOKEN_LABEL,
    Labels,
    Marks,
    instance_in,
    write_context,
)
from tests.unit.support import labels_in, labels_of

ROOT = Path(__file__).parents[2]

#: What a target's name may hold: anything but control characters and halves of surrogate pairs.
names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  bounds of it


def written(folder, *, base="scratch", layers=1, size=10, labels=None):
    """Write a context, and return the lines of its Dockerfile."""
    write_context(folder, base, layers, size, labels or labels_of())
    return (folder / "Dockerfile").read_text(encoding="utf-8").rstrip("\n").split("\n")


def test_the_dockerfile_takes_the_base_then_the_labels_then_one_layer_after_the_other(tmp_path):
    """The labels come first, so that intermediate images carry them too and can be found when a build is cut off."""
    labels = (
        '"registry-monitor.target"="lab" "registry-monitor.instance"="me" "registry-monitor.token"="token"'
        ' "registry-monitor.created"="2026-11-24T08:30:00.120000Z"'
    )

    assert written(tmp_path, base="alpine:3", layers=2) == [
        "FROM alpine:3",
        f"LABEL {labels}",
        "COPY payload-0 /registry-monitor/me/token/payload-0",
        "COPY payload-1 /registry-monitor/me/token/payload-1",
    ]


def test_the_images_of_an_index_share_no_layer(tmp_path):
    """The builder names the platform: the same bytes have a name of their own in each."""
    write_context(tmp_path, "scratch", 1, 10, labels_of(), is_index=True)

    lines = (tmp_path / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("LABEL")] == [
        "FROM scratch",
        "ARG TARGETARCH",
        "COPY payload-0 /registry-monitor/me/token/payload-0-$TARGETARCH",
    ]


@given(size=st.integers(1, 50_000), layers=st.integers(1, 30))
@settings(max_examples=25)
def test_the_shares_sum_up_and_differ_by_one_byte_at_most(tmp_path_factory, size, layers):
    """Whatever the size, the layers together hold it, evenly, one file a layer and nothing else."""
    folder = tmp_path_factory.mktemp("context")

    lines = written(folder, layers=layers, size=size)

    files = sorted(path for path in folder.iterdir() if path.name != "Dockerfile")
    shares = [path.stat().st_size for path in files]
    assert sum(shares) == size
    assert max(shares) - min(shares) <= 1
    assert len(shares) == layers == sum(line.startswith("COPY ") for line in lines)


def test_a_payload_of_many_chunks_has_its_size(tmp_path):
    """What is larger than one read of the random source is written whole."""
    written(tmp_path, size=3 * 1024 * 1024 + 7)

    assert (tmp_path / "payload-0").stat().st_size == 3 * 1024 * 1024 + 7


def test_no_two_payloads_are_the_same(tmp_path):
    """Each layer of each cycle is new to every registry and engine; otherwise nothing would have to be moved."""
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        written(tmp_path / str(number), layers=2, size=64)

    assert len({path.read_bytes() for path in tmp_path.glob("*/payload-*")}) == 4


@given(target=names, token=names)
@settings(max_examples=50)
def test_any_name_comes_back_from_the_dockerfile(tmp_path_factory, target, token):
    """Quotes, backslashes, dollars and letters of any language reach the image as they are."""
    labels = Labels(target, "me", token, datetime(2026, 11, 24, tzinfo=UTC))

    lines = written(tmp_path_factory.mktemp("context"), labels=labels)

    assert labels_in("\n".join(lines)) == labels.to_dict()
    assert [line.split(" ")[0] for line in lines] == ["FROM", "LABEL", "COPY"]  # no image has only some of them


@pytest.mark.parametrize("name", ['a"b', "a\\", '\\"', "$HOME", "${HOME}x", "é✓\u2028x", "'", "a b  c ", "#x", "a=b"])
def test_names_that_a_real_docker_gave_back_are_written_for_it(tmp_path, name):
    """Images with these, built with docker 28.2.2, gave them back: this reading of Dockerfiles agrees."""
    lines = written(tmp_path, labels=labels_of(target=name))

    assert labels_in("\n".join(lines))[TARGET_LABEL] == name


@given(target=names, created=moments, kind=st.sampled_from(["", "index"]))
def test_labels_come_back_from_an_image(target, created, kind):
    """What an image says about itself is exactly what it was given, to the microsecond."""
    labels = Labels(target, "me", "token", created, kind)

    assert Labels.from_dict(labels.to_dict()) == labels


def test_created_is_utc_in_rfc_3339():
    """The moment is written in UTC, from whichever time zone."""
    created = datetime(2026, 11, 24, 9, 30, tzinfo=timezone(timedelta(hours=1)))

    assert labels_of(created=created).to_dict()[CREATED_LABEL] == "2026-11-24T08:30:00.000000Z"


@pytest.mark.parametrize("name", [TARGET_LABEL, INSTANCE_LABEL, TOKEN_LABEL, CREATED_LABEL])
def test_an_image_without_one_of_the_labels_is_nobodys(name):
    """Only an image with all four labels is a monitor's."""
    labels = labels_of().to_dict()
    del labels[name]

    assert Labels.from_dict(labels) is None


@pytest.mark.parametrize("created", ["", "yesterday", "2026-11-24", "2026-11-24T08:30:00"])
def test_an_image_that_says_no_moment_is_nobodys(created):
    """With a moment that can't be compared, for example without a time zone, an image is not a monitor's."""
    assert Labels.from_dict(labels_of().to_dict() | {CREATED_LABEL: created}) is None


@given(st.dictionaries(st.sampled_from([TARGET_LABEL, INSTANCE_LABEL, TOKEN_LABEL, CREATED_LABEL]), st.text()))
def test_any_labels_of_anybodys_are_read_without_a_fault(labels):
    """An image's labels are whatever somebody wrote: reading them never raises."""
    found = Labels.from_dict(labels)

    assert found is None or found.created.tzinfo is not None


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    """What the disk refuses is an OSError, for the build step to judge."""

    def full(size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lib.cycle.payload.os.urandom", full)

    with pytest.raises(OSError, match="No space left"):
        written(tmp_path)


def test_the_dockerfile_is_utf_8_whatever_the_locale(tmp_path):
    """Docker reads UTF-8, so its encoding is named, and not left to the locale of the monitor."""
    write = "import datetime, pathlib, sys\nfrom lib.cycle.payload import Labels, write_context\n"
    write += "labels = Labels('é✓', 'me', 'token', datetime.datetime.now(datetime.UTC))\n"
    write += "write_context(pathlib.Path(sys.argv[1]), 'scratch', 1, 10, labels)\n"
    options = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning:lib.cycle.payload"]

    subprocess.run([sys.executable, *options, "-c", write, str(tmp_path)], cwd=ROOT, check=True)

    assert '"é✓"' in (tmp_path / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("marks", Marks)
def test_a_context_knows_what_it_holds(tmp_path, marks):
    """BuildKit's records are recognised by a size or a name, of which the image itself has nothing."""
    context = write_context(tmp_path, "scratch", 2, 1001, labels_of(), marks)

    def size(name):
        path = tmp_path / name
        return path.stat().st_size if path.exists() else 0

    assert context.folder == "/registry-monitor/me/token/"
    assert context.layer_bytes == (size("payload-0"), size("payload-1")) == (501, 500)
    assert context.name == ("registry-monitor-me-token" if marks is Marks.NAME else "")
    lines = (tmp_path / "Dockerfile").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["FROM", "LABEL", "COPY", "COPY"]
    read_first = size("Dockerfile") + size("Dockerfile.dockerignore")
    assert read_first == (size("Dockerfile") if marks is Marks.NONE else MARKED_BYTES)
    assert size(".dockerignore") == (MARKED_BYTES if marks is Marks.SIZE else 0)


def test_nothing_is_ignored_for_the_marks(tmp_path):
    """Each line of them is a comment, and none is too long for docker to read."""
    write_context(tmp_path, "scratch", 2, 1001, labels_of(), Marks.SIZE)

    for name in ("Dockerfile.dockerignore", ".dockerignore"):
        lines = (tmp_path / name).read_text().splitlines()
        assert all(line.startswith("#") and len(line) < 100 for line in lines)


@pytest.mark.parametrize(
    ("text", "instance"),
    [
        (f"[1/1] COPY payload-0 /registry-monitor/{'a' * 32}/{'b' * 32}/payload-0", "a" * 32),
        (f"local source for registry-monitor-{'a' * 32}-{'b' * 32}", "a" * 32),
        (
            f"COPY --from=registry-monitor-{'a' * 32}-{'b' * 32} x /registry-monitor/{'c' * 32}/{'d' * 32}/payload-0",
            "c" * 32,
        ),
        (f"COPY payload-0 /registry-monitor/{'a' * 32}/{'b' * 32}/other", None),
        (f"local source for registry-monitor-{'a' * 32}-{'b' * 32}-mine", None),
        ("COPY . /opt/registry-monitor/", None),
        ("", None),
    ],
)
def test_a_payload_tells_whose_it_is(text, instance):
    """By its path or the name of its context, and only by the whole of it."""
    assert instance_in(text) == instance
