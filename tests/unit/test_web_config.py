"""The web configuration file: what is read, what is refused, each fault with its place and without any value."""

from __future__ import annotations

import ssl
import subprocess
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.options import OptionsError, parse_options
from lib.web.config import WebConfig, WebConfigError, read_web_config
from lib.web.tls import CIPHERS, CURVES, tls_context
from tests.unit.served import a_certificate

HASH = "$2y$04$" + "a" * 53
MARKED = "has an anchor (&), an alias (*) or a tag (!), which are not read: write the value in quotes"
TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("web")
    a_certificate(made, "server")
    a_certificate(made, "other")
    return made


@pytest.fixture
def read(folder):
    """Read a text as a web configuration file that is beside the certificates."""

    def read(text):
        path = folder / "web.yml"
        path.write_text(dedent(text))
        return read_web_config(path)

    return read


@pytest.fixture
def faults(read, folder):
    """Return the faults of a text, without the path that each begins with."""

    def faults(text):
        with pytest.raises(WebConfigError) as raised:
            read(text)
        found = list(raised.value.faults)
        assert all(fault.startswith(f"{folder}/web.yml") for fault in found)
        return [fault.removeprefix(f"{folder}/web.yml").replace(f"{folder}/", "") for fault in found]

    return faults


def test_all_that_is_offered_is_read(read, folder):
    config = read(f"""
        tls_server_config:
          cert_file: server.crt
          key_file: {folder}/server.key
          client_auth_type: RequireAndVerifyClientCert
          client_ca_file: other.crt
          client_allowed_sans: [prometheus, 10.0.0.1]
          min_version: TLS12
          max_version: TLS13
          cipher_suites: [TLS_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
          prefer_server_cipher_suites: false
          curve_preferences: [X25519]
        http_server_config:
          http2: false
          headers:
            X-Frame-Options: deny
            Strict-Transport-Security: max-age=31536000
            X-XSS-Protection:
        basic_auth_users:
          alice: {HASH}
          0123: "{HASH}"
        """)
    assert config.tls.files == (folder / "server.crt", folder / "server.key", folder / "other.crt")
    assert config.tls.allowed_sans == ("prometheus", "10.0.0.1")
    assert config.headers == {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=31536000"}
    assert config.users == {"alice": HASH.encode(), "0123": HASH.encode()}
    context = tls_context(config.tls)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.2"] == [
        "ECDHE-ECDSA-AES128-GCM-SHA256"
    ]


