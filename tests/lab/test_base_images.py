"""Base images: wherever they come from, the payload is measured, and the base stays its owner's."""

from __future__ import annotations

import json
import re
import urllib.request
from base64 import b64encode

import pytest

from lab.archive import file_system
from lab.direct import DIRECT
from lab.layered import layered_image
from lab.monitor import failed, once
from lab.registry import Registry
from lab.storage import Storage
from lab.target import PASSWORD, USER, login, path_of

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
SMALL = "-payload-size=64KiB"


@pytest.fixture
def logged_in(engine, registry):
    """The engine's user is logged in to the registry."""
    engine.docker("login", "--username", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
    yield
    engine.docker("logout", registry.host)


@pytest.fixture
def put_base(engine, logged_in):
    """Given a name, push a base image to it, leave none on the host, and return its digest."""

    def put(name, *changes):
        engine.docker("import", *changes, "-", name, stdin=file_system(name))
        told = engine.docker("push", name).stdout
        engine.docker("rmi", name)
        return re.search(r"digest: (\S+)", told)[1]

    return put


@pytest.fixture
def open_registry(session_lab, tmp_path):
    """A registry without users."""
    with Registry(tmp_path / "open") as registry:
        yield registry


def request(registry, path, method="GET", body=None, content_type=MANIFEST):
    """Ask the registry's API as USER; return the body of the answer."""
    who = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {who}", "Accept": content_type, "Content-Type": content_type}
    asked = urllib.request.Request(f"http://{registry.host}/v2/{path}", body, headers, method=method)
    with DIRECT.open(asked, timeout=5) as answer:
        return answer.read()


def architecture(engine):
    """Return the engine's own, in docker's words."""
    return engine.docker("version", "--format={{.Server.Arch}}").stdout.strip()


def local(engine, *names):
    """Return which of these images are on the host; they are removed now."""
    found = [name for name in names if engine.docker("inspect", name, check=False).returncode == 0]
    for name in found:
        engine.docker("rmi", name, check=False)  # the one before can have been the last that kept it
    return found


def test_a_base_by_digest(engine, registry, repository, put_base, tmp_path):
    """It is pulled and built on under its digest. The test image does not have the base's requests to a registry."""
    name = f"{registry.host}/tests/base-by-digest"
    changes = ("--change=LABEL quay.expires-after=1h maintainer=somebody", "--change=LABEL registry-monitor.kind=x")
    base = f"{name}@{put_base(f'{name}:1', *changes)}"
    config = tmp_path / "config.yml"
    config.write_text("image-labels: {maintainer: me}")

    more = (f"-base-image={base}", f"-config={config}")
    code, (cycle,), _ = once(engine, *login(repository), SMALL, *more)

    assert (code, cycle["verdict"]) == (0, "up"), cycle["detail"]
    assert local(engine, base) == [base]
    labels = Storage(registry, repository).labels("latest")
    assert (labels["quay.expires-after"], labels["registry-monitor.kind"], labels["maintainer"]) == ("", "", "me")


def test_a_base_by_digest_in_the_repository_itself(engine, repository, put_base):
    """`base-layer-id` takes the digest of an image in the repository that is not on the host as the base."""
    digest = put_base(f"{repository}:base")

    code, (cycle,), _ = once(engine, *login(repository), SMALL, f"-base-layer-id={digest}")

    assert (code, cycle["verdict"]) == (0, "up")
    assert local(engine, f"{repository}@{digest}") == [f"{repository}@{digest}"]
    assert engine.docker("images", "--quiet", "registry-monitor-base/*").stdout == ""


def test_a_public_base_of_another_registry(engine, open_registry, repository, put_base):
    """It is pulled without the target's login."""
    base = f"{open_registry.host}/tests/base:1"
    put_base(base)

    code, (cycle,), _ = once(engine, *login(repository), SMALL, f"-base-image={base}", "-public-base")

    assert (code, cycle["verdict"]) == (0, "up")
    assert open_registry.blobs_got("tests/base")
    assert local(engine, base) == [base]


def test_a_base_that_is_not_public_is_no_public_base(engine, registry, open_registry, put_base):
    """Pulled without credentials it is refused: `unknown`, since the monitored registry is a different one."""
    base = f"{registry.host}/tests/private-base:1"
    put_base(base)

    options = (f"-repository={open_registry.host}/tests/canary", f"-base-image={base}", "-public-base")
    code, (cycle,), _ = once(engine, *options)

    assert (code, *failed(cycle)) == (3, "base", "base_image", "dependency")
    assert local(engine, base) == []


def test_a_base_for_many_platforms(engine, registry, repository, put_base):
    """With an index, the build is on the image of the engine's own platform, by its tag and by the index's digest."""
    name = f"{registry.host}/tests/many-platforms"
    path = path_of(name)
    manifests = []
    for processor in (architecture(engine), "s390x"):
        digest = put_base(f"{name}:{processor}")
        size = len(request(registry, f"{path}/manifests/{digest}"))
        platform = {"os": "linux", "architecture": processor}
        manifests.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform})
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
    request(registry, f"{path}/manifests/both", "PUT", index, INDEX)

    by_tag = once(engine, *login(repository), SMALL, f"-base-image={name}:both")[1][0]
    (by_digest,) = re.findall(
        r"\S+@sha256:\S+", engine.docker("inspect", "--format={{join .RepoDigests ` `}}", f"{name}:both").stdout
    )
    again = once(engine, *login(repository), SMALL, f"-base-image={by_digest}")[1][0]

    assert (by_tag["verdict"], again["verdict"]) == ("up", "up")
    assert by_digest.partition("@")[2] not in [manifest["digest"] for manifest in manifests]
    assert local(engine, f"{name}:both", by_digest) == [f"{name}:both", by_digest]


