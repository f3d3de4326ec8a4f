"""Where tickers come from: one module a kind of source, chosen by the strategy's URL."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, NamedTuple

from app.screener.sources import inline, table
from app.screener.sources.tickers import SourceError

__all__ = ["Source", "SourceError", "source_of"]

Kind = Literal["list", "file"]


class Source(NamedTuple):
    """A way to fetch tickers in rank order. `ages`: whether its list becomes stale (SPEC §12).

    `fetch(place, config_dir)` gets what follows the colon; it raises SourceError with the operator's reason.
    """

    kind: Kind
    ages: bool
    fetch: Callable[[str, Path], Awaitable[list[str]]]


_BY_SCHEME: dict[str, Source] = {
    "list": Source("list", ages=False, fetch=inline.fetch),
    "file": Source("file", ages=False, fetch=table.fetch),
}


def source_of(url: str) -> tuple[Source, str]:
    """Return the source for a strategy's URL, and the place to hand to its `fetch`.

    Raises:
        SourceError: nothing can read such a URL.
    """
    scheme, _, place = url.partition(":")
    source = _BY_SCHEME.get(scheme.lower())
    if source is None:
        raise SourceError(
            f"a strategy's url that begins with {scheme[:20]!r} cannot be read: "
            "use list:AAPL,NVDA or file:NAME.csv in config/finviz_config.json"
        )
    return source, place
