"""Find the header row of a table, which names the column of tickers. Pure.

Some names are never tickers in practice: a row with one is a header. A row with an everyday word, such as
`Ativo`, is one unless a ticker or a number precedes the word. Others, such as `Sym`, are tickers too: their
row is a header if it has several cells and the others are column names as well.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import islice

from app.screener.parsing.tickers import is_list_ticker
from app.signals.tickers import without_exchange

_TICKER = "ticker"
_NAMES = frozenset({_TICKER, "tickers", "ticker symbol", "symbol", "symbols", "stock symbol"})
_EVERYDAY_NAMES = frozenset(
    {"ativo", "ativos", "código", "códigos", "codigo", "codigos", "papel", "papéis", "papeis"}
)
_POSSIBLE_NAMES = frozenset({"code", "instrument", "instruments", "sym", "stock", "stocks"})
_OTHER_NAMES = frozenset({
    "#", "action", "change", "close", "company", "company name", "country", "currency", "date", "description",
    "exchange", "id", "industry", "isin", "last", "last price", "market", "name", "no", "no.", "price", "qty",
    "quantity", "rank", "sector", "side", "type", "volume", "weight",
    "bolsa", "empresa", "moeda", "mercado", "nome", "país", "preço", "qtd", "quantidade", "setor", "tipo",
})  # fmt: skip
_SUMS = frozenset({"total", "totals", "grand total", "soma", "totais", "total geral"})
SEARCHED = 20
"""How many rows are searched for the header, from the first one."""
_WIDEST = 100  # columns that are searched for a name that may be something else
_SEPARATED = re.compile(r"[,;\t|]")


def named_column(cells: Sequence[str]) -> int | None:
    """Return the index of the cell that can only be the name of a column; `Ticker` goes before others."""
    names = [_folded(cell) for cell in cells]
    if _TICKER in names:
        return names.index(_TICKER)
    everyday = (
        index
        for index, name in enumerate(names[:_WIDEST])
        if name in _EVERYDAY_NAMES and not any(map(_is_value, cells[:index]))
    )
    certain = (index for index, name in enumerate(names) if name in _NAMES)
    return min((*islice(everyday, 1), *islice(certain, 1)), default=None)


def head_column(cells: Sequence[str]) -> int | None:
    """Return the index of the cell that names the column of tickers; None if the row is not a header."""
    column = named_column(cells)
    if column is not None:
        return column
    possible = cells[:_WIDEST]
    return next((index for index in range(len(possible)) if _is_name_here(possible, index)), None)


def head_of(rows: Sequence[Sequence[str]]) -> int | None:
    """Return the index of the header row: the first row, or a later one below titles only."""
    for index, cells in enumerate(rows[:SEARCHED]):
        column = head_column(cells)
        if column is None:
            continue
        if index == 0:
            return 0
        is_record = any(map(is_number, cells)) or any(map(_is_value, cells[:column]))
        return None if is_record or not _are_titles(rows[:index], cells) else index
    return None


def looks_like_tickers(cell: str) -> bool:
    """Return whether the cell is a ticker with a letter in one case, or several of them."""
    return all(
        is_list_ticker(ticker := without_exchange(word))
        and any(map(str.isalpha, ticker))
        and word in {word.upper(), word.lower()}
        for word in map(str.strip, _SEPARATED.split(cell))
    )


def is_number(cell: str) -> bool:
    """Return whether the cell has digits and no letter."""
    return any(map(str.isdigit, cell)) and not any(map(str.isalpha, cell))


def is_sum(cells: Sequence[str], column: int) -> bool:
    """Return whether a row below the header has the word Total as its ticker, and no words in other cells."""
    others = [cell for place, cell in enumerate(cells) if place != column and cell]
    return _folded(cells[column]) in _SUMS and all(is_number(cell) for cell in others) and len(cells) > 1


def _is_name_here(cells: Sequence[str], index: int) -> bool:
    others = [cell for place, cell in enumerate(cells) if place != index and cell]
    if _folded(cells[index]) not in _POSSIBLE_NAMES or not others or any(map(is_number, others)):
        return False
    if any(_folded(cell) in _OTHER_NAMES for cell in others):
        return True
    is_capitalized = cells[index] == cells[index].capitalize()
    return is_capitalized and (index == 0 or not any(map(_is_value, others)))


def _are_titles(rows: Sequence[Sequence[str]], head: Sequence[str]) -> bool:
    """Return whether all rows above a header are titles: at most one begins with a ticker, and is shorter."""
    words = [[cell for cell in row if cell] for row in rows]
    doubtful = [row for row in words if row and looks_like_tickers(row[0])]
    return len(doubtful) <= 1 and all(len(row) < sum(map(bool, head)) for row in doubtful)


def _is_value(cell: str) -> bool:
    return is_number(cell) or (looks_like_tickers(cell) and _folded(cell) not in _OTHER_NAMES)


def _folded(cell: str) -> str:
    return unicodedata.normalize("NFC", cell).casefold()
