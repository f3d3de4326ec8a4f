"""Configured times of day, each with its zone. Pure."""

import re
from datetime import time
from zoneinfo import ZoneInfo

from app.errors import ConfigFileError
from app.signals.market import TradingHours
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode

_TIME, _ZONE = r"([01]\d|2[0-3]):([0-5]\d)", r"(?: (\S+))?"
_FORM = re.compile(_TIME + _ZONE)
_HOURS = re.compile(f"{_TIME}-{_TIME}{_ZONE}")


def parse_time_of_day(text: str) -> tuple[int, int, ZoneInfo]:
    """Return hour, minute and zone of `08:00` (UTC) or `08:00 America/New_York`.

    Raises:
        ValueError: it is not of this form, or there is no such zone.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError("not a time of day")
    return int(found[1]), int(found[2]), _zone(found[3])


def checked_time_of_day(value: object, file: str, place: str) -> object:
    """Return the value of a setting that is a time of day; an emptied text is None. Others are not checked.

    Raises:
        ConfigFileError: it is a text, and not a time of day.
    """
    if value == "":
        return None
    try:
        if isinstance(value, str):
            parse_time_of_day(value)
    except ValueError as error:
        raise ConfigFileError(file, Reason(RefusalCode.TIME_OF_DAY), place=place) from error
    return value


def parse_hours(text: str) -> TradingHours:
    """Return the hours `09:30-16:00` (UTC) or `09:30-16:00 America/New_York`.

    Raises:
        ValueError: they are not of this form, end before they begin, or there is no such zone.
    """
    found = _HOURS.fullmatch(text)
    if not found:
        raise ValueError("not hours")
    opens, closes = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if opens >= closes:
        raise ValueError("the end is not after the beginning")
    return TradingHours(text, opens, closes, _zone(found[5]))


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (OSError, ValueError, KeyError) as error:  # a folder of zones, a path, no such zone
        raise ValueError("no such zone") from error