def test_what_is_left_out_is_as_exporter_toolkit_has_it(read):
    config = read(f"{TLS}}}")
    assert (config.headers, config.users) == ({}, {})
    context = tls_context(config.tls)
    assert (context.minimum_version, context.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert context.verify_mode is ssl.CERT_NONE
    assert context.options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert read("http_server_config: {}") == WebConfig()


def test_a_value_may_be_written_in_every_way_that_yaml_has(read):
    """With a document's marks, quoted, folded over lines or in braces, with a comment, and keys that are numbers."""
    config = read(f"""\
        %YAML 1.1
        ---
        http_server_config:
          headers:
            Content-Security-Policy: >-
              default-src 'self';
              img-src *
            X-XSS-Protection: "1;
              mode=block"
        basic_auth_users: {{'al ice': '{HASH}', ? 0123 : "{HASH}"}} # both
        ...
        """)
    assert config.headers == {
        "Content-Security-Policy": "default-src 'self'; img-src *",
        "X-XSS-Protection": "1; mode=block",
    }
    assert config.users == {"al ice": HASH.encode(), "0123": HASH.encode()}


@pytest.mark.parametrize("cipher", [name for name, openssl in CIPHERS.items() if openssl])
def test_openssl_has_each_cipher_suite(read, cipher):
    context = tls_context(read(f"{TLS}, cipher_suites: [{cipher}]}}").tls)
    assert CIPHERS[cipher] in {offered["name"] for offered in context.get_ciphers()}


@pytest.mark.parametrize("curve", CURVES)
def test_openssl_has_each_curve(read, curve):
    assert tls_context(read(f"{TLS}, curve_preferences: [{curve}]}}").tls)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [":1: is empty"]),
        ("# nothing\n", [":1: is empty"]),
        ("- a\n", [":1: is not a mapping of keys to values"]),
        ("a: 'hunter2\n", [":2: is not valid YAML: found unexpected end of stream"]),
        ("a: 1\n---\nb: 2\n", [":2: begins a second document: only one is read"]),
        ("a: 1\nb: \x01", [":2: is not valid YAML: it has characters that don't print"]),
        ("a: " + "[" * 5000, [":1: is not valid YAML: more than 10 levels are nested"]),
        ("a: 1\n---\n", [":2: begins a second document: only one is read"]),
        (f"basic_auth_users: &hunter2\n  alice: {HASH}\n", [f":1: basic_auth_users: {MARKED}"]),
        (
            (
                f"basic_auth_users:\n  alice: &hunter2 {HASH}\n  bob: *hunter2\n  &x eve: {HASH}\n"
                f"  zoe: !!python/object:os.system {HASH}\n  ? *x\n  : {HASH}\n  <<: {HASH}\n"
            ),
            [f":{line}: basic_auth_users: {MARKED}" for line in (2, 3, 4, 5, 6)],
        ),
        (
            "http_server_config: !hunter2 {}\ntls_server_config: *hunter2\n",
            [
                f":1: http_server_config: {MARKED}",
                f":2: tls_server_config: {MARKED}",
                ":2: tls_server_config: needs `cert_file`",
                ":2: tls_server_config: needs `key_file`",
            ],
        ),
        (
            f"{TLS}, &a min_version: TLS12, cipher_suites: &b [hunter2]}}\n",
            [
                f":1: tls_server_config: cipher_suites: {MARKED}",
                f":1: tls_server_config: min_version: {MARKED}",
            ],
        ),
        ("tls_server_confg: {}\n", [":1: tls_server_confg: unknown option: did you mean `tls_server_config`?"]),
        ("whatever: {}\n", [":1: whatever: unknown option"]),
        (
            "http_server_config: {http2: false, http2: hunter2}\n",
            [":1: http_server_config: http2: is given twice: first in line 1"],
        ),
        ("hunter2 is mine: 1\n", [":1: is not a `key: value` with the name of an option"]),
        ("? [a]\n: 1\n", [":1: is not a `key: value` with the name of an option"]),
        ("rate_limit: {burst: 1}\n", [":1: rate_limit: is not offered here: leave it out"]),
        (
            "tls_server_config:\n",
            [
                ":1: tls_server_config: is not a mapping of keys to values",
                ":1: tls_server_config: needs `cert_file`",
                ":1: tls_server_config: needs `key_file`",
            ],
        ),
        (
            "tls_server_config: {}\n",
            [":1: tls_server_config: needs `cert_file`", ":1: tls_server_config: needs `key_file`"],
        ),
        (
            "tls_server_config:\n  cert: x\n  key: hunter2\n  client_ca: x\n  cert_file: server.crt\n",
            [
                ":2: tls_server_config: cert: is not offered here: name a file by `cert_file`",
                ":2: tls_server_config: needs `key_file`",
                ":3: tls_server_config: key: is not offered here: name a file by `key_file`",
                ":4: tls_server_config: client_ca: is not offered here: name a file by `client_ca_file`",
            ],
        ),
        (
            "tls_server_config:\n  cert_fil: server.crt\n  key_file: server.key\n  key_file: server.key\n",
            [
                ":2: tls_server_config: cert_fil: unknown option: did you mean `cert_file`?",
                ":2: tls_server_config: needs `cert_file`",
                ":4: tls_server_config: key_file: is given twice: first in line 3",
            ],
        ),
        (
            f"{TLS}, client_auth_type: RequestClientCert, client_ca_file: server.crt}}\n",
            [
                (
                    ":1: tls_server_config: client_auth_type: RequestClientCert is not offered here:"
                    " a certificate that nobody verifies proves nothing"
                )
            ],
        ),
        (
            f"{TLS}, client_auth_type: Always}}\n",
            [
                (
                    ":1: tls_server_config: client_auth_type: is not one of NoClientCert, VerifyClientCertIfGiven,"
                    " RequireAndVerifyClientCert"
                )
            ],
        ),
        (
            f"{TLS}, client_auth_type: RequireAndVerifyClientCert}}\n",
            [":1: tls_server_config: client_auth_type: needs `client_ca_file` beside it"],
        ),
        (
            f"{TLS}, client_ca_file: server.crt}}\n",
            [(":1: tls_server_config: client_ca_file: needs a `client_auth_type` that verifies clients' certificates")],
        ),
        (
            f"{TLS}, client_allowed_sans: [a]}}\n",
            [(":1: tls_server_config: client_allowed_sans: needs `client_auth_type: RequireAndVerifyClientCert`")],
        ),
        (
            f"{TLS}, min_version: TLS10, max_version: TLS14}}\n",
            [
                ":1: tls_server_config: max_version: is not one of TLS12, TLS13",
                ":1: tls_server_config: min_version: TLS10 is not offered here: it is withdrawn (RFC 8996)",
            ],
        ),
        (
            f"{TLS}, min_version: TLS13, max_version: TLS12}}\n",
            [":1: tls_server_config: min_version: is above `max_version`"],
        ),
        (
            f"{TLS}, cipher_suites: [TLS_AES_128_GCM_SHA256]}}\n",
            [(":1: tls_server_config: cipher_suites: has none for TLS 1.2: add one, or set `min_version: TLS13`")],
        ),
        (
            f"{TLS}, cipher_suites: [], curve_preferences: X25519}}\n",
            [
                (
                    ":1: tls_server_config: cipher_suites: is not a list with something in it: begin each of"
                    " its values with a dash"
                ),
                (
                    ":1: tls_server_config: curve_preferences: is not a list with something in it: begin each of"
                    " its values with a dash"
                ),
            ],
        ),
        (
            f"{TLS}, curve_preferences: [X25519, CurveP256]}}\n",
            [":1: tls_server_config: curve_preferences: has more than one, and Python's ssl takes only one"],
        ),
        (
            f"{TLS}, curve_preferences: [P256]}}\n",
            [":1: tls_server_config: curve_preferences: is not one of CurveP256, CurveP384, CurveP521, X25519"],
        ),
        (
            f"{TLS}, prefer_server_cipher_suites: yes}}\n",
            [":1: tls_server_config: prefer_server_cipher_suites: is not one of true, false"],
        ),
        (
            "tls_server_config: {cert_file: missing.crt, key_file: server.key}\n",
            [":1: tls_server_config: missing.crt can't be read: No such file or directory"],
        ),
        (
            "tls_server_config: {cert_file: '', key_file: [a]}\n",
            [
                ":1: tls_server_config: cert_file: has no value: give one, or leave the key out",
                ":1: tls_server_config: key_file: has a list or a mapping, but needs one value",
            ],
        ),
        (
            "tls_server_config: {cert_file: server.crt, key_file: other.key}\n",
            [
                (
                    ":1: tls_server_config: server.crt and other.key are not a certificate and its key: key values"
                    " mismatch"
                )
            ],
        ),
        (
            f"{TLS}, client_ca_file: server.key, client_auth_type: RequireAndVerifyClientCert}}\n",
            [":1: tls_server_config: server.key has no certificates: no certificate or crl found"],
        ),
        (
            "http_server_config:\n  http2: true\n  header: {}\n",
            [
                ":2: http_server_config: http2: HTTP/2 is not offered here: leave it out, or set it to false",
                ":3: http_server_config: header: unknown option: did you mean `headers`?",
            ],
        ),
        (
            (
                "http_server_config:\n  headers:\n    X-Mine: 1\n    X-Frame-Options: allow\n"
                '    X-XSS-Protection: "1\\r\\nX: 2"\n    Content-Security-Policy: é\n'
            ),
            [
                ":3: http_server_config: headers: X-Mine: unknown option",
                ":4: http_server_config: headers: X-Frame-Options: is not one of deny, sameorigin",
                ":5: http_server_config: headers: X-XSS-Protection: is not a single line of text",
                ":6: http_server_config: headers: Content-Security-Policy: has characters that are not ASCII",
            ],
        ),
        (
            (
                f"basic_auth_users:\n  alice: hunter2\n  bob: $2y$31${'a' * 53}\n  a:b: {HASH}\n  eve: {HASH}\n"
                f"  eve: {HASH}\n  zoe: [a]\n"
            ),
            [
                ":2: basic_auth_users: is not a bcrypt hash, as `htpasswd -nBC 10 USER` prints it",
                ":3: basic_auth_users: has a cost out of bounds: 4 to 16",
                ":4: basic_auth_users: is not a user name: it has a colon",
                ":6: basic_auth_users: names a user twice",
                ":7: basic_auth_users: has a list or a mapping, but needs one value",
            ],
        ),
    ],
)
def test_every_fault_is_told_with_its_place_and_without_a_value(faults, text, expected):
    found = faults(text)
    assert found == expected
    assert "hunter2" not in str(found)


