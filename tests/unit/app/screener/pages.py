"""Pages of a screener, written by hand after the markup of each epoch that the readers know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# links elsewhere on the page, which are no rows of the screen
_MENU = """
<table class="navbar"><tr><td><a href="/">Home</a></td><td><a href="/quote.ashx?t=SPY&ty=c">SPY</a></td>
<td><a href="/screener.ashx?v=111&o=-change">Screener</a></td></tr></table>
"""


def ashx_row(rank: int, ticker: str) -> str:
    """Before 2026-07: each cell links to `quote.ashx?t=`, the ticker is a link's text."""
    link = f'<a href="quote.ashx?t={ticker}&ty=c&p=d&b=1" class="screener-link'
    return (
        f'<tr valign="top"><td align="right">{link}">{rank}</a></td>'
        f'<td align="left">{link}-primary">{ticker}</a></td>'
        f'<td align="left">{link}">{ticker} Corp &amp; Sons</a></td><td>{link}">12.30B</a></td></tr>'
    )


def boxover_row(rank: int, ticker: str) -> str:
    """Since 2026-07: two links with `stock?t=` in the ticker's cell, the clean value in an attribute."""
    return (
        f'<tr class="styled-row"><td>{rank}</td>'
        f'<td data-boxover-ticker="{ticker}" data-boxover-company="{ticker} Corp">'
        f'<a class="logo" href="stock?t={ticker}&p=d">{ticker[0]}</a>'
        f'<a class="tab-link" href="stock?t={ticker}&p=d">{ticker}</a></td>'
        f'<td><a href="stock?t={ticker}&p=d">{ticker} Corp</a></td></tr>'
    )


def plain_row(rank: int, ticker: str) -> str:
    """A table without links: only its head says where the tickers are."""
    return f"<tr><td>{rank}</td><td> {ticker} </td><td>Corp</td></tr>"


def page(
    row: Callable[[int, str], str],
    tickers: Sequence[str],
    *,
    first: int = 1,
    total: int | None = None,
    pager: Sequence[int] = (),
) -> str:
    """A page whose first row has rank `first`; `pager` holds the first ranks that its pager links to."""
    shown = "" if total is None else f'<div id="screener-total">#{first} / {total:,} Total</div>'
    links = "".join(f'<a href="screener.ashx?v=111&r={rank}" class="screener-pages">x</a>' for rank in pager)
    rows = "\n".join(row(first + index, ticker) for index, ticker in enumerate(tickers))
    return (
        f"<!DOCTYPE html><html><head><title>Stock Screener</title></head><body>{_MENU}{shown}"
        f'<table class="screener_table"><thead><tr><th>No.</th><th>Ticker</th><th>Company</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>{links}</body></html>"
    )


BLOCKED = (
    "<html><head><title>Just a moment...</title></head><body><h1>Checking your browser</h1>"
    "<script>location.reload()</script></body></html>"
)
EMPTY = page(boxover_row, [], total=0)


def tickers(count: int, letter: str = "A") -> list[str]:
    """So many tickers, `AAAA`, `AAAB` …, of which none begins with another letter."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [f"{letter}A{alphabet[index // 26]}{alphabet[index % 26]}" for index in range(count)]
