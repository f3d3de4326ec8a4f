"""Trading hours, and the trading days of the New York exchanges. Pure.

The rules are those of NYSE Rule 7.2 and of the calendar at nyse.com/trade/hours-calendars, which Nasdaq
shares; they have been the same since 2022. A closing that is announced at short notice, such as a day of
mourning, is not among them: a person pauses buying then.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_NEW_YORK = ZoneInfo("America/New_York")
_OPENS, _CLOSES, _CLOSES_EARLY = time(9, 30), time(16), time(13)
# Zones in which hours are those of the exchange. In any other zone Monday to Friday are trading days.
_ZONES = frozenset(
    {
        *("America/New_York", "America/Detroit", "America/Chicago", "America/Denver", "America/Phoenix"),
        *("America/Los_Angeles", "US/Eastern", "US/Central", "US/Mountain", "US/Pacific", "EST5EDT"),
        *("CST6CDT", "MST7MDT", "PST8PDT"),
    }
)
_MONDAY, _THURSDAY, _FRIDAY, _SATURDAY, _SUNDAY = 0, 3, 4, 5, 6
# How long before an early close open positions are sold, where the configured time is later.
_BEFORE_EARLY_CLOSE = timedelta(minutes=5)


class TradingHours(NamedTuple):
    """The hours from `opens` until before `closes`, on trading days. `text` is how they are configured."""

    text: str
    opens: time
    closes: time
    zone: ZoneInfo


def has_exchange(zone: ZoneInfo) -> bool:
    """Return whether hours in this zone follow the holidays and early closes of the exchange."""
    return zone.key in _ZONES


def is_trading_day(day: date, zone: ZoneInfo) -> bool:
    """Return whether this is a trading day: entries are allowed, and positions are sold at the set time."""
    return day.weekday() < _SATURDAY and not (has_exchange(zone) and day in _holidays(day.year))


def early_close(day: date, zone: ZoneInfo) -> datetime | None:
    """Return when the exchange closes early on this day, in the zone; None: it does not."""
    if not has_exchange(zone) or day not in _early_closes(day.year):
        return None
    return datetime.combine(day, _CLOSES_EARLY, _NEW_YORK).astimezone(zone)


def next_on_trading_day(after: datetime, at: time, zone: ZoneInfo) -> datetime:
    """Return the first moment after `after` at which it is `at` in the zone, once for each trading day.

    Where the clocks skip that time, it is an hour later; where they repeat it, the first one. On a day with
    an early close it is at the latest five minutes before it, unless it is after the regular close.
    """
    day = after.astimezone(zone).date()
    while (moment := _moment_of(day, at, zone)) <= after or not is_trading_day(day, zone):
        day += timedelta(days=1)
    return moment


def after_trading_time(start: datetime, duration: timedelta) -> datetime:
    """Return the moment, in UTC, at which the exchange has been open for `duration` since `start`."""
    day, left = start.astimezone(_NEW_YORK).date(), duration
    while True:
        if is_trading_day(day, _NEW_YORK):
            closes = early_close(day, _NEW_YORK) or datetime.combine(day, _CLOSES, _NEW_YORK)
            begin = max(start, datetime.combine(day, _OPENS, _NEW_YORK)).astimezone(UTC)
            open_for = closes.astimezone(UTC) - begin
            if open_for >= left:
                return begin + left
            left -= max(open_for, timedelta())
        day += timedelta(days=1)


def _moment_of(day: date, at: time, zone: ZoneInfo) -> datetime:
    moment = datetime.combine(day, at, zone).astimezone(UTC)
    early = early_close(day, zone)
    if early is not None and moment <= datetime.combine(day, _CLOSES, _NEW_YORK):
        moment = min(moment, early.astimezone(UTC) - _BEFORE_EARLY_CLOSE)
    return moment


@cache
def _holidays(year: int) -> frozenset[date]:
    """Return the days from Monday to Friday on which the exchange is closed."""
    easter = _easter(year)
    new_year = date(year, 1, 1)
    return frozenset(
        {
            # On a Saturday it is not observed: the Friday before is the last day of a year.
            new_year + timedelta(days=new_year.weekday() == _SUNDAY),
            _nth(year, 1, _MONDAY, 3),  # Martin Luther King, Jr. Day
            _nth(year, 2, _MONDAY, 3),  # Washington's Birthday
            easter - timedelta(days=2),  # Good Friday
            _nth(year, 6, _MONDAY, 1) - timedelta(days=7),  # Memorial Day: the last Monday of May
            _observed(date(year, 6, 19)),  # Juneteenth
            _observed(date(year, 7, 4)),  # Independence Day
            _nth(year, 9, _MONDAY, 1),  # Labor Day
            _nth(year, 11, _THURSDAY, 4),  # Thanksgiving Day
            _observed(date(year, 12, 25)),  # Christmas Day
        }
    )


@cache
def _early_closes(year: int) -> frozenset[date]:
    """Return the trading days that end at 13:00 in New York."""
    days = {_nth(year, 11, _THURSDAY, 4) + timedelta(days=1)}
    days |= {day for day in (date(year, 7, 3), date(year, 12, 24)) if day.weekday() < _FRIDAY}
    return frozenset(days)


def _observed(day: date) -> date:
    """Return the Friday before a Saturday and the Monday after a Sunday."""
    return day + timedelta(days={_SATURDAY: -1, _SUNDAY: 1}.get(day.weekday(), 0))


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (number - 1))


def _easter(year: int) -> date:
    """Return Easter Sunday, by the anonymous Gregorian algorithm (Meeus, Jones and Butcher)."""
    century, of_century = divmod(year, 100)
    moon = (19 * (year % 19) + century - century // 4 - (8 * century + 13) // 25 + 15) % 30
    shift = (32 + 2 * (century % 4) + 2 * (of_century // 4) - moon - of_century % 4) % 7
    correction = (year % 19 + 11 * moon + 22 * shift) // 451
    month, day = divmod(moon + shift - 7 * correction + 114, 31)
    return date(year, month, day + 1)