def test_files_that_cannot_be_read(tmp_path):
    for content, told in ((b"a: \xff\n", "is not UTF-8 text"), (b"#" * 1048577, "is longer than 1048576 bytes")):
        path = tmp_path / "web.yml"
        path.write_bytes(content)
        with pytest.raises(WebConfigError, match=told):
            read_web_config(path)
    with pytest.raises(WebConfigError, match=r"can't be read: Is a directory$"):
        read_web_config(tmp_path)


@given(st.binary(max_size=60) | st.text("-:{}[]&*!|>'\"#%@`\n\t ,?x0\u2028\ufeff\x07", max_size=60).map(str.encode))
def test_any_bytes_give_a_configuration_or_faults(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "web.yml"
    path.write_bytes(b"basic_auth_users: " + content)
    config, faults = None, ()
    try:
        config = read_web_config(path)
    except WebConfigError as error:
        faults = error.faults
    assert faults or config == WebConfig()
    assert all(fault.startswith(f"{path}:") and fault.isprintable() for fault in faults)


def test_an_encrypted_key_is_refused_and_nobody_is_asked(faults, folder):
    locked = ("-aes128", "-passout", "pass:hunter2", "-out", folder / "locked.key")
    subprocess.run(("openssl", "ec", "-in", folder / "server.key", *locked), check=True, capture_output=True)
    (fault,) = faults("tls_server_config: {cert_file: server.crt, key_file: locked.key}\n")
    assert "server.crt and locked.key are not a certificate and its key" in fault


def test_no_hash_is_in_what_is_shown(read):
    assert HASH not in repr(read(f"basic_auth_users: {{alice: {HASH}}}"))


def test_check_config_tells_the_faults_among_its_own(folder):
    path = folder / "faulty.yml"
    path.write_text("rate_limit: 1\nfoo: 2\n")
    with pytest.raises(OptionsError) as raised:
        parse_options(["-check-config", "-repository=-", f"-web-config={path}"], {})
    first, *others = raised.value.faults
    assert "repository" in first
    assert others == [f"{path}:1: rate_limit: is not offered here: leave it out", f"{path}:2: foo: unknown option"]
