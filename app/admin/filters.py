"""What the list of signals is asked for in the page's address. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self, get_args
from urllib.parse import urlencode

from app.admin.schemas import Status

STATUSES: tuple[Status, ...] = get_args(Status)
_LARGEST_SEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Filter:
    """A typed address is forgiven: what cannot be read counts as not asked for (the API answers 422)."""

    status: Status | None = None
    ticker: str | None = None
    cursor: int | None = None

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """Read `status`, `ticker` and `cursor`."""
        cursor = query.get("cursor", "")
        return cls(
            status=next((status for status in STATUSES if status == query.get("status")), None),
            ticker=query.get("ticker", "").replace("\0", "").strip().upper()[:20] or None,
            cursor=min(int(cursor), _LARGEST_SEQ)
            if cursor.isascii() and cursor.isdigit() and len(cursor) < 20
            else None,
        )

    @property
    def narrows(self) -> bool:
        """Whether it leaves any signal out, but for the page asked for."""
        return bool(self.status or self.ticker)

    def at(self, cursor: int | None) -> str:
        """The address of the same list from another cursor on; None is the newest page."""
        asked = replace(self, cursor=cursor)
        given = {
            name: value
            for name in ("status", "ticker", "cursor")
            if (value := getattr(asked, name)) is not None
        }
        return f"/admin/page/signals?{urlencode(given)}" if given else "/admin/page/signals"
