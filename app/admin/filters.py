"""The filters of a list, parsed from the query of the page's URL. Pure.

A filter that is not valid is ignored, because people may type the URL. The API answers 422 instead.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, TypeVar, get_args
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.admin.schemas import Outcome, Status
from app.config.access import SOURCE_LENGTH
from app.signals.selection import SEARCH_LENGTH, Side, SignalFilter
from app.signals.tickers import fold, without_exchange

Period = Literal["1h", "24h", "7d", "today", "yesterday"]

STATUSES: tuple[Status, ...] = get_args(Status)
SIDES: tuple[Side, ...] = get_args(Side)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
PERIODS: tuple[Period, ...] = get_args(Period)
_AGES = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
_LARGEST = 2**63 - 1

Word = TypeVar("Word", bound=str)


class Listing(NamedTuple):
    """The URL of a list: the view's path, its filters and its cursor; without a cursor the newest page."""

    path: str
    narrowing: Mapping[str, str | None]
    cursor: int | str | None

    @property
    def given(self) -> dict[str, str]:
        """The filters that are set."""
        return {name: value for name, value in self.narrowing.items() if value}

    @property
    def narrows(self) -> bool:
        """Whether any filter is set; the cursor is not a filter."""
        return bool(self.given)

    def at(self, cursor: int | str | None) -> str:
        """Return the URL of the same list at another cursor; None is the newest page."""
        given = {**self.given, **({"cursor": str(cursor)} if cursor else {})}
        return f"{self.path}?{urlencode(given)}" if given else self.path


def chosen(query: Mapping[str, str], name: str, offered: Sequence[Word]) -> Word | None:
    """Return the requested value if it is one of those offered, else None."""
    return next((word for word in offered if word == query.get(name)), None)


def ticker_of(query: Mapping[str, str]) -> str | None:
    """Return the requested ticker, normalised as in signals; None without one."""
    return fold(without_exchange(query.get("ticker", "").replace("\0", "")))[:40] or None


def cursor_of(query: Mapping[str, str]) -> int | None:
    """Return the requested cursor; None without one."""
    cursor = query.get("cursor", "")
    readable = cursor.isascii() and cursor.isdigit() and len(cursor) < 20
    return min(int(cursor), _LARGEST) if readable else None


def text_of(query: Mapping[str, str], name: str, longest: int) -> str | None:
    """Return the requested text without NUL and surrounding whitespace; None if nothing is left."""
    return query.get(name, "").replace("\0", "")[:longest].strip() or None


def signals_wanted(
    query: Mapping[str, str], statuses: Sequence[Word], now: datetime
) -> tuple[SignalFilter, dict[str, str | None]]:
    """Return the requested filter of signals, and its values as the URL has them."""
    given: dict[str, str | None] = {
        "q": text_of(query, "q", SEARCH_LENGTH),
        "period": chosen(query, "period", PERIODS),
        "zone": None,
        "from": None,
        "to": None,
        "status": chosen(query, "status", statuses),
        "ticker": ticker_of(query),
        "side": chosen(query, "side", SIDES),
        "source": text_of(query, "source", SOURCE_LENGTH),
        "outcome": chosen(query, "outcome", OUTCOMES),
    }
    start, end = _moment_of(query, "from"), _moment_of(query, "to")
    if period := given["period"]:
        start, end = period_of(period, zone_of(query), now)
        given["zone"] = text_of(query, "zone", 64)
    else:
        given["from"], given["to"] = (in_query(each) if each else None for each in (start, end))
    wanted = SignalFilter(
        statuses=(given["status"],) if given["status"] else (),
        ticker=given["ticker"],
        source=given["source"],
        search=given["q"],
        start=start,
        end=end,
        side=chosen(query, "side", SIDES),
        outcome=given["outcome"],
    )
    return wanted, given


def api_query(wanted: SignalFilter) -> dict[str, str]:
    """Return the filter as the JSON API takes it, with its period as two moments."""
    given = {
        "q": wanted.search,
        "from": wanted.start and in_query(wanted.start),
        "to": wanted.end and in_query(wanted.end),
        "status": wanted.statuses[0] if wanted.statuses else None,
        "ticker": wanted.ticker,
        "side": wanted.side,
        "source": wanted.source,
        "outcome": wanted.outcome,
    }
    return {name: value for name, value in given.items() if value}


def period_of(period: str, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime | None]:
    """Return the beginning of a period and its end, None if it lasts. Days are those of the time zone."""
    if period in _AGES:
        return now - _AGES[period], None
    today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "today":
        return today.astimezone(UTC), None
    yesterday = (today.replace(tzinfo=None) - timedelta(days=1)).replace(tzinfo=zone)
    return yesterday.astimezone(UTC), today.astimezone(UTC)


def zone_of(query: Mapping[str, str]) -> ZoneInfo:
    """Return the reader's time zone, which the page's script adds to the URL; UTC without a known one."""
    try:
        return ZoneInfo(query.get("zone", ""))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def in_query(moment: datetime) -> str:
    """Format a moment for a URL, in UTC, to the microsecond where it has one."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _moment_of(query: Mapping[str, str], name: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(query.get(name, ""))
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
