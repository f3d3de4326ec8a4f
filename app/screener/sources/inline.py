"""`list:AAPL,NVDA`: the tickers stand in the URL, best first."""

from app.screener.sources.request import Request
from app.screener.sources.tickers import clean


def check(tickers: str) -> None:
    """Raise SourceError where `tickers` are none. Pure."""
    clean(tickers.split(","))


async def fetch(request: Request) -> list[str]:
    """Return the tickers named in the URL."""
    return clean(request.place.split(","))
