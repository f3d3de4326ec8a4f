"""From a page of Finviz's screener to its tickers. Pure.

The site changes its markup every few months, so several readers look at each page, the surest first.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from app.screener.pace import ROWS_A_PAGE
from app.screener.parsing.challenges import challenge_in
from app.screener.parsing.tickers import BlockedError, ProviderError, is_list_ticker
from app.signals.refusals import RefusalCode

# "#1 / 8812 Total", before that "Total: 8812 #1"
_TOTAL = re.compile(r"#\s*\d+\s*/\s*(\d[\d,]{,12})\s*Total|Total:\s*(\d[\d,]{,12})", re.ASCII)

_HEAD = "TICKER"
_DEEPEST = 256


class Page(NamedTuple):
    """A page's tickers in rank order; `last` when no page follows it."""

    tickers: list[str]
    last: bool


def read_page(html: str, first: int) -> Page:
    """Read the page whose first row has rank `first` (1, 21, 41 …).

    Raises:
        ProviderError: no ticker, fewer rows than the page itself says it has, or elements nested too deeply.
        BlockedError: instead of rows it has the words of a limit or a challenge.
    """
    tree = LexborHTMLParser(html)
    if _is_deep(tree):
        raise ProviderError(RefusalCode.PAGE_DEEP, first=first, most=_DEEPEST)
    total, more = _total(tree), _links_beyond(tree, first)
    if total is not None:
        expected, last = min(ROWS_A_PAGE, total - first + 1), first + ROWS_A_PAGE > total
    else:
        expected, last = ROWS_A_PAGE if more else 1, not more
    found: list[str] = []
    for reader in _READERS:
        tickers = _tickers(reader(tree))[:ROWS_A_PAGE]
        if len(tickers) >= max(expected, 1):
            return Page(tickers, last)
        found = found or tickers
    if phrase := challenge_in(_visible_text(tree)):
        raise BlockedError(RefusalCode.PAGE_BLOCKED, first=first, phrase=repr(phrase))
    if not found:
        raise ProviderError(RefusalCode.PAGE_NO_TICKERS, first=first)
    raise ProviderError(RefusalCode.PAGE_SHORT, first=first, found=len(found), expected=expected)


def _by_attribute(tree: LexborHTMLParser) -> Iterable[str]:
    """The clean value that the page's own hover box uses (since 2026-07)."""
    return (node.attributes.get("data-boxover-ticker") or "" for node in tree.css("[data-boxover-ticker]"))


def _by_link(tree: LexborHTMLParser) -> Iterable[str]:
    """Links whose query has `t=TICKER`: in the table with the head `Ticker`, for menus link to tickers too.

    On a page without such a head, in the table that links to most.
    """
    by_table: dict[int, list[str]] = {}
    for link in tree.css("a[href]"):
        ticker = _query(link).get("t", [""])[0]
        if is_list_ticker(ticker.upper()):
            by_table.setdefault(_table_of(link), []).append(ticker)
    head = _head(tree)
    if head is not None:
        return by_table.get(_table_of(head), [])
    return max(by_table.values(), key=lambda tickers: len(set(tickers)), default=[])


def _by_column(tree: LexborHTMLParser) -> Iterable[str]:
    """The cells below the head `Ticker`."""
    head = _head(tree)
    if head is None:
        return
    heads, table = _texts(head), _table_of(head)
    column = heads.index(_HEAD)
    for row in tree.css("tr"):
        texts = _texts(row)
        if _table_of(row) == table and len(texts) == len(heads) and texts[column] != _HEAD:
            yield texts[column]


_READERS: tuple[Callable[[LexborHTMLParser], Iterable[str]], ...] = (_by_attribute, _by_link, _by_column)


def _tickers(words: Iterable[str]) -> list[str]:
    """Drop what is no ticker, and repetitions: a row links to its ticker from every cell."""
    upper = (word.strip().upper() for word in words)
    return list(dict.fromkeys(word for word in upper if is_list_ticker(word)))


def _head(tree: LexborHTMLParser) -> LexborNode | None:
    """The row that has a cell `Ticker`."""
    return next((row for row in tree.css("tr") if _HEAD in _texts(row)), None)


def _texts(row: LexborNode) -> list[str]:
    return [cell.text(strip=True).upper() for cell in row.iter() if cell.tag in {"td", "th"}]


def _table_of(node: LexborNode) -> int:
    """Identify the innermost table around the node, 0 outside of all."""
    above = node.parent
    while above is not None and above.tag != "table":
        above = above.parent
    return above.mem_id if above is not None else 0


def _query(link: LexborNode) -> dict[str, list[str]]:
    try:
        return parse_qs(urlsplit(link.attributes.get("href") or "").query)
    except ValueError:  # a link that is no URL
        return {}


def _total(tree: LexborHTMLParser) -> int | None:
    """How many rows the screen has over all its pages, where the page says so."""
    text = tree.body.text(separator=" ") if tree.body else ""
    found = _TOTAL.search(text)
    return int((found[1] or found[2]).replace(",", "")) if found else None


def _links_beyond(tree: LexborHTMLParser, first: int) -> bool:
    """Whether the pager links to a later page; a screen of one page has no pager."""
    numbers = (_query(link).get("r", [""])[0] for link in tree.css("a[href]"))
    return any(number.isdecimal() and int(number[:9]) > first for number in numbers)


def _visible_text(tree: LexborHTMLParser) -> str:
    """Return the title and the text of the page; removes its scripts and styles from the tree."""
    tree.strip_tags(["script", "style"])
    return tree.root.text(separator=" ") if tree.root else ""


def _is_deep(tree: LexborHTMLParser) -> bool:
    """Return whether elements are nested more than 256 deep: what looks upwards would take ages there."""
    node, depth = tree.root, 1
    while node is not None:
        if node.child is not None:
            node, depth = node.child, depth + 1
            if depth > _DEEPEST:
                return True
            continue
        while node is not None and node.next is None:
            node, depth = node.parent, depth - 1
        node = node.next if node is not None else None
    return False
