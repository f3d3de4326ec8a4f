"""A configured time of day with its zone. Pure."""

import re
from zoneinfo import ZoneInfo

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?: (\S+))?")


def parse_time_of_day(text: str) -> tuple[int, int, ZoneInfo]:
    """Return hour, minute and zone of `08:00` (UTC) or `08:00 America/New_York`.

    Raises:
        ValueError: it is not of this form, or there is no such zone.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError("not a time of day")
    try:
        return int(found[1]), int(found[2]), ZoneInfo(found[3] or "UTC")
    except (OSError, ValueError, KeyError) as error:  # a folder of zones, a path, no such zone
        raise ValueError("no such zone") from error
