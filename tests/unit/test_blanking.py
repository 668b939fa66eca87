"""No secret is left in a text that others wrote, wherever it is; everything else is left as it was."""

from __future__ import annotations

import html
import json
import re
import textwrap
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.blanking import without_secrets
from lib.secret import SECRET_PLACEHOLDER, Secret

DIGEST = f"sha256:{'5e' * 32}"
TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl"
LOGIN = b64encode(b"robot:hunter2").decode()


# --- secrets that their place gives away ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            'Get "https://store.example/b/data?X-Amz-Signature=5ec&X-Amz-Date=1": EOF',
            'Get "https://store.example/b/data?<secret>": EOF',
        ),
        ("Get https://store.example/d?sig=5ec: dial tcp", "Get https://store.example/d?<secret>: dial tcp"),
        ("(https://store.example/d?token=5ec).", "(https://store.example/d?<secret>)."),
        ("<Path>https://a.example/d?a=1&amp;b=5ec</Path>", "<Path>https://a.example/d?<secret></Path>"),
        ("https://a.example/go?https://u:5ec@b.example/", "https://a.example/go?<secret>"),
        (r"\"https://a.example/d?a=1\u0026sig=5ec\"", r"\"https://a.example/d?<secret>\""),
        ("https%3A%2F%2Fu%3A5ec%40a.example%2Fd%3Fsig%3D5ec", "https%3A%2F%2F<secret>%40a.example%2Fd%3F<secret>"),
        ("GET /v2/token?service=x&secret=5ec", "GET /v2/token?<secret>"),
        ('invalid proxy "http://u:5ec@proxy:3128"', 'invalid proxy "http://<secret>@proxy:3128"'),
        ("tcp://u:5@c@host:2375: refused", "tcp://<secret>@host:2375: refused"),
        ("ssh://deploy@host", "ssh://<secret>@host"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer <secret>"),
        (f"authorization: basic {LOGIN}\nnext", "authorization: basic <secret>\nnext"),
        ('{"Authorization":"Bearer lowercase"}', '{"Authorization":"Bearer <secret>"}'),
        ("map[Authorization:[Bearer 5ecret]]", "map[Authorization:[Bearer <secret>]]"),
        ("sent Bearer opaque-words, refused", "sent Bearer <secret>, refused"),
        ("Authorization%3A%20Basic%20cm9ib3Q6aHVudGVyMg%3D%3D", "Authorization%3A%20Basic%20<secret>"),
        ("invalid bearer token: 5ecret.4you!", "invalid bearer token: <secret>!"),
        (f"can't parse {TOKEN}: expired", "can't parse <secret>: expired"),
        ("grant_type=password&password=5ec&username=u", "grant_type=password&password=<secret>&username=u"),
        ('{"token": "5ec", "access_token":"5ec"}', '{"token": "<secret>", "access_token":"<secret>"}'),
        (r"{\"token\":\"5ec\"}", r"{\"token\":\"<secret>\"}"),
        (
            '{"auths":{"h":{"auth":"5ec","identitytoken":"5"}}}',
            '{"auths":{"h":{"auth":"<secret>","identitytoken":"<secret>"}}}',
        ),
        ("err: exit status 1, out: `a `5ec`\nb`", "err: exit status 1, out: `<secret>`"),
        ("err: exit status 1, out: `5ec\nb", "err: exit status 1, out: `<secret>"),
        ("out of order, out: `pass not initialized: 5ec`", "out of order, out: `pass not initialized<secret>`"),
    ],
)
def test_a_secret_is_blanked_by_its_place(text, shown):
    """Nobody knows it, but it is one: a URL's user or query, a token, a login, what a credential helper printed."""
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        f"Error response from daemon: manifest for quay.io/acme/canary:latest@{DIGEST} not found",
        f"pulling docker://alpine@{DIGEST}",
        f"latest: digest: {DIGEST} size: 733",
        'Head "https://quay.io/v2/acme/canary/manifests/latest": dial tcp [2001:db8::1]:443: connect: refused',
        'no basic auth credentials; WWW-Authenticate: Bearer realm="https://a.example/t",service="x"',
        'Www-Authenticate: Basic realm="Registry Realm", Bearer error="insufficient_scope"',
        "HTTP Basic: Access denied. The provided password or token is incorrect",
        "bearer token: expired; Bearer authentication required; Basic auth is not supported",
        "unauthorized: a bearer token is required? or may require authorization: server message: denied",
        "the keychain is locked, out: ``",
        "unix:///var/run/docker.sock: is the docker daemon running?",
        "what is this?\nPassword: token = none",
        "",
    ],
)
def test_ordinary_words_stay(text):
    """Names, digests, addresses, and the same words in a sentence."""
    assert without_secrets(text, [Secret("hunter2"), Secret("")]) == text


words = st.text(st.characters(codec="utf-8", exclude_characters="<>")).filter(lambda text: "out: `" not in text)
letters = st.text(st.sampled_from("abcXYZ0189-_~."), max_size=40)
planted = st.builds(lambda text: f"Pl4nted{text}9", letters)
encoded = st.sampled_from([str, lambda text: quote(text, safe=""), lambda text: json.dumps(text)[1:-1]])

