"""What a list is asked for in the page's address. Pure.

A typed address is forgiven: what cannot be read counts as not asked for (the API answers 422).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, get_args
from urllib.parse import urlencode

from app.admin.schemas import Status

STATUSES: tuple[Status, ...] = get_args(Status)
_LARGEST = 2**63 - 1

Word = TypeVar("Word", bound=str)


class Listing(NamedTuple):
    """A list's address: the view's path, what narrows the list, and from where on; None is the newest."""

    path: str
    narrowing: Mapping[str, str | None]
    cursor: int | None

    @property
    def given(self) -> dict[str, str]:
        """What was chosen to narrow it."""
        return {name: value for name, value in self.narrowing.items() if value}

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out, but for the page asked for."""
        return bool(self.given)

    def at(self, cursor: int | None) -> str:
        """The address of the same list from another cursor on; None is the newest page."""
        given = {**self.given, **({"cursor": str(cursor)} if cursor else {})}
        return f"{self.path}?{urlencode(given)}" if given else self.path


def chosen(query: Mapping[str, str], name: str, offered: Sequence[Word]) -> Word | None:
    """Which of the words is asked for."""
    return next((word for word in offered if word == query.get(name)), None)


def ticker_of(query: Mapping[str, str]) -> str | None:
    """The ticker that is asked for, as signals have theirs."""
    return query.get("ticker", "").replace("\0", "").strip().upper()[:20] or None


def cursor_of(query: Mapping[str, str]) -> int | None:
    """From where on."""
    cursor = query.get("cursor", "")
    readable = cursor.isascii() and cursor.isdigit() and len(cursor) < 20
    return min(int(cursor), _LARGEST) if readable else None
