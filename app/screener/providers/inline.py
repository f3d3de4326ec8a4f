"""`list:AAPL,NVDA`: the tickers are in the URL, rank 1 first. Each provider has a module."""

from app.screener.parsing.tickers import Cell, Found, clean
from app.screener.providers.request import Request, place_of
from app.signals.tickers import without_exchange


def check(url: str, **_: bool) -> None:
    """Check the tickers of a `list:` URL. Pure.

    Raises:
        ProviderError: one is not a ticker, or there is none.
    """
    _read(place_of(url))


async def fetch(request: Request) -> Found:
    """Return the tickers named in the URL."""
    return Found("list", _read(request.place))


def _read(tickers: str) -> list[str]:
    entries = enumerate(tickers.split(","), 1)
    return clean(Cell(0, number, without_exchange(entry)) for number, entry in entries)
