"""References: the distribution project's own cases, what the messages say, and properties over any text."""

# ruff: noqa: E501  the messages stand whole

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.reference import (
    COMPONENT,
    DOMAIN,
    TAG,
    Reference,
    parse_digest,
    parse_host,
    parse_reference,
    parse_repository,
    parse_tag,
    same_host,
)

HEX64 = "dbcc1c35ac38df41fd2f5e4130b32ffdb93ebae8b3dbe638c23575912276fc9c"
SHA256 = f"sha256:{HEX64}"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04", "ubuntu:22.04"),
        ("library/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("index.docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
        ("acme/canary", "docker.io/acme/canary:latest", "acme/canary:latest"),
        ("index.docker.io/acme/canary", "docker.io/acme/canary:latest", "acme/canary:latest"),
        ("library/foo/bar", "docker.io/library/foo/bar:latest", "library/foo/bar:latest"),
        ("test_com/foo", "docker.io/test_com/foo:latest", "test_com/foo:latest"),
        ("192.168.0.1:80", "docker.io/library/192.168.0.1:80", "192.168.0.1:80"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080", "foo_bar.com:8080"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("host:5000/x", "host:5000/x:latest", "host:5000/x:latest"),
        ("host:5000/x:5050", "host:5000/x:5050", "host:5000/x:5050"),
        ("[::1]:5000/x:tag", "[::1]:5000/x:tag", "[::1]:5000/x:tag"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x:latest", "[2001:db8::1]/x:latest"),
        ("FOO/bar", "FOO/bar:latest", "FOO/bar:latest"),
        ("xn--n3h.com/foo", "xn--n3h.com/foo:latest", "xn--n3h.com/foo:latest"),
        ("quay.io/a/b-c/d__e.f", "quay.io/a/b-c/d__e.f:latest", "quay.io/a/b-c/d__e.f:latest"),
        ("docker---rules/docker", "docker.io/docker---rules/docker:latest", "docker---rules/docker:latest"),
        (f"redis@{SHA256}", f"docker.io/library/redis@{SHA256}", f"redis@{SHA256}"),
        (f"q.io/r:t@{SHA256}", f"q.io/r:t@{SHA256}", f"q.io/r:t@{SHA256}"),
        (f"docker.io/{HEX64}", f"docker.io/library/{HEX64}:latest", f"{HEX64}:latest"),
    ],
)
def test_names_are_completed_and_shortened_as_docker_does(text, full, familiar):
    reference = parse_reference(text)

    assert (str(reference), reference.familiar) == (full, familiar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the name is missing"),
        (
            "quay.io/acme/canary\n",
            r"'quay.io/acme/canary\n' has a space, a line end or another character that no name may have",
        ),
        ("quay.io/acmé/x", r"'quay.io/acm\xe9/x' has a space, a line end or another character that no name may have"),
        ("quay.io/a\u0661", r"'quay.io/a\u0661' has a space, a line end or another character that no name may have"),
        ("--privileged", "'--privileged' begins with a dash"),
        ("-quay.io/x", "'-quay.io/x' begins with a dash"),
        ("https://quay.io/x", "'https://quay.io/x' has a scheme: leave out everything up to ://"),
        ("quay.io/Acme/x", "'quay.io/Acme/x' has upper case: a repository's name is lower case"),
        ("Ubuntu", "'Ubuntu' has upper case: a repository's name is lower case"),
        ("quay.io/", "'quay.io/' names a host without a repository"),
        (
            "[::1]:5000",
            "'[::1]:5000' is not an image name: '[' in it is not made of a-z 0-9, with single . or _ or __ or dashes between them",
        ),
        (
            "docker.io/acme///x",
            "'docker.io/acme///x' is not an image name: '' in it is not made of a-z 0-9, with single . or _ or __ or dashes between them",
        ),
        (
            "dock_.er/docker",
            "'dock_.er' is not a registry host: write a name, an IPv4 address or an [IPv6] address, and :PORT",
        ),
        (
            "acme-/x",
            "'acme-/x' is not an image name: 'acme-' in it is not made of a-z 0-9, with single . or _ or __ or dashes between them",
        ),
        (
            "[fe80::1%eth0]:5000/x",
            "'[fe80::1%eth0]:5000' is not a registry host: write a name, an IPv4 address or an [IPv6] address, and :PORT",
        ),
        ("host:99999/x", "'host:99999' has an impossible port: 1 to 65535"),
        ("host:0/x", "'host:0' has an impossible port: 1 to 65535"),
        (f"host:{'9' * 80}/x", f"'host:{'9' * 80}' has an impossible port: 1 to 65535"),
        ("quay.io/x:", "the tag is missing"),
        (
            "quay.io/x:-t",
            "'-t' is not a tag: at most 128 of the characters A-Z a-z 0-9 _ . -, the first of them neither . nor -",
        ),
        ("quay.io/x@", "'' is not a digest: write sha256: and 64 of the digits 0-9 a-f"),
        ("quay.io/x@sha256:abc", "'sha256:abc' is not a digest: write sha256: and 64 of the digits 0-9 a-f"),
        (f"quay.io/x@sha257:{HEX64}", f"'sha257:{HEX64}' is not a digest: write sha256: and 64 of the digits 0-9 a-f"),
        (HEX64, f"'{HEX64}' is an image's ID, not its name"),
        (
            "quay.io/" + "a/" * 130 + "a",
            "'quay.io/" + "a/" * 46 + "...' is too long: a repository's full name has at most 255 characters",
        ),
    ],
)
def test_a_bad_name_is_refused_with_what_is_wrong_and_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_reference(text)


