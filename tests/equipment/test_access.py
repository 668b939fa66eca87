"""The access log, read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lab.access import Access, read_accesses

_DIGEST = "sha256:" + "6057ed54" * 8


def _line(request, status=200, agent="docker/28.2.2"):
    return f'127.0.0.1 - - [24/Nov/2026:10:48:10 +0000] "{request} HTTP/1.1" {status} 87 "" "{agent}"'


def test_a_line_is_read_whole():
    line = _line("GET /v2/a/b/tags/list?n=5", agent=r"docker/28 UpstreamClient(Docker \"x\")")
    assert read_accesses([line]) == [
        Access(
            time=datetime(2026, 11, 24, 10, 48, 10, tzinfo=UTC),
            method="GET",
            path="/v2/a/b/tags/list",
            query="n=5",
            status=200,
            bytes=87,
            user_agent=r"docker/28 UpstreamClient(Docker \"x\")",
        )
    ]


def test_what_is_no_access_is_passed_over():
    lines = ["", 'time="2026" level=info msg="listening"', _line("GET /v2/")[:60], _line("GET /v2/")]
    assert [access.path for access in read_accesses(lines)] == ["/v2/"]


@pytest.mark.parametrize(
    ("request_line", "status", "field", "expected"),
    [
        (f"GET /v2/a/b/blobs/{_DIGEST}", 200, "blob_got", _DIGEST),
        (f"GET /v2/a/b/blobs/{_DIGEST}", 404, "blob_got", None),
        (f"HEAD /v2/a/b/blobs/{_DIGEST}", 200, "blob_got", None),
        (f"GET /v2/a/b/manifests/{_DIGEST}", 200, "blob_got", None),
        (f"PUT /v2/a/b/blobs/uploads/405f?_state=x&digest={_DIGEST.replace(':', '%3A')}", 201, "blob_put", _DIGEST),
        (f"PUT /v2/a/b/blobs/uploads/405f?_state=x&digest={_DIGEST.replace(':', '%3A')}", 400, "blob_put", None),
        (f"POST /v2/a/b/blobs/uploads/?from=c&mount={_DIGEST.replace(':', '%3A')}", 201, "blob_put", _DIGEST),
        ("POST /v2/a/b/blobs/uploads/", 202, "blob_put", None),
        ("PUT /v2/a/b/manifests/latest", 201, "manifest_put", "latest"),
        ("PUT /v2/a/b/manifests/latest", 401, "manifest_put", None),
        ("GET /v2/a/b/manifests/latest", 200, "manifest_put", None),
    ],
)
def test_what_an_access_moved(request_line, status, field, expected):
    [access] = read_accesses([_line(request_line, status)])
    assert access.repository == "a/b"
    assert getattr(access, field) == expected


def test_an_access_about_no_repository_moved_nothing():
    [access] = read_accesses([_line("GET /v2/")])
    assert (access.repository, access.blob_got, access.blob_put, access.manifest_put) == (None, None, None, None)
