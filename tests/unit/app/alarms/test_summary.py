"""When the daily summary is due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alarms.watch import SUMMARY_LATE, due_summary
from app.config.times import parse_time_of_day

SUMMER = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("configured", "due"),
    [
        (None, None),
        ("12:30", SUMMER),
        ("12:00 UTC", SUMMER - timedelta(minutes=30)),
        ("12:31", None),
        ("11:00", None),  # too late
        ("08:00 America/New_York", SUMMER - timedelta(minutes=30)),
        ("09:30 America/Sao_Paulo", SUMMER),
    ],
)
def test_it_is_due_from_its_time_for_an_hour(configured: str | None, due: datetime | None) -> None:
    assert due_summary(configured, SUMMER) == due


@pytest.mark.parametrize(
    "wrong", ["", "8:00", "24:00", "08:60", "08:00 ", "08:00 Mars/Base", "08:00 ../etc", "08:00 America", "x"]
)
def test_an_invalid_time_of_day_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="no"):
        parse_time_of_day(wrong)


@given(
    st.integers(0, 23),
    st.integers(0, 59),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001
)
def test_a_due_summary_is_never_in_the_future_nor_older_than_the_grace_period(
    hour: int, minute: int, moment: datetime
) -> None:
    now = moment.replace(tzinfo=UTC)
    due = due_summary(f"{hour:02}:{minute:02}", now)
    assert due is None or timedelta(0) <= now - due < SUMMARY_LATE
