"""Logins: which are good, which are remembered, and what they cost."""

from __future__ import annotations

import base64
import threading

import pytest

from lib.web import login as web_login
from lib.web.login import Admission, Login


def header_of(name, password):
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def checked(monkeypatch):
    """The hashes that a password was checked against; the password `right` is everybody's."""
    hashes = []

    def matches(password, hashed):
        hashes.append(hashed)
        return password == b"right"

    monkeypatch.setattr(web_login, "_matches", matches)
    return hashes


ALICE, BOB = b"$2y$05$alice", b"$2y$06$bob"


def test_a_good_login_is_checked_once(checked):
    login = Login()
    assert [login.admit({"a": ALICE}, header_of("a", "right")) for _ in range(3)] == [Admission.GRANTED] * 3
    assert checked == [ALICE]


def test_a_login_is_checked_again_once_its_hash_is_another(checked):
    login = Login()
    for users in ({"a": ALICE}, {"a": BOB}):
        assert login.admit(users, header_of("a", "right")) is Admission.GRANTED
    assert checked == [ALICE, BOB]


def test_a_user_who_is_gone_is_refused_though_remembered_and_though_another_has_the_same_hash(checked):
    login = Login()
    assert login.admit({"a": ALICE}, header_of("a", "right")) is Admission.GRANTED
    assert login.admit({"b": ALICE}, header_of("a", "right")) is Admission.REFUSED


def test_a_bad_login_is_never_remembered(checked):
    login = Login()
    assert [login.admit({"a": ALICE}, header_of("a", "wrong")) for _ in range(2)] == [Admission.REFUSED] * 2
    assert checked == [ALICE, ALICE]


def test_an_unknown_user_costs_what_the_dearest_known_one_does_and_is_refused_even_with_his_password(checked):
    assert Login().admit({"a": ALICE, "b": BOB}, header_of("c", "right")) is Admission.REFUSED
    assert checked == [BOB]


def test_only_a_hundred_logins_are_remembered(checked):
    login = Login()
    users = {f"u{number}": ALICE for number in range(101)}
    for name in users:
        login.admit(users, header_of(name, "right"))
    assert len(login._remembered) == 100
    login.admit(users, header_of("u100", "right"))
    assert len(checked) == 101
    login.admit(users, header_of("u0", "right"))
    assert len(checked) == 102


def test_what_is_remembered_holds_no_password(checked):
    login = Login()
    login.admit({"a": ALICE}, header_of("a", "right"))
    (mark,) = login._remembered
    assert b"right" not in mark


def test_a_good_login_does_not_wait_for_guesses_and_a_guess_not_for_ever(monkeypatch):
    guessing, go_on = threading.Event(), threading.Event()

    def matches(password, _):
        if password == b"guess":
            guessing.set()
            go_on.wait(10)
        return password == b"right"

    monkeypatch.setattr(web_login, "_matches", matches)
    monkeypatch.setattr(web_login, "_PATIENCE_SECONDS", 0.01)
    login = Login()
    assert login.admit({"a": ALICE}, header_of("a", "right")) is Admission.GRANTED
    guess = threading.Thread(target=login.admit, args=({"a": ALICE}, header_of("a", "guess")))
    guess.start()
    try:
        assert guessing.wait(10)
        assert login.admit({"a": ALICE}, header_of("a", "right")) is Admission.GRANTED
        assert login.admit({"a": ALICE}, header_of("a", "another")) is Admission.BUSY
    finally:
        go_on.set()
        guess.join()
