"""Trading days, early closes, and a daily time, over holidays and changes of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signals.market import after_trading_time, early_close, is_trading_day, next_on_trading_day

NEW_YORK, CHICAGO, LONDON = map(ZoneInfo, ("America/New_York", "America/Chicago", "Europe/London"))

# As the New York Stock Exchange has published them: days from Monday to Friday, month and day.
CLOSED = {
    2022: "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26",
    2023: "01-02 01-16 02-20 04-07 05-29 06-19 07-04 09-04 11-23 12-25",
    2024: "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
    2027: "01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24",
    2028: "01-17 02-21 04-14 05-29 06-19 07-04 09-04 11-23 12-25",
}
EARLY = {
    2022: "11-25",
    2023: "07-03 11-24",
    2024: "07-03 11-29 12-24",
    2026: "11-27 12-24",
    2027: "11-26",
    2028: "07-03 11-24",
}


def days_of(year: int) -> list[date]:
    """Every day of a year."""
    return [
        date(year, 1, 1) + timedelta(days=number)
        for number in range((date(year, 12, 31) - date(year, 1, 1)).days + 1)
    ]


@pytest.mark.parametrize("year", CLOSED)
def test_the_days_of_the_exchange_are_the_published_ones(year: int) -> None:
    days = [day for day in days_of(year) if day.weekday() < 5]
    closed = {f"{day:%m-%d}" for day in days if not is_trading_day(day, NEW_YORK)}
    assert closed == set(CLOSED[year].split())
    assert {f"{day:%m-%d}" for day in days if early_close(day, NEW_YORK)} == set(EARLY[year].split())
    assert not any(is_trading_day(day, NEW_YORK) for day in days_of(year) if day.weekday() >= 5)


def test_an_early_close_is_at_13_in_new_york_wherever_one_is() -> None:
    day = date(2026, 11, 27)
    assert early_close(day, NEW_YORK) == datetime(2026, 11, 27, 13, tzinfo=NEW_YORK)
    in_chicago = early_close(day, CHICAGO)
    assert in_chicago is not None
    assert in_chicago.time() == time(12)


def test_in_other_zones_the_days_from_monday_to_friday_are_trading_days() -> None:
    assert is_trading_day(date(2026, 11, 26), LONDON)
    assert not is_trading_day(date(2026, 11, 28), LONDON)
    assert early_close(date(2026, 11, 27), LONDON) is None


@pytest.mark.parametrize(
    ("after", "at", "due"),
    [
        # summer and winter: the same time of the zone, another of UTC
        ("2026-03-06T12:00", time(15, 55), "2026-03-06T20:55"),
        ("2026-03-09T12:00", time(15, 55), "2026-03-09T19:55"),
        ("2026-03-09T19:55", time(15, 55), "2026-03-10T19:55"),  # the moment itself is over
        ("2026-03-09T19:54:59", time(15, 55), "2026-03-09T19:55"),
        # over a weekend on which the clocks change
        ("2026-03-06T20:55", time(15, 55), "2026-03-09T19:55"),
        ("2026-10-30T19:55", time(15, 55), "2026-11-02T20:55"),
        ("2026-03-08T06:00", time(2, 30), "2026-03-09T06:30"),
        # over Thanksgiving, and from before Good Friday
        ("2026-11-25T20:55", time(15, 55), "2026-11-27T17:55"),
        ("2026-04-02T19:55", time(15, 55), "2026-04-06T19:55"),
        # an early close: five minutes before it, but not what is meant for after the regular close
        ("2026-11-27T12:00", time(15, 55), "2026-11-27T17:55"),
        ("2026-11-27T12:00", time(12, 0), "2026-11-27T17:00"),
        ("2026-11-27T12:00", time(17, 0), "2026-11-27T22:00"),
    ],
)
def test_the_next_time_on_a_trading_day(after: str, at: time, due: str) -> None:
    moment = next_on_trading_day(datetime.fromisoformat(after).replace(tzinfo=UTC), at, NEW_YORK)
    assert moment == datetime.fromisoformat(due).replace(tzinfo=UTC)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.times(),
    st.sampled_from([NEW_YORK, LONDON, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("UTC")]),
)
def test_the_time_comes_once_for_each_trading_day(after: datetime, at: time, zone: ZoneInfo) -> None:
    at = at.replace(second=0, microsecond=0)
    moments = [next_on_trading_day(after, at, zone)]
    for _ in range(10):
        moments.append(next_on_trading_day(moments[-1], at, zone))
    assert moments[0] > after
    days = [moment.astimezone(zone).date() for moment in moments]
    first = after.astimezone(zone).date()
    since = [first + timedelta(days=number) for number in range((days[-1] - first).days + 1)]
    trading = [day for day in since if is_trading_day(day, zone)]
    assert days in (trading, trading[1:])


@pytest.mark.parametrize(
    ("start", "minutes", "end"),
    [
        # on a trading day: from the opening at 14:30 UTC until the close at 21:00, in winter
        ("2026-12-01T15:00", 60, "2026-12-01T16:00"),
        ("2026-12-01T09:00", 60, "2026-12-01T15:30"),
        ("2026-12-01T20:00", 60, "2026-12-01T21:00"),
        ("2026-12-01T20:30", 60, "2026-12-02T15:00"),
        ("2026-12-01T23:00", 60, "2026-12-02T15:30"),
        ("2026-12-02T02:00", 60, "2026-12-02T15:30"),  # still 1 December in New York
        # over a weekend, and over the change of the clocks: it opens at 13:30 UTC afterwards
        ("2026-12-04T20:50", 30, "2026-12-07T14:50"),
        ("2026-03-06T20:50", 30, "2026-03-09T13:50"),
        # Thanksgiving Day is closed, and the day after ends at 18:00 UTC
        ("2026-11-25T20:50", 30, "2026-11-27T14:50"),
        ("2026-11-27T17:50", 30, "2026-11-30T14:50"),
        ("2026-12-01T14:30", 390, "2026-12-01T21:00"),  # a whole day
        ("2026-12-01T14:30", 391, "2026-12-02T14:31"),
    ],
)
def test_trading_time_passes_while_the_exchange_is_open(start: str, minutes: int, end: str) -> None:
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    found = after_trading_time(begin, timedelta(minutes=minutes))
    assert found == datetime.fromisoformat(end).replace(tzinfo=UTC)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(1, 10_080),
    st.integers(1, 10_080),
)
def test_trading_time_adds_up(start: datetime, first: int, second: int) -> None:
    middle = after_trading_time(start, timedelta(minutes=first))
    assert after_trading_time(middle, timedelta(minutes=second)) == after_trading_time(
        start, timedelta(minutes=first + second)
    )
    assert middle - start >= timedelta(minutes=first)
    assert is_trading_day(middle.astimezone(NEW_YORK).date(), NEW_YORK)
    assert time(9, 30) < middle.astimezone(NEW_YORK).time() <= time(16)
