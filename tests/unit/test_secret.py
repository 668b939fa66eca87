"""A secret is shown nowhere, and a password file gives exactly the password."""

import copy
import json
import pickle
import re

import pytest

from lib.secret import LONGEST_SECRET_BYTES, Secret, read_secret_file

PLANTED = "hunter2"


def test_a_secret_shows_its_placeholder_wherever_it_is_printed():
    secret = Secret(PLANTED)

    assert f"{secret} {secret!r} {secret:>10} {[secret]}" == "<secret> <secret>   <secret> [<secret>]"
    assert str(secret) == "<secret>"


@pytest.mark.parametrize("write", [pickle.dumps, json.dumps, copy.deepcopy])
def test_a_secret_is_written_nowhere(write):
    with pytest.raises(TypeError) as raised:
        write(Secret(PLANTED))

    assert PLANTED not in str(raised.value)


def test_a_secret_is_revealed_and_compared():
    assert Secret(PLANTED).reveal() == PLANTED
    assert Secret(PLANTED) == Secret(PLANTED)
    assert hash(Secret(PLANTED)) == hash(Secret(PLANTED))
    assert Secret(PLANTED) != Secret("other")
    assert Secret(PLANTED) != PLANTED
    assert not Secret("")
    assert not hasattr(Secret(PLANTED), "__dict__")


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n"])
def test_one_line_end_is_dropped(tmp_path, content):
    (tmp_path / "password").write_bytes(content)

    assert read_secret_file(tmp_path / "password").reveal() == "hunter2"


def test_spaces_belong_to_the_password(tmp_path):
    (tmp_path / "password").write_text(" pass word ✓ \n")

    assert read_secret_file(tmp_path / "password").reveal() == " pass word ✓ "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"hunter2\n\n", "has more than one line: not a password file"),
        (b"hunter2\nother\n", "has more than one line: not a password file"),
        (b"hunter2\0", "has more than one line: not a password file"),
        (b"hunter2\xff", "is not UTF-8 text: not a password file"),
        (b"hunter2" * LONGEST_SECRET_BYTES, "is longer than 65536 bytes: not a password file"),
    ],
)
def test_what_is_no_password_file_is_refused_without_being_quoted(tmp_path, content, message):
    path = tmp_path / "password"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} {message}$") as raised:
        read_secret_file(path)

    assert raised.value.__cause__ is None


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_secret_file(tmp_path / "missing")


def test_a_secret_is_blanked_in_a_text_in_every_form_it_can_have():
    secret = Secret('hunter"2')

    text = 'a hunter"2 b hunter%222 c hunter\\"2 d aHVudGVyIjI= e'

    assert secret.blanked_in(text) == "a <secret> b <secret> c <secret> d <secret> e"


def test_a_secret_is_blanked_as_python_and_go_write_it_in_json():
    """Docker is written in Go, which keeps letters as they are in JSON, and escapes what HTML would not."""
    secret = Secret('pä<&>"ss')

    text = '1 pä\\u003c\\u0026\\u003e\\"ss 2 p\\u00e4<&>\\"ss 3 pä<&>\\"ss 4 p\\u00e4\\u003c\\u0026\\u003e\\"ss'

    assert secret.blanked_in(text) == "1 <secret> 2 <secret> 3 <secret> 4 <secret>"


def test_an_empty_secret_blanks_nothing():
    assert Secret("").blanked_in("a text") == "a text"