def test_a_name_of_255_characters_is_the_longest():
    assert parse_reference("q.io/" + "a" * 250).path == "a" * 250
    with pytest.raises(ValueError, match="is too long"):
        parse_reference("q.io/" + "a" * 251)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1:25700", "names a host and no repository: as in 127.0.0.1:25700/some/repository"),
        ("localhost", "names a host and no repository: as in localhost/some/repository"),
        ("registry:5000", "names a host and no repository: as in registry:5000/some/repository"),
        ("quay.io", "names a host and no repository: as in quay.io/some/repository"),
        (
            "docker.io/acme",
            "names an owner and no repository: as in docker.io/acme/canary (docker.io/library/acme is Docker's own)",
        ),
        ("hub.docker.com/r/acme/canary", "is the address of a web page: write docker.io/acme/canary"),
        ("hub.docker.com/_/redis", "is the address of a web page: write docker.io/redis"),
    ],
)
def test_what_docker_would_take_for_another_repository_is_refused(text, message):
    """It would be completed to `docker.io/library/...`, or asked of a host that is not a registry."""
    with pytest.raises(ValueError, match=f"^{re.escape(f'{text!r} {message}')}$"):
        parse_repository(text)


def test_an_image_of_docker_s_own_can_be_named_in_short():
    assert parse_repository("redis").repository == "docker.io/library/redis"


def test_a_repository_is_given_without_tag_and_digest():
    assert parse_repository("host:5000/x", "t") == Reference("host:5000", "x", "t")
    with pytest.raises(ValueError, match=r"^'quay\.io/x:t' has a tag: put the tag into `tag`$"):
        parse_repository("quay.io/x:t")
    with pytest.raises(ValueError, match=r"has a digest: give the repository alone$"):
        parse_repository(f"quay.io/x:t@{SHA256}")


def test_hosts():
    assert [parse_host(host) for host in ("quay.io", "index.docker.io", "[::1]:5000", "LOCALHOST:1")] == [
        "quay.io",
        "docker.io",
        "[::1]:5000",
        "LOCALHOST:1",
    ]
    for host in (
        "",
        "-quay.io",
        "quay.io\n",
        "quay.io/x",
        "https://quay.io",
        "quay.io:",
        "quay.io:0",
        "a b",
        "quay..io",
    ):
        with pytest.raises(
            ValueError, match=r"is not a registry host|impossible port|missing|no name may have|dash|scheme"
        ):
            parse_host(host)
    assert same_host("Quay.IO", "quay.io")
    assert not same_host("quay.io:443", "quay.io")


def test_tags_and_digests():
    assert [parse_tag(tag) for tag in ("latest", "1.10", "_x", "T" * 128)] == ["latest", "1.10", "_x", "T" * 128]
    for tag in ("", ".x", "-x", "a/b", "a b", "x\n", "T" * 129, "é"):
        with pytest.raises(ValueError, match=r"is not a tag: at most 128|the tag is missing"):
            parse_tag(tag)
    assert parse_digest(SHA256) == SHA256
    assert parse_digest("sha512:" + "0" * 128)
    for digest in ("", HEX64, SHA256.upper(), SHA256 + "\n", SHA256 + "0", "sha512:" + "0" * 64):
        with pytest.raises(ValueError, match=r"is not a digest: write sha256: and 64 of the digits 0-9 a-f$"):
            parse_digest(digest)


def test_an_image_is_named_by_its_digest_in_its_repository():
    assert parse_reference("ubuntu:22.04").at(SHA256) == f"docker.io/library/ubuntu@{SHA256}"


labels = st.text("abcXYZ019", min_size=1, max_size=8)
components = st.from_regex(COMPONENT, fullmatch=True)
references = st.builds(
    Reference,
    host=st.builds("{}.{}{}".format, labels, labels, st.just("") | st.integers(1, 65535).map(":{}".format)),
    path=st.lists(components, min_size=1, max_size=4).map("/".join),
    tag=st.from_regex(TAG, fullmatch=True),
    digest=st.sampled_from([None, SHA256]),
).filter(lambda reference: len(reference.repository) <= 255)


@given(references)
def test_what_the_grammar_makes_is_read_as_itself(reference):
    assert parse_reference(str(reference)) == reference


@given(st.one_of(st.text(), st.text("aZ0:/@.-_[]\n \u0661", max_size=12)))
def test_any_text_is_a_reference_that_docker_would_take_or_a_fault_of_one_line(text):
    try:
        reference = parse_reference(text)
    except ValueError as error:
        fault = str(error)
    else:
        fault = ""
        assert str(reference).isascii()
        assert str(reference).isprintable()
        assert not str(reference).startswith("-")
        assert DOMAIN.fullmatch(reference.host)
        assert parse_reference(str(reference)) == reference
    assert fault.isprintable()
