"""The section `risk` of the system file. Pure."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from app.config.times import checked_time_of_day, parse_hours
from app.errors import ConfigFileError
from app.signals.reasons import Reason
from app.signals.refusals import RefusalCode
from app.signals.tickers import is_ticker, without_exchange

_PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"
_Text = Annotated[str, Meta(max_length=80, pattern=_PRINTABLE)]
_Ticker = Annotated[str, Meta(min_length=1, max_length=60)]


class Risk(Struct, frozen=True, kw_only=True):
    """Rules for entries; no exit is subject to any. None, 0 and an empty list: the rule is not set.

    `buys` is a switch like the pauses. `hours` are `09:30-16:00` (UTC) or `09:30-16:00 America/New_York`, and
    `flatten_at`, when all positions are sold each trading day, a time in the same form.
    """

    buys: Literal["on", "off"]
    hours: _Text | None
    max_open_positions: Annotated[int, Meta(ge=1, le=100_000)] | None
    max_buys_per_day: Annotated[int, Meta(ge=1, le=1_000_000)] | None
    cooldown_seconds: Annotated[int, Meta(ge=0, le=31_536_000)]
    blocklist: Annotated[tuple[_Ticker, ...], Meta(max_length=1000)]
    flatten_at: _Text | None


def check_risk(values: dict[str, Any], file: str) -> dict[str, Any]:
    """Return the values with emptied texts as None; what their types do not say is checked.

    Raises:
        ConfigFileError: hours, a time or a ticker is not valid.
    """
    blocklist = values["blocklist"]
    for index, ticker in enumerate(blocklist if isinstance(blocklist, list) else ()):
        if isinstance(ticker, str) and not is_ticker(without_exchange(ticker)):
            raise ConfigFileError(file, Reason(RefusalCode.TICKER), place=f"risk.blocklist[{index}]")
    hours = None if values["hours"] == "" else values["hours"]
    try:
        if isinstance(hours, str):
            parse_hours(hours)
    except ValueError as error:
        raise ConfigFileError(file, Reason(RefusalCode.HOURS), place="risk.hours") from error
    flatten_at = checked_time_of_day(values["flatten_at"], file, "risk.flatten_at")
    return {**values, "hours": hours, "flatten_at": flatten_at}
