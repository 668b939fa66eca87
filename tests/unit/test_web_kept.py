"""Kept: things that are made once for all who ask for the same."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib.web.kept import Kept


def until(condition):
    """Wait for a condition, and fail if it does not come."""
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


@pytest.fixture
def now():
    return [100.0]


def test_it_is_made_again_once_it_is_too_old(now):
    made = iter(range(10))
    kept = Kept(1.0, lambda: now[0])
    got = []
    for later in (0.0, 0.5, 0.25, 0.5, 1.25):
        now[0] += later
        got.append(kept.get("page", lambda: next(made)))
    assert got == [0, 0, 0, 1, 2]


def test_one_is_not_another(now):
    kept = Kept(1.0, lambda: now[0])
    assert [kept.get(key, lambda key=key: key) for key in "aba"] == ["a", "b", "a"]


def test_what_is_too_old_is_forgotten(now):
    kept = Kept(1.0, lambda: now[0])
    for key in range(100):
        kept.get(key, lambda: "page")
        now[0] += 0.1
    assert len(kept._makings) <= 11


def test_a_fault_is_everybodys_and_none_once_it_is_too_old(now):
    kept = Kept(1.0, lambda: now[0])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept.get("page", lambda: 1 / 0)
    now[0] += 2
    assert kept.get("page", lambda: "mended") == "mended"


def test_with_nothing_kept_all_who_wait_share_the_next_one_and_none_gets_what_began_before_he_asked():
    """That many scrapes at once: one is being made, and all who came since share one more."""
    go_on, made = threading.Event(), []
    kept = Kept()

    def make():
        made.append(len(made))
        go_on.wait(20)
        return made[-1]

    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(kept.get, "metrics", make)
        until(lambda: made)
        second = pool.submit(kept.get, "metrics", make)
        until(lambda: "metrics" in kept._makings)
        others = [pool.submit(kept.get, "metrics", make) for _ in range(18)]
        time.sleep(0.2)  # each of them asks; who does so later gets one of his own, and fails this test
        go_on.set()
        assert first.result() == 0
        assert {one.result() for one in (second, *others)} == {1}
    assert made == [0, 1]
    assert kept._makings == {}


def test_never_are_two_in_the_making():
    under_way, most = [], []
    kept = Kept()

    def make():
        under_way.append(1)
        most.append(len(under_way))
        time.sleep(0.005)
        under_way.pop()

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda key: kept.get(key, make), range(40)):
            pass
    assert most == [1] * 40
