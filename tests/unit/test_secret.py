"""A secret is shown nowhere, and a password file gives exactly the password."""

import copy
import json
import pickle

import pytest

from lib.secret import LONGEST_SECRET_BYTES, PasswordFile, Secret, read_secret_file

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


@pytest.mark.parametrize("password", ["hunter2", "hunter2\n", '{\n  "key": "hunter2"\n}', "a\r\nb\r\n\r\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_one_line_end_is_dropped_and_no_other(tmp_path, password, end):
    (tmp_path / "password").write_bytes(f"{password}{end}".encode())

    assert read_secret_file(tmp_path / "password").reveal() == password


@pytest.mark.parametrize("password", ["hunter2", "a\nb", "a\n", "a\r", "a\r\n", "a\n\n"])
def test_what_docker_leaves_of_a_line_is_the_whole_password(password):
    """Docker drops one newline, and then one carriage return, from what it reads."""
    given = Secret(password).as_line().reveal()

    assert given.removesuffix("\n").removesuffix("\r") == password


def test_a_file_without_a_line_end_is_all_password(tmp_path):
    (tmp_path / "password").write_text("hunter2")

    assert read_secret_file(tmp_path / "password").reveal() == "hunter2"


def test_spaces_belong_to_the_password(tmp_path):
    (tmp_path / "password").write_text(" pass word ✓ \n")

    assert read_secret_file(tmp_path / "password").reveal() == " pass word ✓ "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n\r\n", "is empty"),
        (b"hunter2\0", "has a NUL in it: not a password file"),
        (b"hunter2\xff", "is not UTF-8 text: not a password file"),
        (b"hunter2" * LONGEST_SECRET_BYTES, "is longer than 65536 bytes: not a password file"),
    ],
)
def test_what_is_no_password_file_is_refused_without_being_quoted(tmp_path, content, message):
    path = tmp_path / "password"
    path.write_bytes(content)

    with pytest.raises(ValueError, match=f"^{message}$") as raised:
        read_secret_file(path)

    assert raised.value.__cause__ is None


def test_a_file_is_named_as_whoever_set_it_up_names_it(tmp_path):
    path = tmp_path / "password"
    by_path, by_name = PasswordFile(path), PasswordFile(path, "$CREDENTIALS_DIRECTORY/password")

    with pytest.raises(ValueError, match=rf"^{path} can't be read: No such file or directory$"):
        by_path.read()
    path.write_text("")
    with pytest.raises(ValueError, match=r"^\$CREDENTIALS_DIRECTORY/password is empty$"):
        by_name.read()
    path.write_text("hunter2\n")
    assert by_name.read() == by_path.read() == Secret("hunter2")


def test_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_secret_file(tmp_path / "missing")
