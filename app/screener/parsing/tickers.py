"""What all providers share: the form of a ticker, the result of a fetch, its errors. Pure."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from app.errors import ReasonError
from app.signals.refusals import RefusalCode

ListKind = Literal["html", "csv", "list", "file"]

_TICKER = re.compile(r"[A-Z0-9.-]{1,20}")


class ProviderError(ReasonError):
    """A fetch without a usable list; the reason names what, where and why.

    It names places (line, column, page), never the content of a file or a page.
    """


class BlockedError(ProviderError):
    """The site blocked the request (429, 403). `retry_after`: seconds, None if the site named none."""

    retry_after: float | None = None


class Found(NamedTuple):
    """The result of a fetch: tickers in rank order, and the form of the answer.

    `is_whole`: the source has no more tickers.
    """

    kind: ListKind
    tickers: list[str]
    is_whole: bool = True


class Cell(NamedTuple):
    """A word and its place: line and column of a table from 1; line 0 for an entry of `list:`."""

    line: int
    column: int
    word: str


def is_list_ticker(word: str) -> bool:
    """Return whether a list may have this ticker: 1 to 20 of A-Z 0-9 . -, fewer than an alert may have."""
    return _TICKER.fullmatch(word) is not None


def clean(cells: Iterable[Cell]) -> list[str]:
    """Return the tickers: trimmed, in upper case, without empty words and duplicates; the first place counts.

    Raises:
        ProviderError: a word is not a ticker, or no ticker is left.
    """
    tickers: dict[str, None] = {}
    for line, column, word in cells:
        ticker = word.strip().upper()
        if not ticker:
            continue
        if not is_list_ticker(ticker):
            if line:
                raise ProviderError(RefusalCode.NO_TICKER, line=line, column=column)
            raise ProviderError(RefusalCode.ENTRY_NO_TICKER, number=column)
        tickers[ticker] = None
    if not tickers:
        raise ProviderError(RefusalCode.EMPTY_LIST)
    return list(tickers)
