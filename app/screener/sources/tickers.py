"""What every source shares: how a ticker is written, and what a failed fetch raises. Pure."""

import re
from collections.abc import Iterable

_TICKER = re.compile(r"[A-Z0-9.-]{1,20}")


class SourceError(Exception):
    """A refresh that brought no usable list; the text tells the operator what, where and why."""


class BlockedError(SourceError):
    """The site turned us away (429, 403). `retry_after`: what it asked for, seconds; None if it did not."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def is_ticker(word: str) -> bool:
    """Whether the word is written as a ticker is (SPEC §8)."""
    return _TICKER.fullmatch(word) is not None


def clean(words: Iterable[str]) -> list[str]:
    """Trim, upper-case, drop blanks and repetitions; the first place of a ticker is its rank.

    Raises:
        SourceError: a word is no ticker (SPEC §8), or no ticker is left.
    """
    tickers: dict[str, None] = {}
    for word in words:
        ticker = word.strip().upper()
        if not ticker:
            continue
        if not is_ticker(ticker):
            raise SourceError(f"{ticker[:40]!r} is no ticker: allowed are 1 to 20 of A-Z 0-9 . -")
        tickers[ticker] = None
    if not tickers:
        raise SourceError("no tickers in it")
    return list(tickers)
