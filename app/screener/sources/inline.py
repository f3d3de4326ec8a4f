"""`list:AAPL,NVDA`: the tickers stand in the URL, best first."""

from pathlib import Path

from app.screener.sources.tickers import clean


async def fetch(place: str, _config_dir: Path) -> list[str]:
    """Return the tickers named in `place`."""
    return clean(place.split(","))
