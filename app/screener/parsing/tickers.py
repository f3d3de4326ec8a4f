"""What every source shares: how a ticker is written, what a fetch brings, how it fails. Pure."""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["html", "csv", "list", "file"]

_TICKER = re.compile(r"[A-Z0-9.-]{1,20}")
_EXCHANGE = re.compile(r"[A-Z0-9_]{1,20}:")


class SourceError(Exception):
    """A refresh that brought no usable list; the text tells the operator what, where and why.

    It names places (line, column, page), never what a file or a page contains.
    """


class BlockedError(SourceError):
    """The site turned us away (429, 403). `retry_after`: what it asked for, seconds; None if it did not."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Found(NamedTuple):
    """What a fetch brought: tickers in rank order, and in which form they came."""

    kind: Kind
    tickers: list[str]


class Cell(NamedTuple):
    """A word and its place: line and column of a table from 1; line 0 for an entry of `list:`."""

    line: int
    column: int
    word: str


def is_ticker(word: str) -> bool:
    """Return whether the word is written as a ticker: 1 to 20 of A-Z 0-9 . -"""
    return _TICKER.fullmatch(word) is not None


def without_exchange(symbol: str) -> str:
    """Return the ticker of a symbol as charting platforms write it: `NASDAQ:AAPL` is AAPL."""
    upper = symbol.strip().upper()
    exchange = _EXCHANGE.match(upper)
    return upper[exchange.end() :].lstrip() if exchange else upper


def clean(cells: Iterable[Cell]) -> list[str]:
    """Trim, upper-case, drop empty words and repetitions; the first place of a ticker is its rank.

    Raises:
        SourceError: a word is not a ticker, or no ticker is left.
    """
    tickers: dict[str, None] = {}
    for line, column, word in cells:
        ticker = word.strip().upper()
        if not ticker:
            continue
        if not is_ticker(ticker):
            if line:
                raise SourceError(f"line {line}, column {column} is not a ticker: use 1 to 20 of A-Z 0-9 . -")
            raise SourceError(f"entry {column} of the list is not a ticker: use 1 to 20 of A-Z 0-9 . -")
        tickers[ticker] = None
    if not tickers:
        raise SourceError("no tickers in it")
    return list(tickers)