def test_a_base_that_disappears_is_told_and_comes_back(engine, open_registry, repository, put_base):
    """Even if the host still has it: a failed pull is reported, and is not the monitored registry's fault."""
    base = f"{open_registry.host}/tests/disappearing:1"
    put_base(base)
    options = (*login(repository), SMALL, f"-base-image={base}", "-public-base")

    before = once(engine, *options)[0]
    open_registry.delete_tag("tests/disappearing", "1")
    code, (without,), _ = once(engine, *options)
    kept = local(engine, base)
    put_base(base)
    after = once(engine, *options)[0]

    assert (before, after) == (0, 0)
    assert (code, *failed(without)) == (3, "base", "base_image", "dependency")
    assert kept == [base]
    assert local(engine, base) == [base]


@pytest.mark.everything
def test_a_base_of_a_hundred_layers(engine, registry, repository, logged_in):
    """The base's layers are mounted once, and then there; each cycle's push and pull back move only the payload."""
    base = f"{registry.host}/tests/hundred-layers:1"
    engine.docker("load", stdin=layered_image(base, 100, architecture(engine)))
    engine.docker("push", base)
    options = (*login(repository), SMALL, f"-base-image={base}")

    cycles, told, put, got = [], [], [], []
    for _ in range(2):
        _, (cycle,), log = once(engine, *options, "-log-format=json", "-loglevel=debug")
        cycles.append(cycle)
        told += [event for event in map(json.loads, log.splitlines()) if "layers_moved" in event]
        put.append(registry.blobs_put(path_of(repository)))
        got.append(registry.blobs_got(path_of(repository)))

    assert [cycle["verdict"] for cycle in cycles] == ["up", "up"]
    assert len(set(put[0])) == 100 + 2  # mounted, or the payload and the image's configuration
    assert len(put[1]) - len(put[0]) == 2
    assert set(got[1]) <= set(put[1]) - set(registry.blobs_put("tests/hundred-layers"))
    moves = [(event["layers_moved"], event["layers_mounted"], event["layers_already_there"]) for event in told]
    assert moves == [(1, 100, 0), (1, 0, 100)]
    assert local(engine, base) == [base]
