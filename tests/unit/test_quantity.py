"""Durations and booleans as Go takes them, sizes, and counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.quantity import format_duration, format_size, parse_boolean, parse_count, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2m", 120),
        ("1h30m", 5400),
        ("90s", 90),
        ("500ms", 0.5),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("5.s", 5),
        ("+5s", 5),
        ("0", 0),
        ("+0", 0),
        ("0s", 0),
        ("1m1m", 120),
        ("1s500ms", 1.5),
        ("100us", 0.0001),
        ("100µs", 0.0001),
        ("1000000ns", 0.001),
    ],
)
def test_durations_are_read_as_go_reads_them(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "2", "1.5", "2 m",
     " 2m", "2m ", "2m\n", "-1s", "-0", "++1s", "s", ".s", "1d", "1w", "1M", "1S", "1.2.3s", "1e3s",
     "0x1s", "\u0661s", "1m x", "nan", "inf", "infs", "1h,30m", "1_0s"],
)  # fmt: skip
def test_what_go_does_not_read_or_is_negative_is_no_duration(text):
    with pytest.raises(ValueError, match=r"is not a duration: write a number with its unit, such as 90s or 1h30m$"):
        parse_duration(text)


def test_a_duration_beyond_all_measure_is_refused():
    with pytest.raises(ValueError, match=r"^'9999999999999999999999999999999h' is too long$"):
        parse_duration("9" * 31 + "h")
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration("9" * 400 + "h")


@given(st.integers(min_value=0, max_value=7 * 24 * 3600 * 1000).map(lambda milliseconds: milliseconds / 1000))
def test_a_written_duration_reads_as_itself(seconds):
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1048576), ("1B", 1), ("64kB", 64000), ("64KB", 64000), ("256KiB", 262144), ("1 MiB", 1048576),
     ("3MB", 3000000), ("4GiB", 4294967296), ("1GB", 1000000000)],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "1.5MiB", "-1", "1M", "1mib", "1KIB", "1MiB\n", "1  MiB", "\u0661", "1TiB", "9" * 40]
)
def test_what_is_no_size(text):
    with pytest.raises(
        ValueError, match=r"is not a size: write a whole number of B, kB, MB, GB, KiB, MiB or GiB, such as 256KiB$"
    ):
        parse_size(text)


@given(st.integers(min_value=1, max_value=2**40))
def test_a_written_size_reads_as_itself(size):
    assert parse_size(format_size(size)) == size


def test_a_size_is_written_in_the_largest_unit_that_divides_it():
    assert [format_size(size) for size in (1, 1000, 1024, 1536, 3 * 1024**2)] == [
        "1B",
        "1000B",
        "1KiB",
        "1536B",
        "3MiB",
    ]


def test_booleans_are_read_as_go_reads_them():
    assert all(parse_boolean(text) for text in ("1", "t", "T", "true", "TRUE", "True"))
    assert not any(parse_boolean(text) for text in ("0", "f", "F", "false", "FALSE", "False"))
    for text in ("", "yes", "on", "tRUE", "true ", "2"):
        with pytest.raises(ValueError, match=r"is neither true nor false$"):
            parse_boolean(text)


def test_counts():
    assert parse_count("007") == 7
    for text in ("", "-1", "+1", "1.0", "1_000", "\u0661", "²", "1 ", "9" * 40):
        with pytest.raises(ValueError, match=r"is not a whole number$"):
            parse_count(text)


@given(st.text() | st.text("0123456789.hmsuµkKMGiB+-einfd \n", max_size=12))
def test_any_text_is_a_value_or_a_fault_of_one_line(text):
    for parse in (parse_duration, parse_size, parse_count, parse_boolean):
        try:
            value, fault = parse(text), ""
        except ValueError as error:
            value, fault = 0, str(error)
        assert value >= 0
        assert fault.isprintable()
