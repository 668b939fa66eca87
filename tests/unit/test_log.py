"""Log: one line an event, readable by people and programs, with nothing in it that must not be shown."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys

import pytest

from lib.command import ShRunner
from lib.log import setup_logging

LOG = logging.getLogger("lib.test")


@pytest.fixture(autouse=True)
def _restored():
    """Leave logging as pytest set it up."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = before[0], before[2]
    root.setLevel(before[1])


@pytest.fixture
def text():
    stream = io.StringIO()
    setup_logging("info", "text", stream)
    return stream


@pytest.fixture
def lines_of_json():
    stream = io.StringIO()
    setup_logging("info", "json", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_key_and_value_with_its_time_first(text):
    LOG.warning("retrying", extra={"target": "quay", "seconds": 1.5})
    time, rest = text.getvalue().split(" ", 1)
    assert time.startswith("time=20")
    assert time.endswith("Z")
    assert rest == "level=warn msg=retrying target=quay seconds=1.5\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ('say "no"', r'"say \"no\""'),
        ("a=b", '"a=b"'),
        ("back\\slash", r'"back\\slash"'),
        ("one\ntwo", r'"one\ntwo"'),
        ("größe", "größe"),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("\u202ehidden", r'"\u202ehidden"'),
        ("\udcff", r'"\udcff"'),
    ],
)
def test_a_value_never_breaks_its_line(text, value, written):
    LOG.info("event", extra={"detail": value})
    assert text.getvalue().endswith(f" detail={written}\n")
    assert text.getvalue().count("\n") == 1


def test_json_is_one_object_a_line(lines_of_json):
    LOG.info("one %s", "two\nthree", extra={"target": "quay", "seconds": 1.5})
    (event,) = lines_of_json()
    assert event.pop("time").endswith("Z")
    assert event == {"level": "info", "msg": "one two\nthree", "target": "quay", "seconds": 1.5}


@pytest.mark.parametrize(
    ("level", "least"),
    [
        ("debug", "debug"),
        ("info", "info"),
        ("warn", "warn"),
        ("error", "error"),
        ("fatal", "fatal"),
        ("panic", "fatal"),
    ],
)
def test_nothing_below_the_level_is_logged(level, least):
    stream = io.StringIO()
    setup_logging(level, "json", stream)
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        LOG.log(number, "event")
    logged = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    order = ["debug", "info", "warn", "error", "fatal"]
    assert logged == order[order.index(least) :]


def test_what_sh_says_below_warning_is_never_logged():
    stream = io.StringIO()
    setup_logging("debug", "text", stream)
    assert ShRunner.__module__ == "lib.command"  # which sets the level of that logger
    logging.getLogger("sh.command").info("docker login -u monitor -p secret")
    logging.getLogger("sh.stream_bufferer").debug("secret")
    assert stream.getvalue() == ""


def test_a_traceback_is_never_written(text):
    LOG.error("broken", exc_info=RuntimeError("s3cr3t"))
    assert text.getvalue().endswith("level=error msg=broken error=RuntimeError\n")
    assert "s3cr3t" not in text.getvalue()
    assert "Traceback" not in text.getvalue()


def test_a_closed_pipe_is_no_reason_to_end():
    program = """
import logging
from lib.log import setup_logging
setup_logging("info", "text")
logging.error("nobody hears this")
logging.error("nor this")
print("still here")
"""
    reading, writing = os.pipe()
    os.close(reading)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, stderr=writing, check=False
    )
    os.close(writing)
    assert (ended.returncode, ended.stdout) == (0, b"still here\n")


def test_an_event_that_can_not_be_written_leaves_no_traceback(text, capsys):
    LOG.info("%d", "s3cr3t")
    assert capsys.readouterr().err == ""


def test_it_goes_to_standard_error_unless_told_otherwise(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    setup_logging("info", "text")
    LOG.info("event")
    assert "msg=event" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_for_the_journal_each_line_begins_with_its_priority(tmp_path, log_format):
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        setup_logging("debug", log_format, stream, journal=f"{status.st_dev}:{status.st_ino}")
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, logging.INFO + 1):
            LOG.log(level, "two\nlines", extra={"detail": "two\nlines"})
        stream.seek(0)
        assert [line[:3] for line in stream] == ["<7>", "<6>", "<4>", "<3>", "<2>", "<5>"]


def test_another_stream_than_the_journals_has_no_priorities(text, tmp_path):
    setup_logging("info", "text", text, journal="8:1")  # no file at all
    LOG.info("event")
    assert text.getvalue().startswith("time=")
    with (tmp_path / "log").open("w+") as stream:
        setup_logging("info", "text", stream, journal=f"{os.fstat(stream.fileno()).st_dev}:1")
        LOG.info("event")
        stream.seek(0)
        assert stream.read().startswith("time=")
