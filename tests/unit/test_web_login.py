"""Logins: which are good, which are remembered, and what they cost."""

from __future__ import annotations

import base64
import threading
import time

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


HERE, THERE = "192.0.2.1", "192.0.2.2"
ALICE, BOB = b"$2y$05$alice", b"$2y$06$bob"


def test_a_good_login_is_checked_once(checked):
    login = Login()
    assert [login.admit({"a": ALICE}, header_of("a", "right"), HERE) for _ in range(3)] == [Admission.GRANTED] * 3
    assert checked == [ALICE]


def test_a_login_is_checked_again_once_its_hash_is_another(checked):
    login = Login()
    for users in ({"a": ALICE}, {"a": BOB}):
        assert login.admit(users, header_of("a", "right"), HERE) is Admission.GRANTED
    assert checked == [ALICE, BOB]


def test_a_user_who_is_gone_is_refused_though_remembered_and_though_another_has_the_same_hash(checked):
    login = Login()
    assert login.admit({"a": ALICE}, header_of("a", "right"), HERE) is Admission.GRANTED
    assert login.admit({"b": ALICE}, header_of("a", "right"), HERE) is Admission.REFUSED


def test_a_bad_login_is_checked_once_too_until_its_user_has_another_password(checked):
    """Like one that a scraper keeps trying."""
    login = Login()
    assert [login.admit({"a": ALICE}, header_of("a", "wrong"), HERE) for _ in range(20)] == [Admission.REFUSED] * 20
    assert checked == [ALICE]
    login.admit({"a": BOB}, header_of("a", "wrong"), HERE)
    assert checked == [ALICE, BOB]


def test_a_user_who_was_unknown_is_let_in_once_he_is_one_though_his_hash_is_that_of_another(checked):
    login = Login()
    assert login.admit({"a": ALICE}, header_of("b", "right"), HERE) is Admission.REFUSED
    assert login.admit({"a": ALICE, "b": ALICE}, header_of("b", "right"), HERE) is Admission.GRANTED


def test_an_unknown_user_costs_what_the_dearest_known_one_does_and_is_refused_even_with_his_password(checked):
    assert Login().admit({"a": ALICE, "b": BOB}, header_of("c", "right"), HERE) is Admission.REFUSED
    assert checked == [BOB]


def test_only_a_hundred_logins_are_remembered(checked):
    login = Login()
    users = {f"u{number}": ALICE for number in range(101)}
    for name in users:
        login.admit(users, header_of(name, "right"), HERE)
    assert len(login._good) == 100
    login.admit(users, header_of("u100", "right"), HERE)
    assert len(checked) == 101
    login.admit(users, header_of("u0", "right"), HERE)
    assert len(checked) == 102


def test_what_is_remembered_holds_no_password(checked):
    login = Login()
    login.admit({"a": ALICE}, header_of("a", "right"), HERE)
    (mark,) = login._good
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
    assert login.admit({"a": ALICE}, header_of("a", "right"), HERE) is Admission.GRANTED
    guess = threading.Thread(target=login.admit, args=({"a": ALICE}, header_of("a", "guess"), HERE))
    guess.start()
    try:
        assert guessing.wait(10)
        assert login.admit({"a": ALICE}, header_of("a", "right"), HERE) is Admission.GRANTED
        assert login.admit({"a": ALICE}, header_of("a", "another"), HERE) is Admission.BUSY
    finally:
        go_on.set()
        guess.join()


def test_an_address_has_ten_guesses_then_one_every_few_seconds_and_others_have_theirs(checked):
    now = [0.0]
    login = Login(lambda: now[0])

    def guess(number, address):
        return login.admit({"a": ALICE}, header_of("a", f"guess {number}"), address)

    assert [guess(number, HERE) for number in range(11)] == [Admission.REFUSED] * 10 + [Admission.EXHAUSTED]
    assert guess(0, HERE) is Admission.REFUSED, "what is remembered costs nothing"
    assert guess(11, THERE) is Admission.REFUSED
    now[0] += web_login.GUESS_SECONDS
    assert [guess(number, HERE) for number in (12, 13)] == [Admission.REFUSED, Admission.EXHAUSTED]
    assert len(checked) == 12


def test_good_logins_use_up_no_guesses_and_known_ones_need_none(checked):
    login = Login()
    users = {f"u{number}": ALICE for number in range(30)}
    assert {login.admit(users, header_of(name, "right"), HERE) for name in users} == {Admission.GRANTED}
    for number in range(20):
        login.admit(users, header_of("u0", f"guess {number}"), HERE)
    assert login.admit(users, header_of("u0", "right"), HERE) is Admission.GRANTED


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(checked, one, other, is_shared):
    login = Login()
    for number in range(web_login.MOST_GUESSES):
        login.admit({"a": ALICE}, header_of("a", f"guess {number}"), one)
    expected = Admission.EXHAUSTED if is_shared else Admission.REFUSED
    assert login.admit({"a": ALICE}, header_of("a", "another"), other) is expected


def test_guesses_of_a_thousand_addresses_are_counted_in_bounded_memory(checked):
    login = Login()
    for number in range(1100):
        login.admit({"a": ALICE}, header_of("a", f"guess {number}"), f"10.0.{number // 256}.{number % 256}")
    assert len(login._guesses._allowances) <= 1000


def test_whoever_has_guessed_least_is_next(monkeypatch):
    """An honest client that comes last does not wait for all guesses of another address."""
    order, go_on = [], threading.Event()

    def matches(password, _):
        order.append(password)
        go_on.wait(10)
        return password == b"right"

    monkeypatch.setattr(web_login, "_matches", matches)
    monkeypatch.setattr(web_login, "_PATIENCE_SECONDS", 30.0)
    login = Login()
    came = []

    def ask(password, address):
        thread = threading.Thread(target=login.admit, args=({"a": ALICE}, header_of("a", password), address))
        thread.start()
        came.append(thread)

    ask("guess 0", HERE)
    until(lambda: order)
    for number in range(1, 5):
        ask(f"guess {number}", HERE)
    until(lambda: len(login._waiting) == 4)
    ask("right", THERE)
    until(lambda: len(login._waiting) == 5)
    go_on.set()
    for thread in came:
        thread.join(10)
    assert order[:2] == [b"guess 0", b"right"]
    assert len(order) == 6


def until(condition):
    """Wait for a condition, and fail if it does not come."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)
