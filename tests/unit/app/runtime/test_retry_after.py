"""`Retry-After` in valid and invalid forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.runtime.retry_after import parse_retry_after

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONGEST, BY_CLOCK = 3600.0, 300.0
EPOCH = int(NOW.timestamp())


def read(value: str | None, answered_at: str | None = None) -> float | None:
    """The seconds, by the clock and the bounds of these tests."""
    return parse_retry_after(
        value, now=NOW, answered_at=answered_at, longest=LONGEST, longest_from_clock=BY_CLOCK
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        (" 30 ", 30),
        ("0", 0),
        ("4.5", 4.5),
        ("0.25", 0.25),
        ("7.", 7),
        ("86400", LONGEST),
        ("Sun, 22 Nov 2026 12:00:20 GMT", 20),
        ("Sun, 22 Nov 2026 12:00:20", 20),
        ("Sun, 22 Nov 2026 13:00:20 +0100", 20),
        ("Sunday, 22-Nov-26 12:00:20 GMT", 20),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 20:00:00 GMT", BY_CLOCK),
        (str(EPOCH + 20), 20),
        (f"{EPOCH + 20}.5", 20.5),
        (str((EPOCH + 20) * 1000), 20),
        (str(EPOCH - 20), 0),
        (str(EPOCH + 7200), BY_CLOCK),
    ],
)
def test_valid_values_are_read(value: str, seconds: float) -> None:
    assert read(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", "soon", "-5", "+5", "1e3", "0x10", "4,5", "nan", "inf", "5 s", "\u0663", "\u00b2"),
        *("1 Jan 99999999999999999999 00:00:00", "Fri, 31 Dec 9999 23:59:59 GMT", "9" * 90, "9" * 5000),
        *("Sun, 22 Nov 2026 12:00:20 +9999", "1 Jan 1 00:00:00 -2359", "31 Feb 2026 00:00:00 GMT"),
        *("1 Jan 2026 25:61:61", "Sun, 22 Nov 2027 12:00:20 GMT", "0, 0 0 0 0:0:0 0", "Mon, Jan"),
    ],
)
def test_an_invalid_value_is_none(value: str | None) -> None:
    assert read(value) in {None, 0.0}


@pytest.mark.parametrize("off", [timedelta(hours=-5), timedelta(hours=5), timedelta(days=-4000)])
def test_a_date_is_measured_by_the_date_of_the_answer(off: timedelta) -> None:
    there = NOW + off
    asked = format_datetime(there + timedelta(seconds=5), usegmt=True)
    assert read(asked, format_datetime(there, usegmt=True)) == 5
    assert read(str(int(there.timestamp()) + 5), format_datetime(there, usegmt=True)) == 5
    assert read("30", format_datetime(there, usegmt=True)) == 30


def test_a_date_of_the_answer_that_cannot_be_read_changes_nothing() -> None:
    assert read("Sun, 22 Nov 2026 12:00:20 GMT", "yesterday") == 20
    assert read("Sun, 22 Nov 2026 12:00:20 GMT", "1 Jan 99999999999999999999 00:00:00") == 20


PARTS = st.sampled_from(
    [
        *(
            "Sun, ",
            "1 ",
            "31 ",
            "Jan ",
            "Feb ",
            "0 ",
            "9999 ",
            "99999999999999999999 ",
            "00:00:00",
            "25:99:99",
        ),
        *(" GMT", " +0000", " -9999", " +99999999999", ":", ",", ".", "-", "9" * 400, "\0", "\u202e", " "),
    ]
)


@given(value=st.text(max_size=60) | st.lists(PARTS, max_size=9).map("".join), date=st.text(max_size=40))
@example(value="1 Jan 99999999999999999999 00:00:00", date="1 Jan 0001 00:00:00 +2359")
def test_no_header_raises_or_waits_longer_than_allowed(value: str, date: str) -> None:
    seconds = read(value, date)
    assert seconds is None or 0 <= seconds <= LONGEST