#: A text with a secret, by the kind of place that it is in.
PLACES = {
    "query": "https://store.example/v2/b?X-Amz-Signature={}&x=1",
    "user": "https://robot:{}@registry.example/v2/",
    "bearer": "Authorization: Bearer {}",
    "basic": "Authorization: Basic {}",
    "form": "token={}",
    "helper": "error getting credentials - err: exit status 1, out: `{}`",
    "JSON": '{{"token": "{}"}}',
}


@pytest.mark.parametrize("place", PLACES)
@given(before=words, secret=planted, after=words, encode=encoded)
def test_no_secret_survives_in_its_place(place, before, secret, after, encode):
    """Whatever is around it, as it is, in a URL or in JSON; and once blanked, it stays so."""
    text = f"{before} {PLACES[place].format(encode(secret))} {after}"

    shown = without_secrets(text)

    assert secret not in shown
    assert without_secrets(shown) == shown


@pytest.mark.parametrize("place", ["query", "bearer", "helper"])
@given(secret=st.text("abcXYZ0189", min_size=60, max_size=300), width=st.integers(40, 100))
def test_no_line_end_keeps_a_secret(place, secret, width):
    """A long token that was broken over lines is blanked whole, except for less than a line's rest."""
    broken = textwrap.fill(secret, width, break_on_hyphens=False)

    shown = without_secrets(f"{PLACES[place].format(broken)}\nand more")

    assert not any(line in shown for line in broken.splitlines() if len(line) >= 16)
    assert shown.endswith("and more")


# --- what is known ---


FORMS = {
    "itself": str,
    "a path": lambda text: quote(text, safe=""),
    "a path, in small letters": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "a path, all of it": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "a query": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "Go's JSON": lambda text: re.sub(
        "[<>&]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False)
    )[1:-1],
    "HTML": html.escape,
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 of a URL": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "base64 in a query": lambda text: quote(b64encode(text.encode()).decode(), safe=""),
}

#: Any text that could be a password, except those that a placeholder, or its surroundings, are made of.
passwords = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufdd0"), min_size=5, max_size=40
)
passwords = passwords.filter(lambda text: len("".join(text.split())) > 4 and text not in SECRET_PLACEHOLDER)


@pytest.mark.parametrize("form", FORMS)
@given(secret=passwords, before=words, after=words)
def test_a_known_secret_survives_in_no_form(form, secret, before, after):
    """As it is or encoded, whatever is around it."""
    text = FORMS[form](secret)

    shown = without_secrets(f"{before} {text} {after}", [Secret(secret)])

    assert text not in shown.replace(SECRET_PLACEHOLDER, "\0")
    assert without_secrets(shown, [Secret(secret)]) == shown


@given(secret=passwords, user=st.binary(max_size=8), after=st.binary(max_size=8))
def test_a_known_secret_survives_in_no_login(secret, user, after):
    """In base64 with whatever is beside it, except for the letters that it shares with that."""
    login = b64encode(user + secret.encode() + after).decode()

    shown = without_secrets(f"Login {login} refused", [Secret(secret)])

    assert SECRET_PLACEHOLDER in shown
    assert len(shown) - len(SECRET_PLACEHOLDER) <= len("Login  refused") + (len(user) + len(after)) * 4 / 3 + 12


@given(secret=passwords, data=st.data())
def test_a_known_secret_survives_no_line_end(secret, data):
    """Neither if a line was broken, nor if colours or invisible characters were put into it."""
    breaks = st.sampled_from(["", "\n", "\r\n    ", " ", "\x1b[31m", "\x1b[0m", "\u200b"])
    broken = "".join(letter + data.draw(breaks) for letter in secret)

    shown = without_secrets(f"refused: {broken}\nnext", [Secret(secret)])

    assert "".join(shown.split()).startswith("refused:")
    assert SECRET_PLACEHOLDER in shown
    letters = "".join(letter for letter in secret if not letter.isspace())
    assert letters not in re.sub(r"\x1b\[\d+m|[\s\u200b]", "", shown).replace(SECRET_PLACEHOLDER, "")


@given(st.lists(passwords, max_size=4), words)
def test_what_is_blanked_stays_blanked(secrets, text):
    """Done again, nothing more changes, however the secrets and the places overlap."""
    known = [Secret(secret) for secret in secrets]

    shown = without_secrets(text + " ".join(secrets), known)

    assert without_secrets(shown, known) == shown


@given(st.text(st.characters(exclude_characters="?@=:%\\&+`", codec="utf-8")))
def test_a_text_without_secrets_is_left_as_it_was(text):
    """There is no URL in it, no login, and no token."""
    if not re.search("basic|bearer|eyj", text, re.IGNORECASE):
        assert without_secrets(text, [Secret("hunter2-is-not-there")]) == text


@pytest.mark.parametrize(
    "part", ["?", "://", "%3A%2F%2F", ", out: `", "x?a=b\n", "Bearer aaaaaaaaaa\n", '"token":', "%41\\u0041+&amp;"]
)
def test_no_text_takes_long(part):
    """As much output as is kept is blanked in seconds, even if somebody made it to take long."""
    text = part * (256 * 1024 // len(part))

    assert isinstance(without_secrets(text, [Secret("hun ter2")]), str)
