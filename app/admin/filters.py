"""The filters of a list, parsed from the query of the page's URL. Pure.

A filter that is not valid is ignored, because people may type the URL. The API answers 422 instead.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, get_args
from urllib.parse import urlencode

from app.admin.schemas import Status
from app.signals.tickers import fold, without_exchange

STATUSES: tuple[Status, ...] = get_args(Status)
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
