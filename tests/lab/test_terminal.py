"""`once` as people run it: at a terminal of some size, with a real engine and registry behind it."""

from __future__ import annotations

import re

import pytest

from lab.registry import Registry
from lab.target import PASSWORD, STEPS, USER, login
from lab.terminal_session import Session

CONTROL_C = b"\x03"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_cycle_is_drawn_and_ends_in_a_table(engine, repository, columns):
    with Session(engine, *login(repository), columns=columns) as session:
        pass

    screen = session.screen()
    told = str(screen)
    assert session.code == 0
    assert screen.shows_cursor
    assert re.findall(r"[✓-] (\w+) (?:\d+\.\d\d s|skipped)", told) == STEPS
    assert told.endswith("\n✓ 1 up")
    assert max(map(len, screen.lines)) <= columns
    assert told.startswith(f"✓ {repository}"[:columns])
    assert PASSWORD not in session.text
    drawn = re.findall(r"(\w+) \d+\.\d s\b", re.sub(r"\x1b\[[0-9;]*m", "", session.text))
    assert set(drawn) & set(STEPS), "no step was drawn while it ran"


def test_many_targets_are_drawn_a_few_at_a_time(engine, registry, repository, tmp_path):
    """Each target is shown once, however many there are; failures are explained below the table, by reason."""
    names = [f"target-{number:02}" for number in range(12)]
    targets = "".join(f"  - {{name: {name}, repository: {repository}/{name}}}\n" for name in names)
    wrong = f"  - {{name: wrong, repository: {repository}/wrong, username: {USER}, password: wrong-one}}\n"
    config = tmp_path / "monitor.yml"
    config.write_text(f"username: {USER}\npassword: {PASSWORD}\nconcurrency: 6\ntargets:\n{targets}{wrong}")

    with Session(engine, f"-config={config}", height=12) as session:
        pass

    told = str(session.screen())
    assert session.code == 1
    assert sorted(re.findall(r"^[✓✗] (\S+)  (?:up|down) after", told, re.MULTILINE)) == [*names, "wrong"]
    assert re.search(r"and \d+ more under way", session.text)
    failure = told[told.index("\n✗ wrong\n") :]
    assert "  step        login, failed after" in failure
    assert "  reason      unauthorized\n  scope       credentials\n" in failure
    assert "401 Unauthorized" in failure
    assert "  what to do  Check that the user name and password still log in" in failure
    assert told.endswith("\n✓ 12 up, ✗ 1 down")


def test_control_c_ends_it_and_leaves_the_terminal_in_order(engine, session_lab, repository, snapshot):
    with Registry(session_lab.folder / "stopped", users={USER: PASSWORD}) as registry:
        before = snapshot()
        options = (f"-repository={registry.host}/tests/canary", f"-username={USER}", f"-password={PASSWORD}")
        with Session(engine, *options, "-payload-size=64MiB") as session:
            session.read_until("build")
            session.press(CONTROL_C)

    screen = session.screen()
    assert session.code == 130
    assert screen.shows_cursor
    assert str(screen).splitlines()[-1] == "Stopped with 0 of 1 finished."
    assert "Traceback" not in str(screen)
    assert snapshot() == before


def test_a_dumb_terminal_gets_plain_lines(engine, repository):
    with Session(engine, *login(repository), TERM="dumb") as session:
        pass

    assert session.code == 0
    assert "\x1b" not in session.text
    assert [line.split()[1] for line in session.text.splitlines() if repository in line] == [*STEPS, "UP"]


def test_without_colour_it_is_drawn_all_the_same(engine, repository):
    with Session(engine, *login(repository), NO_COLOR="1") as session:
        pass

    assert session.code == 0
    assert session.screen().colours <= {"0", "1", "2"}
    assert "\x1b[1A" in session.text


def test_what_is_logged_to_the_terminal_does_not_tear_what_is_drawn(engine, session_lab, repository):
    """If a registry is open that should be private, the log says so while the cycles are drawn."""
    with Registry(session_lab.folder / "open") as registry:
        options = (f"-repository={registry.host}/tests/open", "-expect-private")
        with Session(engine, *options, columns=200) as session:
            pass

    told = str(session.screen())
    assert session.code == 0
    assert re.search(r"^time=\S+ level=error msg=", told, re.MULTILINE)
    assert len(re.findall(r"^✓ \S+  up after", told, re.MULTILINE)) == 1
